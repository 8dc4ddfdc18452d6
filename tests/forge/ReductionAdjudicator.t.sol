// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ReductionAdjudicator } from "../../contracts/adjudicators/ReductionAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { RowProof } from "../../contracts/libraries/RowProof.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Floats } from "./support/Floats.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Lanes are small integers, so that results are exact and one more or less is out of tolerance.
/// forge-config: default.fuzz.runs = 64
/// forge-config: deep.fuzz.runs = 1000
contract ReductionAdjudicatorTest {
    using Tensors for Tensor;

    uint256 private constant SUM = 0;
    uint256 private constant MEAN = 2;
    uint256 private constant NORM = 4;
    uint256 private constant AMAX = 5;
    uint256 private constant AMIN = 6;
    uint256 private constant MIN = 8;
    uint256 private constant CUMSUM = 9;
    uint256 private constant ROWS = 10; // operators that look at a whole row
    uint256 private constant ALL = 12;

    ReductionAdjudicator private adjudicator = ReductionAdjudicator(deploy("ReductionAdjudicator", ""));

    // ---- verdicts ----

    function test_operators_areSumsMeansNormAndExtrema() external view {
        Operator[] memory list = adjudicator.operators();
        require(list.length == ALL, "count");
        for (uint256 i; i < ALL; ++i) {
            require(Operator.unwrap(list[i]) == _code(i), "another operator");
        }
    }

    function testFuzz_refutes_onlyWrongElementsOfEveryOperator(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _scene(random, random.below(ROWS), 1 + random.below(100));
        uint256 element = random.below(6);
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, element)), "an exact element is refuted");
        int256 exact = Floats.toInteger(scene.output.get(element));
        scene.output.set(element, Floats.ofInteger(random.below(2) == 0 ? exact + 1 : exact - 1));
        require(adjudicator.refutes(scene.leaf(), _proof(scene, element)), "a wrong element is not refuted");
    }

    // ---- what the adjudicator does not decide ----

    function test_refutes_otherOperatorsRevert() external {
        Operator other = Operator.wrap(bytes4(keccak256("aten.softmax.int")));
        Scene memory scene = _small();
        scene.node.op = other;
        _expect(scene, abi.encodeWithSelector(ReductionAdjudicator.UnsupportedOperator.selector, other));
    }

    function test_refutes_otherTypesRevert() external {
        Scene memory scene = _small();
        scene.node.operands[0].tensorType.dtype = DType.INT32;
        _expect(scene, abi.encodeWithSelector(DType.UnsupportedType.selector, DType.INT32));
        scene = _small();
        scene.node.outputs[0].dtype = DType.FLOAT16;
        _expect(scene, abi.encodeWithSelector(DType.UnsupportedType.selector, DType.FLOAT16));
    }

    function test_refutes_recordsOfAnotherShapeRevert() external {
        Scene memory scene = _small();
        scene.node.attributes = new uint32[](1); // the order of a norm, perhaps
        _expect(scene, abi.encodeWithSelector(ReductionAdjudicator.WrongAttributeCount.selector, 1, 0));
        scene = _small();
        scene.node.operands[0].laneStride = 0;
        _expect(scene, abi.encodeWithSelector(RowProof.WrongLaneStride.selector, 0, 0, 1));
        scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.reduction = 0;
        vm.expectRevert(abi.encodeWithSelector(RowProof.NotARow.selector, 1, 0));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_twoOperandsRevert() external {
        Scene memory scene = _small();
        RowProof.Proof memory proof = _parts(scene, 0);
        Scene memory pair = Scenes.create(_code(SUM), 2);
        pair.node.reduction = scene.node.reduction;
        pair.setOutput(scene.output);
        pair.setOperand(0, scene.operands[0], false, Scenes.strides(10, 20), 1, 0);
        pair.setOperand(1, scene.operands[0], false, Scenes.strides(10, 20), 1, 0);
        proof.operands = new OperandProof.OperandOpening[](2);
        vm.expectRevert(abi.encodeWithSelector(ReductionAdjudicator.WrongOperandCount.selector, 2, 1));
        adjudicator.refutes(pair.leaf(), abi.encode(proof));
    }

    // ---- proofs ----

    function test_refutes_anotherRowReverts() external {
        Scene memory scene = _small();
        RowProof.Proof memory proof = _parts(scene, 0);
        proof.element = 1;
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(scene.leaf(), abi.encode(proof));
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _scene(random, random.below(ROWS), 20);
        bytes memory proof = _proof(scene, random.below(6));
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof));
        (bool done, bytes memory output) = address(adjudicator).staticcall(input);
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    // ---- scenes ----

    function _expect(Scene memory scene, bytes memory reason) private {
        bytes memory proof = _proof(scene, 0);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(reason);
        adjudicator.refutes(leaf, proof);
    }

    function _code(uint256 op) private pure returns (bytes4) {
        string[ALL] memory names = [
            "aten.sum.default",
            "aten.sum.dim_IntList",
            "aten.mean.default",
            "aten.mean.dim",
            "aten.linalg_vector_norm.default",
            "aten.amax.default",
            "aten.amin.default",
            "aten.max.default",
            "aten.min.default",
            "aten.cumsum.default",
            "aten.argmax.default",
            "aten.argmin.default"
        ];
        return bytes4(keccak256(bytes(names[op])));
    }

    function _small() private pure returns (Scene memory) {
        return _scene(Random(1), SUM, 10);
    }

    /// @dev Output [2, 3], transposed, of a slice from lane 4 on of six rows. A norm has two lanes that are not zero, 3 m
    /// and 4 m; of a mean one lane makes the sum divisible.
    function _scene(Random memory random, uint256 op, uint256 lanes) private pure returns (Scene memory scene) {
        scene = Scenes.create(_code(op), 1);
        scene.node.reduction = lanes;
        uint256 width = lanes + 4;
        Tensor memory input = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(6, width));
        for (uint256 i; i < 6 * width; ++i) {
            input.set(i, Floats.ofInteger(int256(random.below(17)) - 8));
        }
        if (op == CUMSUM) {
            _setRunningSums(scene, input, lanes);
            return scene;
        }
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(2, 3)));
        scene.setOperand(0, input, false, Scenes.strides(width, 2 * width), 1, 4);
        for (uint256 element; element < 6; ++element) {
            uint256 first = scene.source(0, element, 0);
            scene.output.set(element, Floats.ofInteger(_fill(random, input, op, first, lanes)));
        }
    }

    function _setRunningSums(Scene memory scene, Tensor memory input, uint256 lanes) private pure {
        uint256 width = lanes + 4;
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, Scenes.strides(2, 3, lanes)));
        scene.setOperand(0, input, false, Scenes.strides(width, 2 * width, 0), 1, 4);
        scene.node.attributes = new uint32[](1);
        scene.node.attributes[0] = 2;
        for (uint256 element; element < 6 && element < 6 * lanes; ++element) {
            uint256 first = scene.source(0, element, 0);
            int256 sum;
            for (uint256 lane; lane <= element % lanes; ++lane) {
                sum += Floats.toInteger(input.get(first + lane));
            }
            scene.output.set(element, Floats.ofInteger(sum));
        }
    }

    /// @dev The exact result of a row, some of whose lanes are changed so that there is one.
    function _fill(Random memory random, Tensor memory input, uint256 op, uint256 first, uint256 lanes)
        private
        pure
        returns (int256)
    {
        if (op == NORM) {
            for (uint256 lane; lane < lanes; ++lane) {
                input.set(first + lane, 0);
            }
            int256 scale = 1 + int256(random.below(100));
            input.set(first, Floats.ofInteger(lanes == 1 ? -5 * scale : 3 * scale));
            if (lanes > 1) input.set(first + 1 + random.below(lanes - 1), Floats.ofInteger(-4 * scale));
            return 5 * scale;
        }
        int256 sum;
        int256 largest = -8;
        int256 least = 8;
        for (uint256 lane; lane < lanes; ++lane) {
            int256 x = Floats.toInteger(input.get(first + lane));
            sum += x;
            if (x > largest) largest = x;
            if (x < least) least = x;
        }
        if (op == AMIN || op == MIN) return least;
        if (op >= AMAX) return largest;
        if (op < MEAN) return sum;
        int256 count = int256(lanes);
        int256 last = Floats.toInteger(input.get(first + lanes - 1));
        input.set(first + lanes - 1, Floats.ofInteger(last - sum + 3 * count));
        return 3;
    }

    function _proof(Scene memory scene, uint256 element) private pure returns (bytes memory) {
        return abi.encode(_parts(scene, element));
    }

    function _parts(Scene memory scene, uint256 element) private pure returns (RowProof.Proof memory proof) {
        proof.element = element;
        // Magnitudes below 2^12 have biased exponents below 139.
        bool squares = Operator.unwrap(scene.node.op) == _code(NORM);
        proof.hint = squares ? 2 * 138 - 63 : 138 - 63;
        proof.operands = new OperandProof.OperandOpening[](1);
        bool runs = Operator.unwrap(scene.node.op) == _code(CUMSUM);
        uint256 length = runs ? element % scene.node.reduction + 1 : scene.node.reduction;
        proof.operands[0] = scene.openOperand(0, element, 0, length);
        proof.output = scene.openOutput(element);
    }
}
