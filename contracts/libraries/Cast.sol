// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { DType } from "./DType.sol";
import { Element, Elements } from "./Element.sol";
import { Rounding } from "./Rounding.sol";

/// @title Casts between element types, in integers alone.
/// @notice Integers wrap among themselves and are false iff zero, like floating-point numbers, of which NaN is true.
/// Whatever becomes a floating-point number is rounded to nearest, ties to even. A floating-point number that becomes an
/// integer is cut off towards zero.
library Cast {
    /// @dev The float64 2^-126, the smallest normal number of float32 and bfloat16.
    uint256 private constant SMALLEST_NORMAL = 0x3810_0000_0000_0000;

    error UnsupportedCast(uint8 from, uint8 to);

    /// @notice The element as one of type `to`.
    /// @return defined False where kernels differ: a NaN or a number out of range becomes an integer; a float64 whose
    /// way through float32 to a narrower type, which is torch's, ends elsewhere than the direct one; a float64 that
    /// rounding lifts to the smallest normal number, which kernels may flush before.
    /// @return result The element of type `to`.
    function convert(Element memory x, uint8 to) internal pure returns (bool defined, Element memory result) {
        uint8 from = x.dtype;
        if (from == to) return (true, x);
        if (to == DType.BOOL) {
            bool isZero = DType.isFloat(from) ? x.magnitude() == 0 : x.bits == 0;
            return (true, Element(to, isZero ? 0 : 1));
        }
        if (!DType.isFloat(to)) return DType.isFloat(from) ? _truncate(x, to) : (true, _wrap(x, to));
        if (!_isFloatCast(from, to)) revert UnsupportedCast(from, to);
        result = _round(x, to);
        if (from != DType.FLOAT64) return (true, result);
        if (to != DType.FLOAT16 && x.magnitude() < SMALLEST_NORMAL && !result.isSubnormal()) return (false, result);
        return (to == DType.FLOAT32 || result.equals(_round(_round(x, DType.FLOAT32), to)), result);
    }

    /// @dev bool and integers become float32 and float64, which become all others; narrow ones become float32.
    function _isFloatCast(uint8 from, uint8 to) private pure returns (bool) {
        bool isNarrow = to == DType.FLOAT16 || to == DType.BFLOAT16;
        if (from == DType.FLOAT32 || from == DType.FLOAT64) return true;
        return from == DType.FLOAT16 || from == DType.BFLOAT16 ? to == DType.FLOAT32 : !isNarrow;
    }

    function _wrap(Element memory x, uint8 to) private pure returns (Element memory) {
        return _integer(x.isNegative(), _distance(x), to);
    }

    function _truncate(Element memory x, uint8 to) private pure returns (bool defined, Element memory result) {
        uint256 magnitude = x.magnitude();
        if (magnitude >= DType.infinity(x.dtype)) return (false, result);
        bool negative = x.isNegative();
        (uint256 significand, int256 exponent) = _parts(x);
        // INVARIANT: 2^64 and beyond is outside every integer type; below it the shift stays within 117 bits.
        if (exponent > 64) return (false, result);
        magnitude = exponent < 0 ? significand >> uint256(-exponent) : significand << uint256(exponent);
        uint256 limit = Elements.signBit(to);
        if (to == DType.UINT8) limit = negative ? 0 : 0xff;
        else if (!negative) --limit;
        if (magnitude > limit) return (false, result);
        return (true, _integer(negative, magnitude, to));
    }

    /// @dev The integer of this sign and magnitude, modulo the type's range.
    function _integer(bool negative, uint256 magnitude, uint8 to) private pure returns (Element memory) {
        uint256 range = Elements.signBit(to) << 1;
        magnitude %= range;
        return Element(to, negative && magnitude != 0 ? range - magnitude : magnitude);
    }

    /// @dev Rounds to a floating-point type. With the leading bit's place P, the last bit kept counts 2^q, q = max(P,
    /// smallest exponent) - fraction bits; adding the encoding of the exponent carries rounding over by itself.
    function _round(Element memory x, uint8 to) private pure returns (Element memory) {
        uint256 sign = x.isNegative() ? Elements.signBit(to) : 0;
        uint256 infinity = DType.infinity(to);
        (uint256 significand, int256 exponent) = (_distance(x), 0);
        if (DType.isFloat(x.dtype)) {
            uint256 magnitude = x.magnitude();
            uint256 limit = DType.infinity(x.dtype);
            if (magnitude > limit) return Element(to, infinity + 1);
            if (magnitude == limit) return Element(to, sign | infinity);
            (significand, exponent) = _parts(x);
        }
        if (significand == 0) return Element(to, sign);

        uint256 fraction = _fractionBits(to);
        int256 smallest = _smallestExponent(to);
        int256 place = exponent + int256(Math.log2(significand));
        if (place < smallest) place = smallest;
        int256 dropped = place - int256(fraction) - exponent;
        uint256 kept = significand;
        if (dropped <= 0) kept <<= uint256(-dropped);
        else kept = Rounding.shift(kept, uint256(dropped));
        uint256 bits = (uint256(place - smallest) << fraction) + kept;
        return Element(to, sign | Math.min(bits, infinity));
    }

    /// @dev The magnitude of a finite floating-point number as significand * 2^exponent.
    function _parts(Element memory x) private pure returns (uint256 significand, int256 exponent) {
        uint256 fraction = _fractionBits(x.dtype);
        uint256 magnitude = x.magnitude();
        uint256 field = magnitude >> fraction;
        significand = magnitude & ((1 << fraction) - 1);
        if (field == 0) field = 1;
        else significand |= 1 << fraction;
        exponent = _smallestExponent(x.dtype) + int256(field) - 1 - int256(fraction);
    }

    /// @dev The distance from zero in the type's order; for integers it is the magnitude.
    function _distance(Element memory x) private pure returns (uint256) {
        int256 order = x.order();
        return uint256(order < 0 ? -order : order);
    }

    function _fractionBits(uint8 dtype) private pure returns (uint256) {
        if (dtype == DType.FLOAT16) return 10;
        if (dtype == DType.BFLOAT16) return 7;
        return dtype == DType.FLOAT32 ? 23 : 52;
    }

    /// @dev Exponent of the smallest normal number.
    function _smallestExponent(uint8 dtype) private pure returns (int256) {
        if (dtype == DType.FLOAT16) return -14;
        return dtype == DType.FLOAT64 ? -1022 : -126;
    }
}
