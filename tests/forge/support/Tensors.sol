// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { NodeRecord } from "../../../contracts/libraries/NodeRecord.sol";
import { Trees } from "./Trees.sol";

/// @dev A tensor in memory with its commitment and openings.
/// @param data Big-endian elements in row-major order.
struct Tensor {
    NodeRecord.TensorType tensorType;
    uint256 size;
    bytes data;
}

library Tensors {
    function shape(uint256 first, uint256 second) internal pure returns (uint32[] memory dimensions) {
        dimensions = new uint32[](2);
        dimensions[0] = uint32(first);
        dimensions[1] = uint32(second);
    }

    function zeros(uint8 dtype, uint256 size, uint32[] memory dimensions) internal pure returns (Tensor memory) {
        uint256 length = size;
        for (uint256 i; i < dimensions.length; ++i) {
            length *= dimensions[i];
        }
        return Tensor(NodeRecord.TensorType(dtype, dimensions), size, new bytes(length));
    }

    function set(Tensor memory tensor, uint256 element, uint256 bits) internal pure {
        for (uint256 i = tensor.size; i > 0; --i) {
            tensor.data[element * tensor.size + i - 1] = bytes1(uint8(bits));
            bits >>= 8;
        }
    }

    function get(Tensor memory tensor, uint256 element) internal pure returns (uint256 bits) {
        for (uint256 i; i < tensor.size; ++i) {
            bits = (bits << 8) | uint8(tensor.data[element * tensor.size + i]);
        }
    }

    function columns(Tensor memory tensor) internal pure returns (uint256) {
        uint32[] memory dimensions = tensor.tensorType.shape;
        return dimensions.length == 0 ? 1 : dimensions[dimensions.length - 1];
    }

    function rows(Tensor memory tensor) internal pure returns (uint256) {
        return tensor.data.length / (columns(tensor) * tensor.size);
    }

    function chunkCount(Tensor memory tensor) internal pure returns (uint256) {
        return (columns(tensor) * tensor.size + 255) / 256;
    }

    function chunk(Tensor memory tensor, uint256 row, uint256 number) internal pure returns (bytes memory bytes_) {
        bytes_ = new bytes(256);
        uint256 length = columns(tensor) * tensor.size;
        for (uint256 i; i < 256 && 256 * number + i < length; ++i) {
            bytes_[i] = tensor.data[row * length + 256 * number + i];
        }
    }

    function chunkHashes(Tensor memory tensor, uint256 row) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](chunkCount(tensor));
        for (uint256 i; i < hashes.length; ++i) {
            hashes[i] = keccak256(chunk(tensor, row, i));
        }
    }

    function rowRoots(Tensor memory tensor) internal pure returns (bytes32[] memory roots) {
        roots = new bytes32[](rows(tensor));
        for (uint256 row; row < roots.length; ++row) {
            roots[row] = Trees.root(chunkHashes(tensor, row));
        }
    }

    function dataRoot(Tensor memory tensor) internal pure returns (bytes32) {
        return Trees.root(rowRoots(tensor));
    }

    function packedType(Tensor memory tensor) internal pure returns (bytes memory packed) {
        uint32[] memory dimensions = tensor.tensorType.shape;
        packed = abi.encodePacked(tensor.tensorType.dtype, uint8(dimensions.length));
        for (uint256 i; i < dimensions.length; ++i) {
            packed = abi.encodePacked(packed, dimensions[i]);
        }
    }

    function commitment(Tensor memory tensor) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(keccak256("TAO.tensor.v1"), packedType(tensor), dataRoot(tensor)));
    }

    /// @dev The smallest aligned subtree over `length` elements of one row.
    function open(Tensor memory tensor, uint256 first, uint256 length)
        internal
        pure
        returns (bytes memory data, bytes32[] memory path)
    {
        uint256 column = first % columns(tensor);
        uint256 low = column * tensor.size / 256;
        uint256 high = ((column + length) * tensor.size - 1) / 256;
        uint256 level;
        while (low >> level != high >> level) {
            ++level;
        }
        return openAt(tensor, first / columns(tensor), low, level);
    }

    /// @dev The aligned subtree of 2^level chunks around chunk `number` of a row.
    function openAt(Tensor memory tensor, uint256 row, uint256 number, uint256 level)
        internal
        pure
        returns (bytes memory data, bytes32[] memory path)
    {
        uint256 begin = (number >> level) << level;
        for (uint256 i = begin; i < begin + (1 << level) && i < chunkCount(tensor); ++i) {
            data = bytes.concat(data, chunk(tensor, row, i));
        }
        bytes32[] memory inside = Trees.path(chunkHashes(tensor, row), number, level);
        bytes32[] memory above = Trees.path(rowRoots(tensor), row, 0);
        path = new bytes32[](inside.length + above.length);
        for (uint256 i; i < path.length; ++i) {
            path[i] = i < inside.length ? inside[i] : above[i - inside.length];
        }
    }
}
