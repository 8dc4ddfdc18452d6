// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { NodeRecord } from "../../../contracts/libraries/NodeRecord.sol";

/// @dev Node records written out field by field, as docs/protocol.md lists them.
library Records {
    function encode(NodeRecord.Node memory node) internal pure returns (bytes memory record) {
        record = abi.encodePacked(node.op, node.call, uint8(node.outputs.length));
        for (uint256 i; i < node.outputs.length; ++i) {
            record = bytes.concat(record, encodeType(node.outputs[i]));
        }
        record = abi.encodePacked(record, uint8(node.operands.length));
        for (uint256 i; i < node.operands.length; ++i) {
            record = bytes.concat(record, encodeOperand(node.operands[i]));
        }
        record = abi.encodePacked(record, uint32(node.reduction), uint8(node.attributes.length));
        record = bytes.concat(record, _list(node.attributes));
        record = abi.encodePacked(record, uint16(node.liveBefore), uint16(node.afterEntries.length));
        for (uint256 i; i < node.afterEntries.length; ++i) {
            record = abi.encodePacked(record, uint16(node.afterEntries[i]));
        }
    }

    function encodeType(NodeRecord.TensorType memory tensorType) internal pure returns (bytes memory) {
        bytes memory head = abi.encodePacked(tensorType.dtype, uint8(tensorType.shape.length));
        return bytes.concat(head, _list(tensorType.shape));
    }

    function encodeOperand(NodeRecord.Operand memory operand) internal pure returns (bytes memory encoded) {
        encoded = abi.encodePacked(operand.isParameter, operand.index, encodeType(operand.tensorType));
        if (!operand.hasMap) return abi.encodePacked(encoded, uint8(0xff));
        encoded = abi.encodePacked(encoded, uint8(operand.strides.length), _list(operand.strides));
        encoded = abi.encodePacked(encoded, operand.laneStride, operand.offset);
    }

    function _list(uint32[] memory values) private pure returns (bytes memory packed) {
        for (uint256 i; i < values.length; ++i) {
            packed = abi.encodePacked(packed, values[i]);
        }
    }
}
