// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Operator } from "../types/Types.sol";

/// @title Decides one element of one operator.
/// @notice Knows nothing of bonds, clocks and disputes. Given a node record, the committed values around it
/// and openings, says whether the claimed element is *proven* outside tolerance. Every truncation, skipped
/// lane and enclosure slack goes to the claimant's side; hints come from the challenger and a bad hint can
/// only make the proof fail.
interface IAdjudicator {
    /// @param record Packed node record (docs/protocol.md), already proven to be in the graph.
    /// @param stateBefore Tensor commitments live before the node, already proven to be the prover's.
    /// @param outputs Tensor commitments of the node's outputs, by output slot, already proven likewise.
    /// @param weightsRoot The model's weights root, for operands that are parameters.
    /// @param parameterCount Number of parameters under the weights root.
    struct Leaf {
        bytes record;
        bytes32[] stateBefore;
        bytes32[] outputs;
        bytes32 weightsRoot;
        uint256 parameterCount;
    }

    /// @notice The operators this adjudicator decides.
    function operators() external pure returns (Operator[] memory);

    /// @notice True iff `proof` shows that the claimed element is outside tolerance.
    /// @dev Reverts on malformed proofs; returns false where the claim may be honest.
    function refutes(Leaf calldata leaf, bytes calldata proof) external view returns (bool);
}
