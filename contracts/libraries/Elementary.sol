// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { SignedMath } from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import { Ball } from "./Ball.sol";

/// @title Enclosures of elementary functions.
/// @notice The ball returned contains the function's value for every number in the argument's ball. For an exact
/// argument its radius is below 2^-51 of the value, also near the zeros of odd functions, of log and, for FP32
/// arguments, of sin and cos; but gelu's is relative to its factor x, and exp and sigmoid of less than -2^20 are only
/// known to be below 2^-2^20.
/// @dev Kernels work on fixed-point numbers of 80 fraction bits ("units" of 2^-80). Series are the textbooks', in
/// Horner's form with the factorials' factors as divisors, so that no coefficient has to be taken on trust. What a
/// kernel truncates and rounds is bounded in a comment, and the radius is at least twice as large.
library Elementary {
    uint256 private constant FRACTION = 80;
    int256 private constant ONE = 1 << 80;
    uint256 private constant UNIT = 1 << 80; // ONE, unsigned

    /// @dev Beyond this magnitude exp and sigmoid are not evaluated.
    int256 private constant EXP_LIMIT = ONE << 20;

    // Constants rounded down, the suffix is the number of fraction bits.
    int256 private constant LOG2_E_80 = 0x171547652b82fe1777d0f;
    int256 private constant LN_2_128 = 0xb17217f7d1cf79abc9e3b39803f2f6af;
    int256 private constant LN_2_207 = 0x58b90bfbe8e7bcd5e4f1d9cc01f97b57a079a193394c5b16c506;
    uint256 private constant SQRT_2_126 = 0x5a827999fcef32422cbec4d9baa55f4f;
    uint256 private constant SQRT_HALF_80 = 0xb504f333f9de6484597d;
    int256 private constant TWO_OVER_PI_128 = 0xa2f9836e4e441529fc2757d1f534ddc0;
    int256 private constant HALF_PI_126 = 0x6487ed5110b4611a62633145c06e0e68;
    uint256 private constant TWO_OVER_SQRT_PI_80 = 0x120dd750429b6d11ae3a9;
    int256 private constant SQRT_8_OVER_PI_80 = 0x19884533d436508d0fcb3;
    int256 private constant GELU_CUBIC_80 = 0xb727136a400fba8826a; // 0.044715

    /// @dev The argument, or its radius, is too large for the function to be enclosed.
    error ArgumentTooLarge();
    error RadiusTooLarge();
    error LogarithmOfNonPositive();

    /// @notice e^x. Reverts with ArgumentTooLarge where x >= 2^20.
    function exp(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value, uint256 radius) = _fixed(x);
        if (value > EXP_LIMIT) revert ArgumentTooLarge();
        if (value < -EXP_LIMIT) return _vanishing(radius);
        _requireSmall(radius);
        (uint256 p, int256 k) = expFixed(value);
        unchecked {
            result.mid = int256(p);
            // e^r - 1 <= 2 r for r <= 1
            result.rad = (p >> 60) + ((2 * p * radius) >> FRACTION) + 2;
            result.exp = k - int256(FRACTION);
        }
    }

    /// @notice e^x = p 2^(k - 80) (1 + d), |d| < 2^-62, for |x| <= 2^20 in 80 fraction bits; p in (2^79, 2^81).
    function expFixed(int256 x) internal pure returns (uint256 p, int256 k) {
        assembly ("memory-safe") {
            // x = k ln 2 + 16 r with |r| < 0.0217, r off by less than 1.2 units
            k := sar(160, add(mul(x, LOG2_E_80), shl(159, 1)))
            let r := sar(4, sub(x, sar(48, mul(k, LN_2_128))))
            // 1 + r + ... + r^8 / 8!, which leaves out less than 2^-68; off by less than 1.1 units
            p := add(ONE, sdiv(r, 8))
            p := add(ONE, sdiv(mul(r, p), shl(80, 7)))
            p := add(ONE, sdiv(mul(r, p), shl(80, 6)))
            p := add(ONE, sdiv(mul(r, p), shl(80, 5)))
            p := add(ONE, sdiv(mul(r, p), shl(80, 4)))
            p := add(ONE, sdiv(mul(r, p), shl(80, 3)))
            p := add(ONE, sdiv(mul(r, p), shl(80, 2)))
            p := add(ONE, sar(80, mul(r, p)))
            // to the 16th power: all relative errors become 16 fold, those of squaring are below 22 units
            p := shr(80, mul(p, p))
            p := shr(80, mul(p, p))
            p := shr(80, mul(p, p))
            p := shr(80, mul(p, p))
        }
    }

    /// @notice The natural logarithm. Reverts with LogarithmOfNonPositive unless all of x is above 0, and with
    /// ArgumentTooLarge beyond 2^(2^40) and its inverse.
    function log(Ball memory x) internal pure returns (Ball memory result) {
        // INVARIANT: every number in the ball has a logarithm.
        if (x.mid <= 0 || uint256(x.mid) <= x.rad) revert LogarithmOfNonPositive();
        unchecked {
            // x = m / one * 2^k with m / one in [1 / sqrt 2, sqrt 2]
            uint256 bits = Math.log2(uint256(x.mid));
            int256 k = x.exp + int256(bits);
            // INVARIANT: k ln 2 fits into 248 bits.
            if (SignedMath.abs(k) >> 40 != 0) revert ArgumentTooLarge();
            int256 m = x.mid << (126 - bits);
            int256 one = 1 << 126;
            if (uint256(m) > SQRT_2_126) {
                one <<= 1;
                ++k;
            }
            // ln (m / one) = 2 s (1 + s^2 / 3 + s^4 / 5 + ...), s = (m - one) / (m + one), s^2 < 0.02944
            int256 s = ((m - one) << 128) / (m + one);
            uint256 ratio = _logSeries(uint256(s * s) >> 176);
            int256 small = s * int256(ratio);
            result.mid = small + k * LN_2_207;
            result.exp = -207;
            // The series is off by less than 2^-64, s by less than 2^-128, which is 2^80 units, and ln 2 by one unit;
            // s = 0 only where m = one.
            result.rad = (SignedMath.abs(small) >> 60) + (s == 0 ? 0 : 2 << 80) + SignedMath.abs(k);
            result.round();
            if (x.rad != 0) {
                // |ln x - ln mid| <= rad / (mid - rad)
                Ball memory spread = Ball(0, (x.rad << 128) / (uint256(x.mid) - x.rad) + 1, -128);
                spread.round();
                result = result.add(spread);
            }
        }
    }

    /// @dev 1 + y / 3 + ... + y^11 / 23 for y < 0.02944, which leaves out less than 2^-65.
    function _logSeries(uint256 y) private pure returns (uint256 p) {
        assembly ("memory-safe") {
            p := div(UNIT, 23)
            p := add(div(UNIT, 21), shr(80, mul(y, p)))
            p := add(div(UNIT, 19), shr(80, mul(y, p)))
            p := add(div(UNIT, 17), shr(80, mul(y, p)))
            p := add(div(UNIT, 15), shr(80, mul(y, p)))
            p := add(div(UNIT, 13), shr(80, mul(y, p)))
            p := add(div(UNIT, 11), shr(80, mul(y, p)))
            p := add(div(UNIT, 9), shr(80, mul(y, p)))
            p := add(div(UNIT, 7), shr(80, mul(y, p)))
            p := add(div(UNIT, 5), shr(80, mul(y, p)))
            p := add(div(UNIT, 3), shr(80, mul(y, p)))
            p := add(UNIT, shr(80, mul(y, p)))
        }
    }

    /// @notice 1 / (1 + e^-x).
    function sigmoid(Ball memory x) internal pure returns (Ball memory) {
        (int256 value, uint256 radius) = _fixed(x);
        return _sigmoid(value, radius);
    }

    function _sigmoid(int256 value, uint256 radius) private pure returns (Ball memory result) {
        if (value < -EXP_LIMIT) return _vanishing(radius);
        _requireSmall(radius);
        unchecked {
            uint256 magnitude = _magnitude(value, uint256(EXP_LIMIT));
            (uint256 p, int256 k) = expFixed(-int256(magnitude));
            // 1 / (1 + e^-x), or e^x / (1 + e^x) below 0
            uint256 mid = ((value < 0 ? p : UNIT) << FRACTION) / (UNIT + (p >> uint256(-k)));
            result.mid = int256(mid);
            // The exponentials' errors add up to 2^-61; the relative derivative is 1 - sigmoid < 1, then as in exp.
            result.rad = (mid >> 58) + ((2 * mid * radius) >> FRACTION) + 3;
            result.exp = (value < 0 ? k : int256(0)) - int256(FRACTION);
        }
    }

    /// @notice x sigmoid(x).
    function silu(Ball memory x) internal pure returns (Ball memory) {
        return x.mul(sigmoid(x));
    }

    /// @notice The hyperbolic tangent.
    function tanh(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value, uint256 radius) = _fixed(x);
        unchecked {
            uint256 magnitude = _magnitude(value, 64 << FRACTION); // beyond, tanh is 1 up to 2^-180
            if (magnitude < UNIT / 8) return _odd(x, _tanhRatio((magnitude * magnitude) >> FRACTION), UNIT);
            // (1 - g) / (1 + g), g = e^-2|x| <= 0.779, off by 4.5 times its relative error
            (uint256 g, int256 k) = expFixed(-2 * int256(magnitude));
            g >>= uint256(-k);
            int256 mid = int256(((UNIT - g) << FRACTION) / (UNIT + g));
            result.mid = value < 0 ? -mid : mid;
            result.rad = (uint256(mid) >> 57) + radius + 8; // the derivative is at most 1
            result.exp = -int256(FRACTION);
        }
    }

    /// @dev tanh(x) / x for y = x^2 <= 1/64 by Lambert's continued fraction x / (1 + y / (3 + y / (5 + ...))). The
    /// next convergent, of 13, lies on the other side of the limit, less than 2^-64 away.
    function _tanhRatio(uint256 y) private pure returns (uint256 p) {
        assembly ("memory-safe") {
            y := shl(80, y)
            p := add(shl(80, 9), div(y, shl(80, 11)))
            p := add(shl(80, 7), div(y, p))
            p := add(shl(80, 5), div(y, p))
            p := add(shl(80, 3), div(y, p))
            p := add(UNIT, div(y, p))
            p := div(shl(160, 1), p)
        }
    }

    /// @notice The error function.
    function erf(Ball memory x) internal pure returns (Ball memory) {
        (int256 value, uint256 radius) = _fixed(x);
        unchecked {
            uint256 magnitude = _magnitude(value, 6 << FRACTION);
            if (magnitude == 6 << FRACTION) {
                // 1 - erf(6) < 2^-55; the derivative is below 2 where the ball begins below 6
                uint256 spread = SignedMath.abs(value) < magnitude + radius ? 2 * radius : 0;
                return Ball(value < 0 ? -ONE : ONE, (UNIT >> 55) + spread, -int256(FRACTION));
            }
            return _odd(x, _erfRatio((magnitude * magnitude) >> (FRACTION - 1)), 2 * UNIT);
        }
    }

    /// @dev erf(x) / x = 2 / sqrt(pi) e^(-y / 2) (1 + y / 3 + y^2 / (3 * 5) + ...) for y = 2 x^2 <= 81. The terms are
    /// positive; each of at most 200 roundings costs less than 2^-80 of the sum, as the ratio of successive terms
    /// falls. An error of y costs less than itself. Where the k-th term is below 1, y < k + 2 by the inequality of
    /// means, (2 k + 1)!! <= (k + 2)^k, so that the ratios y / (2 k + 3) ... that follow are at most 3/5: the terms
    /// after one below 2^-54 add up to less than 2^-53.
    function _erfRatio(uint256 y) private pure returns (uint256) {
        uint256 sum = UNIT;
        assembly ("memory-safe") {
            let divisor := UNIT
            for { let term := UNIT } shr(26, term) { } {
                divisor := add(divisor, shl(81, 1))
                term := div(mul(term, y), divisor)
                sum := add(sum, term)
            }
        }
        unchecked {
            (uint256 p, int256 k) = expFixed(-int256(y / 2));
            return (((sum * p) >> (FRACTION + uint256(-k))) * TWO_OVER_SQRT_PI_80) >> FRACTION;
        }
    }

    /// @notice x (1 + erf(x / sqrt 2)) / 2; the radius is below 2^-50 |x|.
    function gelu(Ball memory x) internal pure returns (Ball memory) {
        (int256 value, uint256 radius) = _fixed(x);
        unchecked {
            uint256 magnitude = _magnitude(value, 9 << FRACTION); // beyond, erf is 1 up to 2^-60
            uint256 ratio = _erfRatio((magnitude * magnitude) >> FRACTION);
            int256 erf_ = int256((((magnitude * SQRT_HALF_80) >> FRACTION) * ratio) >> FRACTION);
            // The derivative of erf(x / sqrt 2) is below 1.
            return x.mul(Ball(value < 0 ? ONE - erf_ : ONE + erf_, (UNIT >> 51) + radius, -int256(FRACTION + 1)));
        }
    }

    /// @notice x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which is x sigmoid of twice that; the radius is
    /// below 2^-50 |x|.
    function geluTanh(Ball memory x) internal pure returns (Ball memory) {
        (int256 value, uint256 radius) = _fixed(x);
        _requireSmall(radius);
        unchecked {
            // sigmoid(318) is 1 up to 2^-458, also one radius further in
            if (_magnitude(value, 16 << FRACTION) == 16 << FRACTION) {
                return x.mul(Ball(value < 0 ? int256(0) : ONE, 1 << 16, -int256(FRACTION)));
            }
            int256 cubic = ONE + ((((value * value) >> FRACTION) * GELU_CUBIC_80) >> FRACTION);
            int256 inner = (((value * cubic) >> FRACTION) * SQRT_8_OVER_PI_80) >> FRACTION;
            // The derivative is at most sqrt(8 / pi) (1 + 3 * 0.044715 * 17^2) < 64. Of the roundings, that of 0.044715
            // costs most, 16^3 sqrt(8 / pi) units; all cost less than 2^13.
            return x.mul(_sigmoid(inner, 64 * radius + (1 << 13)));
        }
    }

    /// @notice The sine. Reverts with ArgumentTooLarge where |x| > 2^30.
    function sin(Ball memory x) internal pure returns (Ball memory) {
        (uint256 quadrant, Ball memory angle) = _reduce(x);
        return _sine(quadrant, angle);
    }

    /// @notice The cosine. Reverts with ArgumentTooLarge where |x| > 2^30.
    function cos(Ball memory x) internal pure returns (Ball memory) {
        (uint256 quadrant, Ball memory angle) = _reduce(x);
        unchecked {
            return _sine(quadrant + 1, angle);
        }
    }

    /// @dev sin(quadrant pi / 2 + angle)
    function _sine(uint256 quadrant, Ball memory angle) private pure returns (Ball memory result) {
        (int256 value, uint256 radius) = _fixed(angle);
        unchecked {
            uint256 y = uint256(value * value) >> FRACTION;
            if (quadrant & 1 == 0) result = _odd(angle, _sineRatio(y), UNIT);
            else result = Ball(int256(_cosine(y)), (UNIT >> 58) + radius, -int256(FRACTION));
            if (quadrant & 2 != 0) result = result.neg();
        }
    }

    /// @dev x = quadrant pi / 2 + angle, |angle| <= pi / 4 up to rounding; quadrant modulo 2^256.
    function _reduce(Ball memory x) private pure returns (uint256 quadrant, Ball memory angle) {
        // SAFETY: 2 x / pi in units of 2^-98 is below 2^250, and checked to be below 2^128.
        unchecked {
            if (x.exp > 30) {
                if (x.mid != 0) revert ArgumentTooLarge();
                return (0, x);
            }
            int256 turn = (x.mid * TWO_OVER_PI_128) >> uint256(30 - x.exp);
            // INVARIANT: |x| <= 2^30, so that an error of 2^-128 in 2 / pi is less than two units.
            if (turn > 1 << 128 || turn < -(1 << 128)) revert ArgumentTooLarge();
            int256 nearest = (turn + (1 << 97)) >> 98;
            // Small angles keep their own precision.
            if (nearest == 0) return (0, x);
            // Three units of 2^-98 quarter turns are less than 5 of the angle's, and rounding
            angle = Ball(((turn - (nearest << 98)) * HALF_PI_126) >> 126, 6, -98);
            if (x.rad != 0) angle = angle.add(Ball(0, x.rad, x.exp));
            return (uint256(nearest), angle);
        }
    }

    /// @dev sin(x) / x = 1 - y / 3! + ... + y^8 / 17! for y = x^2 < 0.62, which leaves out less than 2^-62.
    function _sineRatio(uint256 y) private pure returns (uint256 p) {
        assembly ("memory-safe") {
            p := sub(UNIT, div(y, mul(17, 16)))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(15, 14))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(13, 12))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(11, 10))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(9, 8))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(7, 6))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(5, 4))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(3, 2))))
        }
    }

    /// @dev cos(x) = 1 - y / 2! + ... - y^9 / 18! for y = x^2 < 0.62, which leaves out less than 2^-67.
    function _cosine(uint256 y) private pure returns (uint256 p) {
        assembly ("memory-safe") {
            p := sub(UNIT, div(y, mul(18, 17)))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(16, 15))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(14, 13))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(12, 11))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(10, 9))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(8, 7))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(6, 5))))
            p := sub(UNIT, div(mul(y, p), shl(80, mul(4, 3))))
            p := sub(UNIT, div(mul(y, p), shl(81, 1)))
        }
    }

    /// @dev f(x) = x * ratio for an odd f, the ratio given at the midpoint to 2^-52 of it, 1/8 <= ratio < 2; slope is
    /// at least |f'|.
    function _odd(Ball memory x, uint256 ratio, uint256 slope) private pure returns (Ball memory result) {
        unchecked {
            result.mid = x.mid * int256(ratio);
            result.rad = SignedMath.abs(x.mid) * (ratio >> 52) + x.rad * slope;
            result.exp = x.exp - int256(FRACTION);
        }
        result.round();
    }

    /// @dev The midpoint in units of 2^-80, rounded down, and a radius there. Numbers of 2^31 and more that a word may
    /// not hold become 2^31: the functions here have reached their limits long before, or revert.
    function _fixed(Ball memory x) private pure returns (int256 value, uint256 radius) {
        unchecked {
            int256 shift = x.exp + int256(FRACTION);
            if (shift <= 0) return (x.mid >> uint256(-shift), (x.rad >> uint256(-shift)) + 2);
            if (shift <= 110) return (x.mid << uint256(shift), x.rad << uint256(shift));
            if (x.rad != 0) revert RadiusTooLarge();
            if (x.mid != 0) value = x.mid < 0 ? -(ONE << 31) : ONE << 31;
        }
    }

    function _magnitude(int256 value, uint256 limit) private pure returns (uint256) {
        unchecked {
            return Math.min(SignedMath.abs(value), limit);
        }
    }

    /// @dev Some number in [0, 2^-2^20): e^x and sigmoid(x) for x below -2^20 by one or less.
    function _vanishing(uint256 radius) private pure returns (Ball memory) {
        _requireSmall(radius);
        return Ball(0, 1, -(1 << 20));
    }

    function _requireSmall(uint256 radius) private pure {
        // INVARIANT: e^radius - 1 is at most 2 radius.
        if (radius > UNIT) revert RadiusTooLarge();
    }
}
