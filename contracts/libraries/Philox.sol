// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The counter-based random numbers Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// 2011).
library Philox {
    /// @dev Multipliers and key increments of the paper.
    uint256 private constant MULTIPLIER_0 = 0xd2511f53;
    uint256 private constant MULTIPLIER_1 = 0xcd9e8d57;
    uint256 private constant WEYL_0 = 0x9e3779b9;
    uint256 private constant WEYL_1 = 0xbb67ae85;

    uint256 private constant WORD = 0xffffffff;

    /// @notice The four words that a counter of four words gives under a key of two, word 0 in the most significant bits.
    function block_(uint256 counter, uint256 key) internal pure returns (uint256 result) {
        assembly ("memory-safe") {
            let c0 := shr(96, counter)
            let c1 := and(shr(64, counter), WORD)
            let c2 := and(shr(32, counter), WORD)
            let c3 := and(counter, WORD)
            let k0 := shr(32, key)
            let k1 := and(key, WORD)
            for { let round := 0 } lt(round, 10) { round := add(round, 1) } {
                let p0 := mul(MULTIPLIER_0, c0)
                let p1 := mul(MULTIPLIER_1, c2)
                c0 := xor(xor(shr(32, p1), c1), k0)
                c1 := and(p1, WORD)
                c2 := xor(xor(shr(32, p0), c3), k1)
                c3 := and(p0, WORD)
                k0 := and(add(k0, WEYL_0), WORD)
                k1 := and(add(k1, WEYL_1), WORD)
            }
            result := or(or(shl(96, c0), shl(64, c1)), or(shl(32, c2), c3))
        }
    }

    /// @notice A counter or a result from its words.
    function pack(uint256 w0, uint256 w1, uint256 w2, uint256 w3) internal pure returns (uint256) {
        return (w0 << 96) | (w1 << 64) | (w2 << 32) | w3;
    }

    /// @notice Word `index` of a result, 0 to 3.
    function word(uint256 result, uint256 index) internal pure returns (uint256) {
        return (result >> (96 - 32 * index)) & WORD;
    }
}
