// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";

import { ContractionAdjudicator } from "../../contracts/adjudicators/ContractionAdjudicator.sol";
import { ProductSums } from "../../contracts/adjudicators/ProductSums.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { Calldata } from "../../contracts/libraries/Calldata.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { Float32Dot } from "../../contracts/libraries/Float32Dot.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Floats } from "./support/Floats.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Operands hold small integers, so that sums are exact and one more or less is out of tolerance.
/// forge-config: default.fuzz.runs = 64
contract ContractionAdjudicatorTest {
    using Tensors for Tensor;

    ContractionAdjudicator private adjudicator = ContractionAdjudicator(deploy("ContractionAdjudicator", ""));

    // ---- verdicts ----

    function testFuzz_refutes_onlyWrongElements(uint256 seed) external view {
        Random memory random = Random(seed);
        uint256 rows = 1 + random.below(3);
        bool hasBias = random.below(2) == 1;
        _checkOneElement(random, _linear(random, rows, 1 + random.below(100), 1 + random.below(9), hasBias));
    }

    function testFuzz_refutes_followsIndexMaps(uint256 seed) external view {
        Random memory random = Random(seed);
        _checkOneElement(random, _batched(random, 1 + random.below(90)));
    }

    function test_refutes_masksTheLanesBehindTheRun() external view {
        // Each run is followed by other numbers of its row, in the same word.
        for (uint256 lanes = 1; lanes < 20; ++lanes) {
            _checkOneElement(Random(lanes), _batched(Random(lanes), lanes));
        }
    }

    function test_exceeds_onlyWhatIsBeyondTheta() external view {
        Scene memory scene = _linear(Random(7), 2, 64, 3, true);
        int256 exact = _exact(scene, 4);
        require(!adjudicator.exceeds(scene.leaf(), _proof(scene, 4), 1), "the exact element");
        scene.output.set(4, Floats.ofInteger(exact + 1));
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 4);
        // The deviation of 1 is theta u sqrt(65 R^2).
        int256 squares = _read(scene, 2, 4, 0) ** 2;
        for (uint256 lane; lane < 64; ++lane) {
            squares += (_read(scene, 0, 4, lane) * _read(scene, 1, 4, lane)) ** 2;
        }
        uint256 edge = (1 << 50) / Math.sqrt(65 * uint256(squares) << 20);
        require(adjudicator.exceeds(leaf, proof, uint32(edge * 1023 / 1024)), "beyond theta");
        require(!adjudicator.exceeds(leaf, proof, uint32(edge * 1025 / 1024)), "within theta");
        require(!adjudicator.exceeds(leaf, proof, 0), "no theta");
    }

    function test_exceeds_openingsOfAnotherElementRevert() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ContractionAdjudicator.Proof memory proof = _parts(scene, 0);
        proof.element = 3;
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.exceeds(leaf, abi.encode(proof), 1);
    }

    function test_operators_isContraction() external view {
        Operator[] memory list = adjudicator.operators();
        require(list.length == 1 && Operator.unwrap(list[0]) == bytes4(keccak256("contraction")), "operators");
    }

    // ---- what the openings are bound to ----

    function test_refutes_anotherLiveValueReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 1);
        bytes32 commitment = leaf.stateBefore[1];
        (leaf.stateBefore[1], leaf.stateBefore[2]) = (leaf.stateBefore[2], leaf.stateBefore[1]);
        vm.expectRevert(abi.encodeWithSelector(OperandProof.OperandMismatch.selector, 1, commitment));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_positionBeyondTheStateReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes32 commitment = leaf.stateBefore[1];
        leaf.stateBefore = new bytes32[](1);
        bytes memory proof = _proof(scene, 1);
        vm.expectRevert(abi.encodeWithSelector(OperandProof.OperandMismatch.selector, 1, commitment));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_anotherParameterReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 1);
        // The record asks for parameter 0; the opening is good for parameter 1.
        scene.node.operands[1].index = 0;
        leaf.record = scene.leaf().record;
        bytes32 commitment = scene.operands[1].commitment();
        vm.expectRevert(abi.encodeWithSelector(OperandProof.OperandMismatch.selector, 0, commitment));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_anotherModelReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        leaf.weightsRoot = keccak256("another model");
        bytes memory proof = _proof(scene, 1);
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, proof);
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

    function test_refutes_openingsOfAnotherElementRevert() external {
        Scene memory scene = _small(); // two rows and two columns
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ContractionAdjudicator.Proof memory proof = _parts(scene, 0);
        proof.element = 3;
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_weightsPathOfALiveValueReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ContractionAdjudicator.Proof memory proof = _parts(scene, 0);
        proof.operands[0].weightsPath = proof.operands[1].weightsPath;
        vm.expectRevert(abi.encodeWithSelector(TensorProof.WrongPathLength.selector, 2, 0));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_elementOutOfRangeReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ContractionAdjudicator.Proof memory proof = _parts(scene, 0);
        proof.element = 4;
        vm.expectRevert(abi.encodeWithSelector(OperandProof.ElementOutOfRange.selector, 4, 4));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_runAcrossRowsReverts() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.operands[0].offset = 1;
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, 1, 10));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_mapBeyondTheTensorReverts() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.operands[0].offset = type(uint32).max;
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, type(uint32).max, 10));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_largestMapDoesNotOverflow() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 3);
        scene.node.operands[0].offset = type(uint32).max;
        scene.node.operands[0].strides = Scenes.strides(type(uint32).max, type(uint32).max);
        uint256 first = 3 * uint256(type(uint32).max);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, first, 10));
        adjudicator.refutes(scene.leaf(), proof);
    }

    // ---- what is out of scope ----

    function test_refutes_otherOperatorsRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.op = Operator.wrap(0x12345678);
        bytes4 unsupported = ContractionAdjudicator.UnsupportedOperator.selector;
        vm.expectRevert(abi.encodeWithSelector(unsupported, bytes4(0x12345678)));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_otherTypesRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.operands[1].tensorType.dtype = DType.INT32;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(DType.UnsupportedType.selector, DType.INT32));
        adjudicator.refutes(leaf, proof);
        scene = _small();
        scene.node.outputs[0].dtype = DType.FLOAT64;
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(DType.UnsupportedType.selector, DType.FLOAT64));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_operandsWithoutMapsRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.operands[0].hasMap = false;
        vm.expectPartialRevert(ProductSums.WrongLaneStride.selector);
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_mapsOfAnotherRankRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.operands[0].strides = new uint32[](3);
        vm.expectRevert(abi.encodeWithSelector(OperandProof.MapRankMismatch.selector, 3, 2));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_runsThatAreNotContiguousRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.operands[1].laneStride = 2;
        vm.expectRevert(abi.encodeWithSelector(ProductSums.WrongLaneStride.selector, 1, 2, 1));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_noLanesRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0);
        scene.node.reduction = 0;
        vm.expectRevert(abi.encodeWithSelector(ContractionAdjudicator.NotAContraction.selector, 1, 2, 0));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_nonFiniteOperandReverts() external {
        Scene memory scene = _small();
        scene.operands[0].set(3, 0x7f800000);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 0);
        vm.expectRevert(abi.encodeWithSelector(Float32Dot.NonFiniteOperand.selector));
        adjudicator.refutes(leaf, proof);
    }

    // ---- malformed proofs ----

    function test_refutes_missingOrSurplusOpeningsRevert() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ContractionAdjudicator.Proof memory proof = _parts(scene, 0);
        OperandProof.OperandOpening[] memory operands = new OperandProof.OperandOpening[](3);
        (operands[0], operands[1]) = (proof.operands[0], proof.operands[1]);
        proof.operands = operands;
        vm.expectRevert(abi.encodeWithSelector(ContractionAdjudicator.WrongOpeningCount.selector, 3, 2));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function testFuzz_refutes_truncatedProofsNeverRefute(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _small();
        scene.output.set(1, Floats.ofInteger(1_000_000));
        bytes memory proof = _proof(scene, 1);
        require(adjudicator.refutes(scene.leaf(), proof), "the whole proof");
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof));
        uint256 length = random.below(input.length);
        assembly ("memory-safe") {
            mstore(input, length)
        }
        (bool done, bytes memory output) = address(adjudicator).staticcall(input);
        // The padding behind the last element of the proof carries nothing.
        require(!done || (abi.decode(output, (bool)) && length > input.length - 32), "a truncated proof");
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 1);
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof));
        (bool done, bytes memory output) = address(adjudicator).staticcall(input);
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    function test_refutes_otherEncodingsRevert() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, "");
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, bytes.concat(bytes32(uint256(0x40)), new bytes(512)));
    }

    // ---- scenes ----

    function _checkOneElement(Random memory random, Scene memory scene) private view {
        uint256 element = random.below(scene.output.data.length / 4);
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, element)), "an exact element is refuted");
        int256 exact = _exact(scene, element);
        scene.output.set(element, Floats.ofInteger(random.below(2) == 0 ? exact + 1 : exact - 1));
        require(adjudicator.refutes(scene.leaf(), _proof(scene, element)), "a wrong element is not refuted");
    }

    /// @dev Two rows and two columns of ten lanes: a is live, b a parameter.
    function _small() private pure returns (Scene memory) {
        return _linear(Random(1), 2, 10, 2, false);
    }

    /// @dev [rows, lanes] x [columns, lanes]: a is live; b and the bias are parameters.
    function _linear(Random memory random, uint256 rows, uint256 lanes, uint256 columns, bool hasBias)
        private
        pure
        returns (Scene memory scene)
    {
        scene = Scenes.create(bytes4(keccak256("contraction")), hasBias ? 3 : 2);
        scene.node.reduction = lanes;
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(rows, columns)));
        scene.setOperand(0, _integers(random, Tensors.shape(rows, lanes)), false, Scenes.strides(lanes, 0), 1, 0);
        scene.setOperand(1, _integers(random, Tensors.shape(columns, lanes)), true, Scenes.strides(0, lanes), 1, 0);
        if (hasBias) {
            uint32[] memory shape = new uint32[](1);
            shape[0] = uint32(columns);
            scene.setOperand(2, _integers(random, shape), true, Scenes.strides(0, 1), 0, 0);
        }
        _fill(scene);
    }

    /// @dev Output [2, 2, 3]: a is a slice, from lane 3 on, of rows that hold both batches; b has its columns in
    /// the rows of another slice, and one batch only.
    function _batched(Random memory random, uint256 lanes) private pure returns (Scene memory scene) {
        scene = Scenes.create(bytes4(keccak256("contraction")), 2);
        scene.node.reduction = lanes;
        uint32[] memory shape = Scenes.strides(2, 2, 3);
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, shape));
        uint256 width = 2 * lanes + 5;
        scene.setOperand(0, _integers(random, Tensors.shape(2, width)), false, Scenes.strides(lanes, width, 0), 1, 3);
        scene.setOperand(
            1, _integers(random, Tensors.shape(4, width)), false, Scenes.strides(0, 0, width), 1, width + 2
        );
        _fill(scene);
    }

    function _integers(Random memory random, uint32[] memory shape) private pure returns (Tensor memory tensor) {
        tensor = Tensors.zeros(DType.FLOAT32, 4, shape);
        for (uint256 i; i < tensor.data.length / 4; ++i) {
            tensor.set(i, Floats.ofInteger(int256(random.below(17)) - 8));
        }
    }

    function _fill(Scene memory scene) private pure {
        for (uint256 element; element < scene.output.data.length / 4; ++element) {
            scene.output.set(element, Floats.ofInteger(_exact(scene, element)));
        }
    }

    function _exact(Scene memory scene, uint256 element) private pure returns (int256 sum) {
        for (uint256 lane; lane < scene.node.reduction; ++lane) {
            sum += _read(scene, 0, element, lane) * _read(scene, 1, element, lane);
        }
        if (scene.operands.length == 3) sum += _read(scene, 2, element, 0);
    }

    function _read(Scene memory scene, uint256 operand, uint256 element, uint256 lane) private pure returns (int256) {
        return Floats.toInteger(scene.operands[operand].get(scene.source(operand, element, lane)));
    }

    function _proof(Scene memory scene, uint256 element) private pure returns (bytes memory) {
        return abi.encode(_parts(scene, element));
    }

    function _parts(Scene memory scene, uint256 element)
        private
        pure
        returns (ContractionAdjudicator.Proof memory proof)
    {
        proof.element = element;
        proof.window = 2 * 130 - 63; // magnitudes up to 8 have biased exponents up to 130
        proof.operands = new OperandProof.OperandOpening[](scene.operands.length);
        for (uint256 i; i < scene.operands.length; ++i) {
            proof.operands[i] = scene.openOperand(i, element, 0, i < 2 ? scene.node.reduction : 1);
        }
        proof.output = scene.openOutput(element);
    }
}
