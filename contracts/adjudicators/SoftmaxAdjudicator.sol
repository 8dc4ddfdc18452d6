// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SafeCast } from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { ExponentialSums } from "../libraries/ExponentialSums.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RowProof } from "../libraries/RowProof.sol";
import { Softmax } from "../libraries/Softmax.sol";
import { Operator } from "../types/Types.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides one element of an FP32 softmax or log_softmax over contiguous rows.
/// @notice The element is refuted iff it is proven outside the operator's bound (docs/protocol.md, section 4). The
/// proof's hint is the lane that holds the row's maximum. A row may be recorded piece by piece, with the maximum itself as
/// the pieces' hint (see IPartialSums); its proof has two points, the element's lane and the maximum's.
contract SoftmaxAdjudicator is PartialSums {
    bytes4 private constant SOFTMAX_INT = bytes4(keccak256("aten.softmax.int"));
    bytes4 private constant SOFTMAX = bytes4(keccak256("aten._softmax.default"));
    bytes4 private constant LOG_SOFTMAX_INT = bytes4(keccak256("aten.log_softmax.int"));
    bytes4 private constant LOG_SOFTMAX = bytes4(keccak256("aten._log_softmax.default"));

    error UnsupportedOperator(Operator op);
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongAttributeCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](4);
        (list[0], list[1]) = (Operator.wrap(SOFTMAX_INT), Operator.wrap(SOFTMAX));
        (list[2], list[3]) = (Operator.wrap(LOG_SOFTMAX_INT), Operator.wrap(LOG_SOFTMAX));
    }

    /// @inheritdoc PartialSums
    function _refutes(Leaf calldata leaf, bytes calldata encoded, Total memory total)
        internal
        view
        override
        returns (bool)
    {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        bool recorded = _isRecorded(encoded);
        RowProof.Proof calldata proof = RowProof.decode(node, recorded ? _decodeRecorded(encoded).proof : encoded);
        _check(node);
        (ExponentialSums.Sums memory sums, uint32 x) =
            recorded ? _recordedRow(leaf, node, proof, _decodeRecorded(encoded), total) : _openedRow(leaf, node, proof);
        uint32 y = RowProof.claimed(leaf, node, proof);
        bytes4 op = Operator.unwrap(node.op);
        if (op == SOFTMAX || op == SOFTMAX_INT) return Softmax.refutes(sums, node.reduction, x, y);
        if (op == LOG_SOFTMAX || op == LOG_SOFTMAX_INT) return Softmax.refutesLog(sums, node.reduction, x, y);
        revert UnsupportedOperator(node.op);
    }

    /// @dev The sums of the element's row and the element's lane, from the row's opening.
    function _openedRow(Leaf calldata leaf, NodeRecord.Node memory node, RowProof.Proof calldata proof)
        private
        pure
        returns (ExponentialSums.Sums memory sums, uint32 x)
    {
        (uint256 run, uint256 lane) = RowProof.openRow(leaf, node, proof);
        sums = ExponentialSums.sum(run, node.reduction, proof.hint);
        x = ExponentialSums.load(run, lane);
    }

    /// @dev The same from the records of the row's pieces and the openings of that lane and the largest.
    function _recordedRow(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RowProof.Proof calldata proof,
        RecordedProof calldata recorded,
        Total memory total
    ) private view returns (ExponentialSums.Sums memory sums, uint32 x) {
        uint256 lane = proof.element % node.reduction;
        uint256 first = RowProof.rowStart(node, proof.element - lane);
        if (proof.hint >= node.reduction) revert ExponentialSums.LaneOutOfRange(proof.hint, node.reduction);
        x = _point(leaf, node, recorded, 0, first + lane);
        // INVARIANT: the maximum is a lane of the row; that none exceeds it, each piece has shown.
        uint32 maximum = _point(leaf, node, recorded, 1, first + proof.hint);
        Row memory none;
        _addRecords(total, recorded.lanes, maximum, _row(leaf, node, recorded.tensors, 0, first), none, node.reduction);
        sums = ExponentialSums.enclose(ExponentialSums.Parts(total.first, total.third), node.reduction, maximum);
    }

    /// @inheritdoc PartialSums
    function _runCount() internal pure override returns (uint256) {
        return 1;
    }

    /// @inheritdoc PartialSums
    function _sumsOver(uint256[2] memory runs, uint256 lanes, uint256 maximum)
        internal
        pure
        override
        returns (uint256, uint256, uint256)
    {
        // INVARIANT: a hint is no other number than its record's.
        ExponentialSums.Parts memory parts = ExponentialSums.partsOf(runs[0], lanes, SafeCast.toUint32(maximum));
        return (parts.total, 0, parts.weighted);
    }

    function _check(NodeRecord.Node memory node) private pure {
        if (node.operands.length != 1) revert WrongOperandCount(node.operands.length, 1);
        // INVARIANT: no number of the call goes unread.
        if (node.attributes.length != 0) revert WrongAttributeCount(node.attributes.length, 0);
        DType.requireFloat32(node.operands[0].tensorType.dtype);
        DType.requireFloat32(node.outputs[0].dtype);
    }
}
