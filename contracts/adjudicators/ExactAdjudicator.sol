// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { TensorProof } from "../libraries/TensorProof.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of operators whose result is exact: copies, lookups, relu and neg.
/// @notice The element is refuted iff its bits differ from the exact result's, except that +0 and -0 are equal and NaN
/// equals NaN. A lookup whose index lies outside the table refutes nothing.
contract ExactAdjudicator is IAdjudicator {
    using OperandProof for NodeRecord.Operand;
    using TensorProof for NodeRecord.TensorType;

    /// @param element Row-major index of the output element.
    /// @param operands Openings of the one element that each operand contributes, in the record's order. An
    /// embedding has the table first, then the indices, as in the ATen call.
    /// @param output Opening of the output element.
    struct Proof {
        uint256 element;
        OperandProof.OperandOpening[] operands;
        TensorProof.Opening output;
    }

    Operator public constant COPY = Operator.wrap(bytes4(keccak256("copy")));
    Operator public constant RELU = Operator.wrap(bytes4(keccak256("aten.relu.default")));
    Operator public constant NEG = Operator.wrap(bytes4(keccak256("aten.neg.default")));
    Operator public constant EMBEDDING = Operator.wrap(bytes4(keccak256("aten.embedding.default")));

    error MalformedProof();
    error UnsupportedOperator(Operator op);
    error UnsupportedType(uint8 dtype);
    error UnsupportedTable();
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongOutputCount(uint256 given, uint256 required);
    error WrongOpeningCount(uint256 given, uint256 required);
    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);
    error TypeMismatch(uint8 output, uint8 operand);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](4);
        (list[0], list[1], list[2], list[3]) = (COPY, RELU, NEG, EMBEDDING);
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        Proof calldata proof = _decode(encoded);
        bool lookup = _is(node.op, EMBEDDING);
        uint256 count = lookup ? 2 : 1;
        if (node.operands.length != count) revert WrongOperandCount(node.operands.length, count);
        if (node.outputs.length != 1) revert WrongOutputCount(node.outputs.length, 1);
        if (proof.operands.length != count) revert WrongOpeningCount(proof.operands.length, count);
        uint8 dtype = node.outputs[0].dtype;
        // INVARIANT: the result is an element of the first operand, at most with another sign.
        if (node.operands[0].tensorType.dtype != dtype) {
            revert TypeMismatch(dtype, node.operands[0].tensorType.dtype);
        }

        uint256 lane;
        if (lookup) {
            bool inside;
            (lane, inside) = _index(leaf, node, proof);
            if (!inside) return false;
        } else if (node.operands[0].laneStride != 0) {
            revert WrongLaneStride(0, node.operands[0].laneStride, 0);
        }
        uint256 expected = _apply(node.op, dtype, _read(leaf, node, proof, 0, lane));
        uint256 claimed = OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element);
        return !_equal(dtype, expected, claimed);
    }

    /// @dev The index that an embedding looks up, and whether the table has it.
    function _index(Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        private
        pure
        returns (uint256 lane, bool inside)
    {
        NodeRecord.Operand memory table = node.operands[0];
        NodeRecord.Operand memory indices = node.operands[1];
        // INVARIANT: lane i is row i of the committed table, so the number of its rows bounds the index.
        if (table.laneStride != table.tensorType.rowLength() || table.offset != 0) revert UnsupportedTable();
        if (indices.laneStride != 0) revert WrongLaneStride(1, indices.laneStride, 0);
        uint8 dtype = indices.tensorType.dtype;
        if (dtype != DType.INT32 && dtype != DType.INT64) revert UnsupportedType(dtype);
        lane = _read(leaf, node, proof, 1, 0);
        // A negative index reads as one of 2^31 or more, beyond every table of that index type.
        inside = lane < table.tensorType.rows() && lane >> (8 * DType.size(dtype) - 1) == 0;
    }

    /// @dev The element of operand `index` that the output element reads at `lane`.
    function _read(Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, uint256 index, uint256 lane)
        private
        pure
        returns (uint256 bits)
    {
        NodeRecord.Operand memory operand = node.operands[index];
        uint256 position = operand.firstElement(node.outputs[0], proof.element) + lane * operand.laneStride;
        uint256 run = OperandProof.openOperand(leaf, operand, proof.operands[index], position, 1);
        uint256 unused = 256 - 8 * DType.size(operand.tensorType.dtype);
        assembly ("memory-safe") {
            bits := shr(unused, calldataload(run))
        }
    }

    /// @dev What the operator makes of the element `bits`.
    function _apply(Operator op, uint8 dtype, uint256 bits) private pure returns (uint256) {
        if (_is(op, COPY) || _is(op, EMBEDDING)) return bits;
        bool relu = _is(op, RELU);
        if (!relu && !_is(op, NEG)) revert UnsupportedOperator(op);
        if (!DType.isFloat(dtype)) revert UnsupportedType(dtype);
        uint256 sign = _sign(dtype);
        if (!relu) return bits ^ sign;
        bool negative = bits & sign != 0 && bits ^ sign <= DType.infinity(dtype);
        return negative ? 0 : bits;
    }

    function _equal(uint8 dtype, uint256 x, uint256 y) private pure returns (bool) {
        if (x == y) return true;
        if (!DType.isFloat(dtype)) return false;
        uint256 magnitude = _sign(dtype) - 1;
        x &= magnitude;
        y &= magnitude;
        uint256 infinity = DType.infinity(dtype);
        return (x == 0 && y == 0) || (x > infinity && y > infinity);
    }

    function _sign(uint8 dtype) private pure returns (uint256) {
        return 1 << (8 * DType.size(dtype) - 1);
    }

    function _is(Operator x, Operator y) private pure returns (bool) {
        return Operator.unwrap(x) == Operator.unwrap(y);
    }

    function _decode(bytes calldata encoded) private pure returns (Proof calldata proof) {
        // INVARIANT: the encoding is that of one dynamic struct; its members are checked where they are read.
        if (encoded.length < 0x80 || bytes32(encoded) != bytes32(uint256(0x20))) revert MalformedProof();
        assembly ("memory-safe") {
            proof := add(encoded.offset, 0x20)
        }
    }
}
