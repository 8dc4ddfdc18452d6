// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Merkle } from "../../contracts/libraries/Merkle.sol";
import { Random } from "./support/Vm.sol";
import { Trees } from "./support/Trees.sol";

contract Membership {
    function isMember(bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata path, bytes32 root)
        external
        pure
        returns (bool)
    {
        return Merkle.isMember(leaf, index, count, path, root);
    }
}

contract MerkleTest {
    Membership private tree = new Membership();

    function test_height_isCeilingOfLogarithm() external pure {
        uint8[10] memory counts = [0, 1, 2, 3, 4, 5, 8, 9, 64, 65];
        uint8[10] memory heights = [0, 0, 1, 2, 2, 3, 3, 4, 6, 7];
        for (uint256 i; i < 10; ++i) {
            require(Merkle.height(counts[i]) == heights[i], "height");
        }
        require(Merkle.height(1 << 200) == 200 && Merkle.height((1 << 200) + 1) == 201, "large counts");
    }

    function testFuzz_isMember_acceptsEveryLeafAtItsIndexOnly(uint256 seed, uint256 count, uint256 index)
        external
        view
    {
        count = 1 + count % 40;
        index %= count;
        bytes32[] memory leaves = _leaves(seed, count);
        bytes32 root = Trees.root(leaves);
        bytes32[] memory path = Trees.path(leaves, index, 0);
        require(tree.isMember(leaves[index], index, count, path, root), "a member is refused");
        for (uint256 other; other < 130; ++other) {
            if (other != index) require(!tree.isMember(leaves[index], other, count, path, root), "aliased index");
        }
    }

    function testFuzz_isMember_refusesPadding(uint256 seed, uint256 count) external view {
        count = 1 + count % 40;
        bytes32[] memory leaves = _leaves(seed, count);
        uint256 width = 1 << Trees.height(count);
        for (uint256 index = count; index < width; ++index) {
            bytes32[] memory path = Trees.path(leaves, index, 0);
            require(!tree.isMember(0, index, count, path, Trees.root(leaves)), "padding passes for a leaf");
        }
    }

    function testFuzz_isMember_refusesInnerNodesAndExtendedPaths(uint256 seed, uint256 count, uint256 index)
        external
        view
    {
        count = 2 + count % 40;
        index %= count;
        bytes32[] memory leaves = _leaves(seed, count);
        bytes32 root = Trees.root(leaves);
        bytes32[] memory above = Trees.parents(Trees.pad(leaves));
        bytes32[] memory path = Trees.path(leaves, index, 1);
        require(!tree.isMember(above[index / 2], index / 2, count, path, root), "inner node passes for a leaf");
        require(tree.isMember(above[index / 2], index / 2, above.length, path, root), "it is a leaf one level up");
        bytes32[] memory longer = new bytes32[](path.length + 2);
        require(!tree.isMember(leaves[index], index, count, longer, root), "a longer path");
        require(!tree.isMember(root, 0, count, new bytes32[](0), root), "the root passes for a leaf");
    }

    function testFuzz_isMember_refusesAnyChange(uint256 seed, uint256 count, uint256 index, uint256 change)
        external
        view
    {
        count = 2 + count % 40;
        index %= count;
        if (change == 0) change = 1;
        bytes32[] memory leaves = _leaves(seed, count);
        bytes32 root = Trees.root(leaves);
        bytes32[] memory path = Trees.path(leaves, index, 0);
        bytes32 other = bytes32(uint256(leaves[index]) ^ change);
        require(!tree.isMember(other, index, count, path, root), "another leaf");
        uint256 at = change % path.length;
        path[at] = bytes32(uint256(path[at]) ^ change);
        require(!tree.isMember(leaves[index], index, count, path, root), "another sibling");
    }

    function test_isMember_refusesTheEmptyTree() external view {
        require(!tree.isMember(0, 0, 0, new bytes32[](0), 0), "a tree without leaves has a member");
    }

    function _leaves(uint256 seed, uint256 count) private pure returns (bytes32[] memory leaves) {
        Random memory random = Random(seed);
        leaves = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = bytes32(random.next());
        }
    }
}
