// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Partition } from "../../contracts/libraries/Partition.sol";
import { Cheats } from "./mocks/Cheats.sol";

contract PartitionTest is Cheats {
    function testFuzz_degree_isTheSmallerOfFanOutAndLength(uint256 fanOut, uint256 length) external pure {
        uint256 degree = Partition.degree(fanOut, length);
        vm.assertTrue(degree == fanOut || degree == length, "one of both");
        vm.assertTrue(degree <= fanOut && degree <= length, "and not the larger");
    }

    function testFuzz_children_coverTheSegmentInOrder(uint32 lo, uint32 length, uint256 fanOut) external pure {
        (lo, length, fanOut) = _sane(lo, length, fanOut);
        uint32 hi = lo + length;
        uint256 degree = Partition.degree(fanOut, length);
        uint32 at = lo;
        for (uint256 i = 0; i < degree; ++i) {
            (uint32 childLo, uint32 childHi) = Partition.child(lo, hi, degree, i, 1);
            vm.assertEq(uint256(childLo), at, "starts where the last one ended");
            vm.assertGt(childHi, childLo, "not empty");
            at = childHi;
        }
        vm.assertEq(uint256(at), hi, "the last one ends the segment");
    }

    function testFuzz_children_followTheSpecifiedSizes(uint32 lo, uint32 length, uint256 fanOut) external pure {
        (lo, length, fanOut) = _sane(lo, length, fanOut);
        uint256 degree = Partition.degree(fanOut, length);
        for (uint256 i = 0; i < degree; ++i) {
            (uint32 childLo, uint32 childHi) = Partition.child(lo, lo + length, degree, i, 1);
            uint256 size = length / degree + (i < length % degree ? 1 : 0);
            vm.assertEq(uint256(childHi - childLo), size, "the first ones take the remainder");
        }
    }

    function testFuzz_descent_endsAtOneOperatorWithinTheLogarithm(uint32 length, uint256 fanOut, uint256 seed)
        external
        pure
    {
        (, length, fanOut) = _sane(0, length, fanOut);
        (uint32 lo, uint32 hi) = (0, length);
        uint256 rounds;
        while (hi - lo > 1) {
            uint256 degree = Partition.degree(fanOut, hi - lo);
            (lo, hi) = Partition.child(lo, hi, degree, uint256(keccak256(abi.encode(seed, rounds))) % degree, 1);
            ++rounds;
        }
        uint256 limit;
        for (uint256 reach = 1; reach < length; reach *= fanOut) {
            ++limit;
        }
        vm.assertLe(rounds, limit, "ceil(log_N(length)) rounds");
    }

    function test_children_ofTheLongestSegment() external pure {
        uint32 hi = type(uint32).max;
        (uint32 lo, uint32 end) = Partition.child(0, hi, 64, 63, 1);
        vm.assertEq(uint256(end), hi, "end");
        vm.assertEq(uint256(end - lo), hi / 64, "size");
    }

    function testFuzz_unit_isAStepWhileTheSegmentIsLonger(uint32 length, uint32 nodeCount) external pure {
        length = uint32(bound(length, 1, type(uint32).max));
        uint32 expected = length > nodeCount ? nodeCount : 1;
        vm.assertEq(uint256(Partition.unit(0, length, nodeCount)), expected, "unit");
    }

    /// @dev The cuts of a run are those of its steps, times the operators of a step.
    function testFuzz_childrenInUnits_areThoseOfTheUnits(uint32 steps, uint32 nodeCount, uint256 fanOut, uint256 index)
        external
        pure
    {
        nodeCount = uint32(bound(nodeCount, 1, type(uint32).max));
        (, steps, fanOut) = _sane(0, steps, fanOut);
        steps = uint32(bound(steps, 1, type(uint32).max / nodeCount));
        uint256 degree = Partition.degree(fanOut, steps);
        index = bound(index, 0, degree - 1);
        (uint32 lo, uint32 hi) = Partition.child(0, steps, degree, index, 1);
        (uint32 unitLo, uint32 unitHi) = Partition.child(0, steps * nodeCount, degree, index, nodeCount);
        vm.assertEq(uint256(unitLo), uint256(lo) * nodeCount, "lo");
        vm.assertEq(uint256(unitHi), uint256(hi) * nodeCount, "hi");
    }

    function _sane(uint32 lo, uint32 length, uint256 fanOut) private pure returns (uint32, uint32, uint256) {
        lo = uint32(bound(lo, 0, type(uint32).max - 1));
        return (lo, uint32(bound(length, 1, type(uint32).max - lo)), bound(fanOut, 2, 64));
    }
}
