// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev Records, trees and tensors of a chain of operators, built after docs/protocol.md and independently of
/// the contracts' libraries. Cut i has the state (a value that passes through, value i). Every value has
/// the type float32[3, 150]: rows of 600 bytes are 3 chunks among 4 leaves, and 3 rows among 4.
library TinyModel {
    bytes32 private constant TAG_TENSOR = keccak256("TAO.tensor.v1");
    bytes32 private constant TAG_STATE = keccak256("TAO.state.v1");
    bytes32 private constant TAG_NODE = keccak256("TAO.node.v1");
    bytes32 private constant TAG_TOLERANCE = keccak256("TAO.tolerance.v1");

    bytes4 internal constant PROVABLE = bytes4(keccak256("test.provable"));
    bytes4 internal constant UNCALIBRATED = bytes4(keccak256("test.uncalibrated"));
    bytes4 internal constant VOTED = bytes4(keccak256("test.voted"));
    bytes internal constant TYPE = hex"06020000000300000096";
    uint16 internal constant OUTPUT = 0x8000;
    uint256 internal constant PASSING = 1000;

    function record(bytes4 op, uint256 call, uint8 outputs, uint16[] memory afterEntries)
        internal
        pure
        returns (bytes memory packed)
    {
        packed = abi.encodePacked(op, keccak256(abi.encode(call)), outputs);
        for (uint256 i = 0; i < outputs; ++i) {
            packed = bytes.concat(packed, TYPE);
        }
        bytes memory live = abi.encodePacked(uint8(0), uint16(1), TYPE, uint8(0xff));
        bytes memory parameter = abi.encodePacked(uint8(1), uint16(0), TYPE, uint8(0xff));
        packed = abi.encodePacked(packed, uint8(2), live, parameter, uint32(0), uint8(0));
        packed = abi.encodePacked(packed, uint16(2), uint16(afterEntries.length));
        for (uint256 i = 0; i < afterEntries.length; ++i) {
            packed = abi.encodePacked(packed, afterEntries[i]);
        }
    }

    /// @dev A node that replaces the second value.
    function step(bytes4 op, uint256 call) internal pure returns (bytes memory) {
        uint16[] memory entries = new uint16[](2);
        entries[1] = OUTPUT;
        return record(op, call, 1, entries);
    }

    function nodeHash(bytes memory packed) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(TAG_NODE, packed));
    }

    /// @dev Leaf of a node in the tree of tolerances.
    function threshold(uint32 theta, bytes32 toleranceHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(TAG_TOLERANCE, theta, toleranceHash));
    }

    function state(uint256 cut) internal pure returns (bytes32[] memory values) {
        values = new bytes32[](2);
        values[0] = value(PASSING);
        values[1] = value(cut);
    }

    function hash(bytes32[] memory values) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(TAG_STATE, values));
    }

    /// @dev Commitment of the tensor named `salt`.
    function value(uint256 salt) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(TAG_TENSOR, TYPE, root(_rowRoots(salt))));
    }

    function isReal(uint256 leaf) internal pure returns (bool) {
        return leaf % 4 < 3 && leaf / 4 < 3;
    }

    /// @dev Raw bytes of one chunk; the last one of a row is filled up with zeros.
    function chunk(uint256 salt, uint256 leaf) internal pure returns (bytes memory) {
        bytes32 w = keccak256(abi.encode(salt, leaf));
        if (leaf % 4 == 2) return abi.encodePacked(w, w, bytes24(w), new bytes(168));
        return abi.encodePacked(w, w, w, w, w, w, w, w);
    }

    /// @dev Path of a chunk to the data root: through its row, then through the row roots.
    function chunkPath(uint256 salt, uint256 leaf) internal pure returns (bytes32[] memory siblings) {
        bytes32[] memory inRow = path(_row(salt, leaf / 4), leaf % 4);
        bytes32[] memory above = path(_rowRoots(salt), leaf / 4);
        siblings = new bytes32[](4);
        (siblings[0], siblings[1], siblings[2], siblings[3]) = (inRow[0], inRow[1], above[0], above[1]);
    }

    function root(bytes32[] memory level) internal pure returns (bytes32) {
        while (level.length > 1) {
            level = _parents(level);
        }
        return level[0];
    }

    function path(bytes32[] memory level, uint256 index) internal pure returns (bytes32[] memory siblings) {
        uint256 height;
        while (1 << height < level.length) ++height;
        siblings = new bytes32[](height);
        for (uint256 i = 0; i < height; ++i) {
            siblings[i] = level[index ^ 1];
            level = _parents(level);
            index >>= 1;
        }
    }

    /// @dev Padded with zeros to a power of two.
    function padded(bytes32[] memory hashes) internal pure returns (bytes32[] memory level) {
        uint256 width = 1;
        while (width < hashes.length) width <<= 1;
        level = new bytes32[](width);
        for (uint256 i = 0; i < hashes.length; ++i) {
            level[i] = hashes[i];
        }
    }

    function _row(uint256 salt, uint256 row) private pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](4);
        for (uint256 i = 0; i < 3; ++i) {
            hashes[i] = keccak256(chunk(salt, 4 * row + i));
        }
    }

    function _rowRoots(uint256 salt) private pure returns (bytes32[] memory roots) {
        roots = new bytes32[](4);
        for (uint256 row = 0; row < 3; ++row) {
            roots[row] = root(_row(salt, row));
        }
    }

    function _parents(bytes32[] memory level) private pure returns (bytes32[] memory parents) {
        parents = new bytes32[](level.length / 2);
        for (uint256 i = 0; i < parents.length; ++i) {
            parents[i] = keccak256(abi.encodePacked(level[2 * i], level[2 * i + 1]));
        }
    }
}
