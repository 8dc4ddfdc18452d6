// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { ClaimId, DisputeId, Duration, Timestamp } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { TinyModel } from "./mocks/TinyModel.sol";

/// @dev open, reveal, select.
contract GamePartitionTest is GameFixture {
    function test_open_startsWithTheWholeGraphAndFullClocks() external {
        ClaimId claimId = claim();
        DisputeId expected = game.idOf(claimId, CHALLENGER);
        vm.expectEmit();
        emit IDisputeGame.DisputeOpened(expected, claimId, CHALLENGER);
        DisputeId id = openBy(claimId, CHALLENGER);
        vm.assertEq(DisputeId.unwrap(id), DisputeId.unwrap(expected), "id");
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.assertEq(ClaimId.unwrap(dispute.claimId), ClaimId.unwrap(claimId), "claim");
        vm.assertEq(dispute.challenger, CHALLENGER, "challenger");
        vm.assertEq(uint256(dispute.lo), 0, "lo");
        vm.assertEq(uint256(dispute.hi), NODES, "hi");
        vm.assertEq(dispute.loState, TinyModel.hash(TinyModel.state(0)), "input state");
        vm.assertEq(dispute.hiState, TinyModel.hash(TinyModel.state(NODES)), "output state");
        vm.assertEq(uint256(Duration.unwrap(dispute.proverLeft)), PROVER_CLOCK, "prover's clock");
        vm.assertEq(uint256(Duration.unwrap(dispute.challengerLeft)), CHALLENGER_CLOCK, "challenger's clock");
        vm.assertEq(uint256(Timestamp.unwrap(dispute.turnStart)), START, "turn start");
        vm.assertEq(uint256(dispute.demandsLeft), MAX_DEMANDS, "demands");
        assertPhase(id, IDisputeGame.Phase.Reveal);
        assertStatus(claimId, IClaimRegistry.Status.Disputed);
        vm.assertEq(vault.lockedOf(address(game), DisputeId.unwrap(id)), C, "bond");
    }

    function test_idOf_hashesTagChainGameClaimAndChallenger() external {
        ClaimId claimId = claim();
        bytes32 id =
            keccak256(abi.encode(keccak256("TAO.dispute.v1"), block.chainid, address(game), claimId, CHALLENGER));
        vm.assertEq(DisputeId.unwrap(game.idOf(claimId, CHALLENGER)), id, "id");
    }

    function test_open_ofAModelOfOneOperator_startsAtTheLeaf() external {
        useOneOperator(TinyModel.step(TinyModel.PROVABLE, 0));
        DisputeId id = openBy(claim(), CHALLENGER);
        assertPhase(id, IDisputeGame.Phase.Leaf);
    }

    function test_open_withAnotherBond_reverts() external {
        ClaimId claimId = claim();
        uint256[2] memory bonds = [C - 1, C + 1];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongBond.selector, bonds[i], C));
            vm.prank(CHALLENGER);
            game.open{ value: bonds[i] }(claimId);
        }
    }

    function test_open_twiceByOneChallenger_reverts() external {
        ClaimId claimId = claim();
        DisputeId id = openBy(claimId, CHALLENGER);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.DuplicateDispute.selector, id));
        openBy(claimId, CHALLENGER);
    }

    function test_open_againAfterLosing_reverts() external {
        ClaimId claimId = claim();
        DisputeId id = openBy(claimId, CHALLENGER);
        reveal(id);
        warpPastDeadline(id);
        game.timeout(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.DuplicateDispute.selector, id));
        openBy(claimId, CHALLENGER);
    }

    function test_open_ofAnUnknownClaim_reverts() external {
        ClaimId nobodys = ClaimId.wrap(keccak256("nothing"));
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.UnknownClaim.selector, nobodys));
        openBy(nobodys, CHALLENGER);
    }

    function test_open_atTheWindowsLastSecond_succeeds() external {
        ClaimId claimId = claim();
        vm.warp(START + WINDOW - 1);
        openBy(claimId, CHALLENGER);
        vm.warp(START + WINDOW);
        openBy(claimId, RIVAL);
        vm.assertEq(uint256(claims.getClaim(claimId).openDisputes), 2, "both open");
    }

    function test_open_oneSecondAfterTheWindow_reverts() external {
        ClaimId claimId = claim();
        vm.warp(START + WINDOW + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IClaimRegistry.NotChallengeable.selector, claimId, IClaimRegistry.Status.Finalisable)
        );
        openBy(claimId, CHALLENGER);
    }

    function test_open_afterTheWindowOfADisputedClaim_reverts() external {
        ClaimId claimId = claim();
        openBy(claimId, CHALLENGER);
        vm.warp(START + WINDOW + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IClaimRegistry.NotChallengeable.selector, claimId, IClaimRegistry.Status.Disputed)
        );
        openBy(claimId, RIVAL);
    }

    function test_open_byTheProverItself_succeeds() external {
        ClaimId claimId = claim();
        DisputeId id = openBy(claimId, PROVER);
        assertPhase(id, IDisputeGame.Phase.Reveal);
    }

    function test_reveal_storesTheBoundariesAndPassesTheTurn() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        vm.warp(START + 100);
        vm.expectEmit();
        emit IDisputeGame.StatesRevealed(id, 0, NODES, innerStates(0, NODES));
        reveal(id);
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.assertEq(dispute.boundaries, keccak256(abi.encodePacked(boundaryHashes(0, NODES))), "boundaries");
        vm.assertEq(uint256(Duration.unwrap(dispute.proverLeft)), PROVER_CLOCK - 100, "prover pays its time");
        vm.assertEq(uint256(Duration.unwrap(dispute.challengerLeft)), CHALLENGER_CLOCK, "challenger does not");
        vm.assertEq(uint256(Timestamp.unwrap(dispute.turnStart)), START + 100, "turn start");
        assertPhase(id, IDisputeGame.Phase.Select);
    }

    function test_reveal_ofAnotherNumberOfStates_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        for (uint256 count = 0; count < 6; ++count) {
            if (count == FAN_OUT - 1) continue;
            bytes32[][] memory states = new bytes32[][](count);
            for (uint256 i = 0; i < count; ++i) {
                states[i] = TinyModel.state(i);
            }
            vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongStateCount.selector, count, FAN_OUT - 1));
            vm.prank(PROVER);
            game.reveal(id, 0, NODES, states, new bytes32[][](0));
        }
    }

    function test_reveal_ofAnEmptyState_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes32[][] memory states = innerStates(0, NODES);
        states[1] = new bytes32[](0);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.EmptyState.selector, 1));
        vm.prank(PROVER);
        game.reveal(id, 0, NODES, states, new bytes32[][](0));
    }

    function test_select_narrowsToTheChildAndItsOwnStates() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        reveal(id);
        vm.warp(START + 70);
        vm.expectEmit();
        emit IDisputeGame.SegmentSelected(id, 3, 5);
        select(id, 1);
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.assertEq(uint256(dispute.lo), 3, "lo");
        vm.assertEq(uint256(dispute.hi), 5, "hi");
        vm.assertEq(dispute.loState, TinyModel.hash(TinyModel.state(3)), "lo state");
        vm.assertEq(dispute.hiState, TinyModel.hash(TinyModel.state(5)), "hi state");
        vm.assertEq(uint256(Duration.unwrap(dispute.challengerLeft)), CHALLENGER_CLOCK - 70, "challenger pays");
        vm.assertEq(uint256(Duration.unwrap(dispute.proverLeft)), PROVER_CLOCK, "prover does not");
        assertPhase(id, IDisputeGame.Phase.Reveal);
    }

    function test_descent_reachesEveryOperator() external {
        ClaimId claimId = claim();
        for (uint32 node = 0; node < NODES; ++node) {
            address challenger = address(uint160(0xF000 + node));
            vm.deal(challenger, C);
            DisputeId id = openBy(claimId, challenger);
            descend(id, node);
            assertPhase(id, IDisputeGame.Phase.Leaf);
            IDisputeGame.Dispute memory dispute = game.getDispute(id);
            vm.assertEq(uint256(dispute.lo), node, "lo");
            vm.assertEq(dispute.loState, TinyModel.hash(TinyModel.state(node)), "lo state");
            vm.assertEq(dispute.hiState, TinyModel.hash(TinyModel.state(node + 1)), "hi state");
        }
    }

    function test_select_withOtherHashes_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        reveal(id);
        bytes32[] memory hashes = boundaryHashes(0, NODES);
        bytes32 required = keccak256(abi.encodePacked(hashes));
        hashes[2] = keccak256("another state");
        bytes32 given = keccak256(abi.encodePacked(hashes));
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.BoundariesMismatch.selector, given, required));
        vm.prank(CHALLENGER);
        game.select(id, 0, NODES, hashes, 1);
    }

    function test_select_inAnotherSegment_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        reveal(id);
        bytes32[] memory hashes = boundaryHashes(0, NODES);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.SegmentMismatch.selector, 0, NODES));
        vm.prank(CHALLENGER);
        game.select(id, 0, 3, hashes, 1);
    }

    function test_select_withHashesOfAnEarlierRound_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        reveal(id);
        select(id, 0);
        reveal(id);
        bytes32[] memory stale = boundaryHashes(0, NODES);
        bytes32 given = keccak256(abi.encodePacked(stale));
        bytes32 required = keccak256(abi.encodePacked(boundaryHashes(0, 3)));
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.BoundariesMismatch.selector, given, required));
        vm.prank(CHALLENGER);
        game.select(id, 0, 3, stale, 0);
    }

    function test_select_ofAChildBeyondTheLast_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        reveal(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.ChildOutOfRange.selector, FAN_OUT, FAN_OUT));
        this.selectAs(id, FAN_OUT);
        select(id, FAN_OUT - 1);
    }

    function selectAs(DisputeId id, uint256 child) external {
        select(id, child);
    }
}
