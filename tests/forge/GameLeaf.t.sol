// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { States } from "../../contracts/libraries/States.sol";
import { ClaimId, DisputeId } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { TinyModel } from "./mocks/TinyModel.sol";

/// @dev prove and proveInconsistent.
contract GameLeafTest is GameFixture {
    uint32 private constant NODE = 4;

    ClaimId private _claimId;
    DisputeId private _id;

    function setUp() public override {
        super.setUp();
        (_claimId, _id) = openAtLeaf(NODE);
    }

    function test_prove_ofARefutedElement_wins() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes memory proof = proofThatSays(true);
        vm.expectEmit();
        emit IDisputeGame.ElementRefuted(_id, NODE, address(adjudicator), PROVER);
        vm.prank(CHALLENGER);
        game.prove(_id, leaf, proof);
        assertEnded(_id, IDisputeGame.Outcome.ChallengerWon);
    }

    function test_prove_givesTheAdjudicatorExactlyWhatIsCommitted() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes memory proof = proofThatSays(true);
        vm.expectCall(address(adjudicator), abi.encodeCall(IAdjudicator.refutes, (_committed(leaf), proof)));
        game.prove(_id, leaf, proof);
    }

    function test_verifyLeaf_tellsWhoDecidesAndWhatIsCommitted() external view {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        (address decider, IAdjudicator.Leaf memory committed) = game.verifyLeaf(_id, leaf);
        vm.assertEq(decider, address(adjudicator), "adjudicator");
        vm.assertEq(keccak256(abi.encode(committed)), keccak256(abi.encode(_committed(leaf))), "committed");
    }

    function test_verifyLeaf_ofWhatIsNotCommitted_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        leaf.stateBefore[1] = keccak256("not the prover's");
        vm.expectRevert(_stateMismatch(TinyModel.hash(leaf.stateBefore), TinyModel.hash(TinyModel.state(NODE))));
        game.verifyLeaf(_id, leaf);
        leaf = leafOf(NODE + 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NodeNotInGraph.selector, NODE));
        game.verifyLeaf(_id, leaf);
    }

    function test_verifyLeaf_ofNoDispute_reverts() external {
        DisputeId none = game.idOf(_claimId, ANYONE);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.UnknownDispute.selector, none));
        game.verifyLeaf(none, leaf);
    }

    function test_verifyLeaf_ofAnOperatorWithoutAdjudicator_reverts() external {
        DisputeId id = openBy(_claimId, RIVAL);
        descend(id, NODES - 1);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODES - 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NoAdjudicator.selector, TinyModel.VOTED));
        game.verifyLeaf(id, leaf);
    }

    function test_prove_byAnyone_paysTheChallenger() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        vm.prank(ANYONE);
        game.prove(_id, leaf, proofThatSays(true));
        vm.assertGt(vault.creditOf(CHALLENGER), C, "challenger");
        vm.assertEq(vault.creditOf(ANYONE), 0, "anyone");
    }

    function test_prove_thatFails_revertsAndChangesNothing() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotRefuted.selector, _id));
        game.prove(_id, leaf, proofThatSays(false));
        assertPhase(_id, IDisputeGame.Phase.Leaf);
    }

    function test_prove_ofAnOperatorWithoutAdjudicator_reverts() external {
        DisputeId id = openBy(_claimId, RIVAL);
        descend(id, NODES - 1);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODES - 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NoAdjudicator.selector, TinyModel.VOTED));
        game.prove(id, leaf, proofThatSays(true));
    }

    function test_prove_withAnotherOperatorsRecord_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        IDisputeGame.LeafClaim memory other = leafOf(NODE + 1);
        (leaf.record, leaf.graphProof) = (other.record, other.graphProof);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NodeNotInGraph.selector, NODE));
        game.prove(_id, leaf, proofThatSays(true));
        leaf = leafOf(NODE);
        leaf.record[5] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NodeNotInGraph.selector, NODE));
        game.prove(_id, leaf, proofThatSays(true));
    }

    function test_prove_withAnInnerNodeForARecord_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes32[] memory shorter = new bytes32[](leaf.graphProof.length - 1);
        for (uint256 i = 0; i < shorter.length; ++i) {
            shorter[i] = leaf.graphProof[i + 1];
        }
        leaf.graphProof = shorter;
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NodeNotInGraph.selector, NODE));
        game.prove(_id, leaf, proofThatSays(true));
    }

    function test_prove_withAnotherStateBefore_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        leaf.stateBefore[1] = keccak256("not the prover's");
        vm.expectRevert(_stateMismatch(TinyModel.hash(leaf.stateBefore), TinyModel.hash(TinyModel.state(NODE))));
        game.prove(_id, leaf, proofThatSays(true));
    }

    function test_prove_withAnotherOutput_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        leaf.outputs[0] = keccak256("not the prover's");
        bytes32[] memory stateAfter = TinyModel.state(NODE);
        stateAfter[1] = leaf.outputs[0];
        vm.expectRevert(_stateMismatch(TinyModel.hash(stateAfter), TinyModel.hash(TinyModel.state(NODE + 1))));
        game.prove(_id, leaf, proofThatSays(true));
    }

    function test_prove_withAnotherNumberOfOutputs_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        leaf.outputs = new bytes32[](2);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongStateCount.selector, 2, 1));
        game.prove(_id, leaf, proofThatSays(true));
        leaf.outputs = new bytes32[](0);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongStateCount.selector, 0, 1));
        game.prove(_id, leaf, proofThatSays(true));
    }

    function test_prove_ofAnOutputThatTheStateAfterDoesNotHold_reverts() external {
        uint16[] memory entries = new uint16[](2);
        entries[1] = TinyModel.OUTPUT;
        useOneOperator(TinyModel.record(TinyModel.PROVABLE, 0, 2, entries));
        DisputeId id = openBy(claim(), CHALLENGER);
        IDisputeGame.LeafClaim memory leaf = leafOf(0);
        bytes32 bound = leaf.outputs[0];
        leaf.outputs = new bytes32[](2);
        leaf.outputs[0] = bound;
        leaf.outputs[1] = keccak256("made up by the challenger");
        vm.expectRevert(abi.encodeWithSelector(States.UnboundOutput.selector, 1));
        game.prove(id, leaf, proofThatSays(true));
    }

    function test_prove_afterAnIncompleteState_reverts() external {
        DisputeId id = _openWithStates(TinyModel.state(1), 3);
        _select(id, 1, _hashesWith(3));
        IDisputeGame.LeafClaim memory leaf = leafOf(1);
        leaf.stateBefore = _resized(TinyModel.state(1), 3);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongStateCount.selector, 3, 2));
        game.prove(id, leaf, proofThatSays(true));
    }

    function testFuzz_prove_underAnyGas_isAllOrNothing(uint256 gasGiven) external {
        gasGiven = bound(gasGiven, 50_000, 2_000_000);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        // Enough work that the adjudicator starves where the game would still have a 64th to go on with.
        bytes memory proof = abi.encode(true, 2000);
        (bool success, bytes memory reason) =
            address(game).call{ gas: gasGiven }(abi.encodeCall(IDisputeGame.prove, (_id, leaf, proof)));
        if (success) {
            assertEnded(_id, IDisputeGame.Outcome.ChallengerWon);
        } else {
            vm.assertEq(reason.length, 0, "out of gas, no verdict");
            assertPhase(_id, IDisputeGame.Phase.Leaf);
        }
    }

    function test_proveInconsistent_ofAChangedPassingValue_wins() external {
        bytes32[] memory changed = TinyModel.state(1);
        changed[0] = keccak256("changed on the way");
        DisputeId id = _openWithStates(changed, 2);
        bytes32[] memory hashes = _hashesWith(2);
        hashes[1] = TinyModel.hash(changed);
        _select(id, 0, hashes);
        IDisputeGame.LeafClaim memory leaf = leafOf(0);
        vm.expectEmit();
        emit IDisputeGame.InconsistencyProven(id, 0);
        vm.prank(ANYONE);
        game.proveInconsistent(id, leaf, changed);
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
    }

    function test_proveInconsistent_ofALongerOrShorterState_wins() external {
        for (uint256 size = 1; size < 4; size += 2) {
            DisputeId id = _openWithStates(TinyModel.state(1), size);
            _select(id, 0, _hashesWith(size));
            IDisputeGame.LeafClaim memory leaf = leafOf(0);
            game.proveInconsistent(id, leaf, _resized(TinyModel.state(1), size));
            assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
        }
    }

    function test_proveInconsistent_ofConsistentStates_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes32[] memory stateAfter = TinyModel.state(NODE + 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.StatesConsistent.selector, _id));
        game.proveInconsistent(_id, leaf, stateAfter);
    }

    function test_proveInconsistent_withAnotherStateAfter_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes32[] memory forged = TinyModel.state(NODE + 1);
        forged[0] = keccak256("not the prover's");
        vm.expectRevert(_stateMismatch(TinyModel.hash(forged), TinyModel.hash(TinyModel.state(NODE + 1))));
        game.proveInconsistent(_id, leaf, forged);
    }

    function test_proveInconsistent_withAnotherRecordOrStateBefore_reverts() external {
        bytes32[] memory stateAfter = TinyModel.state(NODE + 1);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        leaf.record = records[NODES - 1];
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NodeNotInGraph.selector, NODE));
        game.proveInconsistent(_id, leaf, stateAfter);
        leaf = leafOf(NODE);
        leaf.stateBefore[0] = keccak256("not the prover's");
        vm.expectRevert(_stateMismatch(TinyModel.hash(leaf.stateBefore), TinyModel.hash(TinyModel.state(NODE))));
        game.proveInconsistent(_id, leaf, stateAfter);
    }

    /// @dev A dispute at operators [0, 3) of a claim of its own, where the prover reveals `first`, resized, at cut 1.
    function _openWithStates(bytes32[] memory first, uint256 size) private returns (DisputeId id) {
        // Claims of one prover differ by their outputs.
        bytes32[] memory inputs = TinyModel.state(0);
        bytes32[] memory outputs = TinyModel.state(NODES);
        outputs[0] = keccak256(abi.encode("claim", first, size));
        vm.prank(PROVER);
        id = openBy(claims.claim{ value: P }(modelId, NO_REQUEST, inputs, outputs, bytes32(0)), CHALLENGER);
        reveal(id);
        bytes32[] memory hashes = boundaryHashes(0, NODES);
        hashes[FAN_OUT] = TinyModel.hash(outputs);
        _select(id, 0, hashes);
        bytes32[][] memory states = innerStates(0, 3);
        states[0] = _resized(first, size);
        vm.prank(PROVER);
        game.reveal(id, 0, 3, states, new bytes32[][](0));
    }

    function _hashesWith(uint256 size) private view returns (bytes32[] memory hashes) {
        hashes = boundaryHashes(0, 3);
        hashes[1] = TinyModel.hash(_resized(TinyModel.state(1), size));
    }

    function _select(DisputeId id, uint256 child, bytes32[] memory hashes) private {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.prank(CHALLENGER);
        game.select(id, dispute.lo, dispute.hi, hashes, child);
    }

    function _resized(bytes32[] memory values, uint256 size) private pure returns (bytes32[] memory resized) {
        resized = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            resized[i] = i < values.length ? values[i] : keccak256(abi.encode("extra", i));
        }
    }

    function _committed(IDisputeGame.LeafClaim memory leaf) private pure returns (IAdjudicator.Leaf memory) {
        return IAdjudicator.Leaf({
            record: leaf.record,
            stateBefore: leaf.stateBefore,
            outputs: leaf.outputs,
            weightsRoot: keccak256("weights"),
            parameterCount: 1
        });
    }

    function _stateMismatch(bytes32 given, bytes32 required) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IDisputeGame.StateMismatch.selector, given, required);
    }
}
