// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "./Ball.sol";
import { Bound, Bounds } from "./Bound.sol";
import { Float32Dot } from "./Float32Dot.sol";
import { RowSums } from "./RowSums.sol";

/// @title Whether a claimed sum, mean, 2-norm or extremum of a row of FP32 numbers is proven out of tolerance.
/// @notice For a row x_0 ... x_(n-1) with S = sum x_j, T = sum |x_j|, D the sum of |x_j| over subnormal x_j,
/// Q = sum x_j^2, u = 2^-24, MIN = 2^-126 and gamma_n = n u / (1 - n u):
///
///     sum     f = S        tau = gamma_(n-1) T + n MIN + D
///     mean    f = S / n    tau = (gamma_(n+2) T + (n + 1) MIN + D) / n + 2 MIN
///     norm    f = sqrt Q   tau = (gamma_n / 2 + 4 u) (1 + 2^-7) f + min(sqrt F, F / f) + 2 MIN, F = 4 n MIN
///     average f = S / c    tau = (gamma_(n+2) T + (n + 1) MIN + D) / c + 2 MIN
///     amax    exact, where numbers below MIN are equal; amin alike
///
/// Kernels are taken to compute in FP32 or better, with or without FMA, in any order of summation, and to take subnormal
/// numbers for zero or not, wherever they meet them.
///
/// Sum. Each x_j meets at most n - 1 roundings (Higham, "Accuracy and Stability of Numerical Algorithms", 4.2). D is for
/// inputs taken for zero, n - 1 MIN for sums.
///
/// Mean. The sum is taken first. The division rounds once, and a multiplication by the rounded 1 / n twice, which leaves
/// one rounding more than needed. An average with another divisor c >= 1 is alike; adaptive pooling divides by the rows and
/// then by the columns of its window, which rounds twice as well.
///
/// Norm. The x_j are squared as they are. Q meets n roundings, and its n squares and n - 1 sums may each lose less
/// than MIN. As |sqrt(a + b) - sqrt a| <= min(sqrt |b|, |b| / sqrt a), that costs the second term, where the factor two in F
/// covers what roundings make of it. sqrt(1 + gamma) is within gamma / 2 + gamma^2 / 2 of 1. The root is off by 4 u of
/// itself; nothing is refuted where n > 2^17, so gamma_n < 2^-6.99 and second-order terms are below 2^-7 of the first.
///
/// A non-finite y is refuted iff no intermediate result reaches 2^127: T + tau, T + c tau for an average, and for the
/// norm Q (1 + 2^-6) + F. Infinite and NaN lanes refute nothing (the sums revert), but infinite ones have a maximum.
library Reduction {
    uint256 private constant SIGN = 1 << 255;

    /// @notice Whether y is proven not to be the sum of a row with these sums.
    function refutesSum(RowSums.Sums memory sums, uint256 lanes, uint32 y) internal pure returns (bool) {
        Bound memory bound;
        bound.value = sums.value;
        bound.tolerance = _tolerance(sums, lanes - 1, lanes);
        bound.largest = sums.magnitude.add(bound.tolerance);
        return bound.refutes(y);
    }

    /// @notice As `refutesSum`, of the mean.
    function refutesMean(RowSums.Sums memory sums, uint256 lanes, uint32 y) internal pure returns (bool) {
        return refutesAverage(sums, lanes, lanes, y);
    }

    /// @notice As `refutesMean`, where the sum is divided by `divisor`, at least 1.
    function refutesAverage(RowSums.Sums memory sums, uint256 lanes, uint256 divisor, uint32 y)
        internal
        pure
        returns (bool)
    {
        Ball memory count = Balls.exact(int256(divisor), 0);
        Bound memory bound;
        bound.value = sums.value.div(count);
        bound.tolerance = _tolerance(sums, lanes + 2, lanes + 1).div(count).add(Bounds.minima(2));
        bound.largest = sums.magnitude.add(bound.tolerance.mul(count));
        return bound.refutes(y);
    }

    /// @notice Whether y is proven not to be the 2-norm of a run.
    /// @param window As in Float32Dot, a hint.
    function refutesNorm(uint256 run, uint256 lanes, uint256 window, uint32 y) internal pure returns (bool) {
        Float32Dot.Sum memory sum = Float32Dot.dot(run, run, lanes, window);
        // Products below the window are below 2^47 units; below the least window there are none.
        uint256 skipped = window == Float32Dot.MIN_WINDOW ? 0 : lanes << 47;
        Ball memory squares = Ball(int256(sum.positive), skipped, int256(window) - 300);
        squares.round();
        Ball memory flushed = Bounds.minima(4 * lanes);

        Bound memory bound;
        bound.value = squares.sqrt();
        bound.tolerance = Bounds.inflate(Bounds.gamma(lanes).mulPow2(-1).add(Bounds.roundoffs(4))).mul(bound.value);
        Ball memory lost = flushed.sqrt();
        if (bound.value.exceeds(lost)) lost = flushed.div(bound.value);
        bound.tolerance = bound.tolerance.add(lost).add(Bounds.minima(2));
        bound.largest = squares.add(squares.mulPow2(-6)).add(flushed);
        return bound.refutes(y);
    }

    /// @notice Whether y is not the largest lane of a run; +0 and -0 are equal, as are all numbers below MIN. A row with
    /// a NaN refutes nothing.
    function refutesMaximum(uint256 run, uint256 lanes, uint32 y) internal pure returns (bool) {
        return _refutesExtremum(run, lanes, y, 0);
    }

    /// @notice As `refutesMaximum`, of the smallest lane.
    function refutesMinimum(uint256 run, uint256 lanes, uint32 y) internal pure returns (bool) {
        return _refutesExtremum(run, lanes, y, 1 << 31);
    }

    /// @param flip Added to the bits of all numbers: 0, or the sign bit, so that the smallest is the largest.
    function _refutesExtremum(uint256 run, uint256 lanes, uint32 y, uint32 flip) private pure returns (bool) {
        (uint256 most, bool hasNaN) = _maximum(run, lanes, flip);
        if (hasNaN) return false;
        uint256 claimed = _key(y ^ flip);
        // In between are the numbers below MIN.
        bool zero = _key(0x80800000) < most && most < _key(0x00800000);
        if (zero) return claimed <= _key(0x80800000) || claimed >= _key(0x00800000);
        return claimed != most;
    }

    /// @dev gamma_roundings T + minima MIN + D
    function _tolerance(RowSums.Sums memory sums, uint256 roundings, uint256 minima)
        private
        pure
        returns (Ball memory)
    {
        return Bounds.gamma(roundings).mul(sums.magnitude).add(Bounds.minima(minima)).add(sums.subnormal);
    }

    /// @dev The largest key of a run with flipped bits, and whether a lane is NaN.
    function _maximum(uint256 run, uint256 lanes, uint32 flip) private pure returns (uint256 most, bool hasNaN) {
        uint256 negativeInfinity = _key(0xff800000) << 224;
        uint256 flipped = uint256(flip) << 224;
        assembly ("memory-safe") {
            // The lanes behind the first in a word decide between equal ones only.
            for { let end := add(run, shl(2, lanes)) } lt(run, end) { run := add(run, 4) } {
                let word := xor(calldataload(run), flipped)
                let key := xor(word, or(sar(255, word), SIGN))
                if gt(key, most) { most := key }
                hasNaN := or(hasNaN, lt(key, negativeInfinity))
            }
            most := shr(224, most)
        }
        hasNaN = hasNaN || most > _key(0x7f800000);
    }

    /// @dev FP32 numbers in ascending order: from NaN with the sign bit over -inf to +inf and NaN without.
    function _key(uint32 bits) private pure returns (uint256) {
        return bits >> 31 == 0 ? bits | 0x80000000 : ~bits;
    }
}
