// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { SignedMath } from "@openzeppelin/contracts/utils/math/SignedMath.sol";

/// @title Rounding to nearest, ties to even, of numbers mid * 2^exp; |mid| is below 2^254 and |exp| below 2^128.
/// @notice RN is monotone: exactly the FP32 numbers from RN(low) to RN(high) are those that a number of [low, high]
/// rounds to. FP32 numbers are compared by their order, an integer that is ordered as their values are: the magnitude's
/// encoding with the sign, so that both zeros are 0, and neighbours differ by 1.
library Rounding {
    /// @dev Order of positive infinity, which numbers from 2^128 - 2^103 on round to.
    int256 internal constant INFINITY = 0x7f800000;

    uint256 private constant FRACTION = 23;
    int256 private constant SMALLEST_EXPONENT = -126; // of a normal number
    int256 private constant LARGEST_EXPONENT = 127;
    uint256 private constant FLOAT64_DIGITS = 53;

    /// @notice The order of an FP32 encoding; beyond that of an infinity for a NaN.
    function order(uint32 bits) internal pure returns (int256) {
        int256 magnitude = int256(uint256(bits & 0x7fffffff));
        return bits >> 31 == 0 ? magnitude : -magnitude;
    }

    /// @notice The order of RN(mid * 2^exp) in FP32.
    function nearest(int256 mid, int256 exp) internal pure returns (int256 result) {
        if (mid == 0) return 0;
        unchecked {
            uint256 kept = SignedMath.abs(mid);
            int256 place = exp + int256(Math.log2(kept)); // of the leading bit
            result = INFINITY;
            if (place <= LARGEST_EXPONENT) {
                if (place < SMALLEST_EXPONENT) place = SMALLEST_EXPONENT;
                int256 dropped = place - int256(FRACTION) - exp;
                if (dropped <= 0) kept <<= uint256(-dropped);
                else kept = shift(kept, uint256(dropped));
                // The significand's leading bit adds 1 to the exponent's field, and so does one that rounding carries.
                result = int256((uint256(place - SMALLEST_EXPONENT) << FRACTION) + kept);
            }
            if (mid < 0) result = -result;
        }
    }

    /// @notice RN(mid * 2^exp) to 53 digits, as float64 does where it neither overflows nor underflows.
    function toFloat64(int256 mid, int256 exp) internal pure returns (int256, int256) {
        unchecked {
            uint256 size = SignedMath.abs(mid);
            if (size >> FLOAT64_DIGITS == 0) return (mid, exp);
            uint256 dropped = Math.log2(size) + 1 - FLOAT64_DIGITS;
            int256 kept = int256(shift(size, dropped));
            return (mid < 0 ? -kept : kept, exp + int256(dropped));
        }
    }

    /// @notice RN(value / 2^digits) to an integer.
    /// @param value Below 2^254.
    /// @param digits Binary digits to drop, at least 1.
    function shift(uint256 value, uint256 digits) internal pure returns (uint256 kept) {
        unchecked {
            // INVARIANT: values are below 2^254, so that a longer shift leaves less than one half.
            if (digits > 255) return 0;
            kept = value >> digits;
            uint256 rest = value - (kept << digits);
            uint256 half = 1 << (digits - 1);
            if (rest > half || (rest == half && kept & 1 == 1)) ++kept;
        }
    }
}
