// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ConvolutionAdjudicator } from "../../contracts/adjudicators/ConvolutionAdjudicator.sol";
import { ProductSums } from "../../contracts/adjudicators/ProductSums.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { Calldata } from "../../contracts/libraries/Calldata.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { Float32Dot } from "../../contracts/libraries/Float32Dot.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { Windows } from "../../contracts/libraries/Windows.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Convolutions, Layer } from "./support/Convolutions.sol";
import { Floats } from "./support/Floats.sol";
import { Scene } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Trees } from "./support/Trees.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Operands hold small integers, so that sums are exact and one more or less is out of tolerance.
/// forge-config: default.fuzz.runs = 64
contract ConvolutionAdjudicatorTest {
    using Tensors for Tensor;
    using Windows for Windows.Runs;

    // Elements of an image of four by four. Were they constants, the compiler would make a copy of whatever takes one for
    // each of them, and take twice as long.
    uint256 private immutable CORNER = 0;
    uint256 private immutable EDGE = 1;
    uint256 private immutable INNER = 9;
    uint256 private immutable LAST_ROW = 12;

    ConvolutionAdjudicator private adjudicator = ConvolutionAdjudicator(deploy("ConvolutionAdjudicator", ""));

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
        Scene memory scene = Convolutions.create(random, layer);
        uint256 element = random.below(scene.output.data.length / 4);
        int256 exact = Convolutions.exact(scene, layer, element);
        scene.output.set(element, Floats.ofInteger(exact));
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, element)), "an exact element is refuted");
        scene.output.set(element, Floats.ofInteger(random.below(2) == 0 ? exact + 1 : exact - 1));
        require(adjudicator.refutes(scene.leaf(), _proof(scene, element)), "a wrong element is not refuted");
    }

    function test_refutes_anElementOfPaddingIsItsBias() external view {
        Layer memory layer = _layer();
        (layer.kernelY, layer.kernelX, layer.hasBias) = (1, 1, true);
        Scene memory scene = Convolutions.create(Random(3), layer);
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, CORNER);
        require(proof.a.length == 0 && proof.b.length == 0, "the corner has lanes");
        int256 bias = Floats.toInteger(scene.operands[2].get(0));
        scene.output.set(0, Floats.ofInteger(bias));
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, CORNER)), "the bias is refuted");
        scene.output.set(0, Floats.ofInteger(bias + 1));
        require(adjudicator.refutes(scene.leaf(), _proof(scene, CORNER)), "another number is not refuted");
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
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, INNER); // as many lanes as the next
        proof.element = INNER + 1;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_runsInAnotherOrderRevert() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, LAST_ROW);
        (proof.a[0], proof.a[1]) = (proof.a[1], proof.a[0]);
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
        proof = _parts(scene, LAST_ROW);
        proof.b[2] = proof.b[1];
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_theBiasOfAnotherChannelReverts() external {
        Layer memory layer = _layer();
        (layer.hasBias, layer.outputs) = (true, 65); // the last channel's bias is in another chunk
        Scene memory scene = Convolutions.create(Random(1), layer);
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, LAST_ROW);
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
        bytes memory proof = _proof(scene, EDGE);
        vm.expectRevert(abi.encodeWithSelector(OperandProof.OutputMismatch.selector, commitment));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_elementOutOfRangeReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        uint256 count = scene.output.data.length / 4;
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, CORNER);
        proof.element = count;
        vm.expectRevert(abi.encodeWithSelector(OperandProof.ElementOutOfRange.selector, count, count));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_runsBeyondTheTensorRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, LAST_ROW);
        scene.node.operands[0].offset = type(uint32).max;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectPartialRevert(TensorProof.RunOutOfRange.selector);
        adjudicator.refutes(leaf, proof);
    }

    // ---- what is out of scope ----

    function test_refutes_otherOperatorsRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, CORNER);
        scene.node.op = Operator.wrap(0x12345678);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(ConvolutionAdjudicator.UnsupportedOperator.selector, bytes4(0x12345678)));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_otherTypesRevert() external {
        bytes4 unsupported = DType.UnsupportedType.selector;
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, CORNER);
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
        bytes memory proof = _proof(scene, CORNER);
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
        bytes4 wrong = ProductSums.WrongLaneStride.selector;
        Layer memory layer = _layer();
        layer.hasBias = true;
        for (uint256 i; i < 3; ++i) {
            Scene memory scene = Convolutions.create(Random(1), layer);
            bytes memory proof = _proof(scene, CORNER);
            scene.node.operands[i].laneStride = 2;
            IAdjudicator.Leaf memory leaf = scene.leaf();
            vm.expectRevert(abi.encodeWithSelector(wrong, i, 2, i < 2 ? 1 : 0));
            adjudicator.refutes(leaf, proof);
        }
    }

    function test_refutes_recordsWithoutWindowsRevert() external {
        // As a transposed convolution has them.
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, CORNER);
        scene.node.attributes = new uint32[](0);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(Windows.WrongAttributeCount.selector, 0, 20));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_moreLanesThanASumHoldsRevert() external {
        // A kernel of 2^17 + 2 lanes, of which two are no padding.
        Scene memory scene = _small();
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, CORNER);
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
        bytes memory proof = _proof(scene, CORNER);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.NonFiniteOperand.selector));
        adjudicator.refutes(leaf, proof);
    }

    // ---- malformed proofs ----

    function test_refutes_missingOrSurplusOpeningsRevert() external {
        bytes4 wrong = ConvolutionAdjudicator.WrongOpeningCount.selector;
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ConvolutionAdjudicator.Proof memory proof = _parts(scene, CORNER); // four places of nine
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
        proof = _parts(scene, CORNER);
        proof.bias = new OperandProof.OperandOpening[](1);
        vm.expectRevert(abi.encodeWithSelector(wrong, 2, 1, 0));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _small();
        scene.output.set(LAST_ROW, Floats.ofInteger(Convolutions.exact(scene, _layer(), LAST_ROW)));
        bytes memory proof = _proof(scene, LAST_ROW);
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof));
        (bool done, bytes memory output) = address(adjudicator).staticcall(input);
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    function test_refutes_otherEncodingsRevert() external {
        IAdjudicator.Leaf memory leaf = _small().leaf();
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, "");
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, bytes.concat(bytes32(uint256(0x40)), new bytes(512)));
    }

    // ---- scenes ----

    /// @dev A kernel of nine places over images of four by four, one place of padding around them.
    function _layer() private pure returns (Layer memory) {
        return Layer(true, false, 1, 3, 1, 4, 4, 3, 3, 1, 1, 1);
    }

    function _small() private pure returns (Scene memory) {
        return Convolutions.create(Random(1), _layer());
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
