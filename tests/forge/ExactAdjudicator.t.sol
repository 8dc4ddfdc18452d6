// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ExactAdjudicator } from "../../contracts/adjudicators/ExactAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";

/// forge-config: default.fuzz.runs = 64
contract ExactAdjudicatorTest {
    using Tensors for Tensor;

    bytes4 private constant COPY = bytes4(keccak256("copy"));
    bytes4 private constant RELU = bytes4(keccak256("aten.relu.default"));
    bytes4 private constant NEG = bytes4(keccak256("aten.neg.default"));
    bytes4 private constant EMBEDDING = bytes4(keccak256("aten.embedding.default"));
    uint256 private constant ROWS = 3;
    uint256 private constant COLUMNS = 5;

    ExactAdjudicator private adjudicator = new ExactAdjudicator();

    function test_operators_areTheExactOnes() external view {
        Operator[] memory list = adjudicator.operators();
        bytes4[4] memory expected = [COPY, RELU, NEG, EMBEDDING];
        require(list.length == 4, "count");
        for (uint256 i; i < 4; ++i) {
            require(Operator.unwrap(list[i]) == expected[i], "operator");
        }
    }

    // ---- copies ----

    function testFuzz_copy_comparesBitsOfEveryType(uint256 seed) external view {
        // A transposition: output (i, j) reads element (j, i).
        Random memory random = Random(seed);
        uint8 dtype = uint8(random.below(10));
        Scene memory scene = Scenes.create(COPY, 1);
        Tensor memory input = Tensors.zeros(dtype, DType.size(dtype), Tensors.shape(COLUMNS, ROWS));
        scene.setOutput(Tensors.zeros(dtype, DType.size(dtype), Tensors.shape(ROWS, COLUMNS)));
        for (uint256 i; i < ROWS * COLUMNS; ++i) {
            uint256 bits = 1 + random.below(100); // small: no NaN, no zero
            input.set(i, bits);
            scene.output.set((i % ROWS) * COLUMNS + i / ROWS, bits);
        }
        scene.setOperand(0, input, random.below(2) == 0, Scenes.strides(1, ROWS), 0, 0);
        uint256 element = random.below(ROWS * COLUMNS);
        require(!_refutes(scene, element), "an exact copy is refuted");
        uint256 other =
            scene.output.get(element) ^ (1 << random.below(DType.isFloat(dtype) ? 7 : 8 * DType.size(dtype)));
        scene.output.set(element, other);
        require(_refutes(scene, element), "a wrong copy is not refuted");
    }

    function test_copy_treatsZerosAlikeInFloatsOnly() external view {
        require(!_decides(COPY, DType.FLOAT32, 0x80000000, 0), "float32");
        require(!_decides(COPY, DType.FLOAT64, 0, 1 << 63), "float64");
        require(!_decides(COPY, DType.FLOAT16, 0, 0x8000), "float16");
        require(!_decides(COPY, DType.BFLOAT16, 0x8000, 0), "bfloat16");
        require(_decides(COPY, DType.INT32, 0x80000000, 0), "int32");
        require(_decides(COPY, DType.INT64, 0, 1 << 63), "int64");
        require(_decides(COPY, DType.INT16, 0, 0x8000), "int16");
        require(_decides(COPY, DType.INT8, 0, 0x80), "int8");
    }

    function test_copy_treatsNaNsAlikeInFloatsOnly() external view {
        require(!_decides(COPY, DType.FLOAT32, 0x7fc00000, 0xff800001), "float32");
        require(!_decides(COPY, DType.FLOAT64, 0x7ff8 << 48, 0xfff0000000000001), "float64");
        require(!_decides(COPY, DType.FLOAT16, 0x7e00, 0xfc01), "float16");
        require(!_decides(COPY, DType.BFLOAT16, 0x7fc0, 0xff81), "bfloat16");
        require(_decides(COPY, DType.FLOAT32, 0x7fc00000, 0x7f800000), "infinity is no NaN");
        require(_decides(COPY, DType.BFLOAT16, 0x7f80, 0xff80), "infinities differ");
        require(_decides(COPY, DType.INT32, 0x7fc00000, 0x7fc00001), "int32");
    }

    // ---- relu and neg ----

    function test_relu_ofEveryKindOfNumber() external view {
        require(!_decides(RELU, DType.FLOAT32, 0x3f800000, 0x3f800000), "1");
        require(!_decides(RELU, DType.FLOAT32, 0xbf800000, 0), "-1");
        require(!_decides(RELU, DType.FLOAT32, 0xbf800000, 0x80000000), "-1 to -0");
        require(!_decides(RELU, DType.FLOAT32, 0x80000001, 0), "the largest negative number");
        require(!_decides(RELU, DType.FLOAT32, 0xff800000, 0), "minus infinity");
        require(!_decides(RELU, DType.FLOAT32, 0x7f800000, 0x7f800000), "infinity");
        require(!_decides(RELU, DType.FLOAT32, 0xffc00000, 0x7fc00000), "NaN");
        require(_decides(RELU, DType.FLOAT32, 0xffc00000, 0), "a NaN of negative sign is not negative");
        require(_decides(RELU, DType.FLOAT32, 0xbf800000, 0xbf800000), "-1 kept");
        require(_decides(RELU, DType.FLOAT32, 0x3f800000, 0), "1 dropped");
        require(_decides(RELU, DType.FLOAT32, 0x3f800000, 0x3f800001), "one bit off");
        require(!_decides(RELU, DType.FLOAT16, 0xbc00, 0) && _decides(RELU, DType.FLOAT16, 0x3c00, 0), "float16");
        require(!_decides(RELU, DType.BFLOAT16, 0xbf80, 0) && _decides(RELU, DType.BFLOAT16, 0x3f80, 0), "bfloat16");
        require(
            !_decides(RELU, DType.FLOAT64, 0xbff << 52, 0) && _decides(RELU, DType.FLOAT64, 0x3ff << 52, 0), "float64"
        );
    }

    function test_neg_flipsTheSign() external view {
        require(!_decides(NEG, DType.FLOAT32, 0x3f800000, 0xbf800000), "1");
        require(!_decides(NEG, DType.FLOAT32, 0, 0), "zero");
        require(!_decides(NEG, DType.FLOAT32, 0x7fc00000, 0x7fc00000), "NaN");
        require(!_decides(NEG, DType.FLOAT64, 0x3ff << 52, 0xbff << 52), "float64");
        require(_decides(NEG, DType.FLOAT32, 0x3f800000, 0x3f800000), "kept");
        require(_decides(NEG, DType.FLOAT32, 0x7f800000, 0x7f800000), "infinity kept");
    }

    function test_reluAndNeg_ofIntegersRevert() external {
        bytes4[2] memory ops = [RELU, NEG];
        for (uint256 i; i < 2; ++i) {
            Scene memory scene = _single(ops[i], DType.INT32, 1, 1);
            IAdjudicator.Leaf memory leaf = scene.leaf();
            bytes memory proof = _proof(scene, 0, 0);
            vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.UnsupportedType.selector, DType.INT32));
            adjudicator.refutes(leaf, proof);
        }
    }

    // ---- embeddings ----

    function testFuzz_embedding_looksUpTheRow(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _embedding(random, random.below(2) == 0 ? DType.INT32 : DType.INT64);
        uint256 element = random.below(scene.output.data.length / 4);
        require(!_refutes(scene, element), "an exact lookup is refuted");
        scene.output.set(element, scene.output.get(element) ^ (1 << random.below(23)));
        require(_refutes(scene, element), "a wrong lookup is not refuted");
    }

    function test_embedding_indexOutsideTheTableRefutesNothing() external view {
        uint256[4] memory indices = [uint256(7), 0x7fffffff, 0xffffffff, 0x80000000];
        for (uint256 i; i < indices.length; ++i) {
            Scene memory scene = _embedding(Random(1), DType.INT32); // seven rows
            scene.operands[1].set(2, indices[i]);
            scene.output.set(2 * COLUMNS, 0x12345678);
            ExactAdjudicator.Proof memory proof = _parts(scene, 2 * COLUMNS, 6);
            require(!adjudicator.refutes(scene.leaf(), abi.encode(proof)), "refuted");
        }
        Scene memory wide = _embedding(Random(1), DType.INT64);
        wide.operands[1].set(2, type(uint64).max);
        require(!adjudicator.refutes(wide.leaf(), abi.encode(_parts(wide, 2 * COLUMNS, 6))), "minus one");
    }

    function test_embedding_anotherRowReverts() external {
        Scene memory scene = _embedding(Random(1), DType.INT64);
        scene.operands[1].set(2, 3);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 2 * COLUMNS, 4);
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, proof);
    }

    function test_embedding_otherTablesAndIndicesRevert() external {
        Scene memory scene = _embedding(Random(1), DType.INT64);
        bytes memory proof = _proof(scene, 0, 0);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        scene.node.operands[0].offset = 1;
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.UnsupportedTable.selector));
        adjudicator.refutes(leaf, proof);
        scene.node.operands[0].offset = 0;
        scene.node.operands[0].laneStride = 1;
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.UnsupportedTable.selector));
        adjudicator.refutes(leaf, proof);
        scene.node.operands[0].laneStride = uint32(COLUMNS);
        scene.node.operands[1].tensorType.dtype = DType.UINT8;
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.UnsupportedType.selector, DType.UINT8));
        adjudicator.refutes(leaf, proof);
    }

    // ---- what is out of scope, and malformed proofs ----

    function test_refutes_otherOperatorsRevert() external {
        Scene memory scene = _single(0x12345678, DType.FLOAT32, 0, 0);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.UnsupportedOperator.selector, bytes4(0x12345678)));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_anotherOutputTypeReverts() external {
        Scene memory scene = _single(COPY, DType.FLOAT32, 0, 0);
        scene.node.outputs[0].dtype = DType.INT32;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.TypeMismatch.selector, DType.INT32, DType.FLOAT32));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_wrongCountsRevert() external {
        Scene memory scene = _single(EMBEDDING, DType.FLOAT32, 0, 0);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = _proof(scene, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.WrongOperandCount.selector, 1, 2));
        adjudicator.refutes(leaf, proof);
        scene = _single(COPY, DType.FLOAT32, 0, 0);
        leaf.record = scene.leaf().record;
        ExactAdjudicator.Proof memory parts = _parts(scene, 0, 0);
        parts.operands = new OperandProof.OperandOpening[](2);
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.WrongOpeningCount.selector, 2, 1));
        adjudicator.refutes(leaf, abi.encode(parts));
    }

    function test_refutes_lanesOfPointwiseOperatorsRevert() external {
        Scene memory scene = _single(COPY, DType.FLOAT32, 0, 0);
        bytes memory proof = _proof(scene, 0, 0);
        scene.node.operands[0].laneStride = 1;
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.WrongLaneStride.selector, 0, 1, 0));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_operandsWithoutMapsRevert() external {
        Scene memory scene = _single(COPY, DType.FLOAT32, 0, 0);
        bytes memory proof = _proof(scene, 0, 0);
        scene.node.operands[0].hasMap = false;
        vm.expectRevert(abi.encodeWithSelector(OperandProof.NoIndexMap.selector));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_elementOutOfRangeReverts() external {
        Scene memory scene = _single(COPY, DType.FLOAT32, 0, 0);
        ExactAdjudicator.Proof memory proof = _parts(scene, 0, 0);
        proof.element = ROWS * COLUMNS;
        vm.expectRevert(abi.encodeWithSelector(OperandProof.ElementOutOfRange.selector, proof.element, proof.element));
        adjudicator.refutes(scene.leaf(), abi.encode(proof));
    }

    function test_refutes_mapBeyondTheTensorReverts() external {
        Scene memory scene = _single(COPY, DType.FLOAT32, 0, 0);
        bytes memory proof = _proof(scene, 0, 0);
        scene.node.operands[0].offset = uint32(ROWS * COLUMNS);
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, ROWS * COLUMNS, 1));
        adjudicator.refutes(scene.leaf(), proof);
    }

    function test_refutes_otherEncodingsRevert() external {
        IAdjudicator.Leaf memory leaf = _single(COPY, DType.FLOAT32, 0, 0).leaf();
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.MalformedProof.selector));
        adjudicator.refutes(leaf, "");
        vm.expectRevert(abi.encodeWithSelector(ExactAdjudicator.MalformedProof.selector));
        adjudicator.refutes(leaf, new bytes(512));
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _embedding(random, DType.INT64);
        uint256 element = random.below(scene.output.data.length / 4);
        bytes memory proof = _proof(scene, element, scene.operands[1].get(element / COLUMNS));
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        (bool done, bytes memory output) =
            address(adjudicator).staticcall(abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof)));
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    // ---- scenes ----

    /// @dev Whether output bits `y` of the operator on input bits `x` are refuted.
    function _decides(bytes4 op, uint8 dtype, uint256 x, uint256 y) private view returns (bool) {
        return _refutes(_single(op, dtype, x, y), 0);
    }

    /// @dev A pointwise operator whose element 0 reads `x` and claims `y`.
    function _single(bytes4 op, uint8 dtype, uint256 x, uint256 y) private pure returns (Scene memory scene) {
        scene = Scenes.create(op, 1);
        Tensor memory input = Tensors.zeros(dtype, DType.size(dtype), Tensors.shape(ROWS, COLUMNS));
        scene.setOutput(Tensors.zeros(dtype, DType.size(dtype), Tensors.shape(ROWS, COLUMNS)));
        input.set(0, x);
        scene.output.set(0, y);
        scene.setOperand(0, input, false, Scenes.strides(COLUMNS, 1), 0, 0);
    }

    /// @dev Four lookups in a table of seven rows.
    function _embedding(Random memory random, uint8 indexType) private pure returns (Scene memory scene) {
        scene = Scenes.create(EMBEDDING, 2);
        Tensor memory table = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(7, COLUMNS));
        for (uint256 i; i < 7 * COLUMNS; ++i) {
            table.set(i, (127 << 23) | random.below(1 << 23));
        }
        uint32[] memory shape = new uint32[](1);
        shape[0] = 4;
        Tensor memory indices = Tensors.zeros(indexType, DType.size(indexType), shape);
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(4, COLUMNS)));
        for (uint256 i; i < 4; ++i) {
            uint256 row = random.below(7);
            indices.set(i, row);
            for (uint256 j; j < COLUMNS; ++j) {
                scene.output.set(i * COLUMNS + j, table.get(row * COLUMNS + j));
            }
        }
        scene.setOperand(0, table, true, Scenes.strides(0, 1), COLUMNS, 0);
        scene.setOperand(1, indices, false, Scenes.strides(1, 0), 0, 0);
    }

    function _refutes(Scene memory scene, uint256 element) private view returns (bool) {
        uint256 lane = scene.operands.length == 2 ? scene.operands[1].get(element / COLUMNS) : 0;
        return adjudicator.refutes(scene.leaf(), _proof(scene, element, lane));
    }

    function _proof(Scene memory scene, uint256 element, uint256 lane) private pure returns (bytes memory) {
        return abi.encode(_parts(scene, element, lane));
    }

    function _parts(Scene memory scene, uint256 element, uint256 lane)
        private
        pure
        returns (ExactAdjudicator.Proof memory proof)
    {
        proof.element = element;
        proof.operands = new OperandProof.OperandOpening[](scene.operands.length);
        for (uint256 i; i < scene.operands.length; ++i) {
            proof.operands[i] = scene.openOperand(i, element, i == 0 ? lane : 0, 1);
        }
        proof.output = scene.openOutput(element);
    }
}
