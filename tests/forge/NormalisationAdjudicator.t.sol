// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { NormalisationAdjudicator } from "../../contracts/adjudicators/NormalisationAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { Calldata } from "../../contracts/libraries/Calldata.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { ElementProof } from "../../contracts/libraries/ElementProof.sol";
import { Moments } from "../../contracts/libraries/Moments.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { RowProof } from "../../contracts/libraries/RowProof.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Meter } from "./ContractionGas.t.sol";
import { Floats } from "./support/Floats.sol";
import { Records } from "./support/Records.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Rows hold as many 1 as -1, so that mean, deviation and root mean square are 0, 1 and 1, elements are small
/// integers, and one more or less is out of tolerance.
/// forge-config: default.fuzz.runs = 64
contract NormalisationAdjudicatorTest {
    using Tensors for Tensor;

    bytes4 private constant LAYER = bytes4(keccak256("aten.layer_norm.default"));
    bytes4 private constant NATIVE_LAYER = bytes4(keccak256("aten.native_layer_norm.default"));
    bytes4 private constant GROUP = bytes4(keccak256("aten.group_norm.default"));
    bytes4 private constant NATIVE_GROUP = bytes4(keccak256("aten.native_group_norm.default"));
    bytes4 private constant RMS = bytes4(keccak256("aten.rms_norm.default"));
    bytes4 private constant BATCH = bytes4(keccak256("aten.batch_norm.default"));
    bytes4 private constant NATIVE_BATCH = bytes4(keccak256("aten._native_batch_norm_legit_no_training.default"));

    uint256 private constant WINDOW = 130 - 63; // numbers up to 15

    error TooMuchGas(uint256 used, uint256 limit);

    NormalisationAdjudicator private adjudicator = NormalisationAdjudicator(deploy("NormalisationAdjudicator", ""));
    Meter private meter = new Meter();

    // ---- verdicts ----

    function testFuzz_refutes_onlyWrongElementsOfRows(uint256 seed) external view {
        Random memory random = Random(seed);
        bytes4[5] memory names = [LAYER, NATIVE_LAYER, GROUP, NATIVE_GROUP, RMS];
        bytes4 op = names[random.below(5)];
        uint256 operands = 1 + random.below(op == RMS ? 2 : 3);
        Scene memory scene = _rows(random, op, operands, 1 + random.below(3), 2 * (1 + random.below(60)));
        _checkOneElement(random, scene, true);
    }

    function testFuzz_refutes_onlyWrongElementsOfBatches(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _batch(random, random.below(2) == 0 ? BATCH : NATIVE_BATCH, random.below(2) == 0 ? 3 : 5);
        _checkOneElement(random, scene, false);
    }

    function test_refutes_readsTheRowOfTheElement() external view {
        Scene memory scene = _rows(Random(3), LAYER, 3, 3, 10);
        // Another row's numbers are not the element's business, even infinite ones.
        scene.operands[0].set(3, 0x7f800000);
        _checkElement(scene, 17, true);
    }

    function test_refutes_epsilonOfTheRecord() external view {
        Scene memory scene = _rows(Random(3), LAYER, 1, 2, 10);
        int256 sign = Floats.toInteger(scene.operands[0].get(3));
        scene.node.attributes[0] = Floats.ofInteger(3);
        require(adjudicator.refutes(scene.leaf(), _proof(scene, 3, true)), "as without it");
        scene.output.set(3, sign < 0 ? 0xbf000000 : 0x3f000000); // 1 / sqrt(1 + 3)
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, 3, true)), "with it");
    }

    function test_operators_areTheSevenNormalisations() external view {
        Operator[] memory list = adjudicator.operators();
        bytes4[7] memory names = [LAYER, NATIVE_LAYER, GROUP, NATIVE_GROUP, RMS, BATCH, NATIVE_BATCH];
        require(list.length == 7, "count");
        for (uint256 i; i < 7; ++i) {
            require(Operator.unwrap(list[i]) == names[i], "name");
        }
    }

    // ---- what the openings are bound to ----

    function test_refutes_anotherLiveValueReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        leaf.stateBefore[1] = keccak256("another value");
        bytes memory proof = _proof(scene, 1, true);
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_anotherOutputReverts() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        leaf.outputs[0] = keccak256("another output");
        bytes memory proof = _proof(scene, 1, true);
        vm.expectPartialRevert(OperandProof.OutputMismatch.selector);
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_openingsOfAnotherRowRevert() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        RowProof.Proof memory proof = _rowParts(scene, 1);
        proof.element += 10;
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_hintsOnlyMakeAProofFail() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        RowProof.Proof memory proof = _rowParts(scene, 1);
        proof.hint = 127 - 64;
        vm.expectRevert(abi.encodeWithSelector(Moments.WindowTooLow.selector, 63));
        adjudicator.refutes(leaf, abi.encode(proof));
        proof.hint = 255;
        vm.expectRevert(abi.encodeWithSelector(Moments.WindowOutOfRange.selector, 255));
        adjudicator.refutes(leaf, abi.encode(proof));
        proof.hint = 254;
        require(!adjudicator.refutes(leaf, abi.encode(proof)), "all numbers are below the window");
    }

    // ---- what is out of scope ----

    function test_refutes_otherOperatorsRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0, true);
        scene.node.op = Operator.wrap(0x12345678);
        vm.expectRevert(
            abi.encodeWithSelector(NormalisationAdjudicator.UnsupportedOperator.selector, bytes4(0x12345678))
        );
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_otherTypesRevert() external {
        bytes4 unsupported = DType.UnsupportedType.selector;
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0, true);
        for (uint256 i; i < 3; ++i) {
            scene.node.operands[i].tensorType.dtype = DType.INT32;
            vm.expectRevert(abi.encodeWithSelector(unsupported, DType.INT32));
            adjudicator.refutes(scene.leaf(), proof);
            scene.node.operands[i].tensorType.dtype = DType.FLOAT32;
        }
        scene.node.outputs[0].dtype = DType.FLOAT64;
        vm.expectRevert(abi.encodeWithSelector(unsupported, DType.FLOAT64));
        adjudicator.refutes(scene.leaf(), proof);
        scene = _batch(Random(1), BATCH, 5);
        proof = _proof(scene, 0, false);
        scene.node.operands[4].tensorType.dtype = DType.INT32;
        vm.expectRevert(abi.encodeWithSelector(unsupported, DType.INT32));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_otherNumbersOfOperandsRevert() external {
        bytes4 wrong = NormalisationAdjudicator.WrongOperandCount.selector;
        bytes4[3] memory names = [LAYER, RMS, BATCH];
        uint256[3] memory least = [uint256(1), 1, 3];
        uint256[3] memory most = [uint256(3), 2, 5];
        for (uint256 i; i < 3; ++i) {
            for (uint256 count; count < 7; ++count) {
                if (count >= least[i] && count <= most[i] && (i < 2 || count != 4)) continue;
                Scene memory scene = _small();
                scene.node.op = Operator.wrap(names[i]);
                NodeRecord.Operand memory operand = scene.node.operands[0];
                scene.node.operands = new NodeRecord.Operand[](count);
                for (uint256 j; j < count; ++j) {
                    scene.node.operands[j] = operand;
                }
                IAdjudicator.Leaf memory leaf = _small().leaf();
                leaf.record = Records.encode(scene.node);
                OperandProof.OperandOpening[] memory none = new OperandProof.OperandOpening[](count);
                bytes memory proof = i < 2
                    ? abi.encode(RowProof.Proof(0, WINDOW, none, scene.openOutput(0)))
                    : abi.encode(ElementProof.Proof(0, none, scene.openOutput(0)));
                vm.expectRevert(abi.encodeWithSelector(wrong, count, least[i], most[i]));
                adjudicator.refutes(leaf, proof);
            }
        }
    }

    function test_refutes_otherNumbersOfAttributesRevert() external {
        bytes4 wrong = NormalisationAdjudicator.WrongAttributeCount.selector;
        for (uint256 count; count < 3; ++count) {
            if (count == 1) continue;
            Scene memory scene = _small();
            scene.node.attributes = new uint32[](count);
            bytes memory proof = _proof(scene, 0, true);
            vm.expectRevert(abi.encodeWithSelector(wrong, count, 1));
            adjudicator.refutes(scene.leaf(), proof);
            scene = _batch(Random(1), BATCH, 3);
            scene.node.attributes = new uint32[](count);
            proof = _proof(scene, 0, false);
            vm.expectRevert(abi.encodeWithSelector(wrong, count, 1));
            adjudicator.refutes(scene.leaf(), proof);
        }
    }

    function test_refutes_recordsWithoutRowsRevert() external {
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 0, true);
        scene.node.reduction = 0;
        vm.expectRevert(abi.encodeWithSelector(RowProof.NotARow.selector, 1, 0));
        adjudicator.refutes(scene.leaf(), proof);
        scene = _small();
        scene.node.operands[0].laneStride = 2;
        vm.expectRevert(abi.encodeWithSelector(RowProof.WrongLaneStride.selector, 0, 2, 1));
        adjudicator.refutes(scene.leaf(), proof);
        scene = _small();
        scene.node.operands[2].laneStride = 1;
        vm.expectRevert(abi.encodeWithSelector(RowProof.WrongLaneStride.selector, 2, 1, 0));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_numbersThatAreNotFiniteRevert() external {
        Scene memory scene = _small();
        scene.operands[0].set(3, 0x7f800000);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 0, true);
        vm.expectRevert(abi.encodeWithSelector(Moments.NonFiniteLane.selector));
        adjudicator.refutes(leaf, proof);
    }

    // ---- malformed proofs ----

    function test_refutes_missingOpeningsRevert() external {
        Scene memory scene = _small();
        IAdjudicator.Leaf memory leaf = scene.leaf();
        RowProof.Proof memory proof = _rowParts(scene, 0);
        proof.operands = new OperandProof.OperandOpening[](2);
        vm.expectRevert(abi.encodeWithSelector(RowProof.WrongOpeningCount.selector, 2, 3));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_otherEncodingsRevert() external {
        IAdjudicator.Leaf memory leaf = _small().leaf();
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, "");
        leaf = _batch(Random(1), BATCH, 5).leaf();
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, bytes.concat(bytes32(uint256(0x40)), new bytes(512)));
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _small();
        bytes memory proof = _proof(scene, 1, true);
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof));
        (bool done, bytes memory output) = address(adjudicator).staticcall(input);
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    // ---- gas of a whole transaction ----

    function test_gas_layerNormOf768Within310k() external view {
        _requireGas(_rows(Random(1), LAYER, 3, 2, 768), true, 310_000);
    }

    function test_gas_batchNormWithin155k() external view {
        _requireGas(_batch(Random(1), BATCH, 5), false, 155_000);
    }

    function _requireGas(Scene memory scene, bool row, uint256 limit) private view {
        for (uint256 i; row && i < scene.operands[0].data.length / 4; ++i) {
            // Full significands, as in practice; calldata of zeros is cheap.
            scene.operands[0].set(i, uint256(keccak256(abi.encode(i))) & 0x807fffff | 0x3f000000);
        }
        scene.output.set(1, Floats.ofInteger(1_000_000));
        bytes memory input = abi.encodeCall(adjudicator.refutes, (scene.leaf(), _proof(scene, 1, row)));
        uint256 execution = meter.measure(address(adjudicator), input);
        uint256 tokens;
        for (uint256 i; i < input.length; ++i) {
            tokens += input[i] == 0 ? 1 : 4;
        }
        uint256 used = 4 * tokens + execution;
        uint256 floor = 10 * tokens;
        used = 21_000 + (used > floor ? used : floor);
        if (used > limit) revert TooMuchGas(used, limit);
    }

    // ---- scenes ----

    function _checkOneElement(Random memory random, Scene memory scene, bool row) private view {
        _checkElement(scene, random.below(scene.output.data.length / 4), row);
    }

    function _checkElement(Scene memory scene, uint256 element, bool row) private view {
        require(!adjudicator.refutes(scene.leaf(), _proof(scene, element, row)), "an exact element is refuted");
        int256 exact = Floats.toInteger(scene.output.get(element));
        for (int256 error = -1; error < 2; error += 2) {
            scene.output.set(element, Floats.ofInteger(exact + error));
            require(adjudicator.refutes(scene.leaf(), _proof(scene, element, row)), "a wrong one is not refuted");
        }
    }

    /// @dev Two rows of ten numbers with weights and biases.
    function _small() private pure returns (Scene memory) {
        return _rows(Random(1), LAYER, 3, 2, 10);
    }

    function _rows(Random memory random, bytes4 op, uint256 operands, uint256 rows, uint256 n)
        private
        pure
        returns (Scene memory scene)
    {
        scene = Scenes.create(op, operands);
        scene.node.reduction = n;
        scene.node.attributes = new uint32[](1);
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(rows, n)));
        Tensor memory x = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(rows, n));
        for (uint256 i; i < rows * n; i += 2) {
            bool up = random.below(2) == 0;
            x.set(i, Floats.ofInteger(up ? int256(1) : -1));
            x.set(i + 1, Floats.ofInteger(up ? -1 : int256(1)));
        }
        scene.setOperand(0, x, false, Scenes.strides(n, 1), 1, 0);
        for (uint256 i = 1; i < operands; ++i) {
            scene.setOperand(i, _integers(random, n), true, Scenes.strides(0, 1), 0, 0);
        }
        for (uint256 i; i < rows * n; ++i) {
            int256 y = Floats.toInteger(x.get(i));
            if (operands > 1) y *= Floats.toInteger(scene.operands[1].get(i % n));
            if (operands > 2) y += Floats.toInteger(scene.operands[2].get(i % n));
            scene.output.set(i, Floats.ofInteger(y));
        }
    }

    /// @dev [2, 3, 4] with three channels; a variance of 3 and eps of 1 halve, so x - mean are even numbers.
    function _batch(Random memory random, bytes4 op, uint256 operands) private pure returns (Scene memory scene) {
        scene = Scenes.create(op, operands);
        scene.node.attributes = new uint32[](1);
        scene.node.attributes[0] = Floats.ofInteger(1);
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, Scenes.strides(2, 3, 4)));
        Tensor memory x = Tensors.zeros(DType.FLOAT32, 4, Scenes.strides(2, 3, 4));
        scene.setOperand(0, x, false, Scenes.strides(12, 4, 1), 0, 0);
        for (uint256 i = 1; i < operands; ++i) {
            scene.setOperand(i, _integers(random, 3), i < 3, Scenes.strides(0, 1, 0), 0, 0);
            // The live values of a scene are four.
            if (i > 2) scene.node.operands[i].index = uint16(i - 1);
        }
        Tensor memory mean = scene.operands[operands - 2];
        for (uint256 i; i < 3; ++i) {
            scene.operands[operands - 1].set(i, Floats.ofInteger(3));
        }
        for (uint256 i; i < 24; ++i) {
            uint256 channel = (i / 4) % 3;
            int256 y = int256(random.below(9)) - 4;
            x.set(i, Floats.ofInteger(Floats.toInteger(mean.get(channel)) + 2 * y));
            if (operands == 5) {
                y *= Floats.toInteger(scene.operands[1].get(channel));
                y += Floats.toInteger(scene.operands[2].get(channel));
            }
            scene.output.set(i, Floats.ofInteger(y));
        }
    }

    function _integers(Random memory random, uint256 count) private pure returns (Tensor memory tensor) {
        uint32[] memory shape = new uint32[](1);
        shape[0] = uint32(count);
        tensor = Tensors.zeros(DType.FLOAT32, 4, shape);
        for (uint256 i; i < count; ++i) {
            tensor.set(i, Floats.ofInteger(int256(random.below(17)) - 8));
        }
    }

    function _proof(Scene memory scene, uint256 element, bool row) private pure returns (bytes memory) {
        if (row) return abi.encode(_rowParts(scene, element));
        ElementProof.Proof memory proof;
        proof.element = element;
        proof.operands = new OperandProof.OperandOpening[](scene.operands.length);
        for (uint256 i; i < scene.operands.length; ++i) {
            proof.operands[i] = scene.openOperand(i, element, 0, 1);
        }
        proof.output = scene.openOutput(element);
        return abi.encode(proof);
    }

    function _rowParts(Scene memory scene, uint256 element) private pure returns (RowProof.Proof memory proof) {
        uint256 n = scene.node.reduction;
        proof.element = element;
        proof.hint = WINDOW;
        proof.operands = new OperandProof.OperandOpening[](scene.operands.length);
        proof.operands[0] = scene.openOperand(0, element - element % n, 0, n);
        for (uint256 i = 1; i < scene.operands.length; ++i) {
            proof.operands[i] = scene.openOperand(i, element, 0, 1);
        }
        proof.output = scene.openOutput(element);
    }
}
