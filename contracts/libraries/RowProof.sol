// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Calldata } from "./Calldata.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";
import { TensorProof } from "./TensorProof.sol";

/// @title Proofs about operators that read a whole row of their first operand for an element of their only output.
/// @notice With n the record's reduction, an operator that keeps its operand's shape (softmax, a normalisation) works
/// on rows of n consecutive elements: output element e is lane e % n of its row, and the row begins where the map puts
/// element e - e % n. One that reduces (a sum, a mean) has a row for each output element, which begins where the map
/// puts that element. Rows are contiguous: the lane stride is 1. Other operands contribute one element each.
library RowProof {
    using OperandProof for NodeRecord.Operand;

    /// @param element Row-major index of the output element.
    /// @param hint What the operator's sums are scaled by; a bad one can only make the proof fail.
    /// @param operands Openings of the row of the first operand and of one element of each other one.
    /// @param output Opening of the output element.
    struct Proof {
        uint256 element;
        uint256 hint;
        OperandProof.OperandOpening[] operands;
        TensorProof.Opening output;
    }

    error NotARow(uint256 outputs, uint256 reduction);
    error WrongOpeningCount(uint256 given, uint256 required);
    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);

    /// @notice The proof in place, with one opening per operand and one output.
    function decode(NodeRecord.Node memory node, bytes calldata encoded) internal pure returns (Proof calldata proof) {
        proof = decodeLanes(node, encoded);
        uint256 count = node.operands.length;
        if (proof.operands.length != count) revert WrongOpeningCount(proof.operands.length, count);
    }

    /// @notice The proof in place, with openings of single lanes, which the caller counts.
    function decodeLanes(NodeRecord.Node memory node, bytes calldata encoded)
        internal
        pure
        returns (Proof calldata proof)
    {
        uint256 at = Calldata.dynamicStruct(encoded, 0xa0);
        assembly ("memory-safe") {
            proof := at
        }
        if (node.outputs.length != 1 || node.reduction == 0) revert NotARow(node.outputs.length, node.reduction);
    }

    /// @notice The row of the first operand that holds the output element.
    /// @return run Calldata position of the row's first element.
    /// @return lane Number of the output element in its row.
    function openRow(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        internal
        pure
        returns (uint256 run, uint256 lane)
    {
        lane = proof.element % node.reduction;
        run = _open(leaf, node, proof, proof.element - lane);
    }

    /// @notice The row of the first operand that is reduced to the output element.
    /// @return run Calldata position of the row's first element.
    function openReduced(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        internal
        pure
        returns (uint256 run)
    {
        return _open(leaf, node, proof, proof.element);
    }

    /// @notice The FP32 bits of the only element of operand `index` that the output element reads.
    function read(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, uint256 index)
        internal
        pure
        returns (uint32)
    {
        NodeRecord.Operand memory operand = node.operands[index];
        if (operand.laneStride != 0) revert WrongLaneStride(index, operand.laneStride, 0);
        uint256 position = operand.firstElement(node.outputs[0], proof.element);
        return OperandProof.openFloat32(leaf, operand, proof.operands[index], position);
    }

    /// @notice The FP32 bits of the output element.
    function claimed(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        internal
        pure
        returns (uint32)
    {
        return uint32(OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element));
    }

    /// @notice Where the row of an element begins in the first operand.
    /// @param element The output element that the row is reduced to, or the first of those that it is normalised to.
    function rowStart(NodeRecord.Node memory node, uint256 element) internal pure returns (uint256) {
        NodeRecord.Operand memory operand = node.operands[0];
        // INVARIANT: the lanes are read in one contiguous run.
        if (operand.laneStride != 1) revert WrongLaneStride(0, operand.laneStride, 1);
        return operand.firstElement(node.outputs[0], element);
    }

    function _open(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, uint256 element)
        private
        pure
        returns (uint256 run)
    {
        uint256 first = rowStart(node, element);
        return OperandProof.openOperand(leaf, node.operands[0], proof.operands[0], first, node.reduction);
    }
}
