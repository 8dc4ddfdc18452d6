// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Calldata } from "../libraries/Calldata.sol";
import { DType } from "../libraries/DType.sol";
import { Draws } from "../libraries/Draws.sol";
import { ElementProof } from "../libraries/ElementProof.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { RoundingLog } from "../libraries/RoundingLog.sol";
import { TensorProof } from "../libraries/TensorProof.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of the operators that only training has: the choice of a batch, dropout's masks, the
/// rounding log.
/// @notice A sample and a mask are refuted iff the element is not what is drawn for it (see Draws). Their operands are the
/// step, int64[1], and the seed, int64[2], of which the low words are the key; a proof opens each of them whole. No
/// sample is refuted whose step is negative, or so large that its positions are no int64 numbers: kernels wrap there. A
/// log is refuted iff two neighbouring keys do not ascend, or a column is no entry and not empty either.
contract TrainingAdjudicator is IAdjudicator {
    using TensorProof for NodeRecord.TensorType;

    /// @param slot Column of the log.
    /// @param key Opening of its key.
    /// @param other Opening of its value, or of the next column's key.
    /// @param ofOrder Whether `other` is the next key.
    struct LogProof {
        uint256 slot;
        bool ofOrder;
        TensorProof.Opening key;
        TensorProof.Opening other;
    }

    bytes4 private constant SAMPLE = bytes4(keccak256("tao.sample.default"));
    bytes4 private constant KEEP = bytes4(keccak256("tao.keep.default"));
    bytes4 private constant LOG = bytes4(keccak256("tao.log.default"));

    uint256 private constant STEP = 0;
    uint256 private constant SEED = 1;
    uint256 private constant WORD = 0xffffffff;

    error UnsupportedOperator(Operator op);
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongAttributeCount(uint256 given, uint256 required);
    error SlotOutOfRange(uint256 slot, uint256 capacity);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](3);
        (list[0], list[1], list[2]) = (Operator.wrap(SAMPLE), Operator.wrap(KEEP), Operator.wrap(LOG));
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        bytes4 op = Operator.unwrap(node.op);
        if (op == LOG) return _refutesLog(leaf, node, encoded);
        if (op != SAMPLE && op != KEEP) revert UnsupportedOperator(node.op);
        return _refutesDraw(leaf, node, ElementProof.decode(node, encoded));
    }

    function _refutesDraw(Leaf calldata leaf, NodeRecord.Node memory node, ElementProof.Proof calldata proof)
        private
        pure
        returns (bool)
    {
        if (node.operands.length != 2) revert WrongOperandCount(node.operands.length, 2);
        if (node.attributes.length != 2) revert WrongAttributeCount(node.attributes.length, 2);
        bool isSample = Operator.unwrap(node.op) == SAMPLE;
        _requireType(node.outputs[0], isSample ? DType.INT64 : DType.BOOL);
        uint256 step = _open(leaf, node, proof, STEP, 1) >> 192;
        uint256 seed = _open(leaf, node, proof, SEED, 2) >> 128;
        uint256 key = ((seed >> 64) & WORD) << 32 | (seed & WORD);
        uint256 y = ElementProof.claimed(leaf, node, proof);
        (uint256 first, uint256 second) = (node.attributes[0], node.attributes[1]);
        if (!isSample) return y != (Draws.isKept(proof.element, step, first, second, key) ? 1 : 0);
        // Attributes size and count: element i of step s is number s count + i of the sequence.
        // INVARIANT: positions are counted as kernels count them, in int64.
        if (step >> 63 != 0 || ((step + 1) * second) >> 63 != 0) return false;
        (bool found, uint256 drawn) = Draws.member(step * second + proof.element, first, key);
        return found && y != drawn;
    }

    /// @dev The first 32 bytes behind the beginning of an int64 operand of `length` elements.
    function _open(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        ElementProof.Proof calldata proof,
        uint256 index,
        uint256 length
    ) private pure returns (uint256 data) {
        NodeRecord.Operand memory operand = node.operands[index];
        _requireType(operand.tensorType, DType.INT64);
        uint256 run = OperandProof.openOperand(leaf, operand, proof.operands[index], 0, length);
        assembly ("memory-safe") {
            data := calldataload(run)
        }
    }

    function _refutesLog(Leaf calldata leaf, NodeRecord.Node memory node, bytes calldata encoded)
        private
        pure
        returns (bool)
    {
        LogProof calldata proof;
        uint256 position = Calldata.dynamicStruct(encoded, 0xa0);
        assembly ("memory-safe") {
            proof := position
        }
        uint256 columns = RoundingLog.capacity(node.outputs[0]);
        uint256 slot = proof.slot;
        uint256 last = proof.ofOrder ? columns - 1 : columns;
        // INVARIANT: the column exists, and so does the next one where the order is in question.
        if (slot >= last) revert SlotOutOfRange(slot, last);
        NodeRecord.TensorType memory output = node.outputs[0];
        int256 key = RoundingLog.signed(OperandProof.openOutput(leaf, output, proof.key, slot));
        bool isEnd = uint256(key) == RoundingLog.END;
        uint256 at = proof.ofOrder ? slot + 1 : columns + slot;
        int256 other = RoundingLog.signed(OperandProof.openOutput(leaf, output, proof.other, at));
        if (proof.ofOrder) return key > other || (key == other && !isEnd);
        return key < 0 || uint256(other) > (isEnd ? 0 : WORD);
    }

    function _requireType(NodeRecord.TensorType memory tensorType, uint8 dtype) private pure {
        // INVARIANT: elements are read as what they are.
        if (tensorType.dtype != dtype) revert DType.UnsupportedType(tensorType.dtype);
    }
}
