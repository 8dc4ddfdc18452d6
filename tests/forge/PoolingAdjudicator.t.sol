// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { PoolingAdjudicator } from "../../contracts/adjudicators/PoolingAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { Calldata } from "../../contracts/libraries/Calldata.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { Windows } from "../../contracts/libraries/Windows.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Floats } from "./support/Floats.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Windows of three by three, one place of padding around images [2, 2, 5, 4], every second place.
/// forge-config: default.fuzz.runs = 64
contract PoolingAdjudicatorTest {
    using Tensors for Tensor;
    using Windows for Windows.Runs;

    uint256 private constant HEIGHT = 5;
    uint256 private constant WIDTH = 4;
    uint256 private constant KERNEL = 3;
    uint256 private constant MIDDLE = 3; // of the first output: rows 1 to 3, columns 1 to 3
    uint256 private constant CENTER = 2 * WIDTH + 2;
    uint32 private constant INFINITY = 0x7f800000;
    uint32 private constant NAN = 0x7fc00000;
    uint32 private constant SIGN = 1 << 31;

    PoolingAdjudicator private adjudicator = PoolingAdjudicator(deploy("PoolingAdjudicator", ""));

    // ---- verdicts ----

    function testFuzz_refutes_onlyWrongElements(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _scene(random);
        uint256 element = random.below(scene.output.data.length / 4);
        int256 exact = _exact(scene, element);
        _require(scene, element, Floats.ofInteger(exact), false, "the maximum is refuted");
        _require(scene, element, Floats.ofInteger(exact + 1), true, "a larger number is not refuted");
        _require(scene, element, Floats.ofInteger(exact - 1), true, "a smaller number is not refuted");
    }

    function test_refutes_negativeNumbersAreOrdered() external view {
        Scene memory scene = _constant(Floats.ofInteger(-7));
        scene.operands[0].set(CENTER, Floats.ofInteger(-2));
        _require(scene, MIDDLE, Floats.ofInteger(-2), false, "the maximum is refuted");
        _require(scene, MIDDLE, Floats.ofInteger(-7), true, "the minimum is not refuted");
        // Padding is no zero.
        _require(scene, 0, Floats.ofInteger(-7), false, "the maximum next to padding is refuted");
        _require(scene, 0, 0, true, "padding is a lane");
    }

    function test_refutes_zerosAndSubnormalNumbersAreEqual() external view {
        Scene memory scene = _constant(SIGN);
        _require(scene, MIDDLE, SIGN, false, "-0");
        _require(scene, MIDDLE, 0, false, "+0");
        _require(scene, MIDDLE, 1, false, "the smallest number above");
        _require(scene, MIDDLE, 0x00800000, true, "the smallest normal number above");
        _require(scene, MIDDLE, SIGN + 0x00800000, true, "the smallest normal number below");
    }

    function test_refutes_aNaNIsTheMaximum() external view {
        Scene memory scene = _constant(INFINITY);
        scene.operands[0].set(CENTER, SIGN + NAN + 1);
        _require(scene, MIDDLE, NAN, false, "another NaN");
        _require(scene, MIDDLE, INFINITY, true, "an infinity");
        _require(scene, 0, INFINITY, false, "a window without the NaN");
        _require(scene, 0, NAN, true, "its NaN");
    }

    function test_refutes_infinitiesAreOrdered() external view {
        Scene memory scene = _constant(SIGN + INFINITY);
        _require(scene, MIDDLE, SIGN + INFINITY, false, "all -infinity");
        _require(scene, MIDDLE, SIGN + INFINITY - 1, true, "the lowest number");
        scene.operands[0].set(CENTER, INFINITY);
        _require(scene, MIDDLE, INFINITY, false, "infinity");
        _require(scene, MIDDLE, INFINITY - 1, true, "the largest number");
    }

    function test_refutes_aWindowOfPaddingRefutesNothing() external view {
        Scene memory scene = _constant(Floats.ofInteger(1));
        // Three rows of padding above: the first window ends before the input.
        scene.node.attributes[14] = 3;
        _require(scene, 0, 0, false, "zero");
        _require(scene, 0, NAN, false, "NaN");
        _require(scene, 2, 0, true, "the next row has lanes");
    }

    function test_refutes_averagesDivideByWhatTheyAreToldTo() external view {
        Scene memory scene = _constant(Floats.ofInteger(12));
        scene.node.op = Operator.wrap(bytes4(keccak256("aten.avg_pool2d.default")));
        uint32[] memory words = new uint32[](21);
        for (uint256 i; i < 20; ++i) {
            words[i] = scene.node.attributes[i];
        }
        scene.node.attributes = words;
        // The corner has four lanes of twelve, and nine places with the padding.
        _require(scene, 0, Floats.ofInteger(12), false, "by its lanes");
        _require(scene, 0, Floats.ofInteger(11), true, "less");
        words[20] = 6;
        _require(scene, 0, Floats.ofInteger(8), false, "by six");
        _require(scene, 0, Floats.ofInteger(12), true, "not by four");
        words[20] = type(uint32).max;
        scene.operands[0] = _constant(Floats.ofInteger(9)).operands[0];
        _require(scene, 0, Floats.ofInteger(4), false, "by its places");
        _require(scene, 0, Floats.ofInteger(9), true, "not by its lanes");
        _require(scene, MIDDLE, Floats.ofInteger(9), false, "without padding both are the same");
    }

    function test_operators_arePoolingsAndUpsampling() external view {
        Operator[] memory list = adjudicator.operators();
        require(list.length == 6, "count");
        require(Operator.unwrap(list[0]) == bytes4(keccak256("aten.max_pool2d.default")), "maximum");
        require(Operator.unwrap(list[1]) == bytes4(keccak256("aten.avg_pool2d.default")), "average");
    }

    // ---- what the openings are bound to ----

    function test_refutes_runsOfAnotherElementOrOrderRevert() external {
        Scene memory scene = _scene(Random(1));
        IAdjudicator.Leaf memory leaf = scene.leaf();
        PoolingAdjudicator.Proof memory proof = _parts(scene, MIDDLE);
        proof.element = MIDDLE + 6; // of the next channel
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
        proof = _parts(scene, MIDDLE);
        (proof.a[0], proof.a[1]) = (proof.a[1], proof.a[0]);
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_anotherOutputReverts() external {
        Scene memory scene = _scene(Random(1));
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes32 commitment = leaf.outputs[0];
        leaf.outputs[0] = keccak256("another output");
        bytes memory proof = abi.encode(_parts(scene, 1));
        vm.expectRevert(abi.encodeWithSelector(OperandProof.OutputMismatch.selector, commitment));
        adjudicator.refutes(leaf, proof);
    }

    // ---- what is out of scope ----

    function test_refutes_otherRecordsRevert() external {
        Scene memory scene = _scene(Random(1));
        bytes memory proof = abi.encode(_parts(scene, 0));
        IAdjudicator.Leaf memory leaf = scene.leaf();

        scene.node.operands[0].laneStride = 0;
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(PoolingAdjudicator.WrongLaneStride.selector, 0, 0, 1));
        adjudicator.refutes(leaf, proof);

        scene.node.operands[0].tensorType.dtype = DType.INT32;
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(DType.UnsupportedType.selector, DType.INT32));
        adjudicator.refutes(leaf, proof);

        scene.node.outputs[0].dtype = DType.FLOAT64;
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(DType.UnsupportedType.selector, DType.FLOAT64));
        adjudicator.refutes(leaf, proof);

        scene.node.outputs = new NodeRecord.TensorType[](2);
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(PoolingAdjudicator.NotAPooling.selector, 2, 1));
        adjudicator.refutes(leaf, proof);

        scene.node.op = Operator.wrap(0x12345678);
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(PoolingAdjudicator.UnsupportedOperator.selector, bytes4(0x12345678)));
        adjudicator.refutes(leaf, proof);
    }

    // ---- malformed proofs ----

    function test_refutes_missingOrSurplusOpeningsRevert() external {
        bytes4 wrong = PoolingAdjudicator.WrongOpeningCount.selector;
        Scene memory scene = _scene(Random(1));
        IAdjudicator.Leaf memory leaf = scene.leaf();
        PoolingAdjudicator.Proof memory proof = _parts(scene, MIDDLE);
        OperandProof.OperandOpening[] memory two = new OperandProof.OperandOpening[](2);
        (two[0], two[1]) = (proof.a[0], proof.a[1]);
        proof.a = two;
        vm.expectRevert(abi.encodeWithSelector(wrong, 0, 2, 3));
        adjudicator.refutes(leaf, abi.encode(proof));
        proof.a = new OperandProof.OperandOpening[](4);
        vm.expectRevert(abi.encodeWithSelector(wrong, 0, 4, 3));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_otherEncodingsRevert() external {
        IAdjudicator.Leaf memory leaf = _scene(Random(1)).leaf();
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, "");
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, bytes.concat(bytes32(uint256(0x40)), new bytes(512)));
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _scene(Random(1));
        scene.output.set(MIDDLE, Floats.ofInteger(_exact(scene, MIDDLE)));
        bytes memory proof = abi.encode(_parts(scene, MIDDLE));
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof));
        (bool done, bytes memory output) = address(adjudicator).staticcall(input);
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    // ---- scenes ----

    function _require(Scene memory scene, uint256 element, uint32 y, bool refuted, string memory reason) private view {
        scene.output.set(element, y);
        bytes memory proof = abi.encode(_parts(scene, element));
        require(adjudicator.refutes(scene.leaf(), proof) == refuted, reason);
    }

    function _constant(uint32 bits) private pure returns (Scene memory scene) {
        scene = _scene(Random(1));
        for (uint256 i; i < scene.operands[0].data.length / 4; ++i) {
            scene.operands[0].set(i, bits);
        }
    }

    function _scene(Random memory random) private pure returns (Scene memory scene) {
        scene = Scenes.create(bytes4(keccak256("aten.max_pool2d.default")), 1);
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, _shape(2, 2, 3, 2)));
        Tensor memory input = Tensors.zeros(DType.FLOAT32, 4, _shape(2, 2, HEIGHT, WIDTH));
        for (uint256 i; i < input.data.length / 4; ++i) {
            input.set(i, Floats.ofInteger(int256(random.below(2001)) - 1000));
        }
        scene.setOperand(0, input, false, _shape(2 * HEIGHT * WIDTH, 0, 0, 0), 1, 0);
        scene.node.reduction = KERNEL * KERNEL;
        uint32[] memory words = new uint32[](20);
        (words[0], words[1]) = (1, uint32(HEIGHT * WIDTH)); // channels
        words[2] = 1; // no level 0
        (words[5], words[6]) = (uint32(KERNEL), uint32(WIDTH)); // rows
        (words[8], words[9]) = (uint32(KERNEL), 1); // columns
        words[11] = 4 * 1 + 16 * 2;
        (words[12], words[13], words[14], words[15]) = (uint32(HEIGHT), 2, 1, 1);
        (words[16], words[17], words[18], words[19]) = (uint32(WIDTH), 2, 1, 1);
        scene.node.attributes = words;
    }

    /// @dev The largest input under the window, by its definition.
    function _exact(Scene memory scene, uint256 element) private pure returns (int256 largest) {
        uint256 left = 2 * (element % 2);
        uint256 top = 2 * (element / 2 % 3);
        uint256 plane = element / 6 * HEIGHT * WIDTH;
        largest = type(int256).min;
        for (uint256 y = top; y < top + KERNEL; ++y) {
            for (uint256 x = left; x < left + KERNEL; ++x) {
                if (y == 0 || y > HEIGHT || x == 0 || x > WIDTH) continue;
                int256 value = Floats.toInteger(scene.operands[0].get(plane + (y - 1) * WIDTH + x - 1));
                if (value > largest) largest = value;
            }
        }
    }

    function _parts(Scene memory scene, uint256 element) private pure returns (PoolingAdjudicator.Proof memory proof) {
        proof.element = element;
        proof.hint = 100;
        Windows.Runs memory runs = Windows.locate(scene.node, element, scene.node.attributes.length - 20);
        proof.a = new OperandProof.OperandOpening[](runs.count());
        for (uint256 i; i < proof.a.length; ++i) {
            (uint256 a,) = runs.at(i);
            (proof.a[i].data, proof.a[i].path) = scene.operands[0].open(a, runs.length);
        }
        proof.output = scene.openOutput(element);
    }

    function _shape(uint256 first, uint256 second, uint256 third, uint256 fourth)
        private
        pure
        returns (uint32[] memory list)
    {
        list = new uint32[](4);
        (list[0], list[1], list[2], list[3]) = (uint32(first), uint32(second), uint32(third), uint32(fourth));
    }
}
