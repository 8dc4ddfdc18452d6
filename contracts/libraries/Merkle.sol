// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Ordered Merkle trees over a known number of 32-byte leaves.
/// @notice Leaves are padded with zero words to the next power of two. A path lists siblings from the leaf
/// upwards and the bits of the index say on which side each one stands: pairs are never sorted, so an index
/// cannot be aliased.
library Merkle {
    /// @notice Height of the tree of `count` leaves: ceil(log2(count)), 0 for one leaf.
    function height(uint256 count) internal pure returns (uint256 levels) {
        while (levels < 255 && (1 << levels) < count) ++levels;
    }

    /// @notice Whether `leaf` is number `index` of the `count` leaves under `root`.
    function isMember(bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata path, bytes32 root)
        internal
        pure
        returns (bool)
    {
        // INVARIANT: padding is no member, and a node of another level is no leaf.
        if (index >= count || path.length != height(count)) return false;
        return climb(leaf, index, path) == root;
    }

    /// @notice The root above `node`, which is number `index` of its level. The caller checks the path's length.
    function climb(bytes32 node, uint256 index, bytes32[] calldata path) internal pure returns (bytes32 root) {
        assembly ("memory-safe") {
            let sibling := path.offset
            for { let end := add(sibling, shl(5, path.length)) } lt(sibling, end) { sibling := add(sibling, 32) } {
                let side := shl(5, and(index, 1))
                mstore(side, node)
                mstore(xor(side, 32), calldataload(sibling))
                node := keccak256(0, 64)
                index := shr(1, index)
            }
            root := node
        }
    }
}
