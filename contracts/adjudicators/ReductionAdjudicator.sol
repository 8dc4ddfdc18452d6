// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { Position } from "../libraries/Position.sol";
import { Reduction } from "../libraries/Reduction.sol";
import { RowProof } from "../libraries/RowProof.sol";
import { RowSums } from "../libraries/RowSums.sol";
import { Operator } from "../types/Types.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides one element of an FP32 sum, running sum, mean, 2-norm or extremum over contiguous runs, or of the
/// position of an extremum.
/// @notice The element is refuted iff it is proven outside the operator's bound (docs/protocol.md, section 4). The
/// proof's hint is the window exponent of the exact sum, of the lanes (RowSums) or of their squares (Float32Dot); an
/// extremum needs none, and for its position see Position. A vector norm has a row only where its order is 2. An element
/// of a running sum is the sum of the row's lanes up to its own. The row of a sum or a mean may be recorded piece by piece
/// (see IPartialSums).
contract ReductionAdjudicator is PartialSums {
    bytes4 private constant SUM = bytes4(keccak256("aten.sum.default"));
    bytes4 private constant SUM_DIM = bytes4(keccak256("aten.sum.dim_IntList"));
    bytes4 private constant MEAN = bytes4(keccak256("aten.mean.default"));
    bytes4 private constant MEAN_DIM = bytes4(keccak256("aten.mean.dim"));
    bytes4 private constant NORM = bytes4(keccak256("aten.linalg_vector_norm.default"));
    bytes4 private constant CUMSUM = bytes4(keccak256("aten.cumsum.default"));
    bytes4 private constant AMAX = bytes4(keccak256("aten.amax.default"));
    bytes4 private constant AMIN = bytes4(keccak256("aten.amin.default"));
    bytes4 private constant MAX = bytes4(keccak256("aten.max.default"));
    bytes4 private constant MIN = bytes4(keccak256("aten.min.default"));
    bytes4 private constant ARGMAX = bytes4(keccak256("aten.argmax.default"));
    bytes4 private constant ARGMIN = bytes4(keccak256("aten.argmin.default"));

    error UnsupportedOperator(Operator op);
    error WrongOperandCount(uint256 given, uint256 required);
    error WrongAttributeCount(uint256 given, uint256 required);
    error NotARunningSum(uint256 dimension);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        bytes4[12] memory names = [SUM, SUM_DIM, MEAN, MEAN_DIM, NORM, AMAX, AMIN, MAX, MIN, CUMSUM, ARGMAX, ARGMIN];
        list = new Operator[](names.length);
        for (uint256 i; i < names.length; ++i) {
            list[i] = Operator.wrap(names[i]);
        }
    }

    /// @inheritdoc PartialSums
    function _refutes(Leaf calldata leaf, bytes calldata encoded, Total memory total)
        internal
        view
        override
        returns (bool)
    {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        bytes4 op = Operator.unwrap(node.op);
        if (op == ARGMAX || op == ARGMIN) {
            RowProof.Proof calldata lanes = RowProof.decodeLanes(node, encoded);
            _checkCounts(node, 0);
            return Position.refutes(leaf, node, lanes, op == ARGMIN);
        }
        bool recorded = _isRecorded(encoded);
        RowProof.Proof calldata proof = RowProof.decode(node, recorded ? _decodeRecorded(encoded).proof : encoded);
        _check(node, proof.element);
        if (_isSum(op) || _isMean(op)) {
            RowSums.Sums memory sums = recorded
                ? _recordedRow(leaf, node, proof, _decodeRecorded(encoded), total)
                : _openedRow(leaf, node, proof);
            uint32 y = RowProof.claimed(leaf, node, proof);
            if (_isSum(op)) return Reduction.refutesSum(sums, node.reduction, y);
            return Reduction.refutesMean(sums, node.reduction, y);
        }
        // INVARIANT: records are of sums.
        if (recorded) revert UnsupportedOperator(node.op);
        return _refutesRun(leaf, node, proof);
    }

    /// @dev The verdict of a rule that reads the lanes themselves.
    function _refutesRun(Leaf calldata leaf, NodeRecord.Node memory node, RowProof.Proof calldata proof)
        private
        pure
        returns (bool)
    {
        uint256 run = RowProof.openReduced(leaf, node, proof);
        uint32 y = RowProof.claimed(leaf, node, proof);
        bytes4 op = Operator.unwrap(node.op);
        if (op == NORM) return Reduction.refutesNorm(run, node.reduction, proof.hint, y);
        if (op == AMAX || op == MAX) return Reduction.refutesMaximum(run, node.reduction, y);
        if (op == AMIN || op == MIN) return Reduction.refutesMinimum(run, node.reduction, y);
        revert UnsupportedOperator(node.op);
    }

    /// @dev The sums of the element's row, from the row's opening.
    function _openedRow(Leaf calldata leaf, NodeRecord.Node memory node, RowProof.Proof calldata proof)
        private
        pure
        returns (RowSums.Sums memory)
    {
        return RowSums.sum(RowProof.openReduced(leaf, node, proof), node.reduction, proof.hint);
    }

    /// @dev The same from the records of the row's pieces.
    function _recordedRow(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RowProof.Proof calldata proof,
        RecordedProof calldata recorded,
        Total memory total
    ) private view returns (RowSums.Sums memory) {
        Row memory row = _row(leaf, node, recorded.tensors, 0, RowProof.rowStart(node, proof.element));
        Row memory none;
        _addRecords(total, recorded.lanes, proof.hint, row, none, node.reduction);
        RowSums.Parts memory parts = RowSums.Parts(total.first, total.second, total.third);
        return RowSums.enclose(parts, node.reduction, proof.hint);
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

    function _isSum(bytes4 op) private pure returns (bool) {
        return op == SUM || op == SUM_DIM || op == CUMSUM;
    }

    function _isMean(bytes4 op) private pure returns (bool) {
        return op == MEAN || op == MEAN_DIM;
    }

    /// @dev Also cuts the row of a running sum off behind the element's own lane.
    function _check(NodeRecord.Node memory node, uint256 element) private pure {
        bool running = Operator.unwrap(node.op) == CUMSUM;
        _checkCounts(node, running ? 1 : 0);
        DType.requireFloat32(node.operands[0].tensorType.dtype);
        DType.requireFloat32(node.outputs[0].dtype);
        if (running) node.reduction = _lanesSoFar(node, element);
    }

    function _checkCounts(NodeRecord.Node memory node, uint256 attributes) private pure {
        if (node.operands.length != 1) revert WrongOperandCount(node.operands.length, 1);
        // INVARIANT: no number of the call goes unread.
        if (node.attributes.length != attributes) revert WrongAttributeCount(node.attributes.length, attributes);
    }

    /// @dev The element's coordinate along the dimension that the attribute names, and one more.
    function _lanesSoFar(NodeRecord.Node memory node, uint256 element) private pure returns (uint256) {
        uint32[] memory shape = node.outputs[0].shape;
        uint256 dimension = node.attributes[0];
        // INVARIANT: a row has as many lanes as sums, all of which begin where the row does.
        if (dimension >= shape.length || shape[dimension] != node.reduction) revert NotARunningSum(dimension);
        NodeRecord.Operand memory operand = node.operands[0];
        if (operand.strides.length == shape.length && operand.strides[dimension] != 0) {
            revert NotARunningSum(dimension);
        }
        for (uint256 d = shape.length - 1; d > dimension; --d) {
            element /= shape[d];
        }
        return element % node.reduction + 1;
    }
}
