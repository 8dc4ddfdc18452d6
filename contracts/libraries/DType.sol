// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Element types of committed tensors: their codes, sizes and floating-point layouts.
library DType {
    uint8 internal constant BOOL = 0;
    uint8 internal constant INT8 = 1;
    uint8 internal constant INT32 = 2;
    uint8 internal constant INT64 = 3;
    uint8 internal constant FLOAT16 = 4;
    uint8 internal constant BFLOAT16 = 5;
    uint8 internal constant FLOAT32 = 6;
    uint8 internal constant FLOAT64 = 7;
    uint8 internal constant UINT8 = 8;
    uint8 internal constant INT16 = 9;

    /// @dev Size in bytes by code, code 0 in the least significant byte.
    uint256 private constant SIZES = 0x02_01_08_04_02_02_08_04_01_01;

    error UnknownDType(uint8 dtype);
    error UnsupportedType(uint8 dtype);

    /// @notice Bytes of one element.
    function size(uint8 dtype) internal pure returns (uint256) {
        if (dtype > INT16) revert UnknownDType(dtype);
        return (SIZES >> (8 * uint256(dtype))) & 0xff;
    }

    function isFloat(uint8 dtype) internal pure returns (bool) {
        return dtype >= FLOAT16 && dtype <= FLOAT64;
    }

    function requireFloat32(uint8 dtype) internal pure {
        // INVARIANT: the bounds are those of float32; integers and narrower floats round otherwise.
        if (dtype != FLOAT32) revert UnsupportedType(dtype);
    }

    /// @notice Bit pattern of positive infinity of a floating-point type; a magnitude above it is a NaN.
    function infinity(uint8 dtype) internal pure returns (uint256) {
        if (dtype == FLOAT16) return 0x7c00;
        if (dtype == BFLOAT16) return 0x7f80;
        if (dtype == FLOAT32) return 0x7f80_0000;
        if (dtype == FLOAT64) return 0x7ff0_0000_0000_0000;
        revert UnknownDType(dtype);
    }
}
