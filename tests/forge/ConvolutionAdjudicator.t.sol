// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ConvolutionAdjudicator } from "../../contracts/adjudicators/ConvolutionAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { Float32Dot } from "../../contracts/libraries/Float32Dot.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { Windows } from "../../contracts/libraries/Windows.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Floats } from "./support/Floats.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Trees } from "./support/Trees.sol";
import { Random, vm } from "./support/Vm.sol";

/// @dev A convolution of two images; operands have their channels last or before the axes.
/// @param channels Channels of a group.
/// @param outputs Output channels of a group.
struct Layer {
    bool channelsLast;
    bool hasBias;
    uint256 groups;
    uint256 channels;
    uint256 outputs;
    uint256 height;
    uint256 width;
    uint256 kernelY;
    uint256 kernelX;
    uint256 stride;
    uint256 padding;
    uint256 dilation;
}

/// @dev Operands hold small integers, so that sums are exact and one more or less is out of tolerance.
/// forge-config: default.fuzz.runs = 64
contract ConvolutionAdjudicatorTest {
    using Tensors for Tensor;
    using Windows for Windows.Runs;

    ConvolutionAdjudicator private adjudicator = new ConvolutionAdjudicator();

    // ---- verdicts ----

    function testFuzz_refutes_onlyWrongElements(uint256 seed) external view {
        Random memory random = Random(seed);
        Layer memory layer = Layer({
            channelsLast: random.below(2) == 0,
            hasBias: random.below(2) == 0,
            groups: 1 + random.below(3),
            channels: 1 + random.below(4),
            outputs: 1 + random.below(2),
            height: 3 + random.below(3),
            width: 3 + random.below(3),
            kernelY: 1 + random.below(3),
            kernelX: 1 + random.below(3),
            stride: 1 + random.below(2),
            padding: random.below(3),
            dilation: 1
        });
        if (layer.channelsLast && layer.height == 5 && layer.width == 5) layer.dilation = 2;
        Scene memory scene = _scene(random, layer);
        uint256 element = random.below(scene.output.data.length / 4);
        int256 exact = _exact(scene, layer, element);
        scene.output.set(element, Floats.ofInteger(exact));
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, element)), "an exact element is refuted");
        scene.output.set(element, Floats.ofInteger(random.below(2) == 0 ? exact + 1 : exact - 1));
        require(adjudicator.refutes(scene.leaf(), _proof(scene, element)), "a wrong element is not refuted");
    }

    function test_refutes_anElementOfPaddingIsItsBias() external view {
        Layer memory layer = _layer();
        (layer.kernelY, layer.kernelX, layer.hasBias) = (1, 1, true);
        Scene memory scene = _scene(Random(3), layer);
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, 0);
        require(proof.a.length == 0 && proof.b.length == 0, "the corner has lanes");
        int256 bias = Floats.toInteger(scene.operands[2].get(0));
        scene.output.set(0, Floats.ofInteger(bias));
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, 0)), "the bias is refuted");
        scene.output.set(0, Floats.ofInteger(bias + 1));
        require(adjudicator.refutes(scene.leaf(), _proof(scene, 0)), "another number is not refuted");
    }

    function test_operators_areConvolutions() external view {
        Operator[] memory list = adjudicator.operators();
        require(list.length == 3, "number of operators");
        require(Operator.unwrap(list[0]) == bytes4(keccak256("aten.conv1d.default")), "conv1d");
        require(Operator.unwrap(list[1]) == bytes4(keccak256("aten.conv2d.default")), "conv2d");
        require(Operator.unwrap(list[2]) == bytes4(keccak256("aten.convolution.default")), "convolution");
    }

    // ---- what the openings are bound to ----

    function test_refutes_runsOfAnotherElementRevert() external {
        Scene memory scene = _small();
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, 9); // as many lanes as the next
        proof.element = 10;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_runsInAnotherOrderRevert() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, 12);
        (proof.a[0], proof.a[1]) = (proof.a[1], proof.a[0]);
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
        proof = _parts(scene, 12);
        proof.b[2] = proof.b[1];
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_theBiasOfAnotherChannelReverts() external {
        Layer memory layer = _layer();
        (layer.hasBias, layer.outputs) = (true, 65); // the last channel's bias is in another chunk
        Scene memory scene = _scene(Random(1), layer);
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, 12);
        proof.bias[0] = _open(scene, 2, 64, 1);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_anotherOutputReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes32 commitment = leaf.outputs[0];
        leaf.outputs[0] = keccak256("another output");
        bytes memory proof = _proof(scene, 1);
        vm.expectRevert(abi.encodeWithSelector(OperandProof.OutputMismatch.selector, commitment));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_elementOutOfRangeReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        uint256 count = scene.output.data.length / 4;
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, 0);
        proof.element = count;
        vm.expectRevert(abi.encodeWithSelector(OperandProof.ElementOutOfRange.selector, count, count));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_runsBeyondTheTensorRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 12);
        scene.node.operands[0].offset = type(uint32).max;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectPartialRevert(TensorProof.RunOutOfRange.selector);
        adjudicator.refutes(leaf, proof);
    }

    // ---- what is out of scope ----

    function test_refutes_otherOperatorsRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.op = Operator.wrap(0x12345678);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(ConvolutionAdjudicator.UnsupportedOperator.selector, bytes4(0x12345678)));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_otherTypesRevert() external {
        bytes4 unsupported = ConvolutionAdjudicator.UnsupportedType.selector;
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.operands[1].tensorType.dtype = DType.INT32;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(unsupported, DType.INT32));
        adjudicator.refutes(leaf, proof);
        scene.node.outputs[0].dtype = DType.FLOAT64;
        leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(unsupported, DType.FLOAT64));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_otherNumbersOfTensorsRevert() external {
        bytes4 other = ConvolutionAdjudicator.NotAConvolution.selector;
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        NodeRecord.Operand[] memory operands = scene.node.operands;
        scene.node.operands = new NodeRecord.Operand[](1);
        scene.node.operands[0] = operands[0];
        scene.operands = new Tensor[](0);
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(other, 1, 1));
        adjudicator.refutes(leaf, proof);
        scene.node.operands = new NodeRecord.Operand[](4);
        for (uint256 i; i < 4; ++i) {
            scene.node.operands[i] = operands[1];
        }
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(other, 1, 4));
        adjudicator.refutes(leaf, proof);
        scene.node.operands = operands;
        scene.node.outputs = new NodeRecord.TensorType[](2);
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(other, 2, 2));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_otherLaneStridesRevert() external {
        bytes4 wrong = ConvolutionAdjudicator.WrongLaneStride.selector;
        Layer memory layer = _layer();
        layer.hasBias = true;
        for (uint256 i; i < 3; ++i) {
            Scene memory scene = _scene(Random(1), layer);
            bytes memory proof = _proof(scene, 0);
            scene.node.operands[i].laneStride = 2;
            IAdjudicator.Leaf memory leaf = scene.leaf();
            vm.expectRevert(abi.encodeWithSelector(wrong, i, 2, i < 2 ? 1 : 0));
            adjudicator.refutes(leaf, proof);
        }
    }

    function test_refutes_recordsWithoutWindowsRevert() external {
        // As a transposed convolution has them.
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.attributes = new uint32[](0);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(Windows.WrongAttributeCount.selector, 0, 20));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_moreLanesThanASumHoldsRevert() external {
        // A kernel of 2^17 + 2 lanes, of which two are no padding.
        Scene memory scene = _small();
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, 0);
        scene.node.reduction = (1 << 17) + 2;
        uint32[] memory words = scene.node.attributes;
        (words[2], words[5], words[8]) = ((1 << 16) + 1, 1, 2);
        (words[14], words[18]) = (1 << 16, 0); // padding
        (proof.a, proof.b) = (new OperandProof.OperandOpening[](1), new OperandProof.OperandOpening[](1));
        scene.node.operands[1].offset = 1;
        words[4] = 0;
        (proof.a[0], proof.b[0]) = (_open(scene, 0, 0, 2), _open(scene, 1, 1, 2));
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.TooManyTerms.selector, (1 << 17) + 2, (1 << 17) + 1));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_nonFiniteOperandsRevert() external {
        Scene memory scene = _small();
        scene.operands[0].set(0, 0x7f800000);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 0);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.NonFiniteOperand.selector));
        adjudicator.refutes(leaf, proof);
    }

    // ---- malformed proofs ----

    function test_refutes_missingOrSurplusOpeningsRevert() external {
        bytes4 wrong = ConvolutionAdjudicator.WrongOpeningCount.selector;
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, 0); // a corner: four places of nine
        OperandProof.OperandOpening[] memory three = new OperandProof.OperandOpening[](3);
        (three[0], three[1], three[2]) = (proof.a[0], proof.a[1], proof.a[2]);
        OperandProof.OperandOpening[] memory four = proof.a;
        proof.a = three;
        vm.expectRevert(abi.encodeWithSelector(wrong, 0, 3, 4));
        adjudicator.refutes(leaf, abi.encode(proof));
        proof.a = four;
        proof.b = new OperandProof.OperandOpening[](5);
        vm.expectRevert(abi.encodeWithSelector(wrong, 1, 5, 4));
        adjudicator.refutes(leaf, abi.encode(proof));
        proof = _parts(scene, 0);
        proof.bias = new OperandProof.OperandOpening[](1);
        vm.expectRevert(abi.encodeWithSelector(wrong, 2, 1, 0));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _small();
        scene.output.set(12, Floats.ofInteger(_exact(scene, _layer(), 12)));
        bytes memory proof = _proof(scene, 12);
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof));
        (bool done, bytes memory output) = address(adjudicator).staticcall(input);
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    function test_refutes_otherEncodingsRevert() external {
        IAdjudicator.Leaf memory leaf = _small().leaf();
        vm.expectRevert(abi.encodeWithSelector(ConvolutionAdjudicator.MalformedProof.selector));
        adjudicator.refutes(leaf, "");
        vm.expectRevert(abi.encodeWithSelector(ConvolutionAdjudicator.MalformedProof.selector));
        adjudicator.refutes(leaf, bytes.concat(bytes32(uint256(0x40)), new bytes(512)));
    }

    // ---- scenes ----

    /// @dev A kernel of nine places over images of four by four, one place of padding around them.
    function _layer() private pure returns (Layer memory) {
        return Layer(true, false, 1, 3, 1, 4, 4, 3, 3, 1, 1, 1);
    }

    function _small() private pure returns (Scene memory) {
        return _scene(Random(1), _layer());
    }

    /// @dev The input is live; kernel and bias are parameters 1 and 2. The output is zero.
    function _scene(Random memory random, Layer memory layer) private pure returns (Scene memory scene) {
        scene = Scenes.create(bytes4(keccak256("aten.conv2d.default")), layer.hasBias ? 3 : 2);
        uint256 all = layer.groups * layer.channels;
        uint256 outputs = layer.groups * layer.outputs;
        scene.setOutput(
            Tensors.zeros(
                DType.FLOAT32,
                4,
                _shape(
                    2, outputs, _places(layer, layer.height, layer.kernelY), _places(layer, layer.width, layer.kernelX)
                )
            )
        );
        uint32[] memory input =
            layer.channelsLast ? _shape(2, layer.height, layer.width, all) : _shape(2, all, layer.height, layer.width);
        uint32[] memory kernel = layer.channelsLast
            ? _shape(outputs, layer.kernelY, layer.kernelX, layer.channels)
            : _shape(outputs, layer.channels, layer.kernelY, layer.kernelX);
        uint256 lanes = layer.channels * layer.kernelY * layer.kernelX;
        scene.setOperand(0, _integers(random, input), false, _shape(all * layer.height * layer.width, 0, 0, 0), 1, 0);
        scene.setOperand(1, _integers(random, kernel), true, _shape(0, lanes, 0, 0), 1, 0);
        if (layer.hasBias) {
            uint32[] memory shape = new uint32[](1);
            shape[0] = uint32(outputs);
            scene.setOperand(2, _integers(random, shape), true, _shape(0, 1, 0, 0), 0, 0);
        }
        scene.node.reduction = lanes;
        scene.node.attributes = _words(layer);
    }

    function _words(Layer memory layer) private pure returns (uint32[] memory words) {
        uint256 all = layer.groups * layer.channels;
        uint256 area = layer.height * layer.width;
        words = new uint32[](20);
        words[0] = uint32(layer.outputs);
        words[1] = uint32(layer.channels * (layer.channelsLast ? 1 : area));
        if (layer.channelsLast) {
            _setLevel(words, 0, layer.kernelY, layer.width * all, layer.kernelX * layer.channels);
            _setLevel(words, 1, layer.kernelX, all, layer.channels);
            _setLevel(words, 2, layer.channels, 1, 1);
            words[11] = 1 + 4 * 2;
        } else {
            _setLevel(words, 0, layer.channels, area, layer.kernelY * layer.kernelX);
            _setLevel(words, 1, layer.kernelY, layer.width, layer.kernelX);
            _setLevel(words, 2, layer.kernelX, 1, 1);
            words[11] = 4 * 1 + 16 * 2;
        }
        (words[12], words[16]) = (uint32(layer.height), uint32(layer.width));
        for (uint256 axis = 12; axis < 20; axis += 4) {
            words[axis + 1] = uint32(layer.stride);
            words[axis + 2] = uint32(layer.padding);
            words[axis + 3] = uint32(layer.dilation);
        }
    }

    function _setLevel(uint32[] memory words, uint256 level, uint256 size, uint256 aStride, uint256 bStride)
        private
        pure
    {
        words[2 + 3 * level] = uint32(size);
        words[3 + 3 * level] = uint32(aStride);
        words[4 + 3 * level] = uint32(bStride);
    }

    /// @dev The element from the tensors, by the definition of a convolution.
    function _exact(Scene memory scene, Layer memory layer, uint256 element) private pure returns (int256 sum) {
        uint32[] memory shape = scene.output.tensorType.shape;
        uint256 left = (element % shape[3]) * layer.stride;
        uint256 top = (element / shape[3] % shape[2]) * layer.stride;
        uint256 channel = element / shape[3] / shape[2] % shape[1];
        uint256 image = element / shape[3] / shape[2] / shape[1];
        for (uint256 y; y < layer.kernelY; ++y) {
            uint256 row = top + y * layer.dilation;
            if (row < layer.padding || row - layer.padding >= layer.height) continue;
            for (uint256 x; x < layer.kernelX; ++x) {
                uint256 column = left + x * layer.dilation;
                if (column < layer.padding || column - layer.padding >= layer.width) continue;
                for (uint256 c; c < layer.channels; ++c) {
                    uint256 from = channel / layer.outputs * layer.channels + c;
                    sum += _input(scene, layer, image, from, row - layer.padding, column - layer.padding)
                    * _kernel(scene, layer, channel, c, y, x);
                }
            }
        }
        if (layer.hasBias) sum += Floats.toInteger(scene.operands[2].get(channel));
    }

    function _input(Scene memory scene, Layer memory layer, uint256 image, uint256 c, uint256 row, uint256 column)
        private
        pure
        returns (int256)
    {
        uint256 all = layer.groups * layer.channels;
        uint256 at = layer.channelsLast
            ? ((image * layer.height + row) * layer.width + column) * all + c
            : ((image * all + c) * layer.height + row) * layer.width + column;
        return Floats.toInteger(scene.operands[0].get(at));
    }

    function _kernel(Scene memory scene, Layer memory layer, uint256 o, uint256 c, uint256 y, uint256 x)
        private
        pure
        returns (int256)
    {
        uint256 at = layer.channelsLast
            ? ((o * layer.kernelY + y) * layer.kernelX + x) * layer.channels + c
            : ((o * layer.channels + c) * layer.kernelY + y) * layer.kernelX + x;
        return Floats.toInteger(scene.operands[1].get(at));
    }

    function _places(Layer memory layer, uint256 extent, uint256 kernel) private pure returns (uint256) {
        return (extent + 2 * layer.padding - layer.dilation * (kernel - 1) - 1) / layer.stride + 1;
    }

    function _shape(uint256 first, uint256 second, uint256 third, uint256 fourth)
        private
        pure
        returns (uint32[] memory list)
    {
        list = new uint32[](4);
        (list[0], list[1], list[2], list[3]) = (uint32(first), uint32(second), uint32(third), uint32(fourth));
    }

    function _integers(Random memory random, uint32[] memory shape) private pure returns (Tensor memory tensor) {
        tensor = Tensors.zeros(DType.FLOAT32, 4, shape);
        for (uint256 i; i < tensor.data.length / 4; ++i) {
            tensor.set(i, Floats.ofInteger(int256(random.below(17)) - 8));
        }
    }

    // ---- proofs ----

    function _proof(Scene memory scene, uint256 element) private pure returns (bytes memory) {
        return abi.encode(_parts(scene, element));
    }

    function _parts(Scene memory scene, uint256 element)
        private
        pure
        returns (ConvolutionAdjudicator.Proof memory proof)
    {
        proof.element = element;
        proof.window = 2 * 130 - 63; // magnitudes up to 8 have biased exponents up to 130
        Windows.Runs memory runs = Windows.locate(scene.node, element);
        uint256 count = runs.count();
        (proof.a, proof.b) = (new OperandProof.OperandOpening[](count), new OperandProof.OperandOpening[](count));
        for (uint256 i; i < count; ++i) {
            (uint256 a, uint256 b) = runs.at(i);
            proof.a[i] = _open(scene, 0, a, runs.length);
            proof.b[i] = _open(scene, 1, b, runs.length);
        }
        if (scene.operands.length == 3) {
            proof.bias = new OperandProof.OperandOpening[](1);
            proof.bias[0] = scene.openOperand(2, element, 0, 1);
        }
        proof.output = scene.openOutput(element);
    }

    function _open(Scene memory scene, uint256 index, uint256 first, uint256 length)
        private
        pure
        returns (OperandProof.OperandOpening memory opening)
    {
        (opening.data, opening.path) = scene.operands[index].open(first, length);
        if (index != 0) opening.weightsPath = Trees.path(scene.weights(), index, 0);
    }
}
