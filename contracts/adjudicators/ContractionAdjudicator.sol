// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { ICalibratedAdjudicator } from "../interfaces/ICalibratedAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { TensorProof } from "../libraries/TensorProof.sol";
import { Operator } from "../types/Types.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides one element of an FP32 contraction: linear, matmul, mm, bmm and addmm without scaling.
/// @notice The element is refuted iff it is proven outside the bound that every summation order satisfies, with or
/// without FMA, flush-to-zero and denormals-as-zero (docs/protocol.md, section 4). The runs of a and b may be recorded
/// piece by piece (see IPartialSums).
contract ContractionAdjudicator is ICalibratedAdjudicator, PartialSums {
    using OperandProof for NodeRecord.Operand;
    using Float32Dot for Float32Dot.Sum;

    /// @param element Row-major index of the output element.
    /// @param window Window exponent of the exact sum, a hint (see Float32Dot).
    /// @param operands Openings of the runs of a and b and, with a bias, of its element.
    /// @param output Opening of the output element.
    struct Proof {
        uint256 element;
        uint256 window;
        OperandProof.OperandOpening[] operands;
        TensorProof.Opening output;
    }

    Operator public constant CONTRACTION = Operator.wrap(bytes4(keccak256("contraction")));

    error MalformedProof();
    error UnsupportedOperator(Operator op);
    error UnsupportedType(uint8 dtype);
    error NotAContraction(uint256 outputs, uint256 operands, uint256 reduction);
    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);
    error WrongOpeningCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](1);
        list[0] = CONTRACTION;
    }

    /// @inheritdoc PartialSums
    function _refutes(Leaf calldata leaf, bytes calldata encoded, Total memory total)
        internal
        view
        override
        returns (bool)
    {
        (Float32Dot.Sum memory sum, uint256 terms, uint256 window, uint32 y) = _evaluate(leaf, encoded, false, total);
        return sum.refutes(terms, window, y);
    }

    /// @inheritdoc ICalibratedAdjudicator
    function exceeds(Leaf calldata leaf, bytes calldata encoded, uint32 theta) external view returns (bool) {
        // INVARIANT: records have no squares, which the calibrated bound is made of.
        if (_isRecorded(encoded)) revert MalformedProof();
        Total memory nothing;
        (Float32Dot.Sum memory sum, uint256 terms, uint256 window, uint32 y) = _evaluate(leaf, encoded, true, nothing);
        return sum.exceeds(terms, window, y, theta);
    }

    /// @dev The sum of the products that the element is made of, their number, and the claimed element y.
    function _evaluate(Leaf calldata leaf, bytes calldata encoded, bool squared, Total memory total)
        private
        view
        returns (Float32Dot.Sum memory sum, uint256 terms, uint256 window, uint32 y)
    {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        _check(node);
        Proof calldata proof;
        if (_isRecorded(encoded)) {
            RecordedProof calldata recorded = _decodeRecorded(encoded);
            proof = _decode(node, recorded.proof);
            sum = _recordedSum(leaf, node, proof, recorded, total);
        } else {
            proof = _decode(node, encoded);
            uint256 a = _open(leaf, node, proof, 0, node.reduction);
            uint256 b = _open(leaf, node, proof, 1, node.reduction);
            sum.squared = squared;
            sum.addRun(a, b, node.reduction, proof.window);
        }
        window = proof.window;
        terms = node.reduction;
        if (node.operands.length == 3) {
            uint256 bias = _open(leaf, node, proof, 2, 1);
            uint32 bits;
            assembly ("memory-safe") {
                bits := shr(224, calldataload(bias))
            }
            sum.add(bits, window);
            ++terms;
        }
        y = uint32(OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element));
    }

    /// @dev The sum of the products, from the records of its pieces.
    function _recordedSum(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        Proof calldata proof,
        RecordedProof calldata recorded,
        Total memory total
    ) private view returns (Float32Dot.Sum memory sum) {
        Row memory a = _row(leaf, node, recorded.tensors, 0, _first(node, proof, 0));
        Row memory b = _row(leaf, node, recorded.tensors, 1, _first(node, proof, 1));
        _addRecords(total, recorded.lanes, proof.window, a, b, node.reduction);
        (sum.positive, sum.negative, sum.subnormal) = (total.first, total.second, total.third);
    }

    /// @inheritdoc PartialSums
    function _runCount() internal pure override returns (uint256) {
        return 2;
    }

    /// @inheritdoc PartialSums
    function _sumsOver(uint256[2] memory runs, uint256 lanes, uint256 window)
        internal
        pure
        override
        returns (uint256, uint256, uint256)
    {
        Float32Dot.Sum memory sum = Float32Dot.dot(runs[0], runs[1], lanes, window);
        return (sum.positive, sum.negative, sum.subnormal);
    }

    function _check(NodeRecord.Node memory node) private pure {
        if (Operator.unwrap(node.op) != Operator.unwrap(CONTRACTION)) revert UnsupportedOperator(node.op);
        uint256 operands = node.operands.length;
        if (node.outputs.length != 1 || operands < 2 || operands > 3 || node.reduction == 0) {
            revert NotAContraction(node.outputs.length, operands, node.reduction);
        }
        uint8 dtype = node.outputs[0].dtype;
        if (dtype != DType.FLOAT32) revert UnsupportedType(dtype);
        for (uint256 i; i < operands; ++i) {
            dtype = node.operands[i].tensorType.dtype;
            if (dtype != DType.FLOAT32) revert UnsupportedType(dtype);
            // INVARIANT: a and b are read in contiguous runs, the bias once.
            uint256 required = i < 2 ? 1 : 0;
            uint256 given = node.operands[i].laneStride;
            if (given != required) revert WrongLaneStride(i, given, required);
        }
    }

    function _open(Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, uint256 index, uint256 length)
        private
        pure
        returns (uint256 run)
    {
        uint256 first = _first(node, proof, index);
        return OperandProof.openOperand(leaf, node.operands[index], proof.operands[index], first, length);
    }

    function _first(NodeRecord.Node memory node, Proof calldata proof, uint256 index) private pure returns (uint256) {
        return node.operands[index].firstElement(node.outputs[0], proof.element);
    }

    /// @dev The proof in place: decoding into memory would copy all lanes.
    function _decode(NodeRecord.Node memory node, bytes calldata encoded) private pure returns (Proof calldata proof) {
        // INVARIANT: the encoding is that of one dynamic struct; its members are checked where they are read.
        if (encoded.length < 0xa0 || bytes32(encoded) != bytes32(uint256(0x20))) revert MalformedProof();
        assembly ("memory-safe") {
            proof := add(encoded.offset, 0x20)
        }
        uint256 count = node.operands.length;
        if (proof.operands.length != count) revert WrongOpeningCount(proof.operands.length, count);
    }
}
