// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Calldata } from "../libraries/Calldata.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { TensorProof } from "../libraries/TensorProof.sol";
import { Windows } from "../libraries/Windows.sol";
import { Operator } from "../types/Types.sol";
import { ProductSums } from "./ProductSums.sol";

/// @title Decides one element of an FP32 convolution of one or two dimensions: padded, strided, dilated, grouped.
/// @notice The element is refuted iff it is proven outside the bound of a contraction of as many lanes as the kernel
/// has (docs/protocol.md, section 4); lanes in the zero padding are exact zeros. The runs may be recorded piece by piece
/// (see IPartialSums).
contract ConvolutionAdjudicator is ProductSums {
    using Float32Dot for Float32Dot.Sum;
    using Windows for Windows.Runs;

    /// @param element Row-major index of the output element.
    /// @param window Window exponent of the exact sum, a hint (see Float32Dot).
    /// @param a Openings of the runs of the input, in order (see Windows).
    /// @param b Openings of the runs of the kernel, likewise.
    /// @param bias Opening of the bias's element, if there is a bias.
    /// @param output Opening of the output element.
    struct Proof {
        uint256 element;
        uint256 window;
        OperandProof.OperandOpening[] a;
        OperandProof.OperandOpening[] b;
        OperandProof.OperandOpening[] bias;
        TensorProof.Opening output;
    }

    Operator private constant CONV1D = Operator.wrap(bytes4(keccak256("aten.conv1d.default")));
    Operator private constant CONV2D = Operator.wrap(bytes4(keccak256("aten.conv2d.default")));
    Operator private constant CONVOLUTION = Operator.wrap(bytes4(keccak256("aten.convolution.default")));

    error UnsupportedOperator(Operator op);
    error NotAConvolution(uint256 outputs, uint256 operands);
    error WrongOpeningCount(uint256 operand, uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](3);
        (list[0], list[1], list[2]) = (CONV1D, CONV2D, CONVOLUTION);
    }

    /// @inheritdoc ProductSums
    function _evaluate(Leaf calldata leaf, bytes calldata encoded, bool squared, Total memory total)
        internal
        view
        override
        returns (Float32Dot.Sum memory sum, uint256 terms, uint256 window, uint32 y)
    {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        _check(node);
        Proof calldata proof;
        if (_isRecorded(encoded)) {
            RecordedProof calldata recorded = _decodeRecorded(encoded);
            proof = _decode(recorded.proof);
            sum = _recordedSum(leaf, node, proof, recorded, total);
        } else {
            proof = _decode(encoded);
            sum = _sum(leaf, node, proof, squared);
        }
        window = proof.window;
        terms = node.reduction;
        uint256 biases = node.operands.length - 2;
        if (proof.bias.length != biases) revert WrongOpeningCount(2, proof.bias.length, biases);
        if (biases == 1) {
            _addBias(sum, leaf, node, proof.bias[0], proof.element, window);
            ++terms;
        }
        y = uint32(OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element));
    }

    /// @dev Sum of the products of all lanes that are not padding.
    function _sum(Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, bool squared)
        private
        pure
        returns (Float32Dot.Sum memory sum)
    {
        sum.squared = squared;
        Windows.Runs memory runs = Windows.locate(node, proof.element);
        uint256 count = runs.count();
        // INVARIANT: no run is left out but those in the padding.
        if (proof.a.length != count) revert WrongOpeningCount(0, proof.a.length, count);
        if (proof.b.length != count) revert WrongOpeningCount(1, proof.b.length, count);
        for (uint256 i; i < count; ++i) {
            (uint256 a, uint256 b) = runs.at(i);
            a = OperandProof.openOperand(leaf, node.operands[0], proof.a[i], a, runs.length);
            b = OperandProof.openOperand(leaf, node.operands[1], proof.b[i], b, runs.length);
            sum.addRun(a, b, runs.length, proof.window);
        }
    }

    /// @dev The same from the records of the runs' pieces.
    function _recordedSum(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        Proof calldata proof,
        RecordedProof calldata recorded,
        Total memory total
    ) private view returns (Float32Dot.Sum memory sum) {
        Windows.Runs memory runs = Windows.locate(node, proof.element);
        Row memory a = _row(leaf, node, recorded.tensors, 0, 0);
        Row memory b = _row(leaf, node, recorded.tensors, 1, 0);
        uint256 count = runs.count();
        for (uint256 i; i < count; ++i) {
            (a.first, b.first) = runs.at(i);
            _addRecords(total, recorded.lanes, proof.window, a, b, runs.length);
        }
        (sum.positive, sum.negative, sum.subnormal) = (total.first, total.second, total.third);
    }

    function _check(NodeRecord.Node memory node) private pure {
        if (!_is(node.op, CONV1D) && !_is(node.op, CONV2D) && !_is(node.op, CONVOLUTION)) {
            revert UnsupportedOperator(node.op);
        }
        uint256 operands = node.operands.length;
        if (node.outputs.length != 1 || operands < 2 || operands > 3) {
            revert NotAConvolution(node.outputs.length, operands);
        }
        _requireOperands(node);
    }

    /// @dev The proof in place: decoding into memory would copy all lanes.
    function _decode(bytes calldata encoded) private pure returns (Proof calldata proof) {
        uint256 at = Calldata.dynamicStruct(encoded, 0xe0);
        assembly ("memory-safe") {
            proof := at
        }
    }

    function _is(Operator x, Operator y) private pure returns (bool) {
        return Operator.unwrap(x) == Operator.unwrap(y);
    }
}
