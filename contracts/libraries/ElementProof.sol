// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Calldata } from "./Calldata.sol";
import { DType } from "./DType.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";
import { TensorProof } from "./TensorProof.sol";

/// @title Proofs about operators that read at most one element of each operand for an element of their only output.
library ElementProof {
    using OperandProof for NodeRecord.Operand;

    /// @param element Row-major index of the output element.
    /// @param operands Openings of the one element that each operand contributes, in the record's order, which is the
    /// ATen call's; empty ones for operands that are not read.
    /// @param output Opening of the output element.
    struct Proof {
        uint256 element;
        OperandProof.OperandOpening[] operands;
        TensorProof.Opening output;
    }

    error WrongOutputCount(uint256 given, uint256 required);
    error WrongOpeningCount(uint256 given, uint256 required);
    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);

    /// @notice The proof in place, with one opening per operand and one output.
    function decode(NodeRecord.Node memory node, bytes calldata encoded) internal pure returns (Proof calldata proof) {
        uint256 at = Calldata.dynamicStruct(encoded, 0x80);
        assembly ("memory-safe") {
            proof := at
        }
        uint256 count = node.operands.length;
        if (node.outputs.length != 1) revert WrongOutputCount(node.outputs.length, 1);
        if (proof.operands.length != count) revert WrongOpeningCount(proof.operands.length, count);
    }

    /// @notice The bits of the element of operand `index` that its map gives to the output element.
    function read(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, uint256 index)
        internal
        pure
        returns (uint256)
    {
        return readAt(leaf, node, proof, index, position(node, proof, index));
    }

    /// @notice Where the map of operand `index` puts the output element, in elements of the operand.
    function position(NodeRecord.Node memory node, Proof calldata proof, uint256 index)
        internal
        pure
        returns (uint256)
    {
        uint256 laneStride = node.operands[index].laneStride;
        // INVARIANT: one element is read, so the map has no lanes.
        if (laneStride != 0) revert WrongLaneStride(index, laneStride, 0);
        return node.operands[index].firstElement(node.outputs[0], proof.element);
    }

    /// @notice The bits of element `at` of operand `index`.
    function readAt(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        Proof calldata proof,
        uint256 index,
        uint256 at
    ) internal pure returns (uint256 bits) {
        NodeRecord.Operand memory operand = node.operands[index];
        uint256 run = OperandProof.openOperand(leaf, operand, proof.operands[index], at, 1);
        uint256 unused = 256 - 8 * DType.size(operand.tensorType.dtype);
        assembly ("memory-safe") {
            bits := shr(unused, calldataload(run))
        }
    }

    /// @notice The bits of the output element.
    function claimed(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        internal
        pure
        returns (uint256)
    {
        return OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element);
    }
}
