// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "./DType.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";

/// @title The rounding log of a training step, as a logged node reads it (docs/protocol.md, section 7).
/// @notice int64[2, capacity]: row 0 holds keys node << 40 | element in ascending order and END behind them, row 1 the FP32
/// encoding that the element of each key was rounded to. It is the last operand of a logged node, whose number in the
/// step's graph is the last attribute.
library RoundingLog {
    /// @param rule The rule that the proof is for, see RoundedProof.
    /// @param slot Column of an entry; for an omission that of the first key above the element's, or the capacity.
    /// @param openings Contradiction: the entry's key and its value. Omission: the keys before and at `slot`, where
    /// there are such.
    struct Evidence {
        uint256 rule;
        uint256 slot;
        OperandProof.OperandOpening[] openings;
    }

    /// @dev The key of columns without an entry.
    uint256 internal constant END = (1 << 63) - 1;
    uint256 internal constant ELEMENT_BITS = 40;

    error NotLogged();
    error WrongLogType(uint8 dtype, uint256 rank);
    error SlotOutOfRange(uint256 slot, uint256 capacity);
    error AnotherKey(int256 given, int256 required);
    error NotBetween(int256 below, int256 key, int256 above);
    error WrongLogOpeningCount(uint256 given, uint256 required);

    /// @notice Whether the log's entry for the element is another encoding than y.
    function contradicts(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        Evidence calldata evidence,
        uint256 element,
        uint32 y
    ) internal pure returns (bool) {
        uint256 columns = capacity(_log(node).tensorType);
        _requireOpenings(evidence, 2);
        if (evidence.slot >= columns) revert SlotOutOfRange(evidence.slot, columns);
        int256 given = _read(leaf, node, evidence, 0, evidence.slot);
        // INVARIANT: the entry is the element's own.
        if (given != key(node, element)) revert AnotherKey(given, key(node, element));
        return _read(leaf, node, evidence, 1, columns + evidence.slot) != int256(uint256(y));
    }

    /// @notice Reverts unless the log, if its keys ascend, has no entry for the element.
    function requireAbsent(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        Evidence calldata evidence,
        uint256 element
    ) internal pure {
        uint256 columns = capacity(_log(node).tensorType);
        uint256 slot = evidence.slot;
        if (slot > columns) revert SlotOutOfRange(slot, columns);
        int256 own = key(node, element);
        (int256 below, int256 above) = (type(int256).min, type(int256).max);
        uint256 count;
        if (slot != 0) below = _read(leaf, node, evidence, count++, slot - 1);
        if (slot != columns) above = _read(leaf, node, evidence, count++, slot);
        _requireOpenings(evidence, count);
        // INVARIANT: the element's key would stand between two neighbours, or between one and the row's end.
        if (below >= own || own >= above) revert NotBetween(below, own, above);
    }

    /// @notice The key of an element of a logged node.
    function key(NodeRecord.Node memory node, uint256 element) internal pure returns (int256) {
        uint256 count = node.attributes.length;
        // INVARIANT: the node is one that the log speaks of, and its elements' keys are its own.
        if (count == 0 || element >> ELEMENT_BITS != 0) revert NotLogged();
        return int256((uint256(node.attributes[count - 1]) << ELEMENT_BITS) | element);
    }

    /// @notice Columns of a log; reverts for tensors that are none.
    function capacity(NodeRecord.TensorType memory tensorType) internal pure returns (uint256) {
        uint256 rank = tensorType.shape.length;
        // INVARIANT: the value is a log.
        if (tensorType.dtype != DType.INT64 || rank != 2 || tensorType.shape[0] != 2) {
            revert WrongLogType(tensorType.dtype, rank);
        }
        return tensorType.shape[1];
    }

    /// @notice The number whose two's complement of 64 bits is given.
    function signed(uint256 bits) internal pure returns (int256) {
        return int256(int64(uint64(bits)));
    }

    function _log(NodeRecord.Node memory node) private pure returns (NodeRecord.Operand memory) {
        if (node.operands.length == 0) revert NotLogged();
        return node.operands[node.operands.length - 1];
    }

    function _read(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        Evidence calldata evidence,
        uint256 opening,
        uint256 element
    ) private pure returns (int256) {
        if (opening >= evidence.openings.length) {
            revert WrongLogOpeningCount(evidence.openings.length, opening + 1);
        }
        uint256 run = OperandProof.openOperand(leaf, _log(node), evidence.openings[opening], element, 1);
        uint256 bits;
        assembly ("memory-safe") {
            bits := shr(192, calldataload(run))
        }
        return signed(bits);
    }

    function _requireOpenings(Evidence calldata evidence, uint256 required) private pure {
        if (evidence.openings.length != required) revert WrongLogOpeningCount(evidence.openings.length, required);
    }
}
