// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { DisputeId, Duration } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { TinyModel } from "./mocks/TinyModel.sol";

/// @dev demand and answer.
contract GameDemandTest is GameFixture {
    uint32 private constant NODE = 4;
    uint256 private constant CHUNK = 6; // row 1, last chunk: 88 bytes of data

    DisputeId private _id;

    function setUp() public override {
        super.setUp();
        (, _id) = openAtLeaf(NODE);
    }

    function test_demand_ofAnOutput_passesTheTurnToTheProver() external {
        bytes32 commitment = TinyModel.value(NODE + 1);
        bytes32 demanded = _demanded(commitment, CHUNK);
        vm.warp(START + 30);
        vm.expectEmit();
        emit IDisputeGame.ElementDemanded(_id, commitment, TinyModel.TYPE, CHUNK, demanded);
        _demand(true, 0, CHUNK);
        IDisputeGame.Dispute memory dispute = game.getDispute(_id);
        vm.assertEq(dispute.demanded, demanded, "demanded");
        vm.assertEq(uint256(dispute.demandsLeft), MAX_DEMANDS - 1, "demands left");
        vm.assertEq(uint256(Duration.unwrap(dispute.challengerLeft)), CHALLENGER_CLOCK - 30, "challenger's clock");
        assertPhase(_id, IDisputeGame.Phase.Answer);
    }

    function test_demand_ofAnOperand_asksForTheValueBehindIt() external {
        bytes32 commitment = TinyModel.value(NODE);
        vm.expectEmit();
        emit IDisputeGame.ElementDemanded(_id, commitment, TinyModel.TYPE, CHUNK, _demanded(commitment, CHUNK));
        _demand(false, 0, CHUNK);
    }

    function test_demand_ofEveryRealChunk_isAnswered() external {
        for (uint256 chunk = 0; chunk < 16; ++chunk) {
            if (!TinyModel.isReal(chunk)) continue;
            address challenger = address(uint160(0xF000 + chunk));
            vm.deal(challenger, C);
            DisputeId id = openBy(game.getDispute(_id).claimId, challenger);
            descend(id, NODE);
            IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
            vm.prank(challenger);
            game.demand(id, leaf, true, 0, chunk);
            _answer(id, NODE + 1, chunk, TinyModel.chunk(NODE + 1, chunk));
            assertPhase(id, IDisputeGame.Phase.Leaf);
        }
    }

    function test_demand_ofPadding_reverts() external {
        for (uint256 chunk = 0; chunk < 17; ++chunk) {
            if (TinyModel.isReal(chunk)) continue;
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.DemandOutOfRange.selector, chunk, 16));
            this.demandAs(true, 0, chunk);
        }
    }

    function test_demand_ofAHugeChunkNumber_reverts() external {
        uint256 chunk = type(uint256).max;
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.DemandOutOfRange.selector, chunk, 16));
        this.demandAs(false, 0, chunk);
    }

    function test_demand_ofAnIndexBeyondTheRecord_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.DemandOutOfRange.selector, 1, 1));
        this.demandAs(true, 1, CHUNK);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.DemandOutOfRange.selector, 2, 2));
        this.demandAs(false, 2, CHUNK);
    }

    function test_demand_ofAParameter_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ParameterDemanded.selector, 1));
        this.demandAs(false, 1, CHUNK);
    }

    function test_demand_ofValuesTheProverDidNotCommitTo_reverts() external {
        bytes32 required = TinyModel.hash(TinyModel.state(NODE));
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        leaf.stateBefore[1] = keccak256("not the prover's");
        bytes32 given = TinyModel.hash(leaf.stateBefore);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.StateMismatch.selector, given, required));
        vm.prank(CHALLENGER);
        game.demand(_id, leaf, false, 0, CHUNK);

        leaf = leafOf(NODE);
        leaf.outputs[0] = keccak256("not the prover's");
        bytes32[] memory stateAfter = TinyModel.state(NODE + 1);
        stateAfter[1] = leaf.outputs[0];
        given = TinyModel.hash(stateAfter);
        required = TinyModel.hash(TinyModel.state(NODE + 1));
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.StateMismatch.selector, given, required));
        vm.prank(CHALLENGER);
        game.demand(_id, leaf, true, 0, CHUNK);
    }

    function test_demand_moreOftenThanAllowed_reverts() external {
        for (uint256 i = 0; i < MAX_DEMANDS; ++i) {
            _demand(true, 0, i);
            _answer(_id, NODE + 1, i, TinyModel.chunk(NODE + 1, i));
        }
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NoDemandsLeft.selector, _id));
        this.demandAs(true, 0, 2);
    }

    function test_answer_givesTheTurnBack() external {
        _demand(false, 0, CHUNK);
        bytes memory data = TinyModel.chunk(NODE, CHUNK);
        bytes32[] memory path = TinyModel.chunkPath(NODE, CHUNK);
        vm.warp(START + 40);
        vm.expectEmit();
        emit IDisputeGame.ElementOpened(_id, TinyModel.value(NODE), CHUNK, data, path);
        _answer(_id, NODE, CHUNK, data);
        IDisputeGame.Dispute memory dispute = game.getDispute(_id);
        vm.assertEq(dispute.demanded, 0, "nothing is demanded");
        vm.assertEq(uint256(Duration.unwrap(dispute.proverLeft)), PROVER_CLOCK - 40, "prover's clock");
        assertPhase(_id, IDisputeGame.Phase.Leaf);
    }

    function test_answer_withOtherData_reverts() external {
        _demand(false, 0, CHUNK);
        bytes memory data = TinyModel.chunk(NODE, CHUNK);
        data[0] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.OpeningMismatch.selector, TinyModel.value(NODE)));
        this.answerAs(NODE, CHUNK, data);
    }

    function test_answer_withTheChunkOfAnotherPlace_reverts() external {
        _demand(false, 0, CHUNK);
        bytes32 required = _demanded(TinyModel.value(NODE), CHUNK);
        bytes memory data = TinyModel.chunk(NODE, CHUNK - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDisputeGame.DemandMismatch.selector, _demanded(TinyModel.value(NODE), CHUNK - 1), required
            )
        );
        this.answerAs(NODE, CHUNK - 1, data);
        data = TinyModel.chunk(NODE + 1, CHUNK);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDisputeGame.DemandMismatch.selector, _demanded(TinyModel.value(NODE + 1), CHUNK), required
            )
        );
        this.answerAs(NODE + 1, CHUNK, data);
    }

    function test_answer_ofAnotherSize_reverts() external {
        _demand(false, 0, CHUNK);
        bytes memory half = new bytes(64);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongChunkLength.selector, 64, 256));
        this.answerAs(NODE, CHUNK, half);
    }

    function test_answer_withAShorterPath_reverts() external {
        _demand(false, 0, CHUNK);
        bytes32 commitment = TinyModel.value(NODE);
        bytes memory data = TinyModel.chunk(NODE, CHUNK);
        bytes32[] memory path = new bytes32[](3);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongPathLength.selector, 3, 4));
        vm.prank(PROVER);
        game.answer(_id, commitment, TinyModel.TYPE, CHUNK, data, path);
    }

    function test_answer_thatNeverComes_losesOnTime() external {
        _demand(true, 0, CHUNK);
        warpPastDeadline(_id);
        game.timeout(_id);
        assertEnded(_id, IDisputeGame.Outcome.ChallengerWon);
    }

    function demandAs(bool ofOutput, uint256 index, uint256 chunk) external {
        _demand(ofOutput, index, chunk);
    }

    function answerAs(uint256 salt, uint256 chunk, bytes memory data) external {
        _answer(_id, salt, chunk, data);
    }

    function _demand(bool ofOutput, uint256 index, uint256 chunk) private {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        vm.prank(CHALLENGER);
        game.demand(_id, leaf, ofOutput, index, chunk);
    }

    function _answer(DisputeId id, uint256 salt, uint256 chunk, bytes memory data) private {
        bytes32[] memory path = TinyModel.chunkPath(salt, chunk);
        bytes32 commitment = TinyModel.value(salt);
        vm.prank(PROVER);
        game.answer(id, commitment, TinyModel.TYPE, chunk, data, path);
    }

    function _demanded(bytes32 commitment, uint256 chunk) private pure returns (bytes32) {
        return keccak256(abi.encode(commitment, TinyModel.TYPE, chunk));
    }
}
