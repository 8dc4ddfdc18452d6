// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Merkle } from "./Merkle.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { TensorProof } from "./TensorProof.sol";

/// @title Operands and outputs of a node, bound to what the prover and the model committed to.
library OperandProof {
    using NodeRecord for NodeRecord.TensorType;
    using TensorProof for NodeRecord.TensorType;

    /// @param data As in TensorProof.Opening.
    /// @param path As in TensorProof.Opening.
    /// @param weightsPath Path of the operand's commitment in the weights tree; empty unless it is a parameter.
    struct OperandOpening {
        bytes data;
        bytes32[] path;
        bytes32[] weightsPath;
    }

    error NoIndexMap();
    error MapRankMismatch(uint256 given, uint256 required);
    error ElementOutOfRange(uint256 element, uint256 count);
    error OperandMismatch(uint256 index, bytes32 commitment);
    error OutputMismatch(bytes32 commitment);

    /// @notice The operand's element that output element `element` reads at lane 0.
    function firstElement(NodeRecord.Operand memory operand, NodeRecord.TensorType memory output, uint256 element)
        internal
        pure
        returns (uint256 position)
    {
        if (!operand.hasMap) revert NoIndexMap();
        uint32[] memory shape = output.shape;
        uint256 rank = shape.length;
        // INVARIANT: the map has one stride for each dimension of the output.
        if (operand.strides.length != rank) revert MapRankMismatch(operand.strides.length, rank);
        uint256 count = output.numel();
        // INVARIANT: the element exists.
        if (element >= count) revert ElementOutOfRange(element, count);
        position = operand.offset;
        // At most 255 terms below 2^64 each: nothing can overflow.
        for (uint256 d = rank; d > 0; --d) {
            position += (element % shape[d - 1]) * operand.strides[d - 1];
            element /= shape[d - 1];
        }
    }

    /// @notice Opens `length` elements of an operand and checks its commitment.
    /// @return run Calldata position of the first of the elements.
    function openOperand(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Operand memory operand,
        OperandOpening calldata opening,
        uint256 first,
        uint256 length
    ) internal pure returns (uint256 run) {
        bytes32 dataRoot;
        (dataRoot, run) = operand.tensorType.openRun(opening.data, opening.path, first, length);
        bytes32 commitment = TensorProof.commitment(operand.tensorType.pack(), dataRoot);
        requireOperand(leaf, operand, commitment, opening.weightsPath);
    }

    /// @notice Opens one FP32 element of an operand and checks its commitment.
    /// @return bits Its encoding.
    function openFloat32(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Operand memory operand,
        OperandOpening calldata opening,
        uint256 position
    ) internal pure returns (uint32 bits) {
        uint256 run = openOperand(leaf, operand, opening, position, 1);
        assembly ("memory-safe") {
            bits := shr(224, calldataload(run))
        }
    }

    /// @notice Checks that a commitment is the operand's.
    /// @param weightsPath As in OperandOpening.
    function requireOperand(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Operand memory operand,
        bytes32 commitment,
        bytes32[] calldata weightsPath
    ) internal pure {
        uint256 index = operand.index;
        if (operand.isParameter) {
            // INVARIANT: a parameter is the model's own tensor, at the record's number.
            if (!Merkle.isMember(commitment, index, leaf.parameterCount, weightsPath, leaf.weightsRoot)) {
                revert OperandMismatch(index, commitment);
            }
        } else {
            if (weightsPath.length != 0) revert TensorProof.WrongPathLength(weightsPath.length, 0);
            // INVARIANT: a value is the prover's own tensor, at the record's position.
            if (index >= leaf.stateBefore.length || leaf.stateBefore[index] != commitment) {
                revert OperandMismatch(index, commitment);
            }
        }
    }

    /// @notice Opens one element of the node's only output and checks its commitment.
    /// @return bits The element's bytes as a big-endian integer.
    function openOutput(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.TensorType memory output,
        TensorProof.Opening calldata opening,
        uint256 element
    ) internal pure returns (uint256 bits) {
        bytes32 dataRoot;
        (dataRoot, bits) = output.openElement(opening.data, opening.path, element);
        bytes32 commitment = TensorProof.commitment(output.pack(), dataRoot);
        // INVARIANT: the output's opening is of the tensor that the prover claims.
        if (leaf.outputs.length != 1 || leaf.outputs[0] != commitment) revert OutputMismatch(commitment);
    }
}
