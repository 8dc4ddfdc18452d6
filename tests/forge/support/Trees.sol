// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev Trees in memory, level by level over all padding: slow, and plainly what docs/protocol.md says.
library Trees {
    function height(uint256 count) internal pure returns (uint256 levels) {
        for (uint256 width = 1; width < count; width *= 2) {
            ++levels;
        }
    }

    function pad(bytes32[] memory leaves) internal pure returns (bytes32[] memory padded) {
        padded = new bytes32[](1 << height(leaves.length));
        for (uint256 i; i < leaves.length; ++i) {
            padded[i] = leaves[i];
        }
    }

    function parents(bytes32[] memory nodes) internal pure returns (bytes32[] memory above) {
        above = new bytes32[](nodes.length / 2);
        for (uint256 i; i < above.length; ++i) {
            above[i] = keccak256(bytes.concat(nodes[2 * i], nodes[2 * i + 1]));
        }
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        bytes32[] memory nodes = pad(leaves);
        while (nodes.length > 1) {
            nodes = parents(nodes);
        }
        return nodes[0];
    }

    /// @dev Path of the node at `level` above leaf `index`.
    function path(bytes32[] memory leaves, uint256 index, uint256 level)
        internal
        pure
        returns (bytes32[] memory siblings)
    {
        bytes32[] memory nodes = pad(leaves);
        uint256 top = height(leaves.length);
        siblings = new bytes32[](top - level);
        for (uint256 l; l < top; ++l) {
            if (l >= level) siblings[l - level] = nodes[index ^ 1];
            nodes = parents(nodes);
            index >>= 1;
        }
    }
}
