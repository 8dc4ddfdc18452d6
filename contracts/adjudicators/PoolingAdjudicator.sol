// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { TensorProof } from "../libraries/TensorProof.sol";
import { Windows } from "../libraries/Windows.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of a max pooling of FP32 numbers.
/// @notice The element is refuted iff it differs from the exact maximum of the lanes that are not padding: NaN if one
/// of them is, and +0 and -0 are equal. A window that is all padding refutes nothing.
contract PoolingAdjudicator is IAdjudicator {
    using Windows for Windows.Runs;

    /// @param element Row-major index of the output element.
    /// @param a Openings of the runs of the input, in order (see Windows).
    /// @param output Opening of the output element.
    struct Proof {
        uint256 element;
        OperandProof.OperandOpening[] a;
        TensorProof.Opening output;
    }

    Operator public constant MAX_POOL2D = Operator.wrap(bytes4(keccak256("aten.max_pool2d.default")));

    uint256 private constant SIGN = 1 << 31;
    uint256 private constant INFINITY = 0x7f800000;
    uint256 private constant SMALLEST_NORMAL = 0x00800000;

    error MalformedProof();
    error UnsupportedOperator(Operator op);
    error UnsupportedType(uint8 dtype);
    error NotAPooling(uint256 outputs, uint256 operands);
    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);
    error WrongOpeningCount(uint256 operand, uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](1);
        list[0] = MAX_POOL2D;
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        _check(node);
        Proof calldata proof = _decode(encoded);
        Windows.Runs memory runs = Windows.locate(node, proof.element);
        uint256 count = runs.count();
        // INVARIANT: no run is left out but those in the padding.
        if (proof.a.length != count) revert WrongOpeningCount(0, proof.a.length, count);
        uint256 largest;
        for (uint256 i; i < count; ++i) {
            (uint256 a,) = runs.at(i);
            a = OperandProof.openOperand(leaf, node.operands[0], proof.a[i], a, runs.length);
            largest = _largest(a, runs.length, largest);
        }
        uint256 y = OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element);
        return count != 0 && _rank(y) != largest;
    }

    /// @dev The largest rank of a run's numbers, or `largest` if none is larger.
    function _largest(uint256 run, uint256 length, uint256 largest) private pure returns (uint256) {
        for (uint256 end = run + 4 * length; run < end; run += 4) {
            uint256 bits;
            assembly ("memory-safe") {
                bits := shr(224, calldataload(run))
            }
            uint256 rank = _rank(bits);
            if (rank > largest) largest = rank;
        }
        return largest;
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
        if (Operator.unwrap(node.op) != Operator.unwrap(MAX_POOL2D)) revert UnsupportedOperator(node.op);
        if (node.outputs.length != 1 || node.operands.length != 1) {
            revert NotAPooling(node.outputs.length, node.operands.length);
        }
        uint8 dtype = node.outputs[0].dtype;
        if (dtype != DType.FLOAT32) revert UnsupportedType(dtype);
        dtype = node.operands[0].tensorType.dtype;
        if (dtype != DType.FLOAT32) revert UnsupportedType(dtype);
        // INVARIANT: the input is read in contiguous runs.
        uint256 laneStride = node.operands[0].laneStride;
        if (laneStride != 1) revert WrongLaneStride(0, laneStride, 1);
    }

    /// @dev The proof in place: decoding into memory would copy all lanes.
    function _decode(bytes calldata encoded) private pure returns (Proof calldata proof) {
        // INVARIANT: the encoding is that of one dynamic struct; its members are checked where they are read.
        if (encoded.length < 0x80 || bytes32(encoded) != bytes32(uint256(0x20))) revert MalformedProof();
        assembly ("memory-safe") {
            proof := add(encoded.offset, 0x20)
        }
    }
}
