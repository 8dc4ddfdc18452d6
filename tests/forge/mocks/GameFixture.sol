// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { BondVault } from "../../../contracts/BondVault.sol";
import { ClaimRegistry } from "../../../contracts/ClaimRegistry.sol";
import { DisputeGame } from "../../../contracts/DisputeGame.sol";
import { ModelRegistry } from "../../../contracts/ModelRegistry.sol";
import { SumGame } from "../../../contracts/SumGame.sol";
import { IAdjudicator } from "../../../contracts/interfaces/IAdjudicator.sol";
import { IClaimRegistry } from "../../../contracts/interfaces/IClaimRegistry.sol";
import { IDisputeGame } from "../../../contracts/interfaces/IDisputeGame.sol";
import { IModelRegistry } from "../../../contracts/interfaces/IModelRegistry.sol";
import { IOperatorCommittee } from "../../../contracts/interfaces/IOperatorCommittee.sol";
import { ClaimId, DisputeId, Duration, ModelId, RequestId, Timestamp } from "../../../contracts/types/Types.sol";
import { Cheats } from "./Cheats.sol";
import { MockAdjudicator, MockCalibratedAdjudicator, MockCommittee } from "./GameMocks.sol";
import { TinyModel } from "./TinyModel.sol";
import { deploy } from "../support/Deploy.sol";

/// @dev The four contracts with a mock committee and two mock adjudicators, a model of nine operators of which the
/// last has no adjudicator and node 3 no threshold, and a claim with the states of TinyModel.
abstract contract GameFixture is Cheats {
    address internal constant PROVER = address(0xA0);
    address internal constant CHALLENGER = address(0xB0);
    address internal constant RIVAL = address(0xB1);
    address internal constant ANYONE = address(0xC0);
    address internal constant CLIENT = address(0xD0);
    address internal constant MEMBER_1 = address(0xE1);
    address internal constant MEMBER_2 = address(0xE2);
    address internal constant MEMBER_3 = address(0xE3);

    // Odd amounts, so that the burned shares are rounded.
    uint256 internal constant P = 5 ether + 3;
    uint256 internal constant C = 2 ether + 1;
    uint256 internal constant FEE = 0.01 ether;
    uint16 internal constant SHARE_BPS = 2500;
    uint256 internal constant P_BURNED = 1.25 ether;
    uint256 internal constant C_BURNED = 0.5 ether;
    uint8 internal constant PANEL = 5;

    uint64 internal constant WINDOW = 10_000;
    uint64 internal constant PROVER_CLOCK = 5000;
    uint64 internal constant CHALLENGER_CLOCK = 4000;
    uint8 internal constant FAN_OUT = 4;
    uint8 internal constant MAX_DEMANDS = 2;
    uint32 internal constant NODES = 9;
    uint256 internal constant START = 1_700_000_000;

    /// @dev Root over the tolerances of segments, which no contract reads.
    bytes32 internal constant SEGMENTS = keccak256("segments");

    RequestId internal constant NO_REQUEST = RequestId.wrap(0);

    BondVault internal vault;
    ModelRegistry internal models;
    ClaimRegistry internal claims;
    SumGame internal sums;
    DisputeGame internal game;
    MockCommittee internal committee;
    MockCalibratedAdjudicator internal adjudicator;

    bytes[] internal records;
    ModelId internal modelId;
    uint32 internal steps = 1;

    function setUp() public virtual {
        vm.warp(START);
        vault = BondVault(deploy("BondVault", ""));
        models = ModelRegistry(deploy("ModelRegistry", ""));
        bytes4[] memory operators = new bytes4[](1);
        operators[0] = TinyModel.PROVABLE;
        adjudicator = new MockCalibratedAdjudicator(operators);
        bytes4[] memory others = new bytes4[](1);
        others[0] = TinyModel.UNCALIBRATED;
        MockAdjudicator plain = new MockAdjudicator(others);
        address predicted = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 3);
        committee = new MockCommittee(vault, predicted, FEE, PANEL);
        claims = ClaimRegistry(deploy("ClaimRegistry", abi.encode(vault, models, predicted, claimParameters())));
        IAdjudicator[] memory adjudicators = new IAdjudicator[](2);
        adjudicators[0] = IAdjudicator(address(adjudicator));
        adjudicators[1] = IAdjudicator(address(plain));
        sums = SumGame(deploy("SumGame", abi.encode(IDisputeGame(predicted), claims)));
        game = DisputeGame(
            deploy(
                "DisputeGame",
                abi.encode(
                    vault, models, claims, IOperatorCommittee(address(committee)), sums, adjudicators, gameParameters()
                )
            )
        );

        for (uint256 i = 0; i < NODES; ++i) {
            records.push(TinyModel.step(i == NODES - 1 ? TinyModel.VOTED : TinyModel.PROVABLE, i));
        }
        modelId = models.register(model(), "");
        address[5] memory actors = [PROVER, CHALLENGER, RIVAL, ANYONE, CLIENT];
        for (uint256 i = 0; i < actors.length; ++i) {
            vm.deal(actors[i], 100 ether);
        }
    }

    function claimParameters() internal pure returns (IClaimRegistry.Parameters memory) {
        return IClaimRegistry.Parameters({ window: Duration.wrap(WINDOW), proverBond: P, burnShareBps: SHARE_BPS });
    }

    function gameParameters() internal pure returns (IDisputeGame.Parameters memory) {
        return IDisputeGame.Parameters({
            fanOut: FAN_OUT,
            challengerBond: C,
            burnShareBps: SHARE_BPS,
            proverClock: Duration.wrap(PROVER_CLOCK),
            challengerClock: Duration.wrap(CHALLENGER_CLOCK),
            maxDemands: MAX_DEMANDS
        });
    }

    // The model

    function nodeHashes() internal view returns (bytes32[] memory hashes) {
        hashes = new bytes32[](records.length);
        for (uint256 i = 0; i < records.length; ++i) {
            hashes[i] = TinyModel.nodeHash(records[i]);
        }
        return TinyModel.padded(hashes);
    }

    function model() internal view returns (IModelRegistry.Model memory) {
        return IModelRegistry.Model({
            weightsRoot: keccak256("weights"),
            graphRoot: TinyModel.root(nodeHashes()),
            tolerancesRoot: keccak256(abi.encodePacked(TinyModel.root(thresholds()), SEGMENTS)),
            nodeCount: uint32(records.length),
            parameterCount: 1,
            inputCount: 2,
            outputCount: 2,
            steps: steps
        });
    }

    /// @dev All nodes but one have a threshold, each another.
    function thetaOf(uint256 node) internal pure returns (uint32) {
        return node == 3 ? 0 : uint32((2 << 16) + node);
    }

    function toleranceHashOf(uint256 node) internal pure returns (bytes32) {
        return keccak256(abi.encode("tolerance", node));
    }

    function thresholds() internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](records.length);
        for (uint256 i = 0; i < records.length; ++i) {
            leaves[i] = TinyModel.threshold(thetaOf(i), toleranceHashOf(i));
        }
        return TinyModel.padded(leaves);
    }

    function thresholdPath(uint256 node) internal view returns (bytes32[] memory path) {
        bytes32[] memory inNodes = TinyModel.path(thresholds(), node);
        path = new bytes32[](inNodes.length + 1);
        for (uint256 i = 0; i < inNodes.length; ++i) {
            path[i] = inNodes[i];
        }
        path[inNodes.length] = SEGMENTS;
    }

    /// @dev A model of one operator, whose disputes begin at the leaf; the fixture's model from then on.
    function useOneOperator(bytes memory record) internal {
        delete records;
        records.push(record);
        modelId = models.register(model(), "");
    }

    /// @dev A model whose run repeats the fixture's operators; the fixture's model from then on.
    function useSteps(uint32 count) internal {
        steps = count;
        modelId = models.register(model(), "");
    }

    /// @dev State hashes at the ends of the steps.
    function checkpoints() internal view returns (bytes32[] memory hashes) {
        hashes = new bytes32[](steps + 1);
        for (uint256 i = 0; i <= steps; ++i) {
            hashes[i] = TinyModel.hash(TinyModel.state(i * records.length));
        }
    }

    function checkpointRoot() internal view returns (bytes32) {
        return steps == 1 ? bytes32(0) : TinyModel.root(TinyModel.padded(checkpoints()));
    }

    // The moves

    function claim() internal returns (ClaimId) {
        return claimServing(NO_REQUEST);
    }

    function claimServing(RequestId requestId) internal returns (ClaimId) {
        bytes32[] memory inputs = TinyModel.state(0);
        bytes32[] memory outputs = TinyModel.state(steps * records.length);
        bytes32 root = checkpointRoot();
        vm.prank(PROVER);
        return claims.claim{ value: P }(modelId, requestId, inputs, outputs, root);
    }

    function openBy(ClaimId claimId, address challenger) internal returns (DisputeId) {
        vm.prank(challenger);
        return game.open{ value: C }(claimId);
    }

    function innerStates(uint32 lo, uint32 hi) internal view returns (bytes32[][] memory states) {
        uint256[] memory cuts = cutsOf(lo, hi);
        states = new bytes32[][](cuts.length - 2);
        for (uint256 i = 0; i < states.length; ++i) {
            states[i] = TinyModel.state(cuts[i + 1]);
        }
    }

    function innerPaths(uint32 lo, uint32 hi) internal view returns (bytes32[][] memory paths) {
        if (hi - lo <= records.length) return paths;
        uint256[] memory cuts = cutsOf(lo, hi);
        paths = new bytes32[][](cuts.length - 2);
        for (uint256 i = 0; i < paths.length; ++i) {
            paths[i] = TinyModel.path(TinyModel.padded(checkpoints()), cuts[i + 1] / records.length);
        }
    }

    function boundaryHashes(uint32 lo, uint32 hi) internal view returns (bytes32[] memory hashes) {
        uint256[] memory cuts = cutsOf(lo, hi);
        hashes = new bytes32[](cuts.length);
        for (uint256 i = 0; i < hashes.length; ++i) {
            hashes[i] = TinyModel.hash(TinyModel.state(cuts[i]));
        }
    }

    /// @dev The rule of docs/protocol.md, told in its own words: deal the operators, or else the steps, out one at a
    /// time.
    function cutsOf(uint32 lo, uint32 hi) internal view returns (uint256[] memory cuts) {
        uint256 unit = hi - lo > records.length ? records.length : 1;
        uint256 length = (hi - lo) / unit;
        uint256 degree = length < FAN_OUT ? length : FAN_OUT;
        uint256[] memory sizes = new uint256[](degree);
        for (uint256 i = 0; i < length; ++i) {
            ++sizes[i % degree];
        }
        cuts = new uint256[](degree + 1);
        cuts[0] = lo;
        for (uint256 i = 0; i < degree; ++i) {
            cuts[i + 1] = cuts[i] + sizes[i] * unit;
        }
    }

    function reveal(DisputeId id) internal {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        (uint32 lo, uint32 hi) = (dispute.lo, dispute.hi);
        vm.prank(PROVER);
        game.reveal(id, lo, hi, innerStates(lo, hi), innerPaths(lo, hi));
    }

    function select(DisputeId id, uint256 child) internal {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        vm.prank(dispute.challenger);
        game.select(id, dispute.lo, dispute.hi, boundaryHashes(dispute.lo, dispute.hi), child);
    }

    /// @dev Both sides play on until only operator `node` of the run is left.
    function descend(DisputeId id, uint32 node) internal {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        while (dispute.hi - dispute.lo > 1) {
            uint256[] memory cuts = cutsOf(dispute.lo, dispute.hi);
            uint256 child;
            while (cuts[child + 1] <= node) ++child;
            reveal(id);
            select(id, child);
            dispute = game.getDispute(id);
        }
    }

    function openAtLeaf(uint32 node) internal returns (ClaimId claimId, DisputeId id) {
        claimId = claim();
        id = openBy(claimId, CHALLENGER);
        descend(id, node);
    }

    function leafOf(uint32 node) internal view returns (IDisputeGame.LeafClaim memory leaf) {
        leaf.record = records[node % records.length];
        leaf.graphProof = TinyModel.path(nodeHashes(), node % records.length);
        leaf.stateBefore = TinyModel.state(node);
        leaf.outputs = new bytes32[](1);
        leaf.outputs[0] = TinyModel.value(node + 1);
    }

    function proofThatSays(bool verdict) internal pure returns (bytes memory) {
        return abi.encode(verdict, 0);
    }

    function proofOf(uint256 multiple) internal pure returns (bytes memory) {
        return abi.encode(multiple, 0);
    }

    /// @dev The challenger accuses the operator in dispute of an element just beyond its threshold.
    function accuse(DisputeId id) internal {
        IDisputeGame.Dispute memory dispute = game.getDispute(id);
        IDisputeGame.LeafClaim memory leaf = leafOf(dispute.lo);
        uint32 theta = thetaOf(dispute.lo);
        bytes32[] memory path = thresholdPath(dispute.lo);
        vm.prank(dispute.challenger);
        game.accuse(id, leaf, proofOf(theta + 1), theta, toleranceHashOf(dispute.lo), path);
    }

    function members(uint256 count) internal pure returns (address[] memory list) {
        address[3] memory all = [MEMBER_1, MEMBER_2, MEMBER_3];
        list = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = all[i];
        }
    }

    // What is expected

    function phaseOf(DisputeId id) internal view returns (IDisputeGame.Phase) {
        return game.getDispute(id).phase;
    }

    function assertPhase(DisputeId id, IDisputeGame.Phase phase) internal view {
        vm.assertEq(uint256(phaseOf(id)), uint256(phase), "phase");
    }

    function assertEnded(DisputeId id, IDisputeGame.Outcome outcome) internal view {
        assertPhase(id, IDisputeGame.Phase.Closed);
        vm.assertEq(uint256(game.getDispute(id).outcome), uint256(outcome), "outcome");
        vm.assertEq(vault.lockedOf(address(game), DisputeId.unwrap(id)), 0, "the dispute's lock is empty");
    }

    function assertStatus(ClaimId claimId, IClaimRegistry.Status status) internal view {
        vm.assertEq(uint256(claims.statusOf(claimId)), uint256(status), "status");
    }

    function assertConserved() internal view {
        uint256 accounted = vault.totalLocked() + vault.totalCredited() + vault.totalBurned();
        vm.assertEq(address(vault).balance, accounted, "every wei in the vault is accounted for");
    }

    /// @dev `timeLeft` seconds before the last second at which the side to move may move.
    function warpToDeadline(DisputeId id, uint64 timeLeft) internal {
        vm.warp(Timestamp.unwrap(game.deadlineOf(id)) - timeLeft);
    }

    function warpPastDeadline(DisputeId id) internal {
        vm.warp(uint256(Timestamp.unwrap(game.deadlineOf(id))) + 1);
    }
}
