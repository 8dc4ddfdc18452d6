// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { Element } from "../libraries/Element.sol";
import { ElementProof } from "../libraries/ElementProof.sol";
import { Movement } from "../libraries/Movement.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of operators that move elements: copies, concatenation, padding, upsampling, lookups.
/// @notice The element is refuted iff it differs from the operand's element that the operator puts there, except that
/// +0 equals -0 and NaN equals NaN. Nothing is refuted where a lookup's index is outside the table, or where the
/// operand's element is a bool that is neither 0 nor 1.
contract MovementAdjudicator is IAdjudicator {
    bytes4 private constant COPY = bytes4(keccak256("copy"));
    bytes4 private constant CAT = bytes4(keccak256("aten.cat.default"));
    bytes4 private constant PAD = bytes4(keccak256("aten.pad.default"));
    bytes4 private constant CONSTANT_PAD = bytes4(keccak256("aten.constant_pad_nd.default"));
    bytes4 private constant UPSAMPLE_VEC = bytes4(keccak256("aten.upsample_nearest2d.vec"));
    bytes4 private constant UPSAMPLE = bytes4(keccak256("aten.upsample_nearest2d.default"));
    bytes4 private constant EMBEDDING = bytes4(keccak256("aten.embedding.default"));
    bytes4 private constant GATHER = bytes4(keccak256("aten.gather.default"));
    bytes4 private constant INDEX = bytes4(keccak256("aten.index.Tensor"));
    bytes4 private constant INDEX_SELECT = bytes4(keccak256("aten.index_select.default"));

    error UnsupportedOperator(Operator op);
    error TypeMismatch(uint8 given, uint8 required);
    error WrongOperandCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        bytes4[10] memory names =
            [COPY, CAT, PAD, CONSTANT_PAD, UPSAMPLE_VEC, UPSAMPLE, EMBEDDING, GATHER, INDEX, INDEX_SELECT];
        list = new Operator[](names.length);
        for (uint256 i; i < names.length; ++i) {
            list[i] = Operator.wrap(names[i]);
        }
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        ElementProof.Proof calldata proof = ElementProof.decode(node, encoded);
        bytes4 op = Operator.unwrap(node.op);
        Element memory y = Element(node.outputs[0].dtype, ElementProof.claimed(leaf, node, proof));
        if (op == CAT) return _refutesConcatenation(leaf, node, proof, y);
        if (op == EMBEDDING || op == GATHER || op == INDEX || op == INDEX_SELECT) {
            return _refutesLookup(leaf, node, proof, y);
        }
        if (node.operands.length != 1) revert WrongOperandCount(node.operands.length, 1);
        if (op == PAD || op == CONSTANT_PAD) return _refutesPadding(leaf, node, proof, y);

        uint256 position = ElementProof.position(node, proof, 0);
        if (op == UPSAMPLE_VEC || op == UPSAMPLE) position -= Movement.upsampled(node, proof.element);
        else if (op == COPY) Movement.requireAttributes(node, 0);
        else revert UnsupportedOperator(node.op);
        return _differs(leaf, node, proof, 0, position, y);
    }

    function _refutesConcatenation(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        ElementProof.Proof calldata proof,
        Element memory y
    ) private pure returns (bool) {
        if (node.operands.length == 0) revert WrongOperandCount(0, 1);
        (uint256 operand, uint256 start) = Movement.concatenated(node, proof.element);
        uint256 position = ElementProof.position(node, proof, operand);
        // The operand's own coordinate along the axis counts from its start.
        position -= start * node.operands[operand].strides[node.attributes[0]];
        return _differs(leaf, node, proof, operand, position, y);
    }

    function _refutesPadding(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        ElementProof.Proof calldata proof,
        Element memory y
    ) private pure returns (bool) {
        // INVARIANT: the number around is of the operand's type.
        _requireType(node.operands[0].tensorType.dtype, DType.FLOAT32);
        _requireType(y.dtype, DType.FLOAT32);
        uint256 position = ElementProof.position(node, proof, 0);
        (bool inside, uint256 back) = Movement.padded(node, proof.element);
        if (inside) return _differs(leaf, node, proof, 0, position - back, y);
        // Kernels may take a subnormal number for zero where they round it to float32.
        Element memory number = Element(DType.FLOAT32, node.attributes[0]);
        return !number.equals(y) && !number.flushed().equals(y);
    }

    function _refutesLookup(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        ElementProof.Proof calldata proof,
        Element memory y
    ) private pure returns (bool) {
        bytes4 op = Operator.unwrap(node.op);
        uint256 count = node.operands.length;
        // INVARIANT: a table and one index, and only aten.index has more.
        if (count < 2 || (count > 2 && op != INDEX)) revert WrongOperandCount(count, 2);
        Movement.requireAttributes(node, 2 * (count - 1));
        uint256 position = ElementProof.position(node, proof, 0);
        for (uint256 i = 1; i < count; ++i) {
            uint8 dtype = node.operands[i].tensorType.dtype;
            Element memory index = Element(dtype, ElementProof.read(leaf, node, proof, i));
            (uint256 stride, uint256 size) = (node.attributes[2 * i - 2], node.attributes[2 * i - 1]);
            (bool inside, uint256 row) = Movement.row(index, size, op != EMBEDDING && op != GATHER);
            if (!inside) return false;
            position += row * stride;
        }
        return _differs(leaf, node, proof, 0, position, y);
    }

    /// @dev Whether y differs from element `position` of operand `index`.
    function _differs(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        ElementProof.Proof calldata proof,
        uint256 index,
        uint256 position,
        Element memory y
    ) private pure returns (bool) {
        Element memory x = Element(node.operands[index].tensorType.dtype, 0);
        _requireType(x.dtype, y.dtype);
        x.bits = ElementProof.readAt(leaf, node, proof, index, position);
        return x.isValid() && !x.equals(y);
    }

    function _requireType(uint8 given, uint8 required) private pure {
        if (given != required) revert TypeMismatch(given, required);
    }
}
