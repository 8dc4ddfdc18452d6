// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Partition of a segment [lo, hi) of operators into children.
/// @notice A segment is dealt out in units: whole steps while it is longer than one, single operators from then on. Of
/// `length` units, the first `length mod degree` children have one more than the others.
library Partition {
    /// @notice Operators of a unit of [lo, hi), where a step has `nodeCount`.
    /// @dev The run is a whole number of steps, and so is every segment longer than one step.
    function unit(uint32 lo, uint32 hi, uint32 nodeCount) internal pure returns (uint32) {
        return hi - lo > nodeCount ? nodeCount : 1;
    }

    /// @notice Number of children of `length` units: as many as the fan-out allows, none empty.
    function degree(uint256 fanOut, uint256 length) internal pure returns (uint256) {
        return length < fanOut ? length : fanOut;
    }

    /// @notice Operators of child `index`, from `childLo` up to but not including `childHi`.
    /// @dev The caller checks `index < degree_` and `0 < degree_ <= (hi - lo) / unit_`.
    function child(uint32 lo, uint32 hi, uint256 degree_, uint256 index, uint256 unit_)
        internal
        pure
        returns (uint32 childLo, uint32 childHi)
    {
        uint256 length = (hi - lo) / unit_;
        uint256 small = length / degree_;
        uint256 larger = length % degree_;
        uint256 start = index * small + (index < larger ? index : larger);
        uint256 end = start + small + (index < larger ? 1 : 0);
        // SAFETY: start < end <= length, so that both cuts are at most hi, which is a uint32.
        return (uint32(lo + start * unit_), uint32(lo + end * unit_));
    }
}
