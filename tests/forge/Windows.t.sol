// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { Windows } from "../../contracts/libraries/Windows.sol";
import { Random, vm } from "./support/Vm.sol";

/// @dev The library behind a call, so that its errors can be expected.
contract WindowReader {
    using Windows for Windows.Runs;

    function locate(NodeRecord.Node memory node, uint256 element) external pure returns (Windows.Runs memory) {
        return Windows.locate(node, element);
    }

    /// @dev (position in a, position in b) of each run, and their length.
    function runs(NodeRecord.Node memory node, uint256 element)
        external
        pure
        returns (uint256[2][] memory list, uint256 length)
    {
        Windows.Runs memory found = Windows.locate(node, element);
        list = new uint256[2][](found.count());
        for (uint256 i; i < list.length; ++i) {
            (list[i][0], list[i][1]) = found.at(i);
        }
        return (list, found.length);
    }
}

contract WindowsTest {
    uint256 private constant ROLES = 11;
    uint256 private constant EXTENT_X = 16;
    uint32 private constant LARGEST = type(uint32).max;

    WindowReader private reader = new WindowReader();

    // ---- against every lane tried by itself ----

    function testFuzz_locate_findsTheLanesThatAreNotPadding(uint256 seed) external view {
        Random memory random = Random(seed);
        NodeRecord.Node memory node = _drawn(random);
        uint256 count = 1;
        for (uint256 d; d < node.outputs[0].shape.length; ++d) {
            count *= node.outputs[0].shape[d];
        }
        uint256 element = random.below(count);
        (uint256[2][] memory list, uint256 length) = reader.runs(node, element);

        uint32[] memory words = node.attributes;
        uint256 seen;
        for (uint256 outer; outer < words[2]; ++outer) {
            for (uint256 inner; inner < words[5]; ++inner) {
                uint256 lanes;
                for (uint256 lane; lane < words[8]; ++lane) {
                    (bool inside, uint256 a, uint256 b) = _lane(node, element, [outer, inner, lane]);
                    if (!inside) continue;
                    require(list[seen][0] + lanes == a, "a run of a is elsewhere");
                    require(list[seen][1] + lanes * words[10] == b, "a run of b is elsewhere");
                    ++lanes;
                }
                if (lanes == 0) continue;
                require(lanes == length, "a run has another length");
                ++seen;
            }
        }
        require(seen == list.length, "a run too many");
    }

    function test_locate_clipsBothEndsOfALevel() external view {
        // Five places under a window of seven: two of padding on either side.
        NodeRecord.Node memory node = _oneAxis(5, 7, 1, 3, 1);
        for (uint256 o; o < 5; ++o) {
            Windows.Runs memory runs = reader.locate(node, o);
            uint256 begin = o < 3 ? 3 - o : 0;
            uint256 end = o > 1 ? 8 - o : 7;
            require(runs.length == end - begin, "length");
            require(runs.a == o + begin - 3 && runs.b == begin, "first lane");
            require(runs.outer == 1 && runs.inner == 1, "one run");
        }
    }

    function test_locate_readsNothingWhereAllIsPadding() external view {
        NodeRecord.Node memory node = _oneAxis(2, 1, 1, 1, 1);
        node.outputs[0].shape[2] = 4;
        (uint256[2][] memory list,) = reader.runs(node, 0);
        require(list.length == 0, "before the input");
        (list,) = reader.runs(node, 1);
        require(list.length == 1 && list[0][0] == 0, "its first place");
        (list,) = reader.runs(node, 2);
        require(list.length == 1 && list[0][0] == 1, "its last place");
        (list,) = reader.runs(node, 3);
        require(list.length == 0, "behind the input");
    }

    function test_locate_largestWordsDoNotOverflow() external view {
        NodeRecord.Node memory node = _node(4, 2);
        for (uint256 i; i < node.attributes.length; ++i) {
            node.attributes[i] = LARGEST;
        }
        node.attributes[0] = 1;
        (node.attributes[8], node.attributes[9], node.attributes[10]) = (1, 1, 1);
        node.attributes[ROLES] = 1 + 4 * 2;
        node.reduction = uint256(LARGEST) * LARGEST;
        for (uint256 d; d < 4; ++d) {
            node.outputs[0].shape[d] = LARGEST;
        }
        for (uint256 i; i < 2; ++i) {
            node.operands[i].offset = LARGEST;
            node.operands[i].strides = node.outputs[0].shape;
        }
        Windows.Runs memory runs = reader.locate(node, uint256(LARGEST) ** 4 - 1);
        require(runs.a > LARGEST && runs.outer <= LARGEST, "largest");
        reader.locate(node, 0);
    }

    // ---- what is not a window ----

    function test_locate_otherNumbersOfWordsRevert() external {
        NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
        node.attributes = new uint32[](19);
        vm.expectRevert(abi.encodeWithSelector(Windows.WrongAttributeCount.selector, 19, 20));
        reader.locate(node, 0);
        node.attributes = new uint32[](21);
        vm.expectRevert(abi.encodeWithSelector(Windows.WrongAttributeCount.selector, 21, 20));
        reader.locate(node, 0);
    }

    function test_locate_outputsOfOtherRanksRevert() external {
        NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
        node.outputs[0].shape = new uint32[](2);
        vm.expectRevert(abi.encodeWithSelector(Windows.UnsupportedRank.selector, 2));
        reader.locate(node, 0);
        node.outputs[0].shape = new uint32[](5);
        vm.expectRevert(abi.encodeWithSelector(Windows.UnsupportedRank.selector, 5));
        reader.locate(node, 0);
    }

    function test_locate_zeroWordsRevert() external {
        // Channels of a group, sizes of the levels; extent, stride and dilation of X.
        uint8[7] memory indices = [0, 2, 5, 8, 16, 17, 19];
        for (uint256 i; i < indices.length; ++i) {
            NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
            node.attributes[indices[i]] = 0;
            vm.expectRevert(abi.encodeWithSelector(Windows.ZeroAttribute.selector, indices[i]));
            reader.locate(node, 0);
        }
    }

    function test_locate_axesThatNoLevelLiesAlongMayBeZero() external view {
        NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
        for (uint256 i = 12; i < 16; ++i) {
            node.attributes[i] = 0;
        }
        require(reader.locate(node, 0).length == 2, "length");
    }

    function test_locate_anotherNumberOfLanesReverts() external {
        NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
        node.reduction = 2;
        vm.expectRevert(abi.encodeWithSelector(Windows.WrongReduction.selector, 2, 3));
        reader.locate(node, 0);
    }

    function test_locate_rolesWithoutMeaningRevert() external {
        // A third axis, one axis twice, a fourth level, and Y where there is none.
        uint8[6] memory roles = [3, 3 + 16 * 2, 2 + 16 * 2, 2 + 4 * 2, 64 + 16 * 2, 1];
        for (uint256 i; i < roles.length; ++i) {
            NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
            node.attributes[ROLES] = roles[i];
            vm.expectRevert(abi.encodeWithSelector(Windows.WrongRoles.selector, roles[i]));
            reader.locate(node, 0);
        }
    }

    function test_locate_runsThatAreNotContiguousRevert() external {
        NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
        node.attributes[9] = 2;
        vm.expectRevert(abi.encodeWithSelector(Windows.WrongRunStride.selector, 0, 2, 1));
        reader.locate(node, 0);
        (node.attributes[9], node.attributes[10]) = (1, 0);
        vm.expectRevert(abi.encodeWithSelector(Windows.WrongRunStride.selector, 1, 0, 1));
        reader.locate(node, 0);
        vm.expectRevert(abi.encodeWithSelector(Windows.DilatedRun.selector, 2));
        reader.locate(_oneAxis(9, 3, 1, 1, 2), 0);
    }

    function test_locate_elementsBeyondTheOutputRevert() external {
        NodeRecord.Node memory node = _oneAxis(5, 3, 1, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(OperandProof.ElementOutOfRange.selector, 5, 5));
        reader.locate(node, 5);
    }

    // ---- nodes ----

    /// @dev Output [1, 1, extent]: runs along X.
    function _oneAxis(uint32 extent, uint32 size, uint32 stride, uint32 padding, uint32 dilation)
        private
        pure
        returns (NodeRecord.Node memory node)
    {
        node = _node(3, 2);
        node.outputs[0].shape[2] = extent;
        uint32[] memory words = node.attributes;
        words[8] = size;
        words[ROLES] = 16 * 2;
        (words[16], words[17], words[18], words[19]) = (extent, stride, padding, dilation);
        node.reduction = size;
    }

    /// @dev All sizes and strides 1, all roles plain.
    function _node(uint256 rank, uint256 operands) private pure returns (NodeRecord.Node memory node) {
        node.outputs = new NodeRecord.TensorType[](1);
        node.outputs[0].shape = new uint32[](rank);
        for (uint256 d; d < rank; ++d) {
            node.outputs[0].shape[d] = 1;
        }
        node.operands = new NodeRecord.Operand[](operands);
        for (uint256 i; i < operands; ++i) {
            node.operands[i].hasMap = true;
            node.operands[i].strides = new uint32[](rank);
        }
        node.attributes = new uint32[](20);
        for (uint256 i; i < 20; ++i) {
            if (i != ROLES) node.attributes[i] = 1;
        }
        node.reduction = 1;
    }

    function _drawn(Random memory random) private pure returns (NodeRecord.Node memory node) {
        uint256 rank = 3 + random.below(2);
        node = _node(rank, 1 + random.below(2));
        uint32[] memory words = node.attributes;
        words[0] = uint32(1 + random.below(3));
        words[1] = uint32(random.below(100));
        uint256 roles;
        uint256 taken;
        for (uint256 level; level < 3; ++level) {
            words[2 + 3 * level] = uint32(1 + random.below(5));
            node.reduction *= words[2 + 3 * level];
            if (level < 2) words[3 + 3 * level] = uint32(random.below(50));
            if (level < 2) words[4 + 3 * level] = uint32(random.below(50));
            uint256 role = random.below(3);
            if (role == 0 || taken & role != 0 || (role == 1 && rank == 3)) continue;
            taken |= role;
            roles |= role << (2 * level);
            words[12 + 4 * (role - 1)] = uint32(1 + random.below(7));
            words[13 + 4 * (role - 1)] = uint32(1 + random.below(3));
            words[14 + 4 * (role - 1)] = uint32(random.below(6));
            if (level < 2) words[15 + 4 * (role - 1)] = uint32(1 + random.below(3));
        }
        words[ROLES] = uint32(roles);
        if (node.operands.length == 1) words[10] = uint32(random.below(2));
        for (uint256 d; d < rank; ++d) {
            node.outputs[0].shape[d] = uint32(1 + random.below(6));
        }
        for (uint256 i; i < node.operands.length; ++i) {
            node.operands[i].offset = uint32(random.below(1000));
            node.operands[i].strides[i] = uint32(random.below(1000));
        }
        if (node.operands.length == 1) (words[4], words[7], words[10]) = (0, 0, 0);
    }

    /// @dev Whether a lane is no padding, and where it reads, word by word from the definition.
    function _lane(NodeRecord.Node memory node, uint256 element, uint256[3] memory lanes)
        private
        pure
        returns (bool inside, uint256 a, uint256 b)
    {
        uint32[] memory words = node.attributes;
        uint32[] memory shape = node.outputs[0].shape;
        uint256[] memory o = new uint256[](shape.length);
        for (uint256 d = shape.length; d > 0; --d) {
            o[d - 1] = element % shape[d - 1];
            element /= shape[d - 1];
        }
        int256 position = int256(uint256(node.operands[0].offset)) + int256(o[0] * node.operands[0].strides[0]);
        position += int256(o[1] / words[0] * words[1]);
        for (uint256 level; level < 3; ++level) {
            int256 coordinate = int256(lanes[level]);
            uint256 role = (words[ROLES] >> (2 * level)) & 3;
            if (role != 0) {
                uint256 axis = EXTENT_X - 4 * (2 - role);
                coordinate = int256(o[shape.length + role - 3] * words[axis + 1] + lanes[level] * words[axis + 3]);
                coordinate -= int256(uint256(words[axis + 2]));
                if (coordinate < 0 || coordinate >= int256(uint256(words[axis]))) return (false, 0, 0);
            }
            position += coordinate * int256(uint256(words[3 + 3 * level]));
            b += lanes[level] * words[4 + 3 * level];
        }
        if (node.operands.length > 1) {
            b += node.operands[1].offset + o[1] * node.operands[1].strides[1];
        }
        return (true, uint256(position), b);
    }
}
