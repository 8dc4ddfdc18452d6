// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { DType } from "./DType.sol";

/// @title One element of a tensor.
/// @param dtype Code of its type, see DType.
/// @param bits Its bytes as a big-endian integer, nothing above them.
struct Element {
    uint8 dtype;
    uint256 bits;
}

using Elements for Element global;

/// @title What the bits of elements mean: sign, order, NaN, equality.
library Elements {
    /// @notice Whether some value has this encoding: a bool is 0 or 1.
    function isValid(Element memory x) internal pure returns (bool) {
        return x.dtype != DType.BOOL || x.bits <= 1;
    }

    function isNaN(Element memory x) internal pure returns (bool) {
        return DType.isFloat(x.dtype) && magnitude(x) > DType.infinity(x.dtype);
    }

    /// @notice Whether two elements of one type are equal: +0 equals -0, and a NaN every other NaN.
    function equals(Element memory x, Element memory y) internal pure returns (bool) {
        if (x.bits == y.bits) return true;
        if (!DType.isFloat(x.dtype)) return false;
        return isNaN(x) ? isNaN(y) : magnitude(x) == 0 && magnitude(y) == 0;
    }

    /// @notice An integer that orders the elements of one type as their values are ordered, NaNs aside; for integer
    /// types it is the value.
    function order(Element memory x) internal pure returns (int256) {
        if (!isNegative(x)) return int256(x.bits);
        uint256 sign = signBit(x.dtype);
        return DType.isFloat(x.dtype) ? -int256(x.bits ^ sign) : int256(x.bits) - int256(sign << 1);
    }

    /// @notice Whether the sign bit is set; bool and uint8 have none.
    function isNegative(Element memory x) internal pure returns (bool) {
        return x.dtype != DType.BOOL && x.dtype != DType.UINT8 && x.bits & signBit(x.dtype) != 0;
    }

    /// @notice The bits of a floating-point number without its sign.
    function magnitude(Element memory x) internal pure returns (uint256) {
        return x.bits & (signBit(x.dtype) - 1);
    }

    /// @notice Whether a floating-point number is below the smallest normal one, or zero.
    function isSubnormal(Element memory x) internal pure returns (bool) {
        // Infinity is the exponent field's mask.
        return DType.isFloat(x.dtype) && x.bits & DType.infinity(x.dtype) == 0;
    }

    /// @notice The element, or zero if kernels may take it for zero: a subnormal number, except float16's, which are
    /// normal in float32, where kernels compute with them.
    function flushed(Element memory x) internal pure returns (Element memory) {
        return x.dtype != DType.FLOAT16 && isSubnormal(x) ? Element(x.dtype, 0) : x;
    }

    /// @notice The topmost bit of an element of a type.
    function signBit(uint8 dtype) internal pure returns (uint256) {
        return 1 << (8 * DType.size(dtype) - 1);
    }
}
