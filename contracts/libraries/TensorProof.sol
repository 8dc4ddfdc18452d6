// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { DType } from "./DType.sol";
import { Merkle } from "./Merkle.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { Tags } from "./Tags.sol";

/// @title Tensor commitments and openings of parts of them (docs/protocol.md, section 1).
/// @notice A row is the last dimension, cut into chunks of 256 bytes whose hashes are folded to the row root;
/// the row roots are folded to the data root. Chunks hash 256 bytes and inner nodes 64, so neither passes for
/// the other.
library TensorProof {
    using NodeRecord for NodeRecord.TensorType;

    /// @param data Raw bytes of the real chunks of an aligned subtree of a row, first to last.
    /// @param path Siblings from the subtree's root up to the data root; its length tells the subtree's level.
    struct Opening {
        bytes data;
        bytes32[] path;
    }

    uint256 internal constant CHUNK = 256;

    error EmptyTensor();
    error WrongChunkLength(uint256 given, uint256 required);
    error WrongPathLength(uint256 given, uint256 required);
    error LeafOutOfRange(uint256 leaf, uint256 height);
    error RunOutOfRange(uint256 first, uint256 length);
    error RunNotCovered(uint256 firstChunk, uint256 lastChunk, uint256 level);

    /// @notice Commitment of a tensor: keccak256(TAG_tensor || type || data root).
    function commitment(bytes memory packedType, bytes32 dataRoot) internal pure returns (bytes32) {
        return keccak256(bytes.concat(Tags.TENSOR, packedType, dataRoot));
    }

    /// @notice Elements of a row; 1 for a tensor of rank 0.
    function rowLength(NodeRecord.TensorType memory tensorType) internal pure returns (uint256) {
        uint256 rank = tensorType.shape.length;
        return rank == 0 ? 1 : tensorType.shape[rank - 1];
    }

    /// @notice Number of rows; 1 for tensors of rank 0 and 1.
    function rows(NodeRecord.TensorType memory tensorType) internal pure returns (uint256 count) {
        count = 1;
        for (uint256 i = 1; i < tensorType.shape.length; ++i) {
            count *= tensorType.shape[i - 1];
        }
    }

    /// @notice Number of elements.
    function numel(NodeRecord.TensorType memory tensorType) internal pure returns (uint256) {
        return rows(tensorType) * rowLength(tensorType);
    }

    function chunksPerRow(NodeRecord.TensorType memory tensorType) internal pure returns (uint256) {
        uint256 length = rowLength(tensorType) * DType.size(tensorType.dtype);
        // INVARIANT: no tensor without elements was ever committed.
        if (length == 0) revert EmptyTensor();
        return (length + CHUNK - 1) / CHUNK;
    }

    /// @notice Height of the tree of one row.
    function rowHeight(NodeRecord.TensorType memory tensorType) internal pure returns (uint256) {
        return Merkle.height(chunksPerRow(tensorType));
    }

    /// @notice Height of the whole tree.
    function height(NodeRecord.TensorType memory tensorType) internal pure returns (uint256) {
        return rowHeight(tensorType) + Merkle.height(rows(tensorType));
    }

    /// @notice Whether a leaf of the whole tree is a chunk of the tensor rather than padding.
    function isChunk(NodeRecord.TensorType memory tensorType, uint256 leaf) internal pure returns (bool) {
        uint256 chunks = chunksPerRow(tensorType);
        uint256 levels = Merkle.height(chunks);
        uint256 row = leaf >> levels;
        return row < rows(tensorType) && leaf - (row << levels) < chunks;
    }

    /// @notice Data root above one chunk.
    /// @param leaf Number of the chunk among the leaves of the whole tree.
    /// @param levels Height of the whole tree.
    function chunkRoot(uint256 leaf, bytes calldata chunk, bytes32[] calldata path, uint256 levels)
        internal
        pure
        returns (bytes32)
    {
        if (chunk.length != CHUNK) revert WrongChunkLength(chunk.length, CHUNK);
        if (path.length != levels) revert WrongPathLength(path.length, levels);
        // INVARIANT: every bit of the leaf's number names a side, so it has no alias.
        if (leaf >> levels != 0) revert LeafOutOfRange(leaf, levels);
        return Merkle.climb(fold(chunk, 0), leaf, path);
    }

    /// @notice Checks an opening that covers `length` elements of one row, from row-major element `first` on.
    /// @return dataRoot Root that the opening leads to; the caller compares the commitment made of it.
    /// @return run Calldata position of the first of the elements.
    function openRun(
        NodeRecord.TensorType memory tensorType,
        bytes calldata data,
        bytes32[] calldata path,
        uint256 first,
        uint256 length
    ) internal pure returns (bytes32 dataRoot, uint256 run) {
        uint256 columns = rowLength(tensorType);
        uint256 rowCount = rows(tensorType);
        uint256 chunks = chunksPerRow(tensorType);
        uint256 row = first / columns;
        uint256 column = first % columns;
        // INVARIANT: the run is not empty and lies inside one row of the tensor.
        if (length == 0 || row >= rowCount || length > columns - column) revert RunOutOfRange(first, length);

        uint256 size = DType.size(tensorType.dtype);
        uint256 levels = Merkle.height(chunks);
        uint256 total = levels + Merkle.height(rowCount);
        // INVARIANT: the path's length fixes the level, and a subtree never reaches beyond its row.
        if (path.length > total || path.length < total - levels) revert WrongPathLength(path.length, total);
        uint256 level = total - path.length;

        uint256 subtree = (column * size / CHUNK) >> level;
        uint256 firstChunk = subtree << level;
        {
            uint256 lastChunk = ((column + length) * size - 1) / CHUNK;
            // INVARIANT: the whole run lies inside the opened subtree.
            if (lastChunk >> level != subtree) revert RunNotCovered(column * size / CHUNK, lastChunk, level);
            uint256 real = chunks - firstChunk;
            if (real > 1 << level) real = 1 << level;
            // INVARIANT: every real chunk of the subtree is given, and nothing else.
            if (data.length != real * CHUNK) revert WrongChunkLength(data.length, real * CHUNK);
        }
        dataRoot = Merkle.climb(fold(data, level), (row << (levels - level)) + subtree, path);
        uint256 start = column * size - firstChunk * CHUNK;
        assembly ("memory-safe") {
            run := add(data.offset, start)
        }
    }

    /// @notice Checks an opening of one element and reads it.
    /// @return dataRoot Root that the opening leads to.
    /// @return bits The element's bytes as a big-endian integer.
    function openElement(
        NodeRecord.TensorType memory tensorType,
        bytes calldata data,
        bytes32[] calldata path,
        uint256 element
    ) internal pure returns (bytes32 dataRoot, uint256 bits) {
        uint256 run;
        (dataRoot, run) = openRun(tensorType, data, path, element, 1);
        uint256 unused = 256 - 8 * DType.size(tensorType.dtype);
        assembly ("memory-safe") {
            bits := shr(unused, calldataload(run))
        }
    }

    /// @notice Root of the subtree of `2^level` leaves whose first ones are the given chunks, the others zero.
    /// @dev The caller checks that there is a whole number of chunks, from 1 to `2^level`.
    function fold(bytes calldata chunks, uint256 level) internal pure returns (bytes32 root) {
        assembly ("memory-safe") {
            // Free memory is scratch: the hashes of a level, and behind them one chunk at a time.
            let nodes := mload(0x40)
            let width := shl(level, 1)
            let chunk := add(nodes, shl(5, width))
            let node := nodes
            let from := chunks.offset
            for { let end := add(from, chunks.length) } lt(from, end) { from := add(from, 256) } {
                calldatacopy(chunk, from, 256)
                mstore(node, keccak256(chunk, 256))
                node := add(node, 32)
            }
            calldatacopy(node, calldatasize(), sub(chunk, node)) // zeros
            for { } gt(width, 1) { } {
                width := shr(1, width)
                from := nodes
                for { node := nodes } lt(node, add(nodes, shl(5, width))) { node := add(node, 32) } {
                    mstore(node, keccak256(from, 64))
                    from := add(from, 64)
                }
            }
            root := mload(nodes)
        }
    }
}
