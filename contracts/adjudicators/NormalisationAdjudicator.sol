// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { ElementProof } from "../libraries/ElementProof.sol";
import { Moments } from "../libraries/Moments.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { Normalisation } from "../libraries/Normalisation.sol";
import { RowProof } from "../libraries/RowProof.sol";
import { Operator } from "../types/Types.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides one element of an FP32 normalisation: of a layer, a group, by the root mean square, of a batch.
/// @notice The element is refuted iff it is proven outside the operator's bound (see Normalisation). The record's only
/// attribute is eps. A normalisation of rows of `reduction` numbers has the operands x, [w, [b]] (rms_norm no b), and
/// its proof's hint is the window exponent of Moments; batch_norm works in inference, on x, w, b, mean and variance, or
/// without w and b, and reads one element of each. A row may be recorded piece by piece (see IPartialSums); its proof has
/// one point, the element of x.
contract NormalisationAdjudicator is PartialSums {
    bytes4 private constant LAYER = bytes4(keccak256("aten.layer_norm.default"));
    bytes4 private constant NATIVE_LAYER = bytes4(keccak256("aten.native_layer_norm.default"));
    bytes4 private constant GROUP = bytes4(keccak256("aten.group_norm.default"));
    bytes4 private constant NATIVE_GROUP = bytes4(keccak256("aten.native_group_norm.default"));
    bytes4 private constant RMS = bytes4(keccak256("aten.rms_norm.default"));
    bytes4 private constant BATCH = bytes4(keccak256("aten.batch_norm.default"));
    bytes4 private constant NATIVE_BATCH = bytes4(keccak256("aten._native_batch_norm_legit_no_training.default"));

    uint32 private constant ONE = 0x3f800000; // 1.0

    error UnsupportedOperator(Operator op);
    error WrongOperandCount(uint256 given, uint256 least, uint256 most);
    error WrongAttributeCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        bytes4[7] memory names = [LAYER, NATIVE_LAYER, GROUP, NATIVE_GROUP, RMS, BATCH, NATIVE_BATCH];
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
        if (op == BATCH || op == NATIVE_BATCH) return _refutesBatch(leaf, node, encoded);
        bool rms = op == RMS;
        if (!rms && op != LAYER && op != NATIVE_LAYER && op != GROUP && op != NATIVE_GROUP) {
            revert UnsupportedOperator(node.op);
        }
        return _refutesRow(leaf, node, encoded, rms, total);
    }

    function _refutesRow(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        bytes calldata encoded,
        bool rms,
        Total memory total
    ) private view returns (bool) {
        bool recorded = _isRecorded(encoded);
        RowProof.Proof calldata proof = RowProof.decode(node, recorded ? _decodeRecorded(encoded).proof : encoded);
        uint256 most = rms ? 2 : 3;
        uint256 count = node.operands.length;
        if (count == 0 || count > most) revert WrongOperandCount(count, 1, most);
        Normalisation.Element memory element = _element(node);

        Moments.Sums memory sums = recorded
            ? _recordedRow(leaf, node, proof, _decodeRecorded(encoded), element, total)
            : _openedRow(leaf, node, proof, element);
        if (count > 1) element.weight = RowProof.read(leaf, node, proof, 1);
        if (count > 2) element.bias = RowProof.read(leaf, node, proof, 2);
        element.claimed = RowProof.claimed(leaf, node, proof);
        return rms
            ? Normalisation.refutesRms(sums, node.reduction, element)
            : Normalisation.refutesLayer(sums, node.reduction, element);
    }

    /// @dev The sums over the element's row, from its opening; sets x.
    function _openedRow(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RowProof.Proof calldata proof,
        Normalisation.Element memory element
    ) private pure returns (Moments.Sums memory) {
        (uint256 run, uint256 lane) = RowProof.openRow(leaf, node, proof);
        uint32 x;
        assembly ("memory-safe") {
            x := shr(224, calldataload(add(run, shl(2, lane))))
        }
        element.x = x;
        return Moments.sums(run, node.reduction, proof.hint);
    }

    /// @dev The same from the records of the row's pieces and the opening of x.
    function _recordedRow(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RowProof.Proof calldata proof,
        RecordedProof calldata recorded,
        Normalisation.Element memory element,
        Total memory total
    ) private view returns (Moments.Sums memory) {
        uint256 lane = proof.element % node.reduction;
        uint256 first = RowProof.rowStart(node, proof.element - lane);
        element.x = _point(leaf, node, recorded, 0, first + lane);
        Row memory row = _row(leaf, node, recorded.tensors, 0, first);
        Row memory none;
        _addRecords(total, recorded.lanes, proof.hint, row, none, node.reduction);
        Moments.Parts memory parts = Moments.Parts(total.first, total.second, total.third);
        return Moments.enclose(parts, node.reduction, proof.hint);
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
        Moments.Parts memory parts = Moments.partsOf(runs[0], lanes, window);
        return (parts.positive, parts.negative, parts.squares);
    }

    function _refutesBatch(Leaf calldata leaf, NodeRecord.Node memory node, bytes calldata encoded)
        private
        pure
        returns (bool)
    {
        ElementProof.Proof calldata proof = ElementProof.decode(node, encoded);
        uint256 count = node.operands.length;
        if (count != 3 && count != 5) revert WrongOperandCount(count, 3, 5);
        Normalisation.Element memory element = _element(node);

        element.x = uint32(ElementProof.read(leaf, node, proof, 0));
        if (count == 5) {
            element.weight = uint32(ElementProof.read(leaf, node, proof, 1));
            element.bias = uint32(ElementProof.read(leaf, node, proof, 2));
        }
        uint32 mean = uint32(ElementProof.read(leaf, node, proof, count - 2));
        uint32 variance = uint32(ElementProof.read(leaf, node, proof, count - 1));
        element.claimed = uint32(ElementProof.claimed(leaf, node, proof));
        return Normalisation.refutesBatch(mean, variance, element);
    }

    /// @dev An element with the record's eps, weight 1 and bias 0.
    function _element(NodeRecord.Node memory node) private pure returns (Normalisation.Element memory element) {
        DType.requireFloat32(node.outputs[0].dtype);
        for (uint256 i; i < node.operands.length; ++i) {
            DType.requireFloat32(node.operands[i].tensorType.dtype);
        }
        if (node.attributes.length != 1) revert WrongAttributeCount(node.attributes.length, 1);
        element.epsilon = node.attributes[0];
        element.weight = ONE;
    }
}
