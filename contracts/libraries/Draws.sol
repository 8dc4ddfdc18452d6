// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { Philox } from "./Philox.sol";

/// @title What a training step draws at random, from its number and the run's seed: its batch and its dropout masks.
library Draws {
    /// @dev Evaluations of the network after which a walk is given up. At most 3/4 of the network's numbers are outside
    /// the set, so that a walk this long has a probability below 2^-100.
    uint256 internal constant LONGEST_WALK = 256;

    uint256 private constant ROUNDS = 4;
    uint256 private constant WORD = 0xffffffff;

    error EmptySet();

    /// @notice The member of [0, size) that stands at `position` of the endless sequence of all epochs, each of which is a
    /// permutation of the set; not found where the walk is too long.
    /// @dev A balanced Feistel network over twice `half` bits, walked until it gives a member (Black, Rogaway, "Ciphers
    /// with arbitrary finite domains", 2002).
    /// @param position Below 2^63.
    /// @param size Below 2^32.
    /// @param key Two words.
    function member(uint256 position, uint256 size, uint256 key) internal pure returns (bool found, uint256 result) {
        if (size == 0) revert EmptySet();
        uint256 epoch = position / size;
        uint256 half = size == 1 ? 1 : Math.log2(size - 1) / 2 + 1;
        result = position % size;
        for (uint256 i; i < LONGEST_WALK; ++i) {
            result = _permute(result, half, epoch, key);
            if (result < size) return (true, result);
        }
    }

    /// @notice Whether element `element` of a dropout mask is kept.
    /// @param step Its low word counts.
    /// @param stream Number of the mask among the step's draws, one word.
    /// @param threshold The probability to be dropped, in units of 2^-32.
    function isKept(uint256 element, uint256 step, uint256 stream, uint256 threshold, uint256 key)
        internal
        pure
        returns (bool)
    {
        uint256 number = element / 4;
        uint256 counter = Philox.pack(number & WORD, (number >> 32) & WORD, step & WORD, stream);
        return Philox.word(Philox.block_(counter, key), element % 4) >= threshold;
    }

    function _permute(uint256 value, uint256 half, uint256 epoch, uint256 key) private pure returns (uint256) {
        uint256 mask = (1 << half) - 1;
        (uint256 left, uint256 right) = (value >> half, value & mask);
        for (uint256 round; round < ROUNDS; ++round) {
            uint256 counter = Philox.pack(round, right, epoch & WORD, (epoch >> 32) & WORD);
            (left, right) = (right, left ^ (Philox.word(Philox.block_(counter, key), 0) & mask));
        }
        return (left << half) | right;
    }
}
