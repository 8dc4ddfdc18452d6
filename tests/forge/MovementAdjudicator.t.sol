// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { MovementAdjudicator } from "../../contracts/adjudicators/MovementAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { ElementProof } from "../../contracts/libraries/ElementProof.sol";
import { Movement } from "../../contracts/libraries/Movement.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Trees } from "./support/Trees.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// forge-config: default.fuzz.runs = 64
contract MovementAdjudicatorTest {
    using Tensors for Tensor;

    bytes4 private constant COPY = bytes4(keccak256("copy"));
    bytes4 private constant CAT = bytes4(keccak256("aten.cat.default"));
    bytes4 private constant PAD = bytes4(keccak256("aten.pad.default"));
    bytes4 private constant UPSAMPLE = bytes4(keccak256("aten.upsample_nearest2d.vec"));
    bytes4 private constant EMBEDDING = bytes4(keccak256("aten.embedding.default"));
    bytes4 private constant GATHER = bytes4(keccak256("aten.gather.default"));
    bytes4 private constant INDEX = bytes4(keccak256("aten.index.Tensor"));
    uint256 private constant ROWS = 3;
    uint256 private constant COLUMNS = 5;
    uint256 private constant TABLE_ROWS = 7;
    /// @dev Of an operand that is not read.
    uint256 private constant UNREAD = type(uint256).max;

    MovementAdjudicator private adjudicator = MovementAdjudicator(deploy("MovementAdjudicator", ""));

    function test_operators_areTenAndDistinct() external view {
        Operator[] memory list = adjudicator.operators();
        require(list.length == 10, "count");
        for (uint256 i; i < list.length; ++i) {
            for (uint256 j; j < i; ++j) {
                require(Operator.unwrap(list[i]) != Operator.unwrap(list[j]), "twice");
            }
        }
    }

    // ---- copies ----

    function testFuzz_copy_comparesBitsOfEveryType(uint256 seed) external view {
        // A transposition: output (i, j) reads element (j, i).
        Random memory random = Random(seed);
        uint8 dtype = uint8(random.below(10));
        Scene memory scene = Scenes.create(COPY, 1);
        Tensor memory input = _zeros(dtype, COLUMNS, ROWS);
        scene.setOutput(_zeros(dtype, ROWS, COLUMNS));
        for (uint256 i; i < ROWS * COLUMNS; ++i) {
            uint256 bits = dtype == DType.BOOL ? random.below(2) : 1 + random.below(100); // no NaN, no zero
            input.set(i, bits);
            scene.output.set((i % ROWS) * COLUMNS + i / ROWS, bits);
        }
        scene.setOperand(0, input, random.below(2) == 0, Scenes.strides(1, ROWS), 0, 0);
        uint256 element = random.below(ROWS * COLUMNS);
        uint256 source = scene.source(0, element, 0);
        require(!_refutes(scene, element, source), "an exact copy is refuted");
        uint256 flipped = 1 << random.below(DType.isFloat(dtype) ? 7 : 8 * DType.size(dtype));
        scene.output.set(element, scene.output.get(element) ^ flipped);
        require(_refutes(scene, element, source), "a wrong copy is not refuted");
    }

    function test_copy_treatsZerosAlikeInFloatsOnly() external view {
        require(!_copies(DType.FLOAT32, 0x80000000, 0), "float32");
        require(!_copies(DType.FLOAT64, 0, 1 << 63), "float64");
        require(!_copies(DType.FLOAT16, 0, 0x8000), "float16");
        require(!_copies(DType.BFLOAT16, 0x8000, 0), "bfloat16");
        require(_copies(DType.INT32, 0x80000000, 0), "int32");
        require(_copies(DType.INT64, 0, 1 << 63), "int64");
        require(_copies(DType.INT16, 0, 0x8000), "int16");
        require(_copies(DType.INT8, 0, 0x80), "int8");
    }

    function test_copy_treatsNaNsAlikeInFloatsOnly() external view {
        require(!_copies(DType.FLOAT32, 0x7fc00000, 0xff800001), "float32");
        require(!_copies(DType.FLOAT64, 0x7ff8 << 48, 0xfff0000000000001), "float64");
        require(!_copies(DType.FLOAT16, 0x7e00, 0xfc01), "float16");
        require(!_copies(DType.BFLOAT16, 0x7fc0, 0xff81), "bfloat16");
        require(_copies(DType.FLOAT32, 0x7fc00000, 0x7f800000), "infinity is no NaN");
        require(_copies(DType.FLOAT32, 0x7f800000, 0x7fc00000), "NaN is no infinity");
        require(_copies(DType.BFLOAT16, 0x7f80, 0xff80), "infinities differ");
        require(_copies(DType.INT32, 0x7fc00000, 0x7fc00001), "int32");
    }

    function test_copy_keepsSubnormalsAndRefutesNothingOfABoolThatIsNone() external view {
        require(_copies(DType.FLOAT32, 1, 0), "a subnormal flushed");
        require(!_copies(DType.BOOL, 2, 1), "an operand that is no bool");
        require(_copies(DType.BOOL, 1, 2), "an output that is no bool");
    }

    // ---- concatenation ----

    function testFuzz_cat_takesTheLastOperandThatStartsBefore(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _cat();
        uint256 element = random.below(2 * 6);
        (uint256 row, uint256 column) = (element / 6, element % 6);
        // Columns 0 and 1 are the first operand's, 2 the second's, 3 to 5 the third's.
        (uint256 operand, uint256 start, uint256 width) = column < 2 ? (0, 0, 2) : column < 3 ? (1, 2, 1) : (2, 3, 3);
        uint256 source = row * width + column - start;
        scene.output.set(element, scene.operands[operand].get(source));
        uint256[] memory sources = _unread(3);
        sources[operand] = source;
        require(!_refutes(scene, element, sources), "the operand's element is refuted");
        scene.output.set(element, scene.output.get(element) + 1);
        require(_refutes(scene, element, sources), "another is not refuted");
    }

    function test_cat_anotherOperandReverts() external {
        Scene memory scene = _cat();
        uint256[] memory sources = _unread(3);
        sources[0] = 1;
        _expect(scene, 2, sources, TensorProof.WrongPathLength.selector);
    }

    function test_cat_malformedRecordsRevert() external {
        Scene memory scene = _cat();
        scene.node.attributes[0] = 2;
        _expect(scene, 0, _unread(3), Movement.AxisOutOfRange.selector);
        scene.node.attributes = _words(1, 2);
        _expect(scene, 0, _unread(3), Movement.WrongAttributeCount.selector);
        scene = Scenes.create(CAT, 0);
        scene.setOutput(_zeros(DType.INT32, 2, 6));
        _expect(scene, 0, _unread(0), MovementAdjudicator.WrongOperandCount.selector);
    }

    // ---- padding and upsampling ----

    function test_pad_isTheNumberAroundAndTheOperandInside() external view {
        // A row of two elements with one before and two after, and one row above it.
        Scene memory scene = _pad();
        for (uint256 element; element < 10; ++element) {
            uint256 column = element % 5;
            bool inside = element >= 5 && column >= 1 && column < 3;
            uint256 source = inside ? column - 1 : UNREAD;
            uint256 expected = inside ? scene.operands[0].get(source) : 0xbf800000;
            scene.output.set(element, expected);
            require(!_refutes(scene, element, source), "the element is refuted");
            scene.output.set(element, expected + 1);
            require(_refutes(scene, element, source), "another is not refuted");
        }
    }

    function test_pad_withASubnormalNumberMayHaveZero() external view {
        Scene memory scene = _pad();
        scene.node.attributes[0] = 5;
        require(!_refutes(scene, 0, UNREAD), "zero");
        scene.output.set(0, 5);
        require(!_refutes(scene, 0, UNREAD), "the number");
        scene.output.set(0, 6);
        require(_refutes(scene, 0, UNREAD), "another");
    }

    function test_pad_malformedRecordsRevert() external {
        Scene memory scene = _pad();
        scene.node.attributes = _words(0, 0);
        _expect(scene, 0, _unread(1), Movement.WrongAttributeCount.selector);
        scene = _single(PAD, DType.FLOAT64, 0, 0);
        _expect(scene, 0, _unread(1), MovementAdjudicator.TypeMismatch.selector);
    }

    function testFuzz_upsample_takesTheNearest(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _upsample(3, 32);
        uint256 element = random.below(2 * 3 * 4 * 32);
        uint256 source = (element / 128 / 3) * 4 + (element % 128) / 32;
        scene.output.set(element, 10 + source);
        require(!_refutes(scene, element, source), "the nearest element is refuted");
        scene.output.set(element, 11 + source);
        require(_refutes(scene, element, source), "another is not refuted");
    }

    function test_upsample_factorsThatKernelsRoundRevert() external {
        Scene memory scene = _upsample(3, 32);
        scene.node.attributes = _words(3, 33);
        _expect(scene, 0, _unread(1), Movement.UnsupportedScale.selector);
        scene.node.attributes = _words(0, 1);
        _expect(scene, 0, _unread(1), Movement.UnsupportedScale.selector);
    }

    function test_upsample_extentsThatKernelsRoundRevert() external {
        NodeRecord.Node memory node = _upsample(1, 2).node;
        node.outputs[0].shape[1] = 1 << 20;
        require(this.upsampled(node, 7) == 4, "the largest extent");
        node.outputs[0].shape[1] += 1;
        vm.expectRevert(abi.encodeWithSelector(Movement.UnsupportedScale.selector, 1, 2, (1 << 20) + 1));
        this.upsampled(node, 7);
        node.attributes[1] = 1;
        require(this.upsampled(node, 7) == 0, "not scaled");
    }

    function upsampled(NodeRecord.Node memory node, uint256 element) external pure returns (uint256) {
        return Movement.upsampled(node, element);
    }

    // ---- lookups ----

    function testFuzz_embedding_looksUpTheRow(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _lookup(EMBEDDING, random.below(2) == 0 ? DType.INT32 : DType.INT64);
        uint256 element = random.below(4 * COLUMNS);
        uint256 row = random.below(TABLE_ROWS);
        scene.operands[1].set(element / COLUMNS, row);
        uint256[] memory sources = _sources(scene, element, row);
        scene.output.set(element, scene.operands[0].get(sources[0]));
        require(!_refutes(scene, element, sources), "an exact lookup is refuted");
        scene.output.set(element, scene.output.get(element) ^ (1 << random.below(23)));
        require(_refutes(scene, element, sources), "a wrong lookup is not refuted");
    }

    function test_lookup_indexOutsideTheTableRefutesNothing() external view {
        bytes4[3] memory ops = [EMBEDDING, GATHER, INDEX];
        uint256[4] memory indices = [TABLE_ROWS, 0x7fffffff, 0xffffffff - TABLE_ROWS, 0x80000000];
        for (uint256 i; i < ops.length * indices.length; ++i) {
            require(!_looksUp(ops[i / 4], DType.INT32, indices[i % 4], UNREAD), "refuted");
        }
        require(!_looksUp(EMBEDDING, DType.INT64, type(uint64).max, UNREAD), "minus one, embedding");
        require(!_looksUp(GATHER, DType.INT64, type(uint64).max, UNREAD), "minus one, gather");
    }

    function test_index_negativeIndicesCountFromTheEnd() external view {
        uint256 last = (TABLE_ROWS - 1) * COLUMNS;
        require(_looksUp(INDEX, DType.INT64, type(uint64).max, last), "int64");
        require(_looksUp(INDEX, DType.INT32, 0xffffffff, last), "int32");
        require(_looksUp(INDEX, DType.INT32, 0x100000000 - TABLE_ROWS, 0), "the first");
    }

    function test_embedding_anotherRowReverts() external {
        Scene memory scene = _lookup(EMBEDDING, DType.INT64);
        scene.operands[1].set(2, 3);
        _expect(scene, 2 * COLUMNS, _sources(scene, 2 * COLUMNS, 4), OperandProof.OperandMismatch.selector);
    }

    function test_lookup_malformedRecordsRevert() external {
        Scene memory scene = _lookup(EMBEDDING, DType.UINT8);
        _expect(scene, 0, _sources(scene, 0, 0), Movement.UnsupportedIndexType.selector);
        scene = _lookup(EMBEDDING, DType.INT64);
        scene.node.attributes = new uint32[](1);
        _expect(scene, 0, _sources(scene, 0, 0), Movement.WrongAttributeCount.selector);
        scene = _single(EMBEDDING, DType.FLOAT32, 0, 0);
        _expect(scene, 0, _unread(1), MovementAdjudicator.WrongOperandCount.selector);
        scene = _lookup(EMBEDDING, DType.INT64);
        scene.node.operands[0].laneStride = uint32(COLUMNS);
        _expect(scene, 0, _sources(scene, 0, 0), ElementProof.WrongLaneStride.selector);
    }

    // ---- what is out of scope, and malformed proofs ----

    function test_refutes_whatIsNotMovementReverts() external {
        _expect(
            _single(0x12345678, DType.FLOAT32, 0, 0), 0, _unread(1), MovementAdjudicator.UnsupportedOperator.selector
        );
        Scene memory scene = _single(COPY, DType.FLOAT32, 0, 0);
        scene.setOutput(_zeros(DType.INT32, ROWS, COLUMNS));
        _expect(scene, 0, _unread(1), MovementAdjudicator.TypeMismatch.selector);
        scene = _single(COPY, DType.FLOAT32, 0, 0);
        scene.node.attributes = new uint32[](1);
        _expect(scene, 0, _unread(1), Movement.WrongAttributeCount.selector);
        scene = Scenes.create(COPY, 2);
        scene.setOutput(_zeros(DType.INT32, 1, 1));
        scene.setOperand(0, _zeros(DType.INT32, 1, 1), false, Scenes.strides(1, 1), 0, 0);
        scene.setOperand(1, _zeros(DType.INT32, 1, 1), false, Scenes.strides(1, 1), 0, 0);
        _expect(scene, 0, _unread(2), MovementAdjudicator.WrongOperandCount.selector);
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _lookup(EMBEDDING, DType.INT64);
        scene.operands[1].set(1, 3);
        uint256[] memory sources = _sources(scene, COLUMNS + 2, 3);
        scene.output.set(COLUMNS + 2, scene.operands[0].get(sources[0]));
        bytes memory proof = abi.encode(_parts(scene, COLUMNS + 2, sources));
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            // Behind the number of the element, as others are not honest here.
            proof[64 + random.below(proof.length - 64)] = bytes1(uint8(random.next()));
        }
        (bool done, bytes memory output) =
            address(adjudicator).staticcall(abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof)));
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    // ---- scenes ----

    /// @dev Whether element 0 of a copy with bits `y` of one with bits `x` is refuted.
    function _copies(uint8 dtype, uint256 x, uint256 y) private view returns (bool) {
        return _refutes(_single(COPY, dtype, x, y), 0, 0);
    }

    function _single(bytes4 op, uint8 dtype, uint256 x, uint256 y) private pure returns (Scene memory scene) {
        scene = Scenes.create(op, 1);
        Tensor memory input = _zeros(dtype, ROWS, COLUMNS);
        scene.setOutput(_zeros(dtype, ROWS, COLUMNS));
        input.set(0, x);
        scene.output.set(0, y);
        scene.setOperand(0, input, false, Scenes.strides(COLUMNS, 1), 0, 0);
    }

    /// @dev Two rows of two, one and three columns side by side.
    function _cat() private pure returns (Scene memory scene) {
        scene = Scenes.create(CAT, 3);
        scene.setOutput(_zeros(DType.INT32, 2, 6));
        uint256[3] memory widths = [uint256(2), 1, 3];
        for (uint256 i; i < 3; ++i) {
            Tensor memory tensor = _zeros(DType.INT32, 2, widths[i]);
            for (uint256 j; j < 2 * widths[i]; ++j) {
                tensor.set(j, 100 * i + j);
            }
            scene.setOperand(i, tensor, i == 1, Scenes.strides(widths[i], 1), 0, 0);
        }
        scene.node.attributes = new uint32[](3);
        (scene.node.attributes[0], scene.node.attributes[1], scene.node.attributes[2]) = (1, 2, 3);
    }

    function _pad() private pure returns (Scene memory scene) {
        scene = Scenes.create(PAD, 1);
        scene.setOutput(_zeros(DType.FLOAT32, 2, 5));
        Tensor memory input = _zeros(DType.FLOAT32, 1, 2);
        (uint256 one, uint256 two) = (0x3f800000, 0x40000000);
        input.set(0, one);
        input.set(1, two);
        scene.setOperand(0, input, false, Scenes.strides(2, 1), 0, 0);
        scene.node.attributes = new uint32[](5);
        uint32[5] memory words = [uint32(0xbf800000), 1, 1, 1, 2];
        for (uint256 i; i < 5; ++i) {
            scene.node.attributes[i] = words[i];
        }
    }

    /// @dev Two rows of four elements, 10, 11, ....
    function _upsample(uint256 down, uint256 across) private pure returns (Scene memory scene) {
        scene = Scenes.create(UPSAMPLE, 1);
        scene.setOutput(_zeros(DType.INT32, 2 * down, 4 * across));
        Tensor memory input = _zeros(DType.INT32, 2, 4);
        for (uint256 i; i < 8; ++i) {
            input.set(i, 10 + i);
        }
        scene.setOperand(0, input, false, Scenes.strides(4, 1), 0, 0);
        scene.node.attributes = _words(down, across);
    }

    /// @dev Four lookups in a table of seven rows.
    function _lookup(bytes4 op, uint8 indexType) private pure returns (Scene memory scene) {
        scene = Scenes.create(op, 2);
        Tensor memory table = _zeros(DType.FLOAT32, TABLE_ROWS, COLUMNS);
        for (uint256 i; i < TABLE_ROWS * COLUMNS; ++i) {
            table.set(i, (127 << 23) + i);
        }
        uint32[] memory shape = new uint32[](1);
        shape[0] = 4;
        scene.setOutput(_zeros(DType.FLOAT32, 4, COLUMNS));
        scene.setOperand(0, table, true, Scenes.strides(0, 1), 0, 0);
        Tensor memory indices = Tensors.zeros(indexType, DType.size(indexType), shape);
        scene.setOperand(1, indices, false, Scenes.strides(1, 0), 0, 0);
        scene.node.attributes = _words(COLUMNS, TABLE_ROWS);
    }

    function _sources(Scene memory scene, uint256 element, uint256 row) private pure returns (uint256[] memory list) {
        list = new uint256[](2);
        (list[0], list[1]) = (row * COLUMNS + element % COLUMNS, scene.source(1, element, 0));
    }

    /// @dev Whether a wrong element is refuted that looks up `index`, with the table opened at `source`.
    function _looksUp(bytes4 op, uint8 indexType, uint256 index, uint256 source) private view returns (bool) {
        Scene memory scene = _lookup(op, indexType);
        scene.operands[1].set(0, index);
        uint256[] memory sources = _sources(scene, 0, 0);
        sources[0] = source;
        return _refutes(scene, 0, sources);
    }

    function _zeros(uint8 dtype, uint256 rows, uint256 columns) private pure returns (Tensor memory) {
        return Tensors.zeros(dtype, DType.size(dtype), Tensors.shape(rows, columns));
    }

    function _words(uint256 first, uint256 second) private pure returns (uint32[] memory) {
        return Tensors.shape(first, second);
    }

    function _unread(uint256 count) private pure returns (uint256[] memory sources) {
        sources = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            sources[i] = UNREAD;
        }
    }

    function _refutes(Scene memory scene, uint256 element, uint256 source) private view returns (bool) {
        uint256[] memory sources = new uint256[](1);
        sources[0] = source;
        return _refutes(scene, element, sources);
    }

    function _refutes(Scene memory scene, uint256 element, uint256[] memory sources) private view returns (bool) {
        return adjudicator.refutes(scene.leaf(), abi.encode(_parts(scene, element, sources)));
    }

    function _expect(Scene memory scene, uint256 element, uint256[] memory sources, bytes4 selector) private {
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = abi.encode(_parts(scene, element, sources));
        vm.expectPartialRevert(selector);
        adjudicator.refutes(leaf, proof);
    }

    /// @dev A proof that opens each operand at an element of its own.
    function _parts(Scene memory scene, uint256 element, uint256[] memory sources)
        private
        pure
        returns (ElementProof.Proof memory proof)
    {
        proof.element = element;
        proof.operands = new OperandProof.OperandOpening[](sources.length);
        for (uint256 i; i < sources.length; ++i) {
            if (sources[i] == UNREAD) continue;
            (proof.operands[i].data, proof.operands[i].path) = scene.operands[i].open(sources[i], 1);
            if (!scene.node.operands[i].isParameter) continue;
            proof.operands[i].weightsPath = Trees.path(Scenes.weights(scene), i, 0);
        }
        proof.output = scene.openOutput(element);
    }
}
