// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { SignedMath } from "@openzeppelin/contracts/utils/math/SignedMath.sol";
import { Rounding } from "./Rounding.sol";

/// @dev mid * 2^exp; |mid| is below 2^53 and |exp| below 2^20.
struct Number {
    int256 mid;
    int256 exp;
}

using Single for Number global;

/// @title The arithmetic operations of IEEE 754 in float64, where they neither overflow nor underflow.
/// @notice Each result is that of the exact operation, correctly rounded. What is too long for a word is cut off, and its
/// last digit set: as it stands far behind the 53rd, rounding does not see the difference.
library Single {
    /// @dev Digits behind which a summand only counts as more or less than nothing.
    uint256 private constant GUARD = 100;
    uint256 private constant LARGEST_GAP = 180;
    uint256 private constant QUOTIENT_DIGITS = 190;
    uint256 private constant RADICAND_DIGITS = 200;

    /// @dev Magnitudes of other numbers of the call, as binary64 exponent fields: 2^-500 to below 2^500.
    uint256 private constant LEAST_EXPONENT = 1023 - 500;
    uint256 private constant MOST_EXPONENT = 1023 + 499;

    /// @notice A finite FP32 number.
    function fromFloat32(uint32 bits) internal pure returns (Number memory x) {
        uint256 exponent = (bits >> 23) & 0xff;
        int256 mid = int256(uint256(bits & 0x7fffff));
        if (exponent == 0) exponent = 1;
        else mid |= 0x800000;
        x.mid = bits >> 31 == 0 ? mid : -mid;
        x.exp = int256(exponent) - 150;
    }

    /// @notice A binary64 number; not defined where it is not finite, and for magnitudes with which results might overflow
    /// or underflow.
    function fromFloat64(uint64 bits) internal pure returns (bool defined, Number memory x) {
        if (bits << 1 == 0) return (true, x);
        uint256 exponent = (bits >> 52) & 0x7ff;
        if (exponent < LEAST_EXPONENT || exponent > MOST_EXPONENT) return (false, x);
        int256 mid = int256(uint256((bits & ((1 << 52) - 1)) | (1 << 52)));
        x.mid = bits >> 63 == 0 ? mid : -mid;
        x.exp = int256(exponent) - 1075;
        return (true, x);
    }

    function neg(Number memory a) internal pure returns (Number memory) {
        return Number(-a.mid, a.exp);
    }

    function add(Number memory a, Number memory b) internal pure returns (Number memory) {
        if (a.mid == 0) return b;
        if (b.mid == 0) return a;
        if (a.exp < b.exp) (a, b) = (b, a);
        uint256 gap = uint256(a.exp - b.exp);
        // SAFETY: shifted by up to 180 bits, midpoints stay below 2^233.
        if (gap <= LARGEST_GAP) return _round((a.mid << gap) + b.mid, b.exp);
        // |b| < 2^53 units is less than the last digit of a shifted by GUARD.
        return _round((a.mid << GUARD) + (b.mid < 0 ? -1 : int256(1)), a.exp - int256(GUARD));
    }

    function mul(Number memory a, Number memory b) internal pure returns (Number memory) {
        return _round(a.mid * b.mid, a.exp + b.exp);
    }

    /// @notice a / b for b other than 0.
    function div(Number memory a, Number memory b) internal pure returns (Number memory) {
        uint256 numerator = SignedMath.abs(a.mid) << QUOTIENT_DIGITS;
        uint256 divisor = SignedMath.abs(b.mid);
        uint256 quotient = numerator / divisor;
        if (numerator % divisor != 0) quotient |= 1;
        int256 mid = (a.mid < 0) == (b.mid < 0) ? int256(quotient) : -int256(quotient);
        return _round(mid, a.exp - b.exp - int256(QUOTIENT_DIGITS));
    }

    /// @notice The square root of a number that is not negative.
    function sqrt(Number memory a) internal pure returns (Number memory) {
        uint256 shift = RADICAND_DIGITS + (uint256(a.exp) & 1);
        uint256 radicand = uint256(a.mid) << shift;
        uint256 root = Math.sqrt(radicand);
        if (root * root != radicand) root |= 1;
        return _round(int256(root), (a.exp - int256(shift)) / 2);
    }

    function _round(int256 mid, int256 exp) private pure returns (Number memory x) {
        (x.mid, x.exp) = Rounding.toFloat64(mid, exp);
    }
}
