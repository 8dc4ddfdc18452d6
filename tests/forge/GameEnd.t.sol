// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { ClaimId, DisputeId, Timestamp } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";

/// @dev How disputes end, and who gets what: docs/protocol.md, section 3.
contract GameEndTest is GameFixture {
    uint32 private constant NODE = 4;

    // The vote

    function test_escalate_stopsBothClocksAndConvenes() external {
        (, DisputeId id) = openAtLeaf(NODE);
        vm.expectEmit();
        emit IDisputeGame.Escalated(id, NODE, NODE + 1);
        _escalate(id, CHALLENGER);
        vm.assertEq(DisputeId.unwrap(committee.convened()), DisputeId.unwrap(id), "case");
        vm.assertEq(committee.prover(), PROVER, "prover");
        vm.assertEq(committee.challenger(), CHALLENGER, "challenger");
        vm.assertEq(uint256(Timestamp.unwrap(game.deadlineOf(id))), type(uint64).max, "no clock runs");
        vm.warp(START + 10 * 365 days);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRunning.selector, id));
        game.timeout(id);
    }

    function test_vote_toReject_pays() external {
        uint256 fresh = vm.snapshotState();
        for (uint256 count = 0; count <= 3; ++count) {
            (ClaimId claimId, DisputeId id) = _voted(IOperatorCommittee.Verdict.Reject, count);
            game.settleVote(id);
            assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
            assertStatus(claimId, IClaimRegistry.Status.Refuted);
            _assertPaid({ toChallenger: C + P - P_BURNED - count * FEE, toProver: 0, burned: P_BURNED, count: count });
            vm.revertToState(fresh);
        }
    }

    function test_vote_toAccept_pays() external {
        uint256 fresh = vm.snapshotState();
        for (uint256 count = 0; count <= 3; ++count) {
            (ClaimId claimId, DisputeId id) = _voted(IOperatorCommittee.Verdict.Accept, count);
            game.settleVote(id);
            assertEnded(id, IDisputeGame.Outcome.ProverWon);
            assertStatus(claimId, IClaimRegistry.Status.Pending);
            _assertPaid({ toChallenger: 0, toProver: C - C_BURNED - count * FEE, burned: C_BURNED, count: count });
            vm.revertToState(fresh);
        }
    }

    function test_vote_withoutQuorum_refunds() external {
        (ClaimId claimId, DisputeId id) = _voted(IOperatorCommittee.Verdict.NoQuorum, 0);
        game.settleVote(id);
        assertEnded(id, IDisputeGame.Outcome.Undecided);
        assertStatus(claimId, IClaimRegistry.Status.Pending);
        _assertPaid({ toChallenger: C, toProver: 0, burned: 0, count: 0 });
    }

    function test_settleVote_twice_reverts() external {
        (, DisputeId id) = _voted(IOperatorCommittee.Verdict.NoQuorum, 0);
        game.settleVote(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AlreadyClosed.selector, id));
        game.settleVote(id);
    }

    // The proof

    function test_prove_pays() external {
        (ClaimId claimId, DisputeId id) = openAtLeaf(NODE);
        _prove(id);
        assertStatus(claimId, IClaimRegistry.Status.Refuted);
        _assertPaid({ toChallenger: C + P - P_BURNED, toProver: 0, burned: P_BURNED, count: 0 });
    }

    function test_proveInTheLastSecond_succeeds() external {
        (, DisputeId id) = openAtLeaf(NODE);
        warpToDeadline(id, 0);
        _prove(id);
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
    }

    function test_prove_afterTheChallengersClock_reverts() external {
        (, DisputeId id) = openAtLeaf(NODE);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes memory proof = proofThatSays(true);
        warpPastDeadline(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockExpired.selector, id));
        game.prove(id, leaf, proof);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockExpired.selector, id));
        game.proveInconsistent(id, leaf, new bytes32[](1));
    }

    // The clocks

    function test_timeout_ofTheProver_paysTheChallenger() external {
        ClaimId claimId = claim();
        DisputeId id = openBy(claimId, CHALLENGER);
        _expectTimeoutOnlyPastTheDeadline(id, START + PROVER_CLOCK);
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
        assertStatus(claimId, IClaimRegistry.Status.Refuted);
        _assertPaid({ toChallenger: C + P - P_BURNED, toProver: 0, burned: P_BURNED, count: 0 });
    }

    function test_timeout_ofTheSelectingChallenger_paysTheProver() external {
        ClaimId claimId = claim();
        DisputeId id = openBy(claimId, CHALLENGER);
        reveal(id);
        _expectTimeoutOnlyPastTheDeadline(id, START + CHALLENGER_CLOCK);
        assertEnded(id, IDisputeGame.Outcome.ProverWon);
        assertStatus(claimId, IClaimRegistry.Status.Pending);
        _assertPaid({ toChallenger: 0, toProver: C - C_BURNED, burned: C_BURNED, count: 0 });
    }

    function test_timeout_atTheLeaf_paysTheProver() external {
        (, DisputeId id) = openAtLeaf(NODE);
        _expectTimeoutOnlyPastTheDeadline(id, START + CHALLENGER_CLOCK);
        assertEnded(id, IDisputeGame.Outcome.ProverWon);
    }

    function test_moves_oneSecondBeforeAndAtTheDeadline_succeed() external {
        ClaimId claimId = claim();
        address[2] memory challengers = [CHALLENGER, RIVAL];
        for (uint64 early = 0; early < 2; ++early) {
            vm.warp(START);
            DisputeId id = openBy(claimId, challengers[early]);
            warpToDeadline(id, early);
            reveal(id);
            warpToDeadline(id, early);
            select(id, 0);
            // The prover's clock goes on from now with the second it kept, if it kept one.
            vm.assertEq(
                uint256(Timestamp.unwrap(game.deadlineOf(id))),
                START + PROVER_CLOCK + CHALLENGER_CLOCK - early,
                "the prover's next deadline"
            );
        }
    }

    function test_moves_oneSecondAfterTheDeadline_revert() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes memory reason = abi.encodeWithSelector(IDisputeGame.ClockExpired.selector, id);
        uint256 fresh = vm.snapshotState();
        warpPastDeadline(id);
        vm.expectRevert(reason);
        this.revealAs(id);
        vm.revertToState(fresh);
        reveal(id);
        bytes32[] memory hashes = boundaryHashes(0, NODES);
        warpPastDeadline(id);
        vm.expectRevert(reason);
        vm.prank(CHALLENGER);
        game.select(id, 0, NODES, hashes, 0);
    }

    function testFuzz_clocks_countEachSidesTurnsAlone(uint64[4] memory pauses) external {
        DisputeId id = openBy(claim(), CHALLENGER);
        uint256[2] memory spent;
        uint256 time = START;
        for (uint256 turn = 0; turn < 4; ++turn) {
            uint256 pause = bound(pauses[turn], 0, 1900);
            time += pause;
            spent[turn % 2] += pause;
            vm.warp(time);
            if (turn % 2 == 0) reveal(id);
            else select(id, 0);
        }
        assertPhase(id, IDisputeGame.Phase.Leaf);
        vm.assertEq(uint256(Timestamp.unwrap(game.deadlineOf(id))), time + CHALLENGER_CLOCK - spent[1], "challenger");
        IDisputeGame.LeafClaim memory leaf = leafOf(0);
        vm.prank(CHALLENGER);
        game.demand(id, leaf, true, 0, 0);
        vm.assertEq(uint256(Timestamp.unwrap(game.deadlineOf(id))), time + PROVER_CLOCK - spent[0], "prover");
    }

    function test_timeout_twice_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        warpPastDeadline(id);
        game.timeout(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AlreadyClosed.selector, id));
        game.timeout(id);
    }

    // Parallel disputes

    function test_lostChallenge_changesNothingForAnotherOne() external {
        ClaimId claimId = claim();
        DisputeId friendly = openBy(claimId, RIVAL);
        DisputeId id = openBy(claimId, CHALLENGER);
        bytes32 before = keccak256(abi.encode(game.getDispute(id)));
        reveal(friendly);
        warpPastDeadline(friendly);
        game.timeout(friendly);
        assertEnded(friendly, IDisputeGame.Outcome.ProverWon);
        assertStatus(claimId, IClaimRegistry.Status.Disputed);
        vm.assertEq(keccak256(abi.encode(game.getDispute(id))), before, "the other dispute is as it was");
        vm.warp(START);
        descend(id, NODE);
        _prove(id);
        assertStatus(claimId, IClaimRegistry.Status.Refuted);
    }

    function test_refutation_endsEveryOtherDisputeWithARefund() external {
        (ClaimId claimId, DisputeId id) = openAtLeaf(NODE);
        DisputeId other = openBy(claimId, RIVAL);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClaimNotRefuted.selector, claimId));
        game.close(other);
        _prove(id);

        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClaimRefutedElsewhere.selector, claimId));
        this.revealAs(other);
        warpPastDeadline(other);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClaimRefutedElsewhere.selector, claimId));
        game.timeout(other);

        vm.prank(ANYONE);
        game.close(other);
        assertEnded(other, IDisputeGame.Outcome.Moot);
        vm.assertEq(vault.creditOf(RIVAL), C, "refund");
        vm.assertEq(uint256(claims.getClaim(claimId).openDisputes), 0, "no dispute is left open");
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.AlreadyClosed.selector, other));
        game.close(other);
    }

    /// @dev The attack: ask many panels about a true claim, and take back the bonds of those that do not please once one
    /// of them has refuted it.
    function test_voteAfterARefutation_forTheProver_costsTheChallengerItsBond() external {
        DisputeId other = _refutedInAVote();
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.VoteRunning.selector, other));
        game.close(other);
        _settle(other, IOperatorCommittee.Verdict.Accept, 3);
        assertEnded(other, IDisputeGame.Outcome.ProverWon);
        vm.assertEq(vault.creditOf(RIVAL), 0, "challenger");
        vm.assertEq(vault.creditOf(PROVER), C - C_BURNED - 3 * FEE, "prover");
    }

    function test_voteAfterARefutation_againstTheProver_refundsTheChallenger() external {
        DisputeId other = _refutedInAVote();
        _settle(other, IOperatorCommittee.Verdict.Reject, 3);
        assertEnded(other, IDisputeGame.Outcome.Moot);
        vm.assertEq(vault.creditOf(RIVAL), C, "challenger");
    }

    function test_voteAfterARefutation_withoutAQuorum_refundsTheChallenger() external {
        DisputeId other = _refutedInAVote();
        _settle(other, IOperatorCommittee.Verdict.NoQuorum, 0);
        assertEnded(other, IDisputeGame.Outcome.Undecided);
        vm.assertEq(vault.creditOf(RIVAL), C, "challenger");
    }

    function _refutedInAVote() private returns (DisputeId other) {
        (ClaimId claimId, DisputeId id) = openAtLeaf(NODE);
        other = openBy(claimId, RIVAL);
        descend(other, NODE);
        _escalate(other, RIVAL);
        _prove(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClaimRefutedElsewhere.selector, claimId));
        game.timeout(other);
    }

    function _settle(DisputeId other, IOperatorCommittee.Verdict verdict, uint256 rewarded) private {
        committee.setVerdict(verdict, members(rewarded));
        game.settleVote(other);
        ClaimId claimId = game.getDispute(other).claimId;
        assertStatus(claimId, IClaimRegistry.Status.Refuted);
        vm.assertEq(uint256(claims.getClaim(claimId).openDisputes), 0, "no dispute is left open");
        vm.assertEq(vault.totalLocked(), 0, "nothing is left locked");
        assertConserved();
    }

    function test_selfDispute_losesTheBurnedShare() external {
        ClaimId claimId = claim();
        DisputeId id = openBy(claimId, PROVER);
        warpPastDeadline(id);
        game.timeout(id);
        vm.assertEq(vault.creditOf(PROVER), C + P - P_BURNED, "both bonds less the burned share");
        assertConserved();
    }

    // The gate

    function test_moves_byTheWrongSide_revert() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes32[][] memory states = innerStates(0, NODES);
        _expectNotYourTurn(ANYONE, PROVER);
        game.reveal(id, 0, NODES, states, new bytes32[][](0));
        _expectNotYourTurn(CHALLENGER, PROVER);
        game.reveal(id, 0, NODES, states, new bytes32[][](0));
        reveal(id);
        bytes32[] memory hashes = boundaryHashes(0, NODES);
        _expectNotYourTurn(PROVER, CHALLENGER);
        game.select(id, 0, NODES, hashes, 0);
        _expectNotYourTurn(RIVAL, CHALLENGER);
        game.select(id, 0, NODES, hashes, 0);
        select(id, FAN_OUT - 1);
        descend(id, 8);
        IDisputeGame.LeafClaim memory leaf = leafOf(8);
        _expectNotYourTurn(PROVER, CHALLENGER);
        game.demand(id, leaf, true, 0, 0);
        _expectNotYourTurn(PROVER, CHALLENGER);
        game.escalate(id, 8, 9);
        vm.prank(CHALLENGER);
        game.demand(id, leaf, true, 0, 0);
        _expectNotYourTurn(CHALLENGER, PROVER);
        game.answer(id, 0, "", 0, "", new bytes32[](0));
    }

    function test_moves_inTheWrongPhase_revert() external {
        IDisputeGame.Phase reveal_ = IDisputeGame.Phase.Reveal;
        DisputeId id = openBy(claim(), CHALLENGER);
        IDisputeGame.LeafClaim memory leaf;
        _expectWrongPhase(id, reveal_, IDisputeGame.Phase.Select);
        game.select(id, 0, NODES, new bytes32[](2), 0);
        _expectWrongPhase(id, reveal_, IDisputeGame.Phase.Leaf);
        game.prove(id, leaf, "");
        _expectWrongPhase(id, reveal_, IDisputeGame.Phase.Leaf);
        game.proveInconsistent(id, leaf, new bytes32[](0));
        _expectWrongPhase(id, reveal_, IDisputeGame.Phase.Leaf);
        game.demand(id, leaf, true, 0, 0);
        _expectWrongPhase(id, reveal_, IDisputeGame.Phase.Answer);
        game.answer(id, 0, "", 0, "", new bytes32[](0));
        _expectWrongPhase(id, reveal_, IDisputeGame.Phase.Leaf);
        game.escalate(id, 0, NODES);
        _expectWrongPhase(id, reveal_, IDisputeGame.Phase.Vote);
        game.settleVote(id);
        descend(id, NODE);
        _expectWrongPhase(id, IDisputeGame.Phase.Leaf, reveal_);
        game.reveal(id, 0, 0, new bytes32[][](0), new bytes32[][](0));
        _escalate(id, CHALLENGER);
        _expectWrongPhase(id, IDisputeGame.Phase.Vote, IDisputeGame.Phase.Leaf);
        game.prove(id, leaf, "");
    }

    function test_moves_ofAnUnknownDispute_revert() external {
        DisputeId id = DisputeId.wrap(keccak256("nothing"));
        bytes memory reason = abi.encodeWithSelector(IDisputeGame.UnknownDispute.selector, id);
        vm.expectRevert(reason);
        game.settleVote(id);
        vm.expectRevert(reason);
        game.timeout(id);
        vm.expectRevert(reason);
        game.close(id);
        vm.expectRevert(reason);
        game.getDispute(id);
        vm.expectRevert(reason);
        game.deadlineOf(id);
    }

    function test_moves_ofAClosedDispute_revert() external {
        (, DisputeId id) = openAtLeaf(NODE);
        _prove(id);
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        bytes memory proof = proofThatSays(true);
        bytes memory reason = abi.encodeWithSelector(IDisputeGame.AlreadyClosed.selector, id);
        vm.expectRevert(reason);
        game.prove(id, leaf, proof);
        vm.expectRevert(reason);
        game.escalate(id, NODE, NODE + 1);
        vm.expectRevert(reason);
        game.close(id);
    }

    function revealAs(DisputeId id) external {
        reveal(id);
    }

    function _prove(DisputeId id) private {
        IDisputeGame.LeafClaim memory leaf = leafOf(NODE);
        game.prove(id, leaf, proofThatSays(true));
    }

    function _escalate(DisputeId id, address challenger) private {
        vm.prank(challenger);
        game.escalate(id, NODE, NODE + 1);
    }

    function _voted(IOperatorCommittee.Verdict verdict, uint256 count) private returns (ClaimId claimId, DisputeId id) {
        (claimId, id) = openAtLeaf(NODE);
        _escalate(id, CHALLENGER);
        committee.setVerdict(verdict, members(count));
    }

    function _expectTimeoutOnlyPastTheDeadline(DisputeId id, uint256 deadline) private {
        vm.assertEq(uint256(Timestamp.unwrap(game.deadlineOf(id))), deadline, "deadline");
        for (uint256 i = 0; i < 2; ++i) {
            vm.warp(deadline - 1 + i);
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ClockRunning.selector, id));
            game.timeout(id);
        }
        vm.warp(deadline + 1);
        vm.prank(ANYONE);
        game.timeout(id);
    }

    function _expectNotYourTurn(address caller, address mover) private {
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NotYourTurn.selector, caller, mover));
        vm.prank(caller);
    }

    function _expectWrongPhase(DisputeId id, IDisputeGame.Phase phase, IDisputeGame.Phase required) private {
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongPhase.selector, id, phase, required));
    }

    function _assertPaid(uint256 toChallenger, uint256 toProver, uint256 burned, uint256 count) private view {
        vm.assertEq(vault.creditOf(CHALLENGER), toChallenger, "challenger");
        vm.assertEq(vault.creditOf(PROVER), toProver, "prover");
        vm.assertEq(vault.totalBurned(), burned, "burned");
        address[] memory all = members(3);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(vault.creditOf(all[i]), i < count ? FEE : 0, "member");
        }
        assertConserved();
    }
}
