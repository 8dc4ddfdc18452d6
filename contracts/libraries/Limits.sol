// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The arithmetic operations of IEEE 754 where an input or the result is infinite or no number.
/// @notice Numbers are FP32 encodings, of which only sign and kind matter: zero, finite, infinite or NaN. Each function
/// returns whether it decides the case, and if so the result: a signed infinity, zero, or NAN.
library Limits {
    uint32 internal constant INFINITY = 0x7f800000;
    uint32 internal constant NAN = 0x7fc00000;

    uint32 private constant SIGN = 0x80000000;

    function isFinite(uint32 x) internal pure returns (bool) {
        return x & INFINITY != INFINITY;
    }

    function isNan(uint32 x) internal pure returns (bool) {
        return x & ~SIGN > INFINITY;
    }

    function negated(uint32 a) internal pure returns (uint32) {
        return a ^ SIGN;
    }

    /// @notice a + b.
    function sum(uint32 a, uint32 b) internal pure returns (bool decided, uint32 result) {
        if (isNan(a) || isNan(b)) return (true, NAN);
        if (isFinite(a)) return (!isFinite(b), b);
        return (true, isFinite(b) || a == b ? a : NAN);
    }

    /// @notice a b.
    function product(uint32 a, uint32 b) internal pure returns (bool decided, uint32 result) {
        if (isNan(a) || isNan(b)) return (true, NAN);
        if (isFinite(a) && isFinite(b)) return (false, 0);
        return (true, _isZero(a) || _isZero(b) ? NAN : _sign(a, b) | INFINITY);
    }

    /// @notice a / b.
    function quotient(uint32 a, uint32 b) internal pure returns (bool decided, uint32 result) {
        if (isNan(a) || isNan(b)) return (true, NAN);
        if (!isFinite(b)) return (true, isFinite(a) ? 0 : NAN);
        if (isFinite(a) && !_isZero(b)) return (false, 0);
        return (true, _isZero(a) ? NAN : _sign(a, b) | INFINITY);
    }

    /// @notice The square root of a.
    function root(uint32 a) internal pure returns (bool decided, uint32 result) {
        if (isNan(a) || (a & SIGN != 0 && !_isZero(a))) return (true, NAN);
        return (!isFinite(a), INFINITY);
    }

    function _isZero(uint32 x) private pure returns (bool) {
        return x & ~SIGN == 0;
    }

    function _sign(uint32 a, uint32 b) private pure returns (uint32) {
        return (a ^ b) & SIGN;
    }
}
