// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Ball, Balls } from "./Ball.sol";
import { Bound, Bounds } from "./Bound.sol";
import { Elementary } from "./Elementary.sol";
import { ExponentialSums } from "./ExponentialSums.sol";

/// @title Whether a claimed element of an FP32 softmax or log_softmax is proven out of tolerance.
/// @notice For a row x_0 ... x_(n-1) with maximum M, d_j = M - x_j, S = sum e^-d_j, W = sum e^-d_j d_j, u = 2^-24,
/// MIN = 2^-126 and gamma_n = n u / (1 - n u):
///
///     softmax        f = e^-d_i / S      r = 3 u (d_i + W / S) + 19 u + gamma_(n-1)
///                                        tau = r' f + 2 MIN
///     log_softmax    f = -d_i - log S    r = 3 u W / S + 6 u + gamma_(n-1)
///                                        tau = (u (3 d_i + |f| + 4 log S) + r) (1 + 2^-k) + 4 MIN
///
/// where r' = r (1 + 2^-7) and k = 7 for r < 2^-8, r' = r (1 + 2^-5) and k = 5 for larger r, as rows of some 2^16 lanes
/// have, and nothing is refuted where r >= 2^-6.
///
/// Kernels are taken to find M first and then to compute, in FP32 or better and in any order of summation,
///
///     s_j = x_j - M, perhaps times log2 e          off by 3 u d_j: u each for the difference, log2 e and the product
///     e_j = e^s_j (or 2^s_j)                       off by 6 u of itself
///     S   = sum e_j                                off by gamma_(n-1) of itself, as all e_j are positive
///     y   = e_i / S, or e_i times 1 / S            off by 6 u, or 6 u and u for the product
///     y   = s_i - log S                            log S off by 4 u of itself, the difference by u of itself
///
/// They may take subnormal numbers for zero wherever they meet them. An online softmax, which rescales S whenever it
/// meets a larger x_j, is another operator.
///
/// Softmax. y / f is a product of factors (1 + t) and their inverses with sum |t| <= r, hence within r / (1 - r) of 1
/// (Higham, "Accuracy and Stability of Numerical Algorithms", lemma 3.1). The relative error of S by the shifts is a
/// mean of e^(3 u d_j) - 1 with weights e_j / S, thus 3 u W / S up to a factor 1 + 2^-10, as lanes with d_j >= 2^10 are
/// nothing. For r < 2^-8 all that is below r (1 + 2^-7 - 2^-9), and for r < 2^-6, where r / (1 - r) is below r (1 + 2^-6 +
/// 2^-11), below r (1 + 2^-5 - 2^-9). As r >= 19 u, the rest covers what is far smaller still:
/// subnormal inputs taken for zero, which shift d_j by less than 2 MIN, and n lanes of S below MIN flushed, where S >= 1.
/// Flushing e_i costs less than MIN (1 + r'), and leaves nothing of y to flush; flushing y costs less than MIN.
///
/// Where d_i >= 2^10, or x_i = -inf, no kernel makes e_i as large as MIN: tau = 2 MIN, whatever r.
///
/// Log_softmax. S is off by r, so log S by r / (1 - r) and the rounding of itself; the rest is as above, and 4 MIN are for
/// the differences s_i and y, flushed, and their inputs. Where x_i = -inf, y is -inf, and every other y is refuted.
///
/// A row with NaN or +inf, or of -inf only, refutes nothing (ExponentialSums reverts).
library Softmax {
    uint32 private constant NEGATIVE_INFINITY = 0xff800000;

    /// @notice Whether y is proven not to be an element of the softmax of a row with these sums.
    /// @param x The element's lane x_i as an FP32 encoding.
    function refutes(ExponentialSums.Sums memory sums, uint256 lanes, uint32 x, uint32 y) internal pure returns (bool) {
        Bound memory bound;
        Ball memory d = _shift(sums.maximum, x);
        if (d.exceeds(Balls.exact(1, 10))) {
            bound.value = Ball(0, 1, -1400); // e^-1024 < 2^-1400
        } else {
            Ball memory r = _times3u(d.add(_average(sums))).add(Bounds.roundoffs(19)).add(Bounds.gamma(lanes - 1));
            if (!_isBelow(r, -6)) return false;
            bound.value = Elementary.exp(d.neg()).div(sums.total);
            bound.tolerance = _inflate(r, r).mul(bound.value);
        }
        bound.tolerance = bound.tolerance.add(Bounds.minima(2));
        bound.largest = bound.value.add(bound.tolerance);
        return bound.refutes(y);
    }

    /// @notice As `refutes`, of the log_softmax.
    function refutesLog(ExponentialSums.Sums memory sums, uint256 lanes, uint32 x, uint32 y)
        internal
        pure
        returns (bool)
    {
        if (x == NEGATIVE_INFINITY) return y != NEGATIVE_INFINITY;
        Ball memory r = _times3u(_average(sums)).add(Bounds.roundoffs(6)).add(Bounds.gamma(lanes - 1));
        if (!_isBelow(r, -6)) return false;

        Ball memory d = _shift(sums.maximum, x);
        Ball memory logarithm = Elementary.log(sums.total);
        Bound memory bound;
        bound.value = d.add(logarithm).neg();
        Ball memory rounded = bound.value.upperBound().add(logarithm.upperBound().mulPow2(2));
        rounded = _times3u(d).add(rounded.mulPow2(Bounds.UNIT_ROUNDOFF));
        bound.tolerance = _inflate(r.add(rounded), r).add(Bounds.minima(4));
        bound.largest = bound.value.upperBound().add(bound.tolerance);
        return bound.refutes(y);
    }

    /// @dev d_i = M - x_i, or 2^128 where x_i = -inf.
    function _shift(uint32 maximum, uint32 x) private pure returns (Ball memory) {
        if (x == NEGATIVE_INFINITY) return Balls.exact(1, 128);
        return Balls.fromFloat32(maximum).sub(Balls.fromFloat32(x));
    }

    /// @dev W / S
    function _average(ExponentialSums.Sums memory sums) private pure returns (Ball memory) {
        return sums.weighted.div(sums.total);
    }

    function _times3u(Ball memory a) private pure returns (Ball memory) {
        return a.mul(Bounds.roundoffs(3));
    }

    /// @dev a (1 + 2^-7) where r < 2^-8 is proven, else a (1 + 2^-5).
    function _inflate(Ball memory a, Ball memory r) private pure returns (Ball memory) {
        return _isBelow(r, -8) ? Bounds.inflate(a) : a.add(a.mulPow2(-5));
    }

    /// @dev Whether r < 2^k is proven.
    function _isBelow(Ball memory r, int256 k) private pure returns (bool) {
        return Balls.exact(1, k).exceeds(r);
    }
}
