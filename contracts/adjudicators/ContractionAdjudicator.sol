// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Calldata } from "../libraries/Calldata.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { TensorProof } from "../libraries/TensorProof.sol";
import { Operator } from "../types/Types.sol";
import { ProductSums } from "./ProductSums.sol";

/// @title Decides one element of an FP32 contraction: linear, matmul, mm, bmm and addmm without scaling.
/// @notice The element is refuted iff it is proven outside the bound that every summation order satisfies, with or
/// without FMA, flush-to-zero and denormals-as-zero (docs/protocol.md, section 4). The runs of a and b may be recorded
/// piece by piece (see IPartialSums).
contract ContractionAdjudicator is ProductSums {
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

    Operator private constant CONTRACTION = Operator.wrap(bytes4(keccak256("contraction")));

    error UnsupportedOperator(Operator op);
    error NotAContraction(uint256 outputs, uint256 operands, uint256 reduction);
    error WrongOpeningCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](1);
        list[0] = CONTRACTION;
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
            proof = _decode(node, recorded.proof);
            sum = _recordedSum(leaf, node, proof, recorded, total);
        } else {
            proof = _decode(node, encoded);
            uint256 a = _open(leaf, node, proof, 0);
            uint256 b = _open(leaf, node, proof, 1);
            sum.squared = squared;
            sum.addRun(a, b, node.reduction, proof.window);
        }
        window = proof.window;
        terms = node.reduction;
        if (node.operands.length == 3) {
            _addBias(sum, leaf, node, proof.operands[2], proof.element, window);
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

    function _check(NodeRecord.Node memory node) private pure {
        if (Operator.unwrap(node.op) != Operator.unwrap(CONTRACTION)) revert UnsupportedOperator(node.op);
        uint256 operands = node.operands.length;
        if (node.outputs.length != 1 || operands < 2 || operands > 3 || node.reduction == 0) {
            revert NotAContraction(node.outputs.length, operands, node.reduction);
        }
        _requireOperands(node);
    }

    function _open(Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, uint256 index)
        private
        pure
        returns (uint256 run)
    {
        uint256 first = _first(node, proof, index);
        return OperandProof.openOperand(leaf, node.operands[index], proof.operands[index], first, node.reduction);
    }

    function _first(NodeRecord.Node memory node, Proof calldata proof, uint256 index) private pure returns (uint256) {
        return node.operands[index].firstElement(node.outputs[0], proof.element);
    }

    /// @dev The proof in place: decoding into memory would copy all lanes.
    function _decode(NodeRecord.Node memory node, bytes calldata encoded) private pure returns (Proof calldata proof) {
        uint256 at = Calldata.dynamicStruct(encoded, 0xa0);
        assembly ("memory-safe") {
            proof := at
        }
        uint256 count = node.operands.length;
        if (proof.operands.length != count) revert WrongOpeningCount(proof.operands.length, count);
    }
}
