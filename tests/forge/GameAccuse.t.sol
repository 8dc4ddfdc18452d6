// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { ICalibratedAdjudicator } from "../../contracts/interfaces/ICalibratedAdjudicator.sol";
import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { ClaimId, DisputeId, Duration } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { TinyModel } from "./mocks/TinyModel.sol";

/// @dev accuse, and what the prover does about it.
contract GameAccuseTest is GameFixture {
    uint32 private constant NODE = 4;

    ClaimId private _claimId;
    DisputeId private _id;

    function setUp() public override {
        super.setUp();
        (_claimId, _id) = openAtLeaf(NODE);
    }

    function test_accuse_passesTheTurnToTheProver() external {
        vm.warp(START + 100);
        vm.expectEmit();
        emit IDisputeGame.Accused(_id, NODE, thetaOf(NODE));
        accuse(_id);
        assertPhase(_id, IDisputeGame.Phase.Defence);
        IDisputeGame.Dispute memory dispute = game.getDispute(_id);
        vm.assertEq(uint256(Duration.unwrap(dispute.challengerLeft)), CHALLENGER_CLOCK - 100, "challenger pays");
        warpToDeadline(_id, 0);
        vm.assertEq(vm.getBlockTimestamp(), START + 100 + PROVER_CLOCK, "the prover's clock runs");
    }

    function test_accuse_givesTheAdjudicatorWhatIsCommitted() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        IAdjudicator.Leaf memory expected = IAdjudicator.Leaf({
            record: leaf.record,
            stateBefore: leaf.stateBefore,
            outputs: leaf.outputs,
            weightsRoot: keccak256("weights"),
            parameterCount: 1
        });
        bytes memory proof = proofOf(thetaOf(NODE) + 1);
        vm.expectCall(
            address(adjudicator), abi.encodeCall(ICalibratedAdjudicator.exceeds, (expected, proof, thetaOf(NODE)))
        );
        accuse(_id);
    }

    function test_accuse_ofAnElementWithinTheThreshold_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotExceeded.selector, _id));
        _accuse(CHALLENGER, proofOf(thetaOf(NODE)), NODE);
        assertPhase(_id, IDisputeGame.Phase.Leaf);
    }

    function test_accuse_byAnybodyElse_reverts() external {
        address[3] memory callers = [PROVER, RIVAL, ANYONE];
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotYourTurn.selector, callers[i], CHALLENGER));
            _accuse(callers[i], proofOf(type(uint256).max), NODE);
        }
    }

    function test_accuse_twice_reverts() external {
        accuse(_id);
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Defence, IDisputeGame.Phase.Leaf));
        _accuse(CHALLENGER, proofOf(type(uint256).max), NODE);
        vm.prank(PROVER);
        game.escalate(_id, NODE, NODE + 1);
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Vote, IDisputeGame.Phase.Leaf));
        _accuse(CHALLENGER, proofOf(type(uint256).max), NODE);
    }

    function test_accuse_withTheThresholdOfAnotherNode_reverts() external {
        for (uint32 other = 0; other < NODES; ++other) {
            if (other == NODE || other == 3) continue;
            vm.expectRevert(_mismatch(thetaOf(other)));
            _accuse(CHALLENGER, proofOf(type(uint256).max), other);
        }
    }

    function test_accuse_withAnotherThetaOrHash_reverts() external {
        bytes32[] memory path = thresholdPath(NODE);
        vm.expectRevert(_mismatch(thetaOf(NODE) - 1));
        _accuse(thetaOf(NODE) - 1, toleranceHashOf(NODE), path);
        vm.expectRevert(_mismatch(thetaOf(NODE)));
        _accuse(thetaOf(NODE), toleranceHashOf(NODE + 1), path);
    }

    function test_accuse_withAPathOfAnotherShape_reverts() external {
        bytes32[] memory path = thresholdPath(NODE);
        bytes32[] memory shorter = new bytes32[](path.length - 1);
        bytes32[] memory longer = new bytes32[](path.length + 1);
        for (uint256 i = 0; i < path.length; ++i) {
            if (i < shorter.length) shorter[i] = path[i];
            longer[i] = path[i];
        }
        bytes32[3] memory last = [keccak256("other segments"), bytes32(0), TinyModel.root(thresholds())];
        _expectMismatch(shorter);
        _expectMismatch(longer);
        for (uint256 i = 0; i < last.length; ++i) {
            path[path.length - 1] = last[i];
            _expectMismatch(path);
        }
    }

    function test_accuse_ofANodeWithoutThreshold_reverts() external {
        DisputeId id = openBy(_claimId, RIVAL);
        descend(id, 3);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotCalibrated.selector, 3));
        this.accuseAs(id);
    }

    function test_accuse_ofAnOperatorWithoutAdjudicator_reverts() external {
        DisputeId id = openBy(_claimId, RIVAL);
        descend(id, NODES - 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NoAdjudicator.selector, TinyModel.VOTED));
        this.accuseAs(id);
    }

    function test_accuse_ofAnOperatorWhoseAdjudicatorMeasuresNothing_reverts() external {
        useOneOperator(TinyModel.step(TinyModel.UNCALIBRATED, 0));
        DisputeId id = openBy(claim(), CHALLENGER);
        vm.expectRevert(bytes(""));
        this.accuseAs(id);
        assertPhase(id, IDisputeGame.Phase.Leaf);
    }

    function test_accuse_ofARunOfSeveralSteps_reverts() external {
        useSteps(2);
        (, DisputeId id) = openAtLeaf(NODE);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotCalibrated.selector, NODE));
        this.accuseAs(id);
    }

    function test_accuse_withAnotherRecordOrState_reverts() external {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        leaf.record[5] ^= 0x01;
        bytes32[] memory path = thresholdPath(NODE);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NodeNotInGraph.selector, NODE));
        vm.prank(CHALLENGER);
        game.accuse(_id, leaf, proofOf(type(uint256).max), thetaOf(NODE), toleranceHashOf(NODE), path);
        leaf = leafOf(NODE);
        leaf.outputs[0] = keccak256("not the prover's");
        bytes32[] memory forged = TinyModel.state(NODE);
        forged[1] = leaf.outputs[0];
        vm.expectRevert(
            abi.encodeWithSelector(
                IDisputeGame.StateMismatch.selector, TinyModel.hash(forged), TinyModel.hash(TinyModel.state(NODE + 1))
            )
        );
        vm.prank(CHALLENGER);
        game.accuse(_id, leaf, proofOf(type(uint256).max), thetaOf(NODE), toleranceHashOf(NODE), path);
    }

    function testFuzz_accuse_underAnyGas_isAllOrNothing(uint256 gasGiven) external {
        gasGiven = bound(gasGiven, 50_000, 2_000_000);
        bytes memory call = abi.encodeCall(
            IDisputeGame.accuse,
            (
                _id,
                leafOf(NODE),
                abi.encode(type(uint256).max, 2000),
                thetaOf(NODE),
                toleranceHashOf(NODE),
                thresholdPath(NODE)
            )
        );
        vm.prank(CHALLENGER);
        (bool success, bytes memory reason) = address(game).call{ gas: gasGiven }(call);
        if (!success) vm.assertEq(reason.length, 0, "out of gas, no verdict");
        assertPhase(_id, success ? IDisputeGame.Phase.Defence : IDisputeGame.Phase.Leaf);
    }

    // The defence

    function test_defence_bySilence_losesOnTime() external {
        accuse(_id);
        warpToDeadline(_id, 0);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRunning.selector, _id));
        game.timeout(_id);
        warpPastDeadline(_id);
        game.timeout(_id);
        assertEnded(_id, IDisputeGame.Outcome.ChallengerWon);
        assertStatus(_claimId, IClaimRegistry.Status.Refuted);
        vm.assertEq(vault.creditOf(CHALLENGER), C + P - P_BURNED, "challenger");
    }

    function test_defence_inTheLastSecond_putsTheOperatorToTheCommittee() external {
        accuse(_id);
        warpToDeadline(_id, 0);
        vm.expectEmit();
        emit IDisputeGame.Escalated(_id, NODE, NODE + 1);
        vm.prank(PROVER);
        game.escalate(_id, NODE, NODE + 1);
        assertPhase(_id, IDisputeGame.Phase.Vote);
        vm.assertEq(DisputeId.unwrap(committee.convened()), DisputeId.unwrap(_id), "case");
        vm.assertEq(committee.prover(), PROVER, "prover");
        vm.assertEq(committee.challenger(), CHALLENGER, "challenger");
    }

    /// @dev What an accusation of an honest prover costs: the whole bond, of which the prover gets its part.
    function test_defence_thatTheCommitteeAccepts_costsTheChallengerItsBond() external {
        _defend(IOperatorCommittee.Verdict.Accept);
        assertEnded(_id, IDisputeGame.Outcome.ProverWon);
        vm.assertEq(vault.creditOf(CHALLENGER), 0, "challenger");
        vm.assertEq(vault.creditOf(PROVER), C - C_BURNED - 3 * FEE, "prover");
        assertStatus(_claimId, IClaimRegistry.Status.Pending);
        assertConserved();
    }

    function test_defence_thatTheCommitteeRejects_refutesTheClaim() external {
        _defend(IOperatorCommittee.Verdict.Reject);
        assertEnded(_id, IDisputeGame.Outcome.ChallengerWon);
        vm.assertEq(vault.creditOf(CHALLENGER), C + P - P_BURNED - 3 * FEE, "challenger");
        assertStatus(_claimId, IClaimRegistry.Status.Refuted);
        assertConserved();
    }

    function test_defence_isTheProversAlone() external {
        accuse(_id);
        address[2] memory callers = [CHALLENGER, ANYONE];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotYourTurn.selector, callers[i], PROVER));
            vm.prank(callers[i]);
            game.escalate(_id, NODE, NODE + 1);
        }
    }

    function test_defence_leavesNoOtherMove() external {
        accuse(_id);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes memory reason = _wrongPhase(IDisputeGame.Phase.Defence, IDisputeGame.Phase.Leaf);
        vm.expectRevert(reason);
        game.prove(_id, leaf, proofThatSays(true));
        vm.expectRevert(reason);
        vm.prank(PROVER);
        game.demand(_id, leaf, true, 0, 0);
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Defence, IDisputeGame.Phase.Vote));
        game.settleVote(_id);
    }

    function test_defence_ofAClaimRefutedElsewhere_isClosed() external {
        accuse(_id);
        DisputeId other = openBy(_claimId, RIVAL);
        descend(other, NODE);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        game.prove(other, leaf, proofThatSays(true));
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClaimRefutedElsewhere.selector, _claimId));
        vm.prank(PROVER);
        game.escalate(_id, NODE, NODE + 1);
        game.close(_id);
        assertEnded(_id, IDisputeGame.Outcome.Moot);
        vm.assertEq(vault.creditOf(CHALLENGER), C, "refund");
    }

    /// @dev So that a revert is expected of the accusation alone, not of the calls that prepare it.
    function accuseAs(DisputeId id) external {
        accuse(id);
    }

    function _accuse(address caller, bytes memory proof, uint32 thresholdOf) private {
        _accuse(caller, proof, thetaOf(thresholdOf), toleranceHashOf(thresholdOf), thresholdPath(thresholdOf));
    }

    function _accuse(uint32 theta, bytes32 toleranceHash, bytes32[] memory path) private {
        _accuse(CHALLENGER, proofOf(type(uint256).max), theta, toleranceHash, path);
    }

    function _accuse(address caller, bytes memory proof, uint32 theta, bytes32 toleranceHash, bytes32[] memory path)
        private
    {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        vm.prank(caller);
        game.accuse(_id, leaf, proof, theta, toleranceHash, path);
    }

    function _expectMismatch(bytes32[] memory path) private {
        vm.expectRevert(_mismatch(thetaOf(NODE)));
        _accuse(thetaOf(NODE), toleranceHashOf(NODE), path);
    }

    function _defend(IOperatorCommittee.Verdict verdict) private {
        accuse(_id);
        vm.prank(PROVER);
        game.escalate(_id, NODE, NODE + 1);
        committee.setVerdict(verdict, members(3));
        game.settleVote(_id);
    }

    function _mismatch(uint32 theta) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IDisputeGame.ThresholdMismatch.selector, NODE, theta);
    }

    function _wrongPhase(IDisputeGame.Phase phase, IDisputeGame.Phase required) private view returns (bytes memory) {
        return abi.encodeWithSelector(IDisputeGame.WrongPhase.selector, _id, phase, required);
    }
}
