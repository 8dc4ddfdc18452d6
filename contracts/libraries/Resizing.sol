// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "./Ball.sol";
import { Bound, Bounds } from "./Bound.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";
import { Windows } from "./Windows.sol";

/// @title What an element of an image of another size is made of: a box of the input, averaged or interpolated.
/// @notice Of n input places and k output ones along an axis, element o of an adaptive average covers the places from
/// floor(o n / k) to ceil((o + 1) n / k). Linear interpolation looks at the coordinate
///
///     r = o (n - 1) / (k - 1)                       where corners are aligned (0 where k = 1)
///     r = max(((2 o + 1) n - k) / (2 k), 0)         otherwise
///
/// and weighs places i = floor r and i + 1 by 1 - (r - i) and r - i, or the last place alone from there on. A bilinear
/// element is f = sum w_y w_x x over the places of both axes. With u = 2^-24, MIN = 2^-126 and M the largest |x| in the box:
///
///     tau = gamma_12 (sum w_y w_x |x| + delta M) + 2 delta M + 24 MIN,    delta = 4 u (n_Y + 2 + n_X + 2)
///
/// Kernels compute r in FP32: the scale, a product with o or o + 1/2 (exact, as there are fewer than 2^22 places) and the
/// subtraction of 1/2 round once each, all at magnitudes of at most n, so that r is off by less than 4 u (n + 2). They
/// interpolate at a point that far away, possibly between the places next to those of r. The interpolant is continuous,
/// and no steeper than 2 M along an axis, that of |x| than M; the box holds every place within reach, so also
/// what is multiplied by a weight of zero. r - i is exact. Of the roundings each product meets, two make weights 1 - (r - i),
/// three multiply and three add. Weights other than zero are above 2^-50, so that only products with x, their sums and x
/// itself can be flushed to zero, which loses less than 24 MIN. The scale is n / k: a node whose scale is another number
/// has no map.
library Resizing {
    /// @param box The places within reach.
    /// @param y Weights of the box's rows.
    /// @param x Weights of its columns.
    /// @param delta delta / 4 u.
    struct Bilinear {
        Windows.Runs box;
        Taps y;
        Taps x;
        uint256 delta;
    }

    /// @param low First place within reach.
    /// @param count Places within reach.
    /// @param at Place i, counted from the first.
    /// @param next Weight of place i + 1, in parts of `whole`; place i has the rest.
    struct Taps {
        uint256 low;
        uint256 count;
        uint256 at;
        uint256 next;
        uint256 whole;
    }

    // Positions among the attributes.
    uint256 private constant EXTENT_Y = 0;
    uint256 private constant STRIDE_Y = 1;
    uint256 private constant EXTENT_X = 2;
    uint256 private constant ALIGNED = 3;

    uint256 private constant LARGEST_EXTENT = 1 << 20;
    /// @dev -log2 4 u.
    uint256 private constant COORDINATE_BITS = 22;
    uint32 private constant MAGNITUDE = 0x7fffffff;

    error NotAnImage(uint256 attributes, uint256 rank);
    error NotABoolean(uint256 word);
    error UnsupportedExtent(uint256 input, uint256 output);

    /// @notice The box that an element of an adaptive average pooling covers.
    /// @param node Attributes: the input's rows, their distance and its columns.
    function averaged(NodeRecord.Node memory node, uint256 element) internal pure returns (Windows.Runs memory) {
        uint256[2] memory at = _places(node, element, 3);
        uint32[] memory shape = node.outputs[0].shape;
        (uint256 rowCount, uint256 columns) = (node.attributes[EXTENT_Y], node.attributes[EXTENT_X]);
        uint256 top = at[0] * rowCount / shape[2];
        uint256 bottom = ((at[0] + 1) * rowCount + shape[2] - 1) / shape[2];
        uint256 left = at[1] * columns / shape[3];
        uint256 right = ((at[1] + 1) * columns + shape[3] - 1) / shape[3];
        return _box(node, element, top, bottom - top, left, right - left);
    }

    /// @notice What a bilinear element reads.
    /// @param node Attributes: the same, and whether corners are aligned.
    function interpolated(NodeRecord.Node memory node, uint256 element) internal pure returns (Bilinear memory found) {
        uint256[2] memory at = _places(node, element, 4);
        uint32[] memory words = node.attributes;
        uint32[] memory shape = node.outputs[0].shape;
        // INVARIANT: the word says one thing or the other.
        if (words[ALIGNED] > 1) revert NotABoolean(words[ALIGNED]);
        bool aligned = words[ALIGNED] == 1;
        found.y = _taps(at[0], words[EXTENT_Y], shape[2], aligned);
        found.x = _taps(at[1], words[EXTENT_X], shape[3], aligned);
        found.box = _box(node, element, found.y.low, found.y.count, found.x.low, found.x.count);
        found.delta = uint256(words[EXTENT_Y]) + words[EXTENT_X] + 4;
    }

    /// @notice Whether a bilinear element is proven out of tolerance.
    /// @param rows Calldata position of each row of the box.
    function refutesBilinear(Bilinear memory found, uint256[] memory rows, uint32 y) internal pure returns (bool) {
        Ball memory value;
        Ball memory total;
        uint32 largest;
        for (uint256 row; row < rows.length; ++row) {
            for (uint256 column; column < found.x.count; ++column) {
                uint32 bits = _load(rows[row] + 4 * column);
                uint32 magnitude = bits & MAGNITUDE;
                // INVARIANT: infinite and NaN places refute nothing, also where their weight is zero.
                Ball memory x = Balls.fromFloat32(bits);
                if (magnitude > largest) largest = magnitude;
                Ball memory weight = Balls.exact(int256(_weight(found.y, row) * _weight(found.x, column)), 0);
                value = value.add(weight.mul(x));
                total = total.add(weight.mul(Balls.fromFloat32(magnitude)));
            }
        }
        Ball memory whole = Balls.exact(int256(found.y.whole * found.x.whole), 0);
        Ball memory most = Balls.fromFloat32(largest);
        Ball memory moved = Balls.exact(int256(found.delta), -int256(COORDINATE_BITS)).mul(most);
        Bound memory bound;
        bound.value = value.div(whole);
        bound.tolerance = Bounds.gamma(12).mul(total.div(whole).add(moved)).add(moved.mulPow2(1)).add(Bounds.minima(24));
        bound.largest = most.add(bound.tolerance);
        return bound.refutes(y);
    }

    /// @dev The places of an axis of n places that a coordinate within 4 u (n + 2) of r falls between.
    function _taps(uint256 place, uint256 n, uint256 k, bool aligned) private pure returns (Taps memory taps) {
        // INVARIANT: coordinates are as exact as the bound takes them to be, and their error is below half a place.
        if (n == 0 || n > LARGEST_EXTENT || k > LARGEST_EXTENT) revert UnsupportedExtent(n, k);
        uint256 numerator;
        if (aligned) {
            taps.whole = k > 1 ? k - 1 : 1;
            numerator = place * (n - 1);
        } else {
            taps.whole = 2 * k;
            numerator = (2 * place + 1) * n;
            numerator = numerator > k ? numerator - k : 0;
        }
        uint256 index = numerator / taps.whole;
        uint256 next = numerator % taps.whole;
        uint256 reach = (n + 2) * taps.whole;
        bool below = index != 0 && next << COORDINATE_BITS < reach;
        bool above = (taps.whole - next) << COORDINATE_BITS <= reach;
        uint256 high = index + (above ? 2 : 1);
        if (high > n - 1) high = n - 1;
        taps.low = below ? index - 1 : index;
        taps.count = high + 1 - taps.low;
        taps.at = index - taps.low;
        // From the last place on there is no next one.
        taps.next = index == n - 1 ? 0 : next;
    }

    function _weight(Taps memory taps, uint256 place) private pure returns (uint256) {
        if (place == taps.at) return taps.whole - taps.next;
        return place == taps.at + 1 ? taps.next : 0;
    }

    function _box(
        NodeRecord.Node memory node,
        uint256 element,
        uint256 top,
        uint256 rowCount,
        uint256 left,
        uint256 columns
    ) private pure returns (Windows.Runs memory runs) {
        uint256 stride = node.attributes[STRIDE_Y];
        runs.a = OperandProof.firstElement(node.operands[0], node.outputs[0], element) + top * stride + left;
        (runs.outer, runs.aOuter) = (rowCount, stride);
        (runs.inner, runs.length) = (1, columns);
    }

    /// @dev The element's coordinates along Y and X.
    function _places(NodeRecord.Node memory node, uint256 element, uint256 attributes)
        private
        pure
        returns (uint256[2] memory at)
    {
        uint32[] memory shape = node.outputs[0].shape;
        // INVARIANT: no number of the call goes unread, and images are [N, C, Y, X].
        if (node.attributes.length != attributes || shape.length != 4) {
            revert NotAnImage(node.attributes.length, shape.length);
        }
        at[1] = element % shape[3];
        at[0] = element / shape[3] % shape[2];
    }

    function _load(uint256 position) private pure returns (uint32 bits) {
        assembly ("memory-safe") {
            bits := shr(224, calldataload(position))
        }
    }
}
