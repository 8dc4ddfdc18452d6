// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IDisputeGame } from "../interfaces/IDisputeGame.sol";
import { Leaf } from "./Leaf.sol";
import { Merkle } from "./Merkle.sol";
import { Partition } from "./Partition.sol";

/// @title The states between the steps of a run, as its claim committed to them.
/// @notice Leaf k of the tree is the state hash before step k of `steps`; the last leaf is that of the end. Neither the
/// first nor the last is ever asked for: a dispute begins and ends with the claim's own roots.
library Checkpoints {
    /// @notice Whether the inner ones of `hashes`, which are at the cuts of a segment of several steps, both ends
    /// included, are the leaves that belong there.
    function verify(
        IDisputeGame.Dispute storage dispute,
        uint32 steps,
        bytes32 root,
        bytes32[] memory hashes,
        bytes32[][] calldata paths
    ) internal view {
        (uint32 lo, uint32 hi, uint32 nodeCount) = (dispute.lo, dispute.hi, dispute.nodeCount);
        uint256 degree = hashes.length - 1;
        Leaf.requireCount(paths.length, degree - 1);
        for (uint256 i = 1; i < degree; ++i) {
            (uint32 cut,) = Partition.child(lo, hi, degree, i, nodeCount);
            uint256 step = cut / nodeCount;
            // INVARIANT: between steps the prover says in every dispute what it said when it claimed.
            if (!Merkle.isMember(hashes[i], step, uint256(steps) + 1, paths[i - 1], root)) {
                revert IDisputeGame.CheckpointMismatch(step);
            }
        }
    }
}
