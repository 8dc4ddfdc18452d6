// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { Reduction } from "../libraries/Reduction.sol";
import { RowProof } from "../libraries/RowProof.sol";
import { RowSums } from "../libraries/RowSums.sol";
import { Operator } from "../types/Types.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides one element of an FP32 sum, mean, 2-norm or maximum over contiguous runs.
/// @notice The element is refuted iff it is proven outside the operator's bound (docs/protocol.md, section 4). The
/// proof's hint is the window exponent of the exact sum, of the lanes (RowSums) or of their squares (Float32Dot); a
/// maximum needs none. A vector norm has a row only where its order is 2. The row of a sum or a mean may be recorded piece
/// by piece (see IPartialSums).
contract ReductionAdjudicator is PartialSums {
    bytes4 private constant SUM = bytes4(keccak256("aten.sum.default"));
    bytes4 private constant SUM_DIM = bytes4(keccak256("aten.sum.dim_IntList"));
    bytes4 private constant MEAN = bytes4(keccak256("aten.mean.default"));
    bytes4 private constant MEAN_DIM = bytes4(keccak256("aten.mean.dim"));
    bytes4 private constant NORM = bytes4(keccak256("aten.linalg_vector_norm.default"));
    bytes4 private constant AMAX = bytes4(keccak256("aten.amax.default"));

    error UnsupportedOperator(Operator op);
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongAttributeCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](6);
        (list[0], list[1]) = (Operator.wrap(SUM), Operator.wrap(SUM_DIM));
        (list[2], list[3]) = (Operator.wrap(MEAN), Operator.wrap(MEAN_DIM));
        (list[4], list[5]) = (Operator.wrap(NORM), Operator.wrap(AMAX));
    }

    /// @inheritdoc PartialSums
    function _refutes(Leaf calldata leaf, bytes calldata encoded, Total memory total)
        internal
        view
        override
        returns (bool)
    {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        if (_isRecorded(encoded)) return _refutesRecorded(leaf, node, _decodeRecorded(encoded), total);
        RowProof.Proof calldata proof = RowProof.decode(node, encoded);
        _check(node);
        uint256 run = RowProof.openReduced(leaf, node, proof);
        uint32 y = RowProof.claimed(leaf, node, proof);
        bytes4 op = Operator.unwrap(node.op);
        if (op == SUM || op == SUM_DIM) return Reduction.refutesSum(run, node.reduction, proof.hint, y);
        if (op == MEAN || op == MEAN_DIM) return Reduction.refutesMean(run, node.reduction, proof.hint, y);
        if (op == NORM) return Reduction.refutesNorm(run, node.reduction, proof.hint, y);
        if (op == AMAX) return Reduction.refutesMaximum(run, node.reduction, y);
        revert UnsupportedOperator(node.op);
    }

    function _refutesRecorded(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RecordedProof calldata recorded,
        Total memory total
    ) private view returns (bool) {
        RowProof.Proof calldata proof = RowProof.decode(node, recorded.proof);
        _check(node);
        Row memory row = _row(leaf, node, recorded.tensors, 0, RowProof.rowStart(node, proof.element));
        Row memory none;
        _addRecords(total, recorded.lanes, proof.hint, row, none, node.reduction);
        RowSums.Parts memory parts = RowSums.Parts(total.first, total.second, total.third);
        RowSums.Sums memory sums = RowSums.enclose(parts, node.reduction, proof.hint);
        uint32 y = RowProof.claimed(leaf, node, proof);
        bytes4 op = Operator.unwrap(node.op);
        if (op == SUM || op == SUM_DIM) return Reduction.refutesSumOf(sums, node.reduction, y);
        if (op == MEAN || op == MEAN_DIM) return Reduction.refutesMeanOf(sums, node.reduction, y);
        revert UnsupportedOperator(node.op);
    }

    /// @inheritdoc PartialSums
    function _runCount() internal pure override returns (uint256) {
        return 1;
    }

    /// @inheritdoc PartialSums
    function _sumsOver(uint256[2] memory runs, uint256 lanes, uint256 window)
        internal
        pure
        override
        returns (uint256, uint256, uint256)
    {
        RowSums.Parts memory parts = RowSums.partsOf(runs[0], lanes, window);
        return (parts.positive, parts.negative, parts.subnormal);
    }

    function _check(NodeRecord.Node memory node) private pure {
        if (node.operands.length != 1) revert WrongOperandCount(node.operands.length, 1);
        // INVARIANT: no number of the call goes unread.
        if (node.attributes.length != 0) revert WrongAttributeCount(node.attributes.length, 0);
        DType.requireFloat32(node.operands[0].tensorType.dtype);
        DType.requireFloat32(node.outputs[0].dtype);
    }
}
