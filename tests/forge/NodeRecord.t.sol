// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Random, vm } from "./support/Vm.sol";
import { Records } from "./support/Records.sol";

contract Decoder {
    function decode(bytes calldata record) external pure returns (NodeRecord.Node memory) {
        return NodeRecord.decode(record);
    }

    function unpack(bytes calldata packed) external pure returns (NodeRecord.TensorType memory) {
        return NodeRecord.unpack(packed);
    }

    function leafHash(bytes calldata record) external pure returns (bytes32) {
        return NodeRecord.leafHash(record);
    }
}

contract NodeRecordTest {
    Decoder private decoder = new Decoder();

    function testFuzz_decode_invertsTheEncoding(uint256 seed) external view {
        NodeRecord.Node memory node = _node(Random(seed));
        bytes memory decoded = abi.encode(decoder.decode(Records.encode(node)));
        require(keccak256(decoded) == keccak256(abi.encode(node)), "a field was lost");
    }

    function testFuzz_decode_revertsOnEveryTruncation(uint256 seed, uint256 length) external view {
        bytes memory record = Records.encode(_node(Random(seed)));
        length %= record.length;
        assembly ("memory-safe") {
            mstore(record, length)
        }
        (bool done, bytes memory reason) = address(decoder).staticcall(abi.encodeCall(decoder.decode, (record)));
        require(!done && bytes4(reason) == NodeRecord.TruncatedRecord.selector, "a truncated record decodes");
    }

    function testFuzz_decode_revertsOnEverySurplus(uint256 seed, uint8 surplus) external {
        if (surplus == 0) surplus = 1;
        bytes memory record = bytes.concat(Records.encode(_node(Random(seed))), new bytes(surplus));
        vm.expectRevert(abi.encodeWithSelector(NodeRecord.OverlongRecord.selector, surplus));
        decoder.decode(record);
    }

    function testFuzz_decode_revertsOnUnknownSources(uint8 source) external {
        if (source < 2) source += 2;
        // No outputs, one operand.
        bytes memory record = abi.encodePacked(bytes4(0), bytes32(0), uint8(0), uint8(1), source, new bytes(64));
        vm.expectRevert(abi.encodeWithSelector(NodeRecord.UnknownSource.selector, source));
        decoder.decode(record);
    }

    function test_decode_revertsOnTheEmptyRecord() external {
        vm.expectRevert(abi.encodeWithSelector(NodeRecord.TruncatedRecord.selector, 4));
        decoder.decode("");
    }

    function testFuzz_pack_invertsUnpack(uint8 dtype, uint256 seed, uint8 rank) external view {
        uint32[] memory shape = _list(Random(seed), rank);
        bytes memory packed = Records.encodeType(NodeRecord.TensorType(dtype, shape));
        NodeRecord.TensorType memory tensorType = decoder.unpack(packed);
        require(keccak256(NodeRecord.pack(tensorType)) == keccak256(packed), "pack changes a type");
    }

    function test_unpack_revertsOnWrongLengths() external {
        vm.expectRevert(abi.encodeWithSelector(NodeRecord.TruncatedRecord.selector, 1));
        decoder.unpack(hex"060100000a");
        vm.expectRevert(abi.encodeWithSelector(NodeRecord.OverlongRecord.selector, 1));
        decoder.unpack(hex"06010000000a00");
    }

    function testFuzz_leafHash_isTagged(bytes calldata record) external view {
        bytes32 tag = keccak256("TAO.node.v1");
        require(decoder.leafHash(record) == keccak256(abi.encodePacked(tag, record)), "leaf hash");
    }

    function _node(Random memory random) private pure returns (NodeRecord.Node memory node) {
        node.op = Operator.wrap(bytes4(uint32(random.next())));
        node.call = bytes32(random.next());
        node.outputs = new NodeRecord.TensorType[](random.below(4));
        for (uint256 i; i < node.outputs.length; ++i) {
            node.outputs[i] = _type(random);
        }
        node.operands = new NodeRecord.Operand[](random.below(5));
        for (uint256 i; i < node.operands.length; ++i) {
            NodeRecord.Operand memory operand = node.operands[i];
            operand.isParameter = random.below(2) == 1;
            operand.index = uint16(random.next());
            operand.tensorType = _type(random);
            operand.hasMap = random.below(3) > 0;
            if (!operand.hasMap) continue;
            operand.strides = _list(random, random.below(5));
            operand.laneStride = uint32(random.next());
            operand.offset = uint32(random.next());
        }
        node.reduction = uint32(random.next());
        node.attributes = _list(random, random.below(4));
        node.liveBefore = uint16(random.next());
        node.afterEntries = new uint32[](random.below(9));
        for (uint256 i; i < node.afterEntries.length; ++i) {
            node.afterEntries[i] = uint16(random.next());
        }
    }

    function _type(Random memory random) private pure returns (NodeRecord.TensorType memory) {
        return NodeRecord.TensorType(uint8(random.next()), _list(random, random.below(5)));
    }

    function _list(Random memory random, uint256 count) private pure returns (uint32[] memory list) {
        list = new uint32[](count);
        for (uint256 i; i < count; ++i) {
            list[i] = uint32(random.next());
        }
    }
}
