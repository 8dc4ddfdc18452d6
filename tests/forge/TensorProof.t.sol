// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { DType } from "../../contracts/libraries/DType.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { Random, vm } from "./support/Vm.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Trees } from "./support/Trees.sol";

contract Opener {
    using TensorProof for NodeRecord.TensorType;

    function openRun(
        NodeRecord.TensorType memory tensorType,
        bytes calldata data,
        bytes32[] calldata path,
        uint256 first,
        uint256 length
    ) external pure returns (bytes32 dataRoot, bytes memory run) {
        uint256 at;
        (dataRoot, at) = tensorType.openRun(data, path, first, length);
        run = new bytes(length * DType.size(tensorType.dtype));
        assembly ("memory-safe") {
            calldatacopy(add(run, 32), at, mload(run))
        }
    }

    function openElement(
        NodeRecord.TensorType memory tensorType,
        bytes calldata data,
        bytes32[] calldata path,
        uint256 element
    ) external pure returns (bytes32 dataRoot, uint256 bits) {
        return tensorType.openElement(data, path, element);
    }

    function chunkRoot(uint256 leaf, bytes calldata chunk, bytes32[] calldata path, uint256 levels)
        external
        pure
        returns (bytes32)
    {
        return TensorProof.chunkRoot(leaf, chunk, path, levels);
    }
}

/// forge-config: default.fuzz.runs = 64
contract TensorProofTest {
    using TensorProof for NodeRecord.TensorType;
    using Tensors for Tensor;

    Opener private opener = new Opener();

    function testFuzz_commitment_matchesTheDefinition(uint256 seed) external pure {
        Tensor memory tensor = _tensor(Random(seed));
        bytes memory packed = NodeRecord.pack(tensor.tensorType);
        require(TensorProof.commitment(packed, tensor.dataRoot()) == tensor.commitment(), "commitment");
    }

    function testFuzz_geometry_matchesTheTree(uint256 seed) external pure {
        Tensor memory tensor = _tensor(Random(seed));
        NodeRecord.TensorType memory tensorType = tensor.tensorType;
        require(tensorType.numel() * tensor.size == tensor.data.length, "numel");
        require(tensorType.rows() == tensor.rows() && tensorType.rowLength() == tensor.columns(), "rows");
        require(tensorType.chunksPerRow() == tensor.chunkCount(), "chunks");
        uint256 inRow = Trees.height(tensor.chunkCount());
        uint256 total = inRow + Trees.height(tensor.rows());
        require(tensorType.rowHeight() == inRow && tensorType.height() == total, "heights");
        uint256 real;
        for (uint256 leaf; leaf < (1 << total) + 3; ++leaf) {
            if (tensorType.isChunk(leaf)) ++real;
        }
        require(real == tensor.rows() * tensor.chunkCount(), "chunks and padding are mixed up");
    }

    function testFuzz_openRun_opensEveryRun(uint256 seed) external view {
        Random memory random = Random(seed);
        Tensor memory tensor = _tensor(random);
        bytes32 root = tensor.dataRoot();
        for (uint256 i; i < 3; ++i) {
            (uint256 first, uint256 length) = _someRun(random, tensor);
            (bytes memory data, bytes32[] memory path) = tensor.open(first, length);
            (bytes32 dataRoot, bytes memory run) = opener.openRun(tensor.tensorType, data, path, first, length);
            require(dataRoot == root, "root");
            for (uint256 j; j < run.length; ++j) {
                require(run[j] == tensor.data[first * tensor.size + j], "the run's bytes");
            }
            (data, path) = tensor.open(first, 1);
            uint256 bits;
            (dataRoot, bits) = opener.openElement(tensor.tensorType, data, path, first);
            require(dataRoot == root && bits == tensor.get(first), "element");
        }
    }

    function testFuzz_openRun_takesAnyCoveringSubtree(uint256 seed) external view {
        Random memory random = Random(seed);
        Tensor memory tensor = _tensor(random);
        (uint256 first,) = _someRun(random, tensor);
        uint256 number = (first % tensor.columns()) * tensor.size / 256;
        for (uint256 level; level <= Trees.height(tensor.chunkCount()); ++level) {
            (bytes memory data, bytes32[] memory path) = tensor.openAt(first / tensor.columns(), number, level);
            (bytes32 dataRoot, uint256 bits) = opener.openElement(tensor.tensorType, data, path, first);
            require(dataRoot == tensor.dataRoot() && bits == tensor.get(first), "element");
        }
    }

    function testFuzz_openRun_neverOpensAnotherTensor(uint256 seed) external view {
        Random memory random = Random(seed);
        Tensor memory tensor = _tensor(random);
        (uint256 first, uint256 length) = _someRun(random, tensor);
        (bytes memory data, bytes32[] memory path) = tensor.open(first, length);
        uint256 at = random.below(data.length + 32 * path.length);
        uint256 change = 1 + random.below(255);
        if (at < data.length) {
            data[at] ^= bytes1(uint8(change));
        } else {
            at -= data.length;
            path[at / 32] = bytes32(uint256(path[at / 32]) ^ (change << (8 * (at % 32))));
        }
        (bytes32 dataRoot,) = opener.openRun(tensor.tensorType, data, path, first, length);
        require(dataRoot != tensor.dataRoot(), "a changed byte leads to the same root");
    }

    function testFuzz_openRun_namesItsPlace(uint256 seed) external view {
        // An opening that is good for one element leads to the root for no element of another subtree.
        Random memory random = Random(seed);
        Tensor memory tensor = _tensor(random);
        (uint256 first,) = _someRun(random, tensor);
        (bytes memory data, bytes32[] memory path) = tensor.open(first, 1);
        uint256 other = random.below(tensor.data.length / tensor.size);
        uint256 columns = tensor.columns();
        bool same = first / columns == other / columns
            && (first % columns) * tensor.size / 256 == (other % columns) * tensor.size / 256;
        (bool done, bytes memory output) =
            address(opener).staticcall(abi.encodeCall(opener.openElement, (tensor.tensorType, data, path, other)));
        bool opened = done && abi.decode(output, (bytes32)) == tensor.dataRoot();
        require(opened == same, "an opening is good for another place");
    }

    function test_openRun_staysInsideOneRow() external {
        (Tensor memory tensor, bytes memory data, bytes32[] memory path) = _wide();
        opener.openRun(tensor.tensorType, data, path, 100, 100);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, 100, 101));
        opener.openRun(tensor.tensorType, data, path, 100, 101);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, 100, type(uint256).max));
        opener.openRun(tensor.tensorType, data, path, 100, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, 100, 0));
        opener.openRun(tensor.tensorType, data, path, 100, 0);
    }

    function test_openRun_staysInsideTheTensor() external {
        (Tensor memory tensor, bytes memory data, bytes32[] memory path) = _wide();
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, 600, 1));
        opener.openRun(tensor.tensorType, data, path, 600, 1);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, type(uint256).max, 1));
        opener.openRun(tensor.tensorType, data, path, type(uint256).max, 1);
    }

    function test_openRun_needsTheWholeRunInTheSubtree() external {
        (Tensor memory tensor,,) = _wide(); // four chunks of 64 elements per row, the last one short
        (bytes memory data, bytes32[] memory path) = tensor.openAt(0, 1, 0);
        opener.openRun(tensor.tensorType, data, path, 64, 64);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunNotCovered.selector, 1, 2, 0));
        opener.openRun(tensor.tensorType, data, path, 65, 64);
    }

    function test_openRun_checksTheLengthOfTheData() external {
        (Tensor memory tensor, bytes memory data, bytes32[] memory path) = _wide();
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongChunkLength.selector, 1056, 1024));
        opener.openRun(tensor.tensorType, bytes.concat(data, bytes32(0)), path, 0, 200);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongChunkLength.selector, 0, 1024));
        opener.openRun(tensor.tensorType, "", path, 0, 200);
    }

    function test_openRun_checksTheLengthOfThePath() external {
        (Tensor memory tensor, bytes memory data, bytes32[] memory path) = _wide();
        require(path.length == 2, "three rows");
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongPathLength.selector, 5, 4));
        opener.openRun(tensor.tensorType, data, new bytes32[](5), 0, 200);
        // A subtree above a row would hold several rows.
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongPathLength.selector, 1, 4));
        opener.openRun(tensor.tensorType, data, new bytes32[](1), 0, 200);
    }

    function test_openRun_refusesEmptyAndUnknownTypes() external {
        NodeRecord.TensorType memory empty = NodeRecord.TensorType(DType.FLOAT32, Tensors.shape(2, 0));
        vm.expectRevert(abi.encodeWithSelector(TensorProof.EmptyTensor.selector));
        opener.openRun(empty, "", new bytes32[](1), 0, 1);
        NodeRecord.TensorType memory unknown = NodeRecord.TensorType(10, Tensors.shape(2, 2));
        vm.expectRevert(abi.encodeWithSelector(DType.UnknownDType.selector, 10));
        opener.openRun(unknown, new bytes(256), new bytes32[](1), 0, 1);
    }

    function testFuzz_chunkRoot_opensEveryChunk(uint256 seed) external view {
        Random memory random = Random(seed);
        Tensor memory tensor = _tensor(random);
        uint256 row = random.below(tensor.rows());
        uint256 number = random.below(tensor.chunkCount());
        (bytes memory data, bytes32[] memory path) = tensor.openAt(row, number, 0);
        uint256 leaf = (row << Trees.height(tensor.chunkCount())) + number;
        uint256 levels = tensor.tensorType.height();
        require(opener.chunkRoot(leaf, data, path, levels) == tensor.dataRoot(), "root");
    }

    function test_chunkRoot_checksLengthsAndIndex() external {
        bytes32[] memory path = new bytes32[](3);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongChunkLength.selector, 255, 256));
        opener.chunkRoot(0, new bytes(255), path, 3);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongPathLength.selector, 3, 4));
        opener.chunkRoot(0, new bytes(256), path, 4);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.LeafOutOfRange.selector, 8, 3));
        opener.chunkRoot(8, new bytes(256), path, 3);
        opener.chunkRoot(7, new bytes(256), path, 3);
    }

    function test_dtypes_haveTheirSizes() external pure {
        uint8[10] memory sizes = [1, 1, 4, 8, 2, 2, 4, 8, 1, 2];
        for (uint8 dtype; dtype < 10; ++dtype) {
            require(DType.size(dtype) == sizes[dtype], "size");
            require(DType.isFloat(dtype) == (dtype >= 4 && dtype <= 7), "float");
        }
    }

    /// @dev Random bytes in rank 0 to 3 and every element size.
    function _tensor(Random memory random) private pure returns (Tensor memory tensor) {
        uint32[] memory shape = new uint32[](random.below(4));
        for (uint256 i; i < shape.length; ++i) {
            shape[i] = uint32(1 + random.below(i + 1 == shape.length ? 350 : 3));
        }
        uint8 dtype = uint8(random.below(10));
        tensor = Tensors.zeros(dtype, DType.size(dtype), shape);
        for (uint256 i; i < tensor.data.length; ++i) {
            tensor.data[i] = bytes1(uint8(random.seed >> (8 * (i % 32))));
            if (i % 32 == 31) random.next();
        }
    }

    function _someRun(Random memory random, Tensor memory tensor) private pure returns (uint256 first, uint256 length) {
        first = random.below(tensor.data.length / tensor.size);
        length = 1 + random.below(tensor.columns() - first % tensor.columns());
    }

    /// @dev Three rows of 200 FP32 elements, and the opening of the whole first row.
    function _wide() private pure returns (Tensor memory tensor, bytes memory data, bytes32[] memory path) {
        tensor = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(3, 200));
        for (uint256 i; i < 600; ++i) {
            tensor.set(i, i + 1);
        }
        (data, path) = tensor.open(0, 200);
    }
}
