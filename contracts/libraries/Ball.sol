// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { SignedMath } from "@openzeppelin/contracts/utils/math/SignedMath.sol";

/// @dev Some real number in [mid - rad, mid + rad] * 2^exp; |mid| + rad is below 2^122 and |exp| below 2^128.
struct Ball {
    int256 mid;
    uint256 rad;
    int256 exp;
}

using Balls for Ball global;

/// @title Midpoint-radius arithmetic (Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval
/// arithmetic", 2017) with midpoints of up to 120 bits.
/// @notice The result of an operation contains the exact result for all numbers in the operands: its radius covers
/// theirs and its own rounding. Operations on exact numbers are exact where 120 bits hold the result.
/// @dev Balls are values: an operation may return an operand itself, and none but `round` changes one. Results are
/// filled in where the compiler allocates them; to construct and return one would allocate twice.
library Balls {
    /// @dev Results of more bits are rounded to this many.
    uint256 private constant PRECISION = 120;

    error NotFinite(uint32 bits);
    error DivisorMayBeZero();
    error RadicandMayBeNegative();

    /// @notice The exact value of a finite FP32 number.
    function fromFloat32(uint32 bits) internal pure returns (Ball memory result) {
        uint256 exponent = (bits >> 23) & 0xff;
        if (exponent == 0xff) revert NotFinite(bits);
        unchecked {
            int256 mid = int256(uint256(bits & 0x7fffff));
            if (exponent == 0) exponent = 1;
            else mid |= 0x800000;
            result.mid = bits >> 31 == 0 ? mid : -mid;
            result.exp = int256(exponent) - 150;
        }
    }

    /// @notice mid * 2^exp; |mid| is below 2^122.
    function exact(int256 mid, int256 exp) internal pure returns (Ball memory result) {
        result.mid = mid;
        result.exp = exp;
    }

    /// @notice Rounds a ball under construction, of any radius and |mid| up to 2^254, to the bits that others expect.
    function round(Ball memory a) internal pure {
        unchecked {
            uint256 size = SignedMath.abs(a.mid) | a.rad;
            if (size >> PRECISION == 0) return;
            uint256 excess = Math.log2(size) + 1 - PRECISION;
            // The midpoint loses less than one unit, the radius as well.
            a.mid >>= excess;
            a.rad = (a.rad >> excess) + 2;
            a.exp += int256(excess);
        }
    }

    function neg(Ball memory a) internal pure returns (Ball memory result) {
        unchecked {
            result.mid = -a.mid;
        }
        result.rad = a.rad;
        result.exp = a.exp;
    }

    function add(Ball memory a, Ball memory b) internal pure returns (Ball memory result) {
        if (a.exp < b.exp) (a, b) = (b, a);
        if (a.mid == 0 && a.rad == 0) return b;
        // SAFETY: shifted by up to 120 bits, midpoints and radii stay below 2^242.
        unchecked {
            uint256 gap = uint256(a.exp - b.exp);
            uint256 left = Math.min(gap, PRECISION);
            uint256 right = gap - left;
            result.mid = (a.mid << left) + (b.mid >> right);
            result.rad = (a.rad << left) + (b.rad >> right);
            if (right != 0) result.rad += 2;
            result.exp = a.exp - int256(left);
        }
        round(result);
    }

    function sub(Ball memory a, Ball memory b) internal pure returns (Ball memory) {
        return add(a, neg(b));
    }

    function mul(Ball memory a, Ball memory b) internal pure returns (Ball memory result) {
        // SAFETY: products of numbers below 2^122, and three of them added, are below 2^246.
        unchecked {
            result.mid = a.mid * b.mid;
            result.rad = SignedMath.abs(a.mid) * b.rad + SignedMath.abs(b.mid) * a.rad + a.rad * b.rad;
            result.exp = a.exp + b.exp;
        }
        round(result);
    }

    /// @notice a * 2^k.
    function mulPow2(Ball memory a, int256 k) internal pure returns (Ball memory result) {
        result.mid = a.mid;
        result.rad = a.rad;
        unchecked {
            result.exp = a.exp + k;
        }
    }

    /// @notice a / b. Reverts with DivisorMayBeZero where b contains 0.
    function div(Ball memory a, Ball memory b) internal pure returns (Ball memory result) {
        uint256 divisor = SignedMath.abs(b.mid);
        // INVARIANT: the quotient is bounded.
        if (divisor <= b.rad) revert DivisorMayBeZero();
        uint256 size = SignedMath.abs(a.mid) | a.rad;
        if (size == 0) return a;
        // SAFETY: the shift leaves numerators below 2^254; |quotient| * b.rad < |quotient| * divisor.
        unchecked {
            uint256 shift = 253 - Math.log2(size);
            int256 quotient = (a.mid << shift) / b.mid;
            result.mid = quotient;
            // |a / b - mid(a) / mid(b)| <= (rad(a) + |mid(a) / mid(b)| rad(b)) / (|mid(b)| - rad(b))
            result.rad = ((a.rad << shift) + (SignedMath.abs(quotient) + 1) * b.rad) / (divisor - b.rad) + 2;
            result.exp = a.exp - b.exp - int256(shift);
        }
        round(result);
    }

    /// @notice The square root. Reverts with RadicandMayBeNegative where a contains a number below 0.
    function sqrt(Ball memory a) internal pure returns (Ball memory result) {
        // INVARIANT: every number in the ball has a root.
        if (a.mid < 0 || uint256(a.mid) < a.rad) revert RadicandMayBeNegative();
        if (a.mid == 0) return a;
        // SAFETY: the radicand is below 2^239, so that neither the root nor its radius, at most as large, needs rounding.
        unchecked {
            uint256 shift = 237 - Math.log2(uint256(a.mid));
            if ((a.exp - int256(shift)) & 1 != 0) ++shift;
            uint256 root = Math.sqrt(uint256(a.mid) << shift);
            result.mid = int256(root);
            // |sqrt(x) - sqrt(mid)| = |x - mid| / (sqrt(x) + sqrt(mid)) <= rad / sqrt(mid)
            result.rad = (a.rad << shift) / root + 2;
            result.exp = (a.exp - int256(shift)) / 2;
        }
    }

    /// @notice 1 / sqrt(a), to 2^-64 of it or its radius. Reverts with RadicandMayBeNegative unless all of a is above 0.
    function rsqrt(Ball memory a) internal pure returns (Ball memory result) {
        // INVARIANT: every number in the ball has an inverse root.
        if (a.mid <= 0 || uint256(a.mid) <= a.rad) revert RadicandMayBeNegative();
        // SAFETY: the root is at most 2^127, and at least 2^65.
        unchecked {
            uint256 odd = uint256(a.exp & 1);
            uint256 root = Math.sqrt((1 << 254) / (uint256(a.mid) << odd));
            result.mid = int256(root);
            // |1 / sqrt(x) - 1 / sqrt(mid)| = |x - mid| / (sqrt(x mid) (sqrt(x) + sqrt(mid))), where x >= mid - rad
            result.rad = (root + 2) * a.rad / (uint256(a.mid) - a.rad) + 3;
            result.exp = -127 - (a.exp - int256(odd)) / 2;
        }
        round(result);
    }

    /// @notice An exact number that is at least |x| for every x in a.
    function upperBound(Ball memory a) internal pure returns (Ball memory result) {
        unchecked {
            result.mid = int256(SignedMath.abs(a.mid) + a.rad);
        }
        result.exp = a.exp;
    }

    /// @notice Whether |x| > |b| is proven, for all numbers in the two balls.
    function exceeds(Ball memory x, Ball memory b) internal pure returns (bool) {
        // SAFETY: shifted by up to 122 bits, numbers are below 2^244.
        unchecked {
            uint256 least = SignedMath.abs(x.mid);
            if (least <= x.rad) return false;
            least -= x.rad;
            uint256 most = SignedMath.abs(b.mid) + b.rad;
            if (most == 0) return true;
            // Both are at least 1 and below 2^122, so that a larger gap decides.
            int256 gap = x.exp - b.exp;
            if (gap > 122) return true;
            if (gap < -122) return false;
            return gap > 0 ? least << uint256(gap) > most : least > most << uint256(-gap);
        }
    }

    /// @notice Whether |y - f| > |tau| is proven for all numbers in the balls; y is a finite FP32 number.
    function isOutside(uint32 y, Ball memory f, Ball memory tau) internal pure returns (bool) {
        return exceeds(sub(fromFloat32(y), f), tau);
    }
}
