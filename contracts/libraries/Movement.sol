// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { DType } from "./DType.sol";
import { Element } from "./Element.sol";
import { NodeRecord } from "./NodeRecord.sol";

/// @title Where operators that move elements take an output element from.
/// @notice A position is the one that the operand's map gives to the output element, put right by what the map cannot
/// say. Output coordinates are o_0, o_1, ..., and s_d is the map's stride along dimension d.
library Movement {
    /// @dev Up to here torch's nearest index, which it computes in float32, is the exact one.
    uint256 private constant LARGEST_FACTOR = 32;
    uint256 private constant LARGEST_EXTENT = 1 << 20;

    error WrongAttributeCount(uint256 given, uint256 required);
    error AxisOutOfRange(uint256 axis, uint256 rank);
    error UnsupportedScale(uint256 dimension, uint256 factor, uint256 extent);
    error UnsupportedIndexType(uint8 dtype);

    /// @notice The operand of a concatenation that holds an element: the last one that starts at or before it.
    /// @param node Attributes: the axis, then where along it each operand but the first starts.
    /// @return operand Number of the operand.
    /// @return start Where along the axis it starts.
    function concatenated(NodeRecord.Node memory node, uint256 element)
        internal
        pure
        returns (uint256 operand, uint256 start)
    {
        uint32[] memory attributes = node.attributes;
        requireAttributes(node, node.operands.length);
        uint256[] memory output = _coordinates(node.outputs[0], element);
        uint256 axis = attributes[0];
        if (axis >= output.length) revert AxisOutOfRange(axis, output.length);
        for (uint256 k = attributes.length - 1; k > 0; --k) {
            if (attributes[k] <= output[axis]) return (k, attributes[k]);
        }
    }

    /// @notice Whether an element of a padded tensor is one of the operand's.
    /// @param node Attributes: the number around, then for each dimension how many are before the operand's elements
    /// and how many those are.
    /// @return inside Whether before_d <= o_d < before_d + size_d for all d.
    /// @return back sum before_d s_d.
    function padded(NodeRecord.Node memory node, uint256 element) internal pure returns (bool inside, uint256 back) {
        uint256[] memory output = _coordinates(node.outputs[0], element);
        requireAttributes(node, 1 + 2 * output.length);
        inside = true;
        for (uint256 d; d < output.length; ++d) {
            uint256 before = node.attributes[1 + 2 * d];
            uint256 size = node.attributes[2 + 2 * d];
            if (output[d] < before || output[d] >= before + size) inside = false;
            back += before * node.operands[0].strides[d];
        }
    }

    /// @notice The way back from an upsampled element to its nearest one: sum (o_d - o_d / f_d) s_d.
    /// @param node Attributes: the factor f_d of each dimension.
    function upsampled(NodeRecord.Node memory node, uint256 element) internal pure returns (uint256 back) {
        uint256[] memory output = _coordinates(node.outputs[0], element);
        requireAttributes(node, output.length);
        for (uint256 d; d < output.length; ++d) {
            uint256 factor = node.attributes[d];
            uint256 extent = node.outputs[0].shape[d];
            // INVARIANT: the nearest element is o_d / f_d for every kernel.
            if (factor == 0 || (factor > 1 && (factor > LARGEST_FACTOR || extent > LARGEST_EXTENT))) {
                revert UnsupportedScale(d, factor, extent);
            }
            back += (output[d] - output[d] / factor) * node.operands[0].strides[d];
        }
    }

    /// @notice The row that an index, an int32 or int64 element, looks up among `size`.
    /// @param fromEnd Whether -1 is the last row.
    /// @return inside Whether there is such a row.
    function row(Element memory index, uint256 size, bool fromEnd) internal pure returns (bool inside, uint256) {
        uint8 dtype = index.dtype;
        if (dtype != DType.INT32 && dtype != DType.INT64) revert UnsupportedIndexType(dtype);
        int256 place = index.order();
        if (place < 0 && fromEnd) place += int256(size);
        return place < 0 || place >= int256(size) ? (false, 0) : (true, uint256(place));
    }

    function requireAttributes(NodeRecord.Node memory node, uint256 count) internal pure {
        if (node.attributes.length != count) revert WrongAttributeCount(node.attributes.length, count);
    }

    function _coordinates(NodeRecord.TensorType memory output, uint256 element)
        private
        pure
        returns (uint256[] memory coordinates)
    {
        coordinates = new uint256[](output.shape.length);
        for (uint256 d = coordinates.length; d > 0; --d) {
            coordinates[d - 1] = element % output.shape[d - 1];
            element /= output.shape[d - 1];
        }
    }
}
