// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev Integers below 2^24 in magnitude as FP32 numbers.
library Floats {
    function ofInteger(int256 value) internal pure returns (uint32) {
        if (value == 0) return 0;
        uint256 magnitude = uint256(value < 0 ? -value : value);
        require(magnitude < 1 << 24, "not exact");
        uint256 exponent = 150;
        while (magnitude < 1 << 23) {
            magnitude <<= 1;
            --exponent;
        }
        return uint32((value < 0 ? 1 << 31 : 0) | (exponent << 23) | (magnitude & 0x7fffff));
    }

    function toInteger(uint256 bits) internal pure returns (int256) {
        if (bits & 0x7fffffff == 0) return 0;
        uint256 magnitude = ((bits & 0x7fffff) | 0x800000) >> (150 - ((bits >> 23) & 0xff));
        return bits >> 31 == 0 ? int256(magnitude) : -int256(magnitude);
    }
}
