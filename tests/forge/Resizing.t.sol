// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Balls } from "../../contracts/libraries/Ball.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { Resizing } from "../../contracts/libraries/Resizing.sol";
import { Windows } from "../../contracts/libraries/Windows.sol";
import { Random, vm } from "./support/Vm.sol";

contract ResizingFrame {
    /// @param image Rows of FP32 numbers.
    function refutes(NodeRecord.Node calldata node, uint256 element, bytes[] calldata image, uint32 y)
        external
        pure
        returns (bool)
    {
        Resizing.Bilinear memory found = Resizing.interpolated(node, element);
        uint256[] memory rows = new uint256[](found.y.count);
        for (uint256 i; i < rows.length; ++i) {
            bytes calldata row = image[found.y.low + i];
            uint256 column = found.x.low;
            uint256 position;
            assembly ("memory-safe") {
                position := add(row.offset, shl(2, column))
            }
            rows[i] = position;
        }
        return Resizing.refutesBilinear(found, rows, y);
    }

    function averaged(NodeRecord.Node calldata node, uint256 element) external pure returns (Windows.Runs memory) {
        return Resizing.averaged(node, element);
    }

    function interpolated(NodeRecord.Node calldata node, uint256 element)
        external
        pure
        returns (Resizing.Bilinear memory)
    {
        return Resizing.interpolated(node, element);
    }
}

/// forge-config: default.fuzz.runs = 256
/// forge-config: deep.fuzz.runs = 5000
contract ResizingTest {
    uint256 private constant CHANNELS = 2;
    uint256 private constant PADDING = 3; // elements between the rows of the input
    uint256 private constant OFFSET = 7; // of its first image
    uint32 private constant ONE = 0x3f800000;
    uint32 private constant INFINITY = 0x7f800000;

    ResizingFrame private frame = new ResizingFrame();

    // ---- averages ----

    function testFuzz_averaged_coversThePlacesThatTheElementOverlaps(uint256 seed) external view {
        (NodeRecord.Node memory node, uint256 element) = _random(Random(seed), 0);
        Windows.Runs memory runs = frame.averaged(node, element);
        require(runs.inner == 1 && runs.aOuter == node.attributes[1], "rows");
        (uint256 top, uint256 left) = _corner(node, element, runs.a);
        (uint256 row, uint256 column) = _place(node, element);
        uint32[] memory shape = node.outputs[0].shape;
        _requireOverlaps(row, node.attributes[0], shape[2], top, runs.outer);
        _requireOverlaps(column, node.attributes[2], shape[3], left, runs.length);
    }

    // ---- interpolation ----

    function testFuzz_interpolated_weighsPlacesSoThatARampGivesTheCoordinate(uint256 seed) external view {
        Random memory random = Random(seed);
        (NodeRecord.Node memory node, uint256 element) = _random(random, 1);
        bool aligned = random.below(2) == 0;
        node.attributes[3] = aligned ? 1 : 0;
        Resizing.Bilinear memory found = frame.interpolated(node, element);
        (uint256 row, uint256 column) = _place(node, element);
        uint32[] memory shape = node.outputs[0].shape;
        _requireTaps(found.y, row, node.attributes[0], shape[2], aligned);
        _requireTaps(found.x, column, node.attributes[2], shape[3], aligned);

        (uint256 top, uint256 left) = _corner(node, element, found.box.a);
        require(top == found.y.low && left == found.x.low, "the box begins elsewhere");
        require(found.box.outer == found.y.count && found.box.length == found.x.count, "the box has another size");
        require(found.box.inner == 1 && found.box.aOuter == node.attributes[1], "rows");
        require(found.delta == uint256(node.attributes[0]) + node.attributes[2] + 4, "delta");
    }

    function test_refutesBilinear_aConstantImageHasThe108RoundoffsOfTheRule() external view {
        // gamma_12 and 2 delta = 8 u (4 + 2 + 4 + 2): steps of y are 2 u above 1 and u below
        NodeRecord.Node memory node = _node(4, 4, 7, 7, 1);
        bytes[] memory image = _constant(4, 4, ONE);
        for (uint256 element; element < 49; element += 4) {
            require(!frame.refutes(node, element, image, ONE), "the exact value");
            require(!frame.refutes(node, element, image, ONE + 54), "above, inside");
            require(frame.refutes(node, element, image, ONE + 55), "above, outside");
            require(!frame.refutes(node, element, image, ONE - 108), "below, inside");
            require(frame.refutes(node, element, image, ONE - 109), "below, outside");
        }
    }

    function test_refutesBilinear_aPlaceThatIsNotFiniteReverts() external {
        NodeRecord.Node memory node = _node(4, 4, 7, 7, 1);
        bytes[] memory image = _constant(4, 4, ONE);
        image[1] = abi.encodePacked(ONE, INFINITY, ONE, ONE);
        require(!frame.refutes(node, 48, image, ONE), "out of reach");
        vm.expectPartialRevert(Balls.NotFinite.selector);
        frame.refutes(node, 9, image, ONE);
    }

    // ---- what is out of scope ----

    function test_attributesOfAnotherNumberOrRankRevert() external {
        NodeRecord.Node memory node = _node(4, 4, 7, 7, 1);
        vm.expectRevert(abi.encodeWithSelector(Resizing.NotAnImage.selector, 4, 4));
        frame.averaged(node, 0);
        node.attributes = new uint32[](3);
        vm.expectRevert(abi.encodeWithSelector(Resizing.NotAnImage.selector, 3, 4));
        frame.interpolated(node, 0);
        node.attributes = new uint32[](4);
        node.outputs[0].shape = new uint32[](3);
        vm.expectRevert(abi.encodeWithSelector(Resizing.NotAnImage.selector, 4, 3));
        frame.interpolated(node, 0);
    }

    function test_interpolated_anAlignmentThatIsNoBooleanReverts() external {
        NodeRecord.Node memory node = _node(4, 4, 7, 7, 2);
        vm.expectRevert(abi.encodeWithSelector(Resizing.NotABoolean.selector, 2));
        frame.interpolated(node, 0);
    }

    function test_interpolated_extentsBeyondTheBoundsReachRevert() external {
        uint32 beyond = (1 << 20) + 1;
        uint32[3] memory inputs = [0, beyond, 4];
        uint32[3] memory outputs = [uint32(7), 7, beyond];
        for (uint256 i; i < inputs.length; ++i) {
            NodeRecord.Node memory node = _node(inputs[i], 4, outputs[i], 1, 0);
            vm.expectRevert(abi.encodeWithSelector(Resizing.UnsupportedExtent.selector, inputs[i], outputs[i]));
            frame.interpolated(node, 0);
        }
    }

    // ---- what is expected ----

    /// @dev Place p of n overlaps element o of k where [p / n, (p + 1) / n) and [o / k, (o + 1) / k) do.
    function _requireOverlaps(uint256 o, uint256 n, uint256 k, uint256 low, uint256 count) private pure {
        for (uint256 p; p < n; ++p) {
            bool overlaps = p * k < (o + 1) * n && o * n < (p + 1) * k;
            require(overlaps == (low <= p && p < low + count), "another window");
        }
    }

    function _requireTaps(Resizing.Taps memory taps, uint256 o, uint256 n, uint256 k, bool aligned) private pure {
        (uint256 numerator, uint256 denominator) = _coordinate(o, n, k, aligned);
        uint256 place = taps.low + taps.at;
        require(taps.at < taps.count && taps.low + taps.count <= n && taps.next < taps.whole, "places");
        require(taps.next == 0 || taps.at + 1 < taps.count, "a weight without a place");
        uint256 last = (n - 1) * denominator; // beyond it the last place alone counts
        uint256 inside = numerator > last ? last : numerator;
        require((place * taps.whole + taps.next) * denominator == inside * taps.whole, "coordinate");
        // Places within reach of a coordinate that is off by (n + 2) / 2^22
        uint256 unit = denominator << 22;
        uint256 error = (n + 2) * denominator;
        uint256 low = numerator << 22 < error ? 0 : ((numerator << 22) - error) / unit;
        uint256 high = ((numerator << 22) + error) / unit + 1;
        require(taps.low <= low && (taps.low + taps.count > high || taps.low + taps.count == n), "out of reach");
    }

    /// @dev r as a fraction.
    function _coordinate(uint256 o, uint256 n, uint256 k, bool aligned)
        private
        pure
        returns (uint256 numerator, uint256 denominator)
    {
        denominator = aligned ? k - 1 : 2 * k;
        if (denominator == 0) return (0, 1);
        numerator = aligned ? o * (n - 1) : (2 * o + 1) * n;
        if (!aligned) numerator = numerator < k ? 0 : numerator - k;
    }

    // ---- nodes ----

    function _random(Random memory random, uint256 more)
        private
        pure
        returns (NodeRecord.Node memory node, uint256 element)
    {
        (uint256 rows, uint256 columns) = (1 + random.below(20), 1 + random.below(20));
        (uint256 outputRows, uint256 outputColumns) = (1 + random.below(20), 1 + random.below(20));
        node = _node(rows, columns, outputRows, outputColumns, 0);
        if (more == 0) {
            uint32[] memory words = new uint32[](3);
            (words[0], words[1], words[2]) = (node.attributes[0], node.attributes[1], node.attributes[2]);
            node.attributes = words;
        }
        element = random.below(2 * CHANNELS * outputRows * outputColumns);
    }

    function _node(uint256 rows, uint256 columns, uint256 outputRows, uint256 outputColumns, uint256 aligned)
        private
        pure
        returns (NodeRecord.Node memory node)
    {
        uint256 stride = columns + PADDING;
        node.outputs = new NodeRecord.TensorType[](1);
        node.outputs[0] = NodeRecord.TensorType(DType.FLOAT32, _list(2, CHANNELS, outputRows, outputColumns));
        node.operands = new NodeRecord.Operand[](1);
        node.operands[0].hasMap = true;
        node.operands[0].offset = uint32(OFFSET);
        node.operands[0].strides = _list(CHANNELS * rows * stride, rows * stride, 0, 0);
        node.attributes = _list(rows, stride, columns, aligned);
    }

    function _place(NodeRecord.Node memory node, uint256 element) private pure returns (uint256 row, uint256 column) {
        uint32[] memory shape = node.outputs[0].shape;
        (row, column) = (element / shape[3] % shape[2], element % shape[3]);
    }

    /// @dev The row and the column, in the element's own image, of the input's element `first`.
    function _corner(NodeRecord.Node memory node, uint256 element, uint256 first)
        private
        pure
        returns (uint256 row, uint256 column)
    {
        uint32[] memory shape = node.outputs[0].shape;
        uint256 stride = node.attributes[1];
        uint256 image = element / shape[3] / shape[2]; // batch and channel
        first -= OFFSET + image * node.attributes[0] * stride;
        return (first / stride, first % stride);
    }

    function _constant(uint256 rows, uint256 columns, uint32 bits) private pure returns (bytes[] memory image) {
        image = new bytes[](rows);
        for (uint256 i; i < rows; ++i) {
            for (uint256 j; j < columns; ++j) {
                image[i] = abi.encodePacked(image[i], bits);
            }
        }
    }

    function _list(uint256 first, uint256 second, uint256 third, uint256 fourth)
        private
        pure
        returns (uint32[] memory list)
    {
        list = new uint32[](4);
        (list[0], list[1], list[2], list[3]) = (uint32(first), uint32(second), uint32(third), uint32(fourth));
    }
}
