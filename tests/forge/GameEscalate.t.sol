// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { ClaimId, DisputeId, Duration, Timestamp } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";

/// @dev Segments of several operators before the committee.
contract GameEscalateTest is GameFixture {
    ClaimId private _claimId;
    DisputeId private _id;

    function setUp() public override {
        super.setUp();
        _claimId = claim();
        _id = openBy(_claimId, CHALLENGER);
    }

    function test_escalate_ofTheWholeGraph_convenesAndKeepsTheSegment() external {
        reveal(_id);
        IDisputeGame.Dispute memory before = game.getDispute(_id);
        vm.warp(START + 70);
        vm.expectEmit();
        emit IDisputeGame.Escalated(_id, 0, NODES);
        _escalate(CHALLENGER);
        assertPhase(_id, IDisputeGame.Phase.Vote);
        IDisputeGame.Dispute memory voting = game.getDispute(_id);
        vm.assertEq(uint256(voting.lo), before.lo, "lo");
        vm.assertEq(uint256(voting.hi), before.hi, "hi");
        vm.assertEq(voting.loState, before.loState, "lo state");
        vm.assertEq(voting.hiState, before.hiState, "hi state");
        vm.assertEq(uint256(Duration.unwrap(voting.challengerLeft)), CHALLENGER_CLOCK - 70, "challenger pays");
        vm.assertEq(DisputeId.unwrap(committee.convened()), DisputeId.unwrap(_id), "case");
        vm.assertEq(Timestamp.unwrap(committee.since()), START, "the stakes of when the claim was made");
    }

    function test_escalate_ofAnotherSegment_reverts() external {
        reveal(_id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.SegmentMismatch.selector, 0, NODES));
        _escalate(CHALLENGER, 3, 5);
    }

    function test_escalate_ofAChild_isAboutTheChild() external {
        reveal(_id);
        select(_id, 1);
        reveal(_id);
        vm.expectEmit();
        emit IDisputeGame.Escalated(_id, 3, 5);
        _escalate(CHALLENGER, 3, 5);
    }

    function test_escalate_beforeTheProverRevealed_reverts() external {
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Reveal));
        _escalate(CHALLENGER);
        reveal(_id);
        select(_id, 0);
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Reveal));
        _escalate(CHALLENGER);
    }

    function test_escalate_whileAChunkIsDemanded_reverts() external {
        descend(_id, 4);
        IDisputeGame.LeafClaim memory leaf = leafOf(4);
        vm.prank(CHALLENGER);
        game.demand(_id, leaf, true, 0, 0);
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Answer));
        _escalate(CHALLENGER);
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Answer));
        _escalate(PROVER);
    }

    function test_escalate_twice_reverts() external {
        reveal(_id);
        _escalate(CHALLENGER);
        vm.expectRevert(_wrongPhase(IDisputeGame.Phase.Vote));
        _escalate(CHALLENGER);
    }

    function test_escalate_byAnybodyElse_reverts() external {
        reveal(_id);
        address[3] memory callers = [PROVER, RIVAL, ANYONE];
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotYourTurn.selector, callers[i], CHALLENGER));
            _escalate(callers[i]);
        }
    }

    function test_escalate_afterTheClock_reverts() external {
        reveal(_id);
        warpPastDeadline(_id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockExpired.selector, _id));
        _escalate(CHALLENGER);
    }

    function test_escalate_ofSeveralSteps_reverts() external {
        useSteps(3);
        _id = openBy(claim(), CHALLENGER);
        reveal(_id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.SegmentTooLong.selector, 0, 3 * NODES));
        _escalate(CHALLENGER, 0, 3 * NODES);
        assertPhase(_id, IDisputeGame.Phase.Select);
        select(_id, 1);
        reveal(_id);
        vm.expectEmit();
        emit IDisputeGame.Escalated(_id, NODES, 2 * NODES);
        _escalate(CHALLENGER, NODES, 2 * NODES);
    }

    function test_vote_onASegment_ends() external {
        _vote(IOperatorCommittee.Verdict.Reject);
        assertEnded(_id, IDisputeGame.Outcome.ChallengerWon);
        assertStatus(_claimId, IClaimRegistry.Status.Refuted);
        vm.assertEq(vault.creditOf(CHALLENGER), C + P - P_BURNED - 3 * FEE, "challenger");
    }

    function test_vote_forTheProver_costsTheChallengerItsBond() external {
        _vote(IOperatorCommittee.Verdict.Accept);
        assertEnded(_id, IDisputeGame.Outcome.ProverWon);
        vm.assertEq(vault.creditOf(CHALLENGER), 0, "challenger");
        vm.assertEq(vault.creditOf(PROVER), C - C_BURNED - 3 * FEE, "prover");
    }

    function test_moves_inAVoteOnASegment_revert() external {
        reveal(_id);
        bytes32[] memory hashes = boundaryHashes(0, NODES);
        _escalate(CHALLENGER);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDisputeGame.WrongPhase.selector, _id, IDisputeGame.Phase.Vote, IDisputeGame.Phase.Select
            )
        );
        vm.prank(CHALLENGER);
        game.select(_id, 0, NODES, hashes, 0);
    }

    function _escalate(address caller) private {
        _escalate(caller, 0, NODES);
    }

    function _escalate(address caller, uint32 lo, uint32 hi) private {
        vm.prank(caller);
        game.escalate(_id, lo, hi);
    }

    function _vote(IOperatorCommittee.Verdict verdict) private {
        reveal(_id);
        _escalate(CHALLENGER);
        committee.setVerdict(verdict, members(3));
        game.settleVote(_id);
        assertConserved();
    }

    function _wrongPhase(IDisputeGame.Phase phase) private view returns (bytes memory) {
        return abi.encodeWithSelector(IDisputeGame.WrongPhase.selector, _id, phase, IDisputeGame.Phase.Leaf);
    }
}
