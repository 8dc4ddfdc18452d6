// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { Ball, Balls } from "./Ball.sol";
import { Limits } from "./Limits.sol";
import { Moments } from "./Moments.sol";

/// @title Whether a claimed element of a normalised FP32 tensor is proven out of tolerance.
/// @notice u = 2^-24, MIN = 2^-126, gamma_k = k u / (1 - k u). For a row of n numbers x_j, of which the element has x:
///
///     m = mean x_j, A = mean |x_j|, Q = mean x_j^2, V = Q - m^2, W = V + eps, r = W^(-1/2), z = (x - m) r
///     f = z w + b
///
/// Where w or b is left out it is 1 or 0. A finite y is refuted iff |y - f| > tau is proven.
///
/// Layer and group normalisation. Step by step, with the roundings of first order:
///
/// 1. The mean. A sum in any order and its division by n, also by a rounded reciprocal, have n + 1 roundings of at
///    most n A. Welford's m_k = m_(k-1) + (x_k - m_(k-1)) / k has (1/n) sum_k (3 u |x_k - m_(k-1)| + k u |m_k|), where
///    k |m_k| <= n A and sum_k |x_k - m_(k-1)| <= n A (1 + 1 + 1/2 + ... + 1/(n-1)). Hence |dm| <= gamma_k A with
///    k = n + 9 + 2 floor(log2 n).
/// 2. The variance, by the worst of three algorithms.
///    One-pass, Q - m^2: gamma_k Q for Q, 2 gamma_k |m| A <= 2 gamma_k Q for m^2, and two more roundings.
///    Two-pass, mean (x_j - m)^2: gamma_k V and dm^2.
///    Welford's, sum d_k (x_k - m_k) with d_k = x_k - m_(k-1): an error e_k of m_k costs 2 |d_k e_k|. To u,
///    |e_k| <= (k |m| + n sqrt V) / 2 and 3 mean |d_i|, and sum |d_k| <= n sqrt(2 V): with n u V for the sum that is at
///    most 2.6 n u Q + 28 u Q. Joining parts of the row (Chan) has fewer roundings on each path.
///    All are below 3 (gamma_k + u) Q; dm^2 and products of errors are gamma_k of it. Hence
///    |dV| <= 3 (gamma_k + u) (1 + gamma_k) Q. Q / W is what makes this bound useless for rows far from zero.
/// 3. W: eps, which kernels may have in FP64, the sum and its rounding are 3 u W; so |dW| <= rho W.
/// 4. r: (1 - rho)^(-1/2) - 1 bounds what dW makes of it in either direction, and the root adds 6 u; that is R.
/// 5. z w + b in any order, also as x (r w) + (b - m r w): at most four roundings of x r w and m r w, two of b.
/// 6. What is of second order and not in (1 + R) or step 2 is below 2^-7 of the whole, as all relative errors but R are
///    4 u and 6 u.
///
///     rho = 3 (gamma_k + u) (1 + gamma_k) Q / W + 3 u + F / W,  R = (1 - rho)^(-1/2) - 1 + 6 u
///     tau = (1 + 2^-7) (|w| (r (1 + R) (gamma_k A + 4 u (|x| + |m|) + G) + R |z|) + 2 u |b|) + H
///
/// F, G and H are what flushed results and subnormal inputs taken for zero cost. A mean is off by (2 n + 4) MIN, where
/// Welford's steps are flushed, and x - m by two more: G = (2 n + 6) MIN. V is off by so much of 2 sqrt V <= 1 + V, and
/// by one for each of its results: F = (4 n + 16) MIN. Products with w, and r w, may be flushed before they meet the
/// other factors, and w may count as zero: H = MIN (5 + 2 (|x| + |m|) + 3 |w| + |z|).
///
/// RMS normalisation has no mean: f = x r w, W = Q + eps, and with z = x r
///
///     rho = gamma_(n+4) Q / W + 3 u + F / W,   tau = (1 + 2^-7) |z w| (R + 4 u) + H + 4 MIN r (1 + R) |w|
///
/// Batch normalisation has mean m and variance V committed; r is off by 7 u and MIN / W, each of the other steps as
/// above, scale and shift may be folded apart from each other:
///
///     tau = 12 u (r |w| (|x| + |m|) + |b|) + H + 4 MIN r |w|
///
/// An infinite or NaN y is refuted iff r (1 + R) (1 + |w|) (1 + |x| + |m|) + |b| and tau stay below 2^127 together.
/// Nothing is refuted where a number is not finite (reverts with NotFinite or Moments' own error); where eps or a
/// committed variance is negative; where rho >= 1/2 or a committed W < 2^-98, which determine no root; where
/// n sum x_j^2 >= 2^126 or W >= 2^127, so that a kernel may overflow on its way to a finite y.
library Normalisation {
    /// @dev FP32 encodings.
    /// @param x The normalised tensor's element.
    /// @param weight w; 1.0 where there is none.
    /// @param bias b; 0 where there is none.
    /// @param epsilon eps.
    /// @param claimed y.
    struct Element {
        uint32 x;
        uint32 weight;
        uint32 bias;
        uint32 epsilon;
        uint32 claimed;
    }

    /// @dev What an element is scaled by.
    /// @param defined Whether anything can be refuted.
    /// @param mean m.
    /// @param root r.
    /// @param rootError R; unused where the mean and variance are committed.
    struct Scale {
        bool defined;
        Ball mean;
        Ball root;
        Ball rootError;
    }

    int256 private constant UNIT_ROUNDOFF = -24; // log2 u
    int256 private constant SMALLEST_NORMAL = -126; // log2 MIN
    uint32 private constant SIGN = 0x80000000;

    /// @notice Layer and group normalisation over a row of n numbers with the given sums.
    function refutesLayer(Moments.Sums memory sums, uint256 n, Element memory element) internal pure returns (bool) {
        Ball memory count = _integer(n);
        Ball memory gamma = _gamma(n + 9 + 2 * Math.log2(n));
        Scale memory scale;
        scale.mean = sums.sum.div(count);
        {
            Ball memory square = sums.squares.div(count);
            Ball memory variance = square.sub(scale.mean.mul(scale.mean));
            Ball memory relative = _times(gamma.add(_units(1)).mul(gamma.add(_integer(1))), 3);
            _setRoot(scale, sums, n, variance, relative.mul(square), element.epsilon);
        }
        if (!scale.defined) return false;

        Ball memory x = Balls.fromFloat32(element.x);
        Ball memory z = x.sub(scale.mean).mul(scale.root);
        Ball memory size = x.upperBound().add(scale.mean.upperBound());
        Ball memory tolerance = gamma.mul(sums.magnitude.div(count)).add(_units(4).mul(size)).add(_minima(2 * n + 6));
        tolerance = tolerance.mul(_inflated(scale)).add(z.upperBound().mul(scale.rootError));
        tolerance = tolerance.mul(Balls.fromFloat32(element.weight).upperBound());
        tolerance = _withSecondOrder(tolerance.add(_units(2).mul(Balls.fromFloat32(element.bias).upperBound())));
        return _isRefuted(element, z, size, _inflated(scale), tolerance);
    }

    /// @notice RMS normalisation over a row of n numbers with the given sums; it has no bias.
    function refutesRms(Moments.Sums memory sums, uint256 n, Element memory element) internal pure returns (bool) {
        Scale memory scale;
        Ball memory square = sums.squares.div(_integer(n));
        _setRoot(scale, sums, n, square, _gamma(n + 4).mul(square), element.epsilon);
        if (!scale.defined) return false;

        Ball memory x = Balls.fromFloat32(element.x);
        Ball memory z = x.mul(scale.root);
        Ball memory tolerance = _withSecondOrder(z.upperBound().mul(scale.rootError.add(_units(4))));
        tolerance = tolerance.add(_minima(4).mul(_inflated(scale)));
        tolerance = tolerance.mul(Balls.fromFloat32(element.weight).upperBound());
        return _isRefuted(element, z, x.upperBound(), _inflated(scale), tolerance);
    }

    /// @notice Batch normalisation with a committed mean and variance, FP32 encodings.
    function refutesBatch(uint32 mean, uint32 variance, Element memory element) internal pure returns (bool) {
        if ((element.epsilon | variance) & SIGN != 0) return false;
        Ball memory width = Balls.fromFloat32(variance).add(Balls.fromFloat32(element.epsilon));
        // INVARIANT: the sum's flushed parts are below 2^-26 of it, and it does not overflow.
        if (Balls.exact(1, -98).exceeds(width) || !Balls.exact(1, 127).exceeds(width)) return false;

        Ball memory root = width.rsqrt();
        Ball memory x = Balls.fromFloat32(element.x);
        Ball memory m = Balls.fromFloat32(mean);
        Ball memory size = x.upperBound().add(m.upperBound());
        Ball memory tolerance = _units(12).mul(size).add(_minima(4)).mul(root);
        tolerance = tolerance.mul(Balls.fromFloat32(element.weight).upperBound());
        tolerance = tolerance.add(_units(12).mul(Balls.fromFloat32(element.bias).upperBound()));
        return _isRefuted(element, x.sub(m).mul(root), size, root.mulPow2(1), tolerance);
    }

    /// @dev Sets r, R and whether they can be told, for V + eps with |dV| <= deviation and F.
    function _setRoot(
        Scale memory scale,
        Moments.Sums memory sums,
        uint256 n,
        Ball memory variance,
        Ball memory deviation,
        uint32 epsilon
    ) private pure {
        // INVARIANT: no kernel's squares overflow, so that its variance is finite.
        if (!Balls.exact(1, 126).exceeds(_times(sums.squares, n))) return;
        if (epsilon & SIGN != 0) return;
        Ball memory width = variance.add(Balls.fromFloat32(epsilon));
        // INVARIANT: all of the enclosure has an inverse root.
        if (width.mid <= 0 || uint256(width.mid) <= width.rad) return;
        Ball memory rho = deviation.add(_minima(4 * n + 16)).div(width).add(_units(3));
        // INVARIANT: rho < 1/2 is proven, and W does not overflow.
        if (!Balls.exact(1, -1).exceeds(rho) || !Balls.exact(1, 127).exceeds(width)) return;
        Ball memory one = _integer(1);
        scale.root = width.rsqrt();
        scale.rootError = one.sub(rho).rsqrt().sub(one).add(_units(6));
        scale.defined = true;
    }

    /// @dev The decision on f = z w + b; `size` is |x| + |m|, `root` at least the largest inverse root of a kernel. To
    /// the tolerance comes H. Kernels multiply by root and weight in any order, so each product may come first.
    function _isRefuted(
        Element memory element,
        Ball memory z,
        Ball memory size,
        Ball memory root,
        Ball memory tolerance
    ) private pure returns (bool) {
        Ball memory weight = Balls.fromFloat32(element.weight);
        Ball memory bias = Balls.fromFloat32(element.bias);
        Ball memory flushed = _integer(5).add(size.mulPow2(1)).add(_times(weight.upperBound(), 3)).add(z.upperBound());
        tolerance = tolerance.add(flushed.mulPow2(SMALLEST_NORMAL));
        if (Limits.isFinite(element.claimed)) {
            return Balls.isOutside(element.claimed, z.mul(weight).add(bias), tolerance);
        }
        Ball memory one = _integer(1);
        Ball memory factors = root.add(one).mul(weight.upperBound().add(one));
        Ball memory largest = factors.mul(size.add(one)).add(bias.upperBound());
        return Balls.exact(1, 127).exceeds(largest.add(tolerance));
    }

    /// @dev r (1 + R)
    function _inflated(Scale memory scale) private pure returns (Ball memory) {
        return scale.root.add(scale.root.mul(scale.rootError));
    }

    /// @dev (1 + 2^-7) a
    function _withSecondOrder(Ball memory a) private pure returns (Ball memory) {
        return a.add(a.mulPow2(-7));
    }

    /// @dev k u / (1 - k u), for k below 2^22
    function _gamma(uint256 k) private pure returns (Ball memory) {
        return _integer(k).div(_integer((1 << 24) - k));
    }

    /// @dev k u
    function _units(uint256 k) private pure returns (Ball memory) {
        return Balls.exact(int256(k), UNIT_ROUNDOFF);
    }

    /// @dev k MIN
    function _minima(uint256 k) private pure returns (Ball memory) {
        return Balls.exact(int256(k), SMALLEST_NORMAL);
    }

    function _integer(uint256 k) private pure returns (Ball memory) {
        return Balls.exact(int256(k), 0);
    }

    function _times(Ball memory a, uint256 factor) private pure returns (Ball memory) {
        return a.mul(_integer(factor));
    }
}
