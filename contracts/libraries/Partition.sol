// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Partition of a segment [lo, hi) of operators into children.
/// @notice Of `length` operators, the first `length mod degree` children have one more than the others.
library Partition {
    /// @notice Number of children: as many as the fan-out allows, none empty.
    function degree(uint256 fanOut, uint256 length) internal pure returns (uint256) {
        return length < fanOut ? length : fanOut;
    }

    /// @notice Operators of child `index`, from `childLo` up to but not including `childHi`.
    /// @dev The caller checks `index < degree_` and `0 < degree_ <= hi - lo`.
    function child(uint32 lo, uint32 hi, uint256 degree_, uint256 index)
        internal
        pure
        returns (uint32 childLo, uint32 childHi)
    {
        uint256 length = hi - lo;
        uint256 small = length / degree_;
        uint256 larger = length % degree_;
        uint256 start = lo + index * small + (index < larger ? index : larger);
        uint256 end = start + small + (index < larger ? 1 : 0);
        // SAFETY: start < end <= hi, which is a uint32.
        return (uint32(start), uint32(end));
    }
}
