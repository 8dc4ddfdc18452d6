// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { SoftmaxAdjudicator } from "../../contracts/adjudicators/SoftmaxAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { Calldata } from "../../contracts/libraries/Calldata.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { RowProof } from "../../contracts/libraries/RowProof.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Every row has one or two lanes of its own that are 1, and -inf elsewhere, so that its softmax is 1, or 1/2 twice.
/// forge-config: default.fuzz.runs = 64
/// forge-config: deep.fuzz.runs = 1000
contract SoftmaxAdjudicatorTest {
    using Tensors for Tensor;

    string private constant SOFTMAX = "aten.softmax.int";
    string private constant LOG_SOFTMAX = "aten.log_softmax.int";
    uint256 private constant ROWS = 3;

    uint32 private constant ONE = 0x3f800000;
    uint32 private constant HALF = 0x3f000000;
    uint32 private constant MINUS_LOG_2 = 0xbf317218;
    uint32 private constant NEGATIVE_INFINITY = 0xff800000;

    SoftmaxAdjudicator private adjudicator = SoftmaxAdjudicator(deploy("SoftmaxAdjudicator", ""));

    // ---- verdicts ----

    function test_operators_areSoftmaxAndLogSoftmax() external view {
        Operator[] memory list = adjudicator.operators();
        string[4] memory names = [SOFTMAX, "aten._softmax.default", LOG_SOFTMAX, "aten._log_softmax.default"];
        require(list.length == 4, "count");
        for (uint256 i; i < 4; ++i) {
            require(Operator.unwrap(list[i]) == bytes4(keccak256(bytes(names[i]))), names[i]);
        }
    }

    function testFuzz_refutes_onlyWrongElementsOfEveryOperator(uint256 seed) external view {
        Random memory random = Random(seed);
        Operator op = adjudicator.operators()[random.below(4)];
        Scene memory scene = _scene(op, 1 + random.below(100), random.below(2) == 1);
        uint256 element = random.below(scene.output.data.length / 4);
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, element)), "an exact element is refuted");
        // Any other element of the row is out of tolerance.
        scene.output.set(element, scene.output.get(element) == ONE ? HALF : ONE);
        require(adjudicator.refutes(scene.leaf(), _proof(scene, element)), "a wrong element is not refuted");
    }

    // ---- what the adjudicator does not decide ----

    function test_refutes_otherOperatorsRevert() external {
        Operator other = Operator.wrap(bytes4(keccak256("aten.sum.default")));
        Scene memory scene = _small();
        scene.node.op = other;
        _expect(scene, abi.encodeWithSelector(SoftmaxAdjudicator.UnsupportedOperator.selector, other));
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
        scene.node.attributes = new uint32[](1);
        _expect(scene, abi.encodeWithSelector(SoftmaxAdjudicator.WrongAttributeCount.selector, 1, 0));
        scene = _small();
        scene.node.operands[0].laneStride = 2;
        _expect(scene, abi.encodeWithSelector(RowProof.WrongLaneStride.selector, 0, 2, 1));
        scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.reduction = 0;
        vm.expectRevert(abi.encodeWithSelector(RowProof.NotARow.selector, 1, 0));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_twoOperandsRevert() external {
        Scene memory scene = _small();
        RowProof.Proof memory proof = _parts(scene, 0);
        Scene memory pair = Scenes.create(Operator.unwrap(scene.node.op), 2);
        pair.node.reduction = scene.node.reduction;
        pair.setOutput(scene.output);
        pair.setOperand(0, scene.operands[0], false, Scenes.strides(9, 1), 1, 0);
        pair.setOperand(1, scene.operands[0], false, Scenes.strides(9, 1), 1, 0);
        proof.operands = new OperandProof.OperandOpening[](2);
        vm.expectRevert(abi.encodeWithSelector(SoftmaxAdjudicator.WrongOperandCount.selector, 2, 1));
        adjudicator.refutes(pair.leaf(), abi.encode(proof));
    }

    // ---- proofs ----

    function test_refutes_anotherRowReverts() external {
        Scene memory scene = _small();
        RowProof.Proof memory proof = _parts(scene, 0);
        proof.element = 9; // the first of the second row
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(scene.leaf(), abi.encode(proof));
    }

    function test_refutes_missingOpeningsAndOtherEncodingsRevert() external {
        Scene memory scene = _small();
        RowProof.Proof memory proof = _parts(scene, 0);
        proof.operands = new OperandProof.OperandOpening[](0);
        vm.expectRevert(abi.encodeWithSelector(RowProof.WrongOpeningCount.selector, 0, 1));
        adjudicator.refutes(scene.leaf(), abi.encode(proof));
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(scene.leaf(), "");
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, random.below(27));
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

    function _small() private pure returns (Scene memory) {
        return _scene(Operator.wrap(bytes4(keccak256(bytes(SOFTMAX)))), 9, false);
    }

    /// @dev The operand is the output's shape, or a slice, from lane 2 on, of rows that are five longer.
    function _scene(Operator op, uint256 lanes, bool sliced) private pure returns (Scene memory scene) {
        bytes32 code = bytes32(Operator.unwrap(op));
        bool logarithmic =
            code == bytes4(keccak256(bytes(LOG_SOFTMAX))) || code == bytes4(keccak256("aten._log_softmax.default"));
        scene = Scenes.create(Operator.unwrap(op), 1);
        scene.node.reduction = lanes;
        (uint256 width, uint256 offset) = sliced ? (lanes + 5, 2) : (lanes, 0);
        Tensor memory input = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(ROWS, width));
        Tensor memory output = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(ROWS, lanes));
        for (uint256 row; row < ROWS; ++row) {
            (uint256 first, uint256 second) = _lanes(lanes, row);
            for (uint256 lane; lane < lanes; ++lane) {
                bool live = lane == first || lane == second;
                input.set(row * width + offset + lane, live ? ONE : NEGATIVE_INFINITY);
                uint32 y = logarithmic ? NEGATIVE_INFINITY : 0;
                if (live && first == second) y = logarithmic ? 0 : ONE;
                else if (live) y = logarithmic ? MINUS_LOG_2 : HALF;
                output.set(row * lanes + lane, y);
            }
        }
        scene.setOutput(output);
        scene.setOperand(0, input, false, Scenes.strides(width, 1), 1, offset);
    }

    /// @dev The lanes of a row that are not -inf, which may be one.
    function _lanes(uint256 lanes, uint256 row) private pure returns (uint256, uint256) {
        return (row % lanes, (5 * row + 7) % lanes);
    }

    function _proof(Scene memory scene, uint256 element) private pure returns (bytes memory) {
        return abi.encode(_parts(scene, element));
    }

    function _parts(Scene memory scene, uint256 element) private pure returns (RowProof.Proof memory proof) {
        uint256 lanes = scene.node.reduction;
        proof.element = element;
        (proof.hint,) = _lanes(lanes, element / lanes);
        proof.operands = new OperandProof.OperandOpening[](1);
        proof.operands[0] = scene.openOperand(0, element - element % lanes, 0, lanes);
        proof.output = scene.openOutput(element);
    }
}
