// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RowProof } from "../libraries/RowProof.sol";
import { Softmax } from "../libraries/Softmax.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of an FP32 softmax or log_softmax over contiguous rows.
/// @notice The element is refuted iff it is proven outside the operator's bound (docs/protocol.md, section 4). The
/// proof's hint is the lane that holds the row's maximum.
contract SoftmaxAdjudicator is IAdjudicator {
    bytes4 private constant SOFTMAX_INT = bytes4(keccak256("aten.softmax.int"));
    bytes4 private constant SOFTMAX = bytes4(keccak256("aten._softmax.default"));
    bytes4 private constant LOG_SOFTMAX_INT = bytes4(keccak256("aten.log_softmax.int"));
    bytes4 private constant LOG_SOFTMAX = bytes4(keccak256("aten._log_softmax.default"));

    error UnsupportedOperator(Operator op);
    error UnsupportedType(uint8 dtype);
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongAttributeCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](4);
        (list[0], list[1]) = (Operator.wrap(SOFTMAX_INT), Operator.wrap(SOFTMAX));
        (list[2], list[3]) = (Operator.wrap(LOG_SOFTMAX_INT), Operator.wrap(LOG_SOFTMAX));
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        RowProof.Proof calldata proof = RowProof.decode(node, encoded);
        _check(node);
        (uint256 run, uint256 lane) = RowProof.openRow(leaf, node, proof);
        uint32 y = RowProof.claimed(leaf, node, proof);
        bytes4 op = Operator.unwrap(node.op);
        if (op == SOFTMAX || op == SOFTMAX_INT) return Softmax.refutes(run, node.reduction, lane, proof.hint, y);
        if (op == LOG_SOFTMAX || op == LOG_SOFTMAX_INT) {
            return Softmax.refutesLog(run, node.reduction, lane, proof.hint, y);
        }
        revert UnsupportedOperator(node.op);
    }

    function _check(NodeRecord.Node memory node) private pure {
        if (node.operands.length != 1) revert WrongOperandCount(node.operands.length, 1);
        // INVARIANT: no number of the call goes unread.
        if (node.attributes.length != 0) revert WrongAttributeCount(node.attributes.length, 0);
        _requireFloat32(node.operands[0].tensorType.dtype);
        _requireFloat32(node.outputs[0].dtype);
    }

    /// @dev INVARIANT: the bounds are those of float32; integers and narrower floats round otherwise.
    function _requireFloat32(uint8 dtype) private pure {
        if (dtype != DType.FLOAT32) revert UnsupportedType(dtype);
    }
}
