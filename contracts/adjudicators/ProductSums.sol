// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ICalibratedAdjudicator } from "../interfaces/ICalibratedAdjudicator.sol";
import { Calldata } from "../libraries/Calldata.sol";
import { DType } from "../libraries/DType.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { OperandProof } from "../libraries/OperandProof.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides elements that are sums of products of two FP32 operands' lanes, perhaps with a bias.
abstract contract ProductSums is ICalibratedAdjudicator, PartialSums {
    using OperandProof for NodeRecord.Operand;
    using Float32Dot for Float32Dot.Sum;

    uint256 private constant BIAS = 2;

    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);

    /// @inheritdoc ICalibratedAdjudicator
    function exceeds(Leaf calldata leaf, bytes calldata encoded, uint32 theta) external view returns (bool) {
        // INVARIANT: records have no squares, which the calibrated bound is made of.
        if (_isRecorded(encoded)) revert Calldata.MalformedProof();
        Total memory nothing;
        (Float32Dot.Sum memory sum, uint256 terms, uint256 window, uint32 y) = _evaluate(leaf, encoded, true, nothing);
        return sum.exceeds(terms, window, y, theta);
    }

    /// @dev What a proof shows of its element.
    /// @param squared Whether the squares of the products are wanted, too.
    /// @param total As in `_refutes`.
    /// @return sum The sum of the products that the element is made of.
    /// @return terms Their number, with those in a padding and the bias.
    /// @return window Window exponent of the sum.
    /// @return y The claimed element.
    function _evaluate(Leaf calldata leaf, bytes calldata encoded, bool squared, Total memory total)
        internal
        view
        virtual
        returns (Float32Dot.Sum memory sum, uint256 terms, uint256 window, uint32 y);

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

    /// @dev Checks types and lane strides of all operands and of the output.
    function _requireOperands(NodeRecord.Node memory node) internal pure {
        DType.requireFloat32(node.outputs[0].dtype);
        for (uint256 i; i < node.operands.length; ++i) {
            NodeRecord.Operand memory operand = node.operands[i];
            DType.requireFloat32(operand.tensorType.dtype);
            // INVARIANT: a and b are read in contiguous runs, the bias once.
            uint256 required = i < BIAS ? 1 : 0;
            if (operand.laneStride != required) revert WrongLaneStride(i, operand.laneStride, required);
        }
    }

    /// @dev Adds the bias of output element `element`, which is a term of its own.
    function _addBias(
        Float32Dot.Sum memory sum,
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        OperandProof.OperandOpening calldata opening,
        uint256 element,
        uint256 window
    ) internal pure {
        NodeRecord.Operand memory operand = node.operands[BIAS];
        uint256 position = operand.firstElement(node.outputs[0], element);
        sum.add(OperandProof.openFloat32(leaf, operand, opening, position), window);
    }
}
