// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Draws } from "../../contracts/libraries/Draws.sol";
import { Philox } from "../../contracts/libraries/Philox.sol";

/// @dev The known answers that the authors of Philox publish, and the walk over sets of every size.
/// forge-config: default.fuzz.runs = 64
contract PhiloxTest {
    uint256 private constant ALL = type(uint128).max;

    function test_block_zeroGivesThePublishedWords() external pure {
        _require(Philox.block_(0, 0), 0x6627e8d5_e169c58d_bc57ac4c_9b00dbd8);
    }

    function test_block_onesGiveThePublishedWords() external pure {
        _require(Philox.block_(ALL, type(uint64).max), 0x408f276d_41c83b0e_a20bc7c6_6d5451fd);
    }

    function test_block_digitsOfPiGiveThePublishedWords() external pure {
        uint256 counter = Philox.pack(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344);
        _require(Philox.block_(counter, 0xa4093822_299f31d0), 0xd16cfe09_94fdcceb_5001e420_24126ea1);
    }

    function test_word_countsFromTheFirst() external pure {
        uint256 result = Philox.pack(1, 2, 3, 4);
        for (uint256 i; i < 4; ++i) {
            require(Philox.word(result, i) == i + 1, "another word");
        }
    }

    function testFuzz_member_anEpochHoldsEachMemberOnce(uint256 key, uint256 size, uint256 epoch) external pure {
        size = 1 + size % 100;
        epoch %= 1 << 64;
        bool[] memory seen = new bool[](size);
        for (uint256 i; i < size; ++i) {
            (bool found, uint256 drawn) = Draws.member(epoch * size + i, size, key & type(uint64).max);
            require(found && !seen[drawn], "twice, or not at all");
            seen[drawn] = true;
        }
    }

    function _require(uint256 given, uint256 expected) private pure {
        require(given == expected, "another block");
    }
}
