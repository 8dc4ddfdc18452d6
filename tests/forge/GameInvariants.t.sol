// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { IOperatorCommittee } from "../../contracts/interfaces/IOperatorCommittee.sol";
import { ClaimId, DisputeId, Timestamp } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { TinyModel } from "./mocks/TinyModel.sol";

/// @dev Random play. A step picks a dispute and makes a move that its phase may allow, of the right side or not.
contract GameHandler is GameFixture {
    ClaimId[] public claimIds;
    DisputeId[] public disputeIds;
    uint256 public moves;
    uint256 public withdrawn;

    constructor() {
        setUp();
    }

    function makeClaim() public {
        // Claims of one prover differ by their outputs.
        bytes32[] memory inputs = TinyModel.state(0);
        bytes32[] memory outputs = TinyModel.state(1000 + claimIds.length);
        vm.deal(PROVER, P);
        vm.prank(PROVER);
        claimIds.push(claims.claim{ value: P }(modelId, NO_REQUEST, inputs, outputs, bytes32(0)));
    }

    /// @dev Of one of the last two claims, so that disputes meet.
    function open(uint256 which, uint256 who) public {
        if (which % 2 == 0) makeClaim();
        address challenger = address(uint160(0xF000 + (who / 2) % 4));
        vm.deal(challenger, C);
        disputeIds.push(openBy(claimIds[claimIds.length - 1 - who % 2], challenger));
        ++moves;
    }

    /// @dev Whatever comes next in a dispute; where all have ended, a new one.
    function advance(uint256 which, uint256 choice) external {
        DisputeId id = _dispute(which);
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        if (dispute.phase == IDisputeGame.Phase.Closed) return open(0, choice);
        bool isVoting = dispute.phase == IDisputeGame.Phase.Vote;
        if (claims.getClaim(dispute.claimId).refuted && !isVoting) game.close(id);
        else if (vm.getBlockTimestamp() > Timestamp.unwrap(game.deadlineOf(id))) game.timeout(id);
        else if (dispute.phase == IDisputeGame.Phase.Reveal) reveal(id);
        else if (dispute.phase == IDisputeGame.Phase.Select) _narrow(id, choice);
        else if (dispute.phase == IDisputeGame.Phase.Leaf) _decide(id, choice);
        else if (dispute.phase == IDisputeGame.Phase.Defence) _escalate(id, PROVER);
        else _settle(id, choice);
        ++moves;
    }

    function timeout(uint256 which) external {
        DisputeId id = _dispute(which);
        _waitUntilAfter(game.deadlineOf(id));
        game.timeout(id);
        ++moves;
    }

    function finalise(uint256 which, uint256 patience) external {
        ClaimId claimId = claimIds[which % claimIds.length];
        if (patience % 3 == 0) _waitUntilAfter(claims.windowEnd(claimId));
        claims.finalise(claimId);
        ++moves;
    }

    function wait(uint256 time) external {
        vm.warp(vm.getBlockTimestamp() + bound(time, 1, 1500));
    }

    function withdraw(uint256 who) external {
        address account = who % 2 == 0 ? PROVER : address(uint160(0xF000 + (who / 2) % 4));
        vm.prank(account);
        withdrawn += vault.withdraw(payable(account));
    }

    function sumOfLocks() external view returns (uint256 sum) {
        for (uint256 i = 0; i < claimIds.length; ++i) {
            IClaimRegistry.Status status = claims.statusOf(claimIds[i]);
            if (status != IClaimRegistry.Status.Refuted && status != IClaimRegistry.Status.Finalised) sum += P;
        }
        for (uint256 i = 0; i < disputeIds.length; ++i) {
            if (phaseOf(disputeIds[i]) != IDisputeGame.Phase.Closed) sum += C;
        }
    }

    function assertVaultMatches(uint256 locks) external view {
        vm.assertEq(vault.totalLocked(), locks, "bonds of live claims and open disputes");
        vm.assertEq(
            vault.totalLocked() + vault.totalCredited() + vault.totalBurned(),
            claimIds.length * P + disputeIds.length * C - withdrawn,
            "accounted = deposited - withdrawn"
        );
        assertConserved();
    }

    function assertClaimsAreSound() external view {
        for (uint256 i = 0; i < claimIds.length; ++i) {
            IClaimRegistry.Claim memory made = claims.getClaim(claimIds[i]);
            uint256 open_;
            uint256 won;
            for (uint256 j = 0; j < disputeIds.length; ++j) {
                IDisputeGame.Dispute memory dispute = game.getDispute(disputeIds[j]);
                if (dispute.claimId != claimIds[i]) continue;
                if (dispute.phase != IDisputeGame.Phase.Closed) ++open_;
                if (dispute.outcome == IDisputeGame.Outcome.ChallengerWon) ++won;
            }
            vm.assertEq(uint256(made.openDisputes), open_, "open disputes are counted");
            vm.assertEq(won, made.refuted ? 1 : 0, "refuted by exactly one dispute");
            vm.assertFalse(made.finalised && (made.refuted || open_ > 0), "final only without a doubt");
        }
    }

    function _waitUntilAfter(Timestamp deadline) private {
        uint256 next = uint256(Timestamp.unwrap(deadline)) + 1;
        if (vm.getBlockTimestamp() < next && next < type(uint64).max) vm.warp(next);
    }

    /// @dev Where there is one, a dispute that has not ended.
    function _dispute(uint256 which) private view returns (DisputeId id) {
        for (uint256 i = 0; i < disputeIds.length; ++i) {
            id = disputeIds[(which % disputeIds.length + i) % disputeIds.length];
            if (phaseOf(id) != IDisputeGame.Phase.Closed) break;
        }
    }

    function _narrow(DisputeId id, uint256 choice) private {
        if (choice % 16 != 15) return _select(id, choice);
        _escalate(id, game.getDispute(id).challenger);
    }

    function _select(DisputeId id, uint256 choice) private {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        bytes32[] memory hashes = boundaryHashes(dispute.lo, dispute.hi);
        hashes[0] = dispute.loState;
        hashes[hashes.length - 1] = dispute.hiState;
        vm.prank(dispute.challenger);
        game.select(id, dispute.lo, dispute.hi, hashes, choice % (hashes.length - 1));
    }

    function _decide(DisputeId id, uint256 choice) private {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        IDisputeGame.LeafClaim memory leaf = leafOf(dispute.lo);
        if (choice % 2 == 0) {
            game.prove(id, leaf, proofThatSays(choice % 4 == 0));
        } else if (choice % 4 == 1) {
            accuse(id);
        } else {
            _escalate(id, dispute.challenger);
        }
    }

    function _escalate(DisputeId id, address caller) private {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.prank(caller);
        game.escalate(id, dispute.lo, dispute.hi);
    }

    function _settle(DisputeId id, uint256 choice) private {
        IOperatorCommittee.Verdict verdict = IOperatorCommittee.Verdict(choice % 3);
        committee.setVerdict(verdict, members(verdict == IOperatorCommittee.Verdict.NoQuorum ? 0 : choice % 4));
        game.settleVote(id);
    }
}

contract GameInvariants {
    GameHandler private _handler;

    function setUp() external {
        _handler = new GameHandler();
        _handler.makeClaim();
        _handler.open(0, 0);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// @dev Only play: not the handler's set-up, and not the checks below.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](9);
        selectors[0] = GameHandler.makeClaim.selector;
        selectors[1] = GameHandler.open.selector;
        selectors[2] = GameHandler.advance.selector;
        selectors[3] = GameHandler.advance.selector;
        selectors[4] = GameHandler.advance.selector;
        selectors[5] = GameHandler.timeout.selector;
        selectors[6] = GameHandler.wait.selector;
        selectors[7] = GameHandler.finalise.selector;
        selectors[8] = GameHandler.withdraw.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector({ addr: address(_handler), selectors: selectors });
    }

    function invariant_bondsAreLockedWhileAndOnlyWhileSomethingIsOpen() external view {
        _handler.assertVaultMatches(_handler.sumOfLocks());
    }

    function invariant_claimsFollowTheirDisputes() external view {
        _handler.assertClaimsAreSound();
    }

    /// @dev A run whose moves nearly all revert would show nothing.
    function afterInvariant() external view {
        require(_handler.moves() >= 8, "too few moves succeeded");
    }
}

/// @dev What forge asks of `targetSelectors`.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}
