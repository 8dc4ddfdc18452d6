// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { SignedMath } from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import { Ball } from "./Ball.sol";

/// @title Enclosures of elementary functions.
/// @notice The ball returned contains the function's value for every number in the argument's ball. For an exact
/// argument its radius is below 2^-51 of the value, also near the zeros of odd functions, of log and, for FP32
/// arguments, of sin and cos; but gelu's is relative to its factor x, and exp and sigmoid of less than -2^20 are only
/// known to be below 2^-2^20. A radius above 1 is refused, except by log.
/// @dev Kernels work on fixed-point numbers of 80 fraction bits ("units" of 2^-80). Series and continued fractions are
/// the textbooks', with small integers as divisors, so that no coefficient has to be taken on trust. What a kernel
/// truncates and rounds is bounded in a comment, and the radius is at least twice as large.
library Elementary {
    uint256 private constant FRACTION = 80;
    int256 private constant ONE = 1 << 80;
    uint256 private constant UNIT = 1 << 80; // ONE, unsigned

    /// @dev Beyond this magnitude exp and sigmoid are not evaluated.
    int256 private constant EXP_LIMIT = ONE << 20;
    int256 private constant VANISHING = -(1 << 20); // e^x < 2^VANISHING from -2^20 + 1 down

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
        if (value < -EXP_LIMIT) return Ball(0, 1, VANISHING);
        unchecked {
            (uint256 n, uint256 d, int256 k) = _expQuotient(value);
            uint256 mid = (n << FRACTION) / d;
            result.mid = int256(mid);
            // Four times the error, and e^r - 1 < 1.8 r for r <= 1.
            result.rad = (mid >> 60) + ((mid * radius) >> (FRACTION - 1));
            result.exp = k - int256(FRACTION);
        }
    }

    /// @dev e^x = n / d 2^k (1 + t), |t| < 2^-62, for |x| <= 2^20; n and d in units, above 1.6 and below 2.4.
    function _expQuotient(int256 x) private pure returns (uint256 n, uint256 d, int256 k) {
        unchecked {
            // x = k ln 2 + r with |r| < 0.3466, r off by less than 1.1 units
            k = (x * LOG2_E_80 + (1 << 159)) >> 160;
            int256 r = x - ((k * LN_2_128) >> 48);
            // e^r = (c + r) / (c - r), where an error of c counts 2 |r| / (c^2 - r^2) < 0.176 times: less than 2^-62.2
            uint256 c = _lambert(uint256(r * r));
            n = c + uint256(r);
            d = c - uint256(r);
        }
    }

    /// @dev r coth(r / 2) = 2 + y / (6 + y / (10 + ...)) in units for y = r^2 < 0.1202 in units of 2^-160, by Lambert's
    /// continued fraction. The next convergent, of 26, lies on the other side of the limit, less than
    /// y^6 / (6^2 10^2 14^2 18^2 22^2 26) < 2^-59.7 away; roundings cost less than 1.1 units.
    function _lambert(uint256 y) private pure returns (uint256 c) {
        assembly ("memory-safe") {
            c := add(shl(80, 18), div(y, shl(80, 22)))
            c := add(shl(80, 14), div(y, c))
            c := add(shl(80, 10), div(y, c))
            c := add(shl(80, 6), div(y, c))
            c := add(shl(80, 2), div(y, c))
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
    function sigmoid(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value, uint256 radius) = _fixed(x);
        (uint256 p, int256 e) = _sigmoid(value);
        unchecked {
            result.mid = int256(p);
            // As in exp, since the relative derivative is 1 - sigmoid < 1.
            result.rad = (p >> 60) + ((p * radius) >> (FRACTION - 1)) + 1;
            result.exp = e;
        }
    }

    /// @dev sigmoid(x) = p 2^e (1 + t), |t| < 2^-61.9; or p = 0 where it is below 2^e, also for x by one larger.
    function _sigmoid(int256 x) private pure returns (uint256 p, int256 e) {
        if (x < -EXP_LIMIT) return (0, VANISHING);
        if (x > EXP_LIMIT) x = EXP_LIMIT;
        unchecked {
            (uint256 n, uint256 d, int256 k) = _expQuotient(x);
            e = -int256(FRACTION);
            // n 2^k / (d + n 2^k), above 0.41 2^min(k, 0)
            if (k < 0) {
                d += n >> uint256(-k);
                e += k;
            } else {
                d = n + (d >> uint256(k));
            }
            p = (n << FRACTION) / d;
        }
    }

    /// @notice x sigmoid(x).
    function silu(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value,) = _fixed(x);
        (uint256 p, int256 e) = _sigmoid(value);
        _multiple(result, x, int256(p), (p >> 60) + 1, e);
    }

    /// @notice The hyperbolic tangent.
    function tanh(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value, uint256 radius) = _fixed(x);
        unchecked {
            uint256 magnitude = _magnitude(value, 64 << FRACTION); // beyond, tanh is 1 up to 2^-180
            if (magnitude < UNIT / 8) {
                // tanh(x) / x = 2 / (2 x coth x)
                _odd(result, x, (UNIT << (FRACTION + 1)) / _lambert(4 * magnitude * magnitude), UNIT);
                return result;
            }
            // (1 - g) / (1 + g), g = e^-2|x| <= 0.779, off by 4.5 times its relative error
            (uint256 n, uint256 d, int256 k) = _expQuotient(-2 * int256(magnitude));
            n >>= uint256(-k);
            int256 mid = int256(((d - n) << FRACTION) / (d + n));
            result.mid = value < 0 ? -mid : mid;
            result.rad = (uint256(mid) >> 57) + radius + 8; // the derivative is at most 1
            result.exp = -int256(FRACTION);
        }
    }

    /// @notice The error function.
    function erf(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value, uint256 radius) = _fixed(x);
        unchecked {
            uint256 magnitude = SignedMath.abs(value);
            if (magnitude >= 6 << FRACTION) {
                result.mid = value < 0 ? -ONE : ONE;
                // 1 - erf(6) < 2^-55; the derivative is below 2 where the ball begins below 6
                result.rad = (UNIT >> 55) + (magnitude < (6 << FRACTION) + radius ? 2 * radius : 0);
                result.exp = -int256(FRACTION);
            } else {
                _odd(result, x, _erfRatio((magnitude * magnitude) >> (FRACTION - 1)), 2 * UNIT);
            }
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
            (uint256 n, uint256 d, int256 k) = _expQuotient(-int256(y / 2));
            return (((sum * n / d) >> uint256(-k)) * TWO_OVER_SQRT_PI_80) >> FRACTION;
        }
    }

    /// @notice x (1 + erf(x / sqrt 2)) / 2; the radius is below 2^-50 |x|.
    function gelu(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value,) = _fixed(x);
        unchecked {
            uint256 magnitude = _magnitude(value, 9 << FRACTION); // beyond, erf is 1 up to 2^-60
            uint256 ratio = _erfRatio((magnitude * magnitude) >> FRACTION);
            int256 erf_ = int256((((magnitude * SQRT_HALF_80) >> FRACTION) * ratio) >> FRACTION);
            _multiple(result, x, value < 0 ? ONE - erf_ : ONE + erf_, UNIT >> 51, -int256(FRACTION + 1));
        }
    }

    /// @notice x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which is x sigmoid of twice that; the radius is
    /// below 2^-50 |x|.
    function geluTanh(Ball memory x) internal pure returns (Ball memory result) {
        (int256 value,) = _fixed(x);
        unchecked {
            // sigmoid(318) is 1 up to 2^-458
            if (SignedMath.abs(value) >= 16 << FRACTION) {
                _multiple(result, x, value < 0 ? int256(0) : ONE, 1, -int256(FRACTION));
                return result;
            }
            // Products are below 2^249. Of the roundings, that of 0.044715 costs most, 16^3 sqrt(8 / pi) units; all cost
            // less than 2^13.
            int256 cubic = ONE + ((value * value * GELU_CUBIC_80) >> 160);
            (uint256 p, int256 e) = _sigmoid((value * cubic * SQRT_8_OVER_PI_80) >> 160);
            _multiple(result, x, int256(p), (p >> 60) + 1, e);
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
            if (quadrant & 1 == 0) {
                _odd(result, angle, _sineRatio(y), UNIT);
            } else {
                result.mid = int256(_cosine(y));
                result.rad = (UNIT >> 58) + radius;
                result.exp = -int256(FRACTION);
            }
            if (quadrant & 2 != 0) result.mid = -result.mid;
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

    /// @dev Sets result to f(x) = x ratio for an odd f, the ratio given at the midpoint to 2^-52 of it, 1/8 <= ratio < 2;
    /// slope is at least |f'|.
    function _odd(Ball memory result, Ball memory x, uint256 ratio, uint256 slope) private pure {
        unchecked {
            result.mid = x.mid * int256(ratio);
            result.rad = SignedMath.abs(x.mid) * (ratio >> 52) + x.rad * slope;
            result.exp = x.exp - int256(FRACTION);
        }
        result.round();
    }

    /// @dev Sets result to f(x) = x g(x), where g is within `error` of p at the midpoint, both times 2^e, and |f'| < 2.
    /// That holds for the distribution function of the normal law, as |x g'| < 1/4, and for g = s(h(x)) with the
    /// sigmoid s, as |x h'| <= 3 |h| and |h s'(h)| < 1/4.
    function _multiple(Ball memory result, Ball memory x, int256 p, uint256 error, int256 e) private pure {
        unchecked {
            result.mid = x.mid * p;
            result.rad = SignedMath.abs(x.mid) * error;
            result.exp = x.exp + e;
            result.round();
            if (x.rad != 0) {
                Ball memory sum = result.add(Ball(0, x.rad, x.exp + 1));
                (result.mid, result.rad, result.exp) = (sum.mid, sum.rad, sum.exp);
            }
        }
    }

    /// @dev The midpoint in units of 2^-80, rounded down, and a radius there. Numbers of 2^31 and more that a word may
    /// not hold become 2^31: the functions here have reached their limits long before, or revert.
    function _fixed(Ball memory x) private pure returns (int256 value, uint256 radius) {
        unchecked {
            int256 shift = x.exp + int256(FRACTION);
            if (uint256(shift) <= 110) {
                (value, radius) = (x.mid << uint256(shift), x.rad << uint256(shift));
            } else if (shift < 0) {
                (value, radius) = (x.mid >> uint256(-shift), (x.rad >> uint256(-shift)) + 2);
            } else {
                if (x.rad != 0) radius = type(uint256).max;
                if (x.mid != 0) value = x.mid < 0 ? -(ONE << 31) : ONE << 31;
            }
            // INVARIANT: a bound by the derivative holds, and the radius fits a ball.
            if (radius > UNIT) revert RadiusTooLarge();
        }
    }

    function _magnitude(int256 value, uint256 limit) private pure returns (uint256) {
        unchecked {
            return Math.min(SignedMath.abs(value), limit);
        }
    }
}
