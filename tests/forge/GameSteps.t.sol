// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IClaimRegistry } from "../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../contracts/interfaces/IDisputeGame.sol";
import { ClaimId, DisputeId } from "../../contracts/types/Types.sol";
import { GameFixture } from "./mocks/GameFixture.sol";
import { TinyModel } from "./mocks/TinyModel.sol";

/// @dev Runs of several steps: checkpoints, cuts between steps, operators of later steps.
contract GameStepsTest is GameFixture {
    uint32 private constant STEPS = 5;
    uint32 private constant ALL = STEPS * NODES;

    function setUp() public override {
        super.setUp();
        useSteps(STEPS);
    }

    // The claim

    function test_claim_bindsTheCheckpoints() external {
        bytes32 root = checkpointRoot();
        bytes32 id = keccak256(
            abi.encode(
                keccak256("TAO.claim.v1"),
                block.chainid,
                address(claims),
                modelId,
                NO_REQUEST,
                TinyModel.hash(TinyModel.state(0)),
                TinyModel.hash(TinyModel.state(ALL)),
                root,
                PROVER
            )
        );
        bytes32[] memory inputs = TinyModel.state(0);
        bytes32[] memory outputs = TinyModel.state(ALL);
        vm.expectEmit();
        emit IClaimRegistry.Claimed(ClaimId.wrap(id), modelId, PROVER, NO_REQUEST, inputs, outputs, root);
        ClaimId claimId = claim();
        vm.assertEq(ClaimId.unwrap(claimId), id, "id");
        vm.assertEq(claims.getClaim(claimId).checkpointRoot, root, "checkpoint root");
    }

    function test_claim_ofSeveralStepsWithoutCheckpoints_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.WrongCheckpoints.selector, 0, STEPS));
        _claimWith(0);
    }

    function test_claim_ofOneStepWithCheckpoints_reverts() external {
        bytes32 root = checkpointRoot();
        steps = 1;
        modelId = models.idOf(model());
        vm.expectRevert(abi.encodeWithSelector(IClaimRegistry.WrongCheckpoints.selector, root, 1));
        _claimWith(root);
    }

    // The partition

    function test_open_spansTheWholeRun() external {
        IDisputeGame.Dispute memory dispute = game.getDispute(openBy(claim(), CHALLENGER));
        vm.assertEq(uint256(dispute.lo), 0, "lo");
        vm.assertEq(uint256(dispute.hi), ALL, "hi");
        vm.assertEq(uint256(dispute.nodeCount), NODES, "node count");
    }

    function test_select_cutsBetweenStepsWhileThereAreSeveral() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        reveal(id);
        vm.expectEmit();
        emit IDisputeGame.SegmentSelected(id, 0, 2 * NODES);
        select(id, 0);
        reveal(id);
        vm.expectEmit();
        emit IDisputeGame.SegmentSelected(id, NODES, 2 * NODES);
        select(id, 1);
        assertPhase(id, IDisputeGame.Phase.Reveal);
        reveal(id);
        vm.expectEmit();
        emit IDisputeGame.SegmentSelected(id, NODES, NODES + 3);
        select(id, 0);
    }

    function test_descent_reachesTheEndsOfEveryStep() external {
        ClaimId claimId = claim();
        for (uint32 step = 0; step < STEPS; ++step) {
            _descendTo(claimId, step * NODES);
            _descendTo(claimId, step * NODES + NODES - 1);
        }
    }

    function test_descent_throughStepsOfOneOperator() external {
        useOneOperator(TinyModel.step(TinyModel.PROVABLE, 0));
        (, DisputeId id) = openAtLeaf(3);
        IDisputeGame.LeafClaim memory leaf = leafOf(3);
        game.prove(id, leaf, proofThatSays(true));
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
    }

    // The leaf

    function test_prove_inALaterStep_isAboutTheNodeOfTheGraph() external {
        uint32 operator = 3 * NODES + 4;
        (, DisputeId id) = openAtLeaf(operator);
        IDisputeGame.LeafClaim memory leaf = leafOf(operator);
        (bytes memory record, bytes32[] memory graphProof) = (leaf.record, leaf.graphProof);
        IDisputeGame.LeafClaim memory next = leafOf(operator + 1);
        (leaf.record, leaf.graphProof) = (next.record, next.graphProof);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.NodeNotInGraph.selector, 4));
        game.prove(id, leaf, proofThatSays(true));
        (leaf.record, leaf.graphProof) = (record, graphProof);
        vm.expectEmit();
        emit IDisputeGame.ElementRefuted(id, operator, address(adjudicator), PROVER);
        game.prove(id, leaf, proofThatSays(true));
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
    }

    function test_proveInconsistent_atTheEndOfAStep_wins() external {
        // Behind the last operator of step 1 the prover has changed the value that only passes through.
        bytes32[] memory changed = TinyModel.state(2 * NODES);
        changed[0] = keccak256("changed on the way");
        bytes32[] memory leaves = checkpoints();
        leaves[2] = TinyModel.hash(changed);
        DisputeId id = openBy(_claimWith(TinyModel.root(TinyModel.padded(leaves))), CHALLENGER);
        bytes32[][] memory states = innerStates(0, ALL);
        states[0] = changed;
        bytes32[][] memory paths = _pathsIn(leaves, 0, ALL);
        vm.prank(PROVER);
        game.reveal(id, 0, ALL, states, paths);
        bytes32[] memory hashes = boundaryHashes(0, ALL);
        hashes[1] = leaves[2];
        _select(id, hashes, 0);
        states = innerStates(0, 2 * NODES);
        paths = _pathsIn(leaves, 0, 2 * NODES);
        vm.prank(PROVER);
        game.reveal(id, 0, 2 * NODES, states, paths);
        _select(id, _endingWith(0, 2 * NODES, leaves[2]), 1);
        reveal(id);
        _select(id, _endingWith(NODES, 2 * NODES, leaves[2]), 3);
        reveal(id);
        _select(id, _endingWith(2 * NODES - 2, 2 * NODES, leaves[2]), 1);
        IDisputeGame.LeafClaim memory leaf = leafOf(2 * NODES - 1);
        game.proveInconsistent(id, leaf, changed);
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
    }

    // Checkpoints that do not hold

    function test_reveal_ofAnotherStateThanTheCheckpoint_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes32[][] memory states = innerStates(0, ALL);
        bytes32[][] memory paths = innerPaths(0, ALL);
        states[1] = TinyModel.state(3 * NODES + 1);
        _expectMismatch(id, states, paths, 3);
    }

    function test_reveal_ofCheckpointsInAnotherOrder_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes32[][] memory states = innerStates(0, ALL);
        bytes32[][] memory paths = innerPaths(0, ALL);
        // Leaf 3 of the tree is the right state, but not for this cut.
        (states[0], paths[0]) = (states[1], paths[1]);
        _expectMismatch(id, states, paths, 2);
    }

    function test_reveal_withTheTreeOfAnotherClaim_reverts() external {
        bytes32[] memory others = checkpoints();
        others[3] = keccak256("another run");
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes32[][] memory states = innerStates(0, ALL);
        _expectMismatch(id, states, _pathsIn(others, 0, ALL), 2);
    }

    function test_reveal_withAPathOfAnotherLength_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes32[][] memory states = innerStates(0, ALL);
        bytes32[][] memory paths = innerPaths(0, ALL);
        bytes32[] memory path = paths[2];
        paths[2] = new bytes32[](path.length + 1);
        for (uint256 i = 0; i < path.length; ++i) {
            paths[2][i] = path[i];
        }
        _expectMismatch(id, states, paths, 4);
        paths[2] = new bytes32[](path.length - 1);
        _expectMismatch(id, states, paths, 4);
    }

    function test_reveal_withoutOnePathForEachCut_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        bytes32[][] memory states = innerStates(0, ALL);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.WrongStateCount.selector, 0, FAN_OUT - 1));
        vm.prank(PROVER);
        game.reveal(id, 0, ALL, states, new bytes32[][](0));
    }

    function test_reveal_withPathsInsideAStep_reverts() external {
        DisputeId id = openBy(claim(), CHALLENGER);
        reveal(id);
        select(id, 1);
        bytes32[][] memory states = innerStates(2 * NODES, 3 * NODES);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.UnexpectedPaths.selector, 3));
        vm.prank(PROVER);
        game.reveal(id, 2 * NODES, 3 * NODES, states, new bytes32[][](3));
    }

    function test_claim_withARootOfNoTree_losesByTheClock() external {
        DisputeId id = openBy(_claimWith(keccak256("no tree")), CHALLENGER);
        _expectMismatch(id, innerStates(0, ALL), innerPaths(0, ALL), 2);
        warpPastDeadline(id);
        game.timeout(id);
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
    }

    /// @dev Nobody reads the ends of the tree: a dispute is about the claim's own.
    function test_claim_whoseTreeHasOtherEnds_isDisputedFromItsOwn() external {
        bytes32[] memory leaves = checkpoints();
        leaves[0] = keccak256("another beginning");
        leaves[STEPS] = keccak256("another end");
        DisputeId id = openBy(_claimWith(TinyModel.root(TinyModel.padded(leaves))), CHALLENGER);
        bytes32[][] memory states = innerStates(0, ALL);
        bytes32[][] memory paths = _pathsIn(leaves, 0, ALL);
        vm.prank(PROVER);
        game.reveal(id, 0, ALL, states, paths);
        select(id, 3);
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.assertEq(dispute.hiState, TinyModel.hash(TinyModel.state(ALL)), "the claim's output state");
        descend(id, ALL - 2);
        IDisputeGame.LeafClaim memory leaf = leafOf(ALL - 2);
        game.prove(id, leaf, proofThatSays(true));
        assertEnded(id, IDisputeGame.Outcome.ChallengerWon);
    }

    function _descendTo(ClaimId claimId, uint32 operator) private {
        address challenger = address(0xF000 + uint160(operator));
        vm.deal(challenger, C);
        DisputeId id = openBy(claimId, challenger);
        descend(id, operator);
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        assertPhase(id, IDisputeGame.Phase.Leaf);
        vm.assertEq(uint256(dispute.lo), operator, "lo");
        vm.assertEq(dispute.loState, TinyModel.hash(TinyModel.state(operator)), "lo state");
        vm.assertEq(dispute.hiState, TinyModel.hash(TinyModel.state(operator + 1)), "hi state");
    }

    function _claimWith(bytes32 root) private returns (ClaimId) {
        bytes32[] memory inputs = TinyModel.state(0);
        bytes32[] memory outputs = TinyModel.state(ALL);
        vm.prank(PROVER);
        return claims.claim{ value: P }(modelId, NO_REQUEST, inputs, outputs, root);
    }

    function _pathsIn(bytes32[] memory leaves, uint32 lo, uint32 hi) private view returns (bytes32[][] memory paths) {
        uint256[] memory cuts = cutsOf(lo, hi);
        paths = new bytes32[][](cuts.length - 2);
        for (uint256 i = 0; i < paths.length; ++i) {
            paths[i] = TinyModel.path(TinyModel.padded(leaves), cuts[i + 1] / NODES);
        }
    }

    function _endingWith(uint32 lo, uint32 hi, bytes32 end) private view returns (bytes32[] memory hashes) {
        hashes = boundaryHashes(lo, hi);
        hashes[hashes.length - 1] = end;
    }

    function _select(DisputeId id, bytes32[] memory hashes, uint256 child) private {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.prank(CHALLENGER);
        game.select(id, dispute.lo, dispute.hi, hashes, child);
    }

    function _expectMismatch(DisputeId id, bytes32[][] memory states, bytes32[][] memory paths, uint256 step) private {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.expectRevert(abi.encodeWithSelector(IDisputeGame.CheckpointMismatch.selector, step));
        vm.prank(PROVER);
        game.reveal(id, dispute.lo, dispute.hi, states, paths);
    }
}
