// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Sortition } from "../../contracts/libraries/Sortition.sol";
import { Cheats } from "./mocks/Cheats.sol";

contract SortitionTest is Cheats {
    using Sortition for Sortition.Urn;

    function test_next_wholePopulation_isAPermutation(bytes32 seed, uint256 population) external pure {
        population = bound(population, 1, 80);
        Sortition.Urn memory urn = Sortition.fill(seed, population, population);
        bool[] memory seen = new bool[](population);
        for (uint256 k = 0; k < population; ++k) {
            vm.assertFalse(urn.isEmpty(), "empty too early");
            uint256 index = urn.next();
            vm.assertFalse(seen[index], "drawn twice");
            seen[index] = true;
        }
        vm.assertTrue(urn.isEmpty(), "not empty at the end");
    }

    /// @dev Against the textbook: a Fisher-Yates shuffle of the whole list in memory.
    function test_next_equalsTheDenseShuffle(bytes32 seed, uint256 population, uint256 draws) external pure {
        population = bound(population, 1, 300);
        draws = bound(draws, 1, population < 60 ? population : 60);
        uint256[] memory list = new uint256[](population);
        for (uint256 i = 0; i < population; ++i) {
            list[i] = i;
        }
        Sortition.Urn memory urn = Sortition.fill(seed, population, draws);
        for (uint256 k = 0; k < draws; ++k) {
            uint256 place = k + uint256(keccak256(abi.encode(seed, k))) % (population - k);
            (list[k], list[place]) = (list[place], list[k]);
            vm.assertEq(urn.next(), list[k], "index");
        }
    }

    function test_fill_boundsTheDraws() external pure {
        Sortition.Urn memory urn = Sortition.fill("seed", 1_000_000, 3);
        for (uint256 k = 0; k < 3; ++k) {
            vm.assertLt(urn.next(), 1_000_000, "in the population");
        }
        vm.assertTrue(urn.isEmpty(), "bound reached");
    }

    function test_fill_emptyPopulation_isEmpty() external pure {
        vm.assertTrue(Sortition.fill("seed", 0, 10).isEmpty(), "empty");
    }

    function test_next_emptyUrn_reverts() external {
        vm.expectRevert();
        this.drawFromEmpty();
    }

    function drawFromEmpty() external pure returns (uint256) {
        return Sortition.fill("seed", 0, 10).next();
    }

    /// @dev All 24 orders of four indices, 7,200 draws, 300 expected each: chi-squared with 23 degrees of
    /// freedom stays below 63 but for a chance of 1e-5, and the seeds are fixed.
    function test_next_everyOrderIsAboutAsLikely() external pure {
        uint256[256] memory counts;
        for (uint256 s = 0; s < 7200; ++s) {
            Sortition.Urn memory urn = Sortition.fill(keccak256(abi.encode(s)), 4, 4);
            uint256 order = 0;
            for (uint256 k = 0; k < 4; ++k) {
                order = order * 4 + urn.next();
            }
            ++counts[order];
        }
        uint256 orders = 0;
        uint256 squares = 0;
        for (uint256 i = 0; i < 256; ++i) {
            if (counts[i] == 0) continue;
            ++orders;
            uint256 off = counts[i] > 300 ? counts[i] - 300 : 300 - counts[i];
            squares += off * off;
        }
        vm.assertEq(orders, 24, "orders seen");
        vm.assertLt(squares / 300, 63, "chi-squared");
    }
}
