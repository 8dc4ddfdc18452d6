// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Operator } from "../types/Types.sol";
import { Tags } from "./Tags.sol";

/// @title Node records of the canonical operator graph (docs/protocol.md, section 2).
/// @notice A record decodes in exactly one way: it is neither shorter nor longer than its fields say.
library NodeRecord {
    /// @param dtype Code of the element type, see DType.
    struct TensorType {
        uint8 dtype;
        uint32[] shape;
    }

    /// @param isParameter Whether the value is a parameter of the model or live in the state before the node.
    /// @param index Parameter number, or position in the state before.
    /// @param tensorType Type of the committed value, whatever view of it the operator reads.
    /// @param hasMap Whether the operator's elements can be followed on chain; then an output element reads
    /// `offset + sum o_d * strides[d] + lane * laneStride`, in elements of the value's row-major order.
    struct Operand {
        bool isParameter;
        uint16 index;
        TensorType tensorType;
        bool hasMap;
        uint32[] strides;
        uint32 laneStride;
        uint32 offset;
    }

    /// @param op Operator that the node applies.
    /// @param call Hash of the canonical ATen call.
    /// @param reduction Lanes of the contraction, row or window that an output element reads, else 0.
    /// @param attributes Numbers among the call's arguments that decide an element, by the operator's own rule.
    /// @param liveBefore Number of values live at the cut before the node.
    /// @param afterEntries What each value live at the cut after the node is: below OUTPUT_FLAG a position in
    /// the state before, otherwise output slot `entry - OUTPUT_FLAG`.
    struct Node {
        Operator op;
        bytes32 call;
        TensorType[] outputs;
        Operand[] operands;
        uint256 reduction;
        uint32[] attributes;
        uint256 liveBefore;
        uint32[] afterEntries;
    }

    /// @dev Position of the next unread byte; `end` is one past the record's last.
    struct Cursor {
        uint256 at;
        uint256 end;
    }

    uint16 internal constant OUTPUT_FLAG = 0x8000;
    uint8 private constant NO_MAP = 0xff;

    error TruncatedRecord(uint256 missing);
    error OverlongRecord(uint256 surplus);
    error UnknownSource(uint256 source);

    /// @notice Leaf of the graph tree: keccak256(TAG_node || record).
    function leafHash(bytes calldata record) internal pure returns (bytes32) {
        return keccak256(bytes.concat(Tags.NODE, record));
    }

    /// @notice All fields of a record.
    function decode(bytes calldata record) internal pure returns (Node memory node) {
        Cursor memory cursor = _open(record);
        node.op = Operator.wrap(bytes4(uint32(_read(cursor, 4))));
        node.call = bytes32(_read(cursor, 32));
        node.outputs = new TensorType[](_read(cursor, 1));
        for (uint256 i; i < node.outputs.length; ++i) {
            _readType(cursor, node.outputs[i]);
        }
        node.operands = new Operand[](_read(cursor, 1));
        for (uint256 i; i < node.operands.length; ++i) {
            _readOperand(cursor, node.operands[i]);
        }
        node.reduction = _read(cursor, 4);
        node.attributes = _readList(cursor, _read(cursor, 1), 4);
        node.liveBefore = _read(cursor, 2);
        node.afterEntries = _readList(cursor, _read(cursor, 2), 2);
        _close(cursor);
    }

    /// @notice Packed form of a tensor type: uint8 dtype, uint8 rank, uint32[rank] shape.
    function pack(TensorType memory tensorType) internal pure returns (bytes memory packed) {
        uint32[] memory shape = tensorType.shape;
        uint256 rank = shape.length;
        packed = new bytes(2 + 4 * rank);
        packed[0] = bytes1(tensorType.dtype);
        packed[1] = bytes1(uint8(rank));
        assembly ("memory-safe") {
            // Each store keeps the 28 bytes behind its own four, so the last one changes nothing past the end.
            let to := add(packed, 34)
            let from := add(shape, 32)
            for { let end := add(from, shl(5, rank)) } lt(from, end) { from := add(from, 32) } {
                mstore(to, or(shl(224, mload(from)), and(mload(to), shr(32, not(0)))))
                to := add(to, 4)
            }
        }
    }

    /// @notice A tensor type from its packed form.
    function unpack(bytes calldata packed) internal pure returns (TensorType memory tensorType) {
        Cursor memory cursor = _open(packed);
        _readType(cursor, tensorType);
        _close(cursor);
    }

    // Structs are filled in where they are: to return one would allocate it twice.

    function _readOperand(Cursor memory cursor, Operand memory operand) private pure {
        uint256 source = _read(cursor, 1);
        if (source > 1) revert UnknownSource(source);
        operand.isParameter = source == 1;
        operand.index = uint16(_read(cursor, 2));
        _readType(cursor, operand.tensorType);
        uint256 rank = _read(cursor, 1);
        if (rank == NO_MAP) return;
        operand.hasMap = true;
        operand.strides = _readList(cursor, rank, 4);
        operand.laneStride = uint32(_read(cursor, 4));
        operand.offset = uint32(_read(cursor, 4));
    }

    function _readType(Cursor memory cursor, TensorType memory tensorType) private pure {
        tensorType.dtype = uint8(_read(cursor, 1));
        tensorType.shape = _readList(cursor, _read(cursor, 1), 4);
    }

    /// @dev The next `count` integers of `size` bytes, 1 to 4.
    function _readList(Cursor memory cursor, uint256 count, uint256 size) private pure returns (uint32[] memory list) {
        uint256 from = _advance(cursor, count * size);
        list = new uint32[](count);
        assembly ("memory-safe") {
            let unused := sub(256, shl(3, size))
            let to := add(list, 32)
            for { let end := add(to, shl(5, count)) } lt(to, end) { to := add(to, 32) } {
                mstore(to, shr(unused, calldataload(from)))
                from := add(from, size)
            }
        }
    }

    function _open(bytes calldata record) private pure returns (Cursor memory cursor) {
        assembly ("memory-safe") {
            mstore(cursor, record.offset)
            mstore(add(cursor, 32), add(record.offset, record.length))
        }
    }

    /// @dev The next `size` bytes, 1 to 32, as a big-endian integer.
    function _read(Cursor memory cursor, uint256 size) private pure returns (uint256 value) {
        uint256 at = _advance(cursor, size);
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, size)), calldataload(at))
        }
    }

    /// @dev Where the next `size` bytes begin, which then count as read.
    function _advance(Cursor memory cursor, uint256 size) private pure returns (uint256 at) {
        unchecked {
            at = cursor.at;
            uint256 next = at + size;
            // INVARIANT: no field is read from beyond the record.
            if (next > cursor.end) revert TruncatedRecord(next - cursor.end);
            cursor.at = next;
        }
    }

    function _close(Cursor memory cursor) private pure {
        // INVARIANT: two different records never decode alike.
        if (cursor.at != cursor.end) revert OverlongRecord(cursor.end - cursor.at);
    }
}
