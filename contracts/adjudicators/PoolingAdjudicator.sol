// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Calldata } from "../libraries/Calldata.sol";
import { DType } from "../libraries/DType.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { Reduction } from "../libraries/Reduction.sol";
import { Resizing } from "../libraries/Resizing.sol";
import { RowSums } from "../libraries/RowSums.sol";
import { TensorProof } from "../libraries/TensorProof.sol";
import { Windows } from "../libraries/Windows.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of a pooling, or of a bilinear upsampling, of FP32 numbers.
/// @notice A maximum is refuted iff it differs from the exact maximum of the lanes that are not padding: NaN if one of
/// them is, and +0 and -0 are equal. An average is their sum divided as the operator says: of `avg_pool2d` by its last
/// attribute, or if that is 0 by the number of lanes, or if that is 2^32 - 1 by the number of lanes inside the padded
/// input; an adaptive one by the number of lanes (Resizing). It is refuted iff it is proven outside the bound of Reduction,
/// and an interpolated element iff outside that of Resizing. A window that is all padding refutes nothing.
contract PoolingAdjudicator is IAdjudicator {
    using Windows for Windows.Runs;

    /// @param element Row-major index of the output element.
    /// @param hint Window exponent of an average's sum (RowSums); the others need none.
    /// @param a Openings of the runs of the input, in order (see Windows).
    /// @param output Opening of the output element.
    struct Proof {
        uint256 element;
        uint256 hint;
        OperandProof.OperandOpening[] a;
        TensorProof.Opening output;
    }

    bytes4 private constant MAX_POOL = bytes4(keccak256("aten.max_pool2d.default"));
    bytes4 private constant AVG_POOL = bytes4(keccak256("aten.avg_pool2d.default"));
    bytes4 private constant ADAPTIVE = bytes4(keccak256("aten.adaptive_avg_pool2d.default"));
    bytes4 private constant ADAPTIVE_CORE = bytes4(keccak256("aten._adaptive_avg_pool2d.default"));
    bytes4 private constant BILINEAR = bytes4(keccak256("aten.upsample_bilinear2d.default"));
    bytes4 private constant BILINEAR_VEC = bytes4(keccak256("aten.upsample_bilinear2d.vec"));

    uint256 private constant SIGN = 1 << 31;
    uint256 private constant INFINITY = 0x7f800000;
    uint256 private constant SMALLEST_NORMAL = 0x00800000;
    /// @dev Attributes of an average pooling behind those of its window.
    uint256 private constant DIVISORS = 1;

    error UnsupportedOperator(Operator op);
    error NotAPooling(uint256 outputs, uint256 operands);
    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);
    error WrongOpeningCount(uint256 operand, uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        bytes4[6] memory names = [MAX_POOL, AVG_POOL, ADAPTIVE, ADAPTIVE_CORE, BILINEAR, BILINEAR_VEC];
        list = new Operator[](names.length);
        for (uint256 i; i < names.length; ++i) {
            list[i] = Operator.wrap(names[i]);
        }
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        bytes4 op = Operator.unwrap(node.op);
        bool interpolates = op == BILINEAR || op == BILINEAR_VEC;
        bool adapts = op == ADAPTIVE || op == ADAPTIVE_CORE;
        bool averages = op == AVG_POOL || adapts;
        if (op != MAX_POOL && !averages && !interpolates) revert UnsupportedOperator(node.op);
        _check(node);
        Proof calldata proof = _decode(encoded);
        if (interpolates) {
            Resizing.Bilinear memory found = Resizing.interpolated(node, proof.element);
            return Resizing.refutesBilinear(found, _open(leaf, node, proof, found.box), _claimed(leaf, node, proof));
        }
        Windows.Runs memory runs = adapts
            ? Resizing.averaged(node, proof.element)
            : Windows.locate(node, proof.element, averages ? DIVISORS : 0);
        uint256[] memory positions = _open(leaf, node, proof, runs);
        uint32 y = _claimed(leaf, node, proof);
        if (positions.length == 0) return false;
        if (!averages) return _rank(y) != _largest(positions, runs.length);
        uint256 lanes = positions.length * runs.length;
        uint256 divisor = adapts ? lanes : _divisor(node, proof.element, lanes);
        return Reduction.refutesAverage(_sums(positions, runs.length, proof.hint), lanes, divisor, y);
    }

    function _claimed(Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        private
        pure
        returns (uint32)
    {
        return uint32(OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element));
    }

    /// @dev Calldata position of each run, in order.
    function _open(Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, Windows.Runs memory runs)
        private
        pure
        returns (uint256[] memory positions)
    {
        uint256 count = runs.count();
        // INVARIANT: no run is left out but those in the padding.
        if (proof.a.length != count) revert WrongOpeningCount(0, proof.a.length, count);
        positions = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            (uint256 a,) = runs.at(i);
            positions[i] = OperandProof.openOperand(leaf, node.operands[0], proof.a[i], a, runs.length);
        }
    }

    /// @dev The sums of all runs.
    function _sums(uint256[] memory positions, uint256 length, uint256 window)
        private
        pure
        returns (RowSums.Sums memory)
    {
        RowSums.Parts memory total;
        for (uint256 i; i < positions.length; ++i) {
            RowSums.Parts memory parts = RowSums.partsOf(positions[i], length, window);
            total.positive += parts.positive;
            total.negative += parts.negative;
            total.subnormal += parts.subnormal;
        }
        return RowSums.enclose(total, positions.length * length, window);
    }

    /// @dev What `avg_pool2d` divides the sum of an element's lanes by.
    function _divisor(NodeRecord.Node memory node, uint256 element, uint256 lanes) private pure returns (uint256) {
        uint32 word = node.attributes[node.attributes.length - 1];
        if (word == 0) return lanes;
        return word == type(uint32).max ? Windows.padded(node, element) : word;
    }

    /// @dev The largest rank of the runs' numbers.
    function _largest(uint256[] memory positions, uint256 length) private pure returns (uint256 largest) {
        for (uint256 i; i < positions.length; ++i) {
            uint256 run = positions[i];
            for (uint256 end = run + 4 * length; run < end; run += 4) {
                uint256 bits;
                assembly ("memory-safe") {
                    bits := shr(224, calldataload(run))
                }
                uint256 rank = _rank(bits);
                if (rank > largest) largest = rank;
            }
        }
    }

    /// @dev A positive integer that grows with the number that an FP32 encoding stands for. Zeros and subnormal numbers,
    /// which kernels may take for zero, have the same one, all NaNs the largest.
    function _rank(uint256 bits) private pure returns (uint256) {
        uint256 magnitude = bits & (SIGN - 1);
        if (magnitude > INFINITY) return 2 * SIGN;
        if (magnitude < SMALLEST_NORMAL) magnitude = 0;
        return bits & SIGN == 0 ? SIGN + magnitude : SIGN - magnitude;
    }

    function _check(NodeRecord.Node memory node) private pure {
        if (node.outputs.length != 1 || node.operands.length != 1) {
            revert NotAPooling(node.outputs.length, node.operands.length);
        }
        DType.requireFloat32(node.outputs[0].dtype);
        DType.requireFloat32(node.operands[0].tensorType.dtype);
        // INVARIANT: the input is read in contiguous runs.
        uint256 laneStride = node.operands[0].laneStride;
        if (laneStride != 1) revert WrongLaneStride(0, laneStride, 1);
    }

    /// @dev The proof in place: decoding into memory would copy all lanes.
    function _decode(bytes calldata encoded) private pure returns (Proof calldata proof) {
        uint256 at = Calldata.dynamicStruct(encoded, 0xa0);
        assembly ("memory-safe") {
            proof := at
        }
    }
}
