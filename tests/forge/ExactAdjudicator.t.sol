// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ExactAdjudicator } from "../../contracts/adjudicators/ExactAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { Calldata } from "../../contracts/libraries/Calldata.sol";
import { Cast } from "../../contracts/libraries/Cast.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { ElementProof } from "../../contracts/libraries/ElementProof.sol";
import { ExactRule } from "../../contracts/libraries/ExactRule.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { TensorProof } from "../../contracts/libraries/TensorProof.sol";
import { Operator } from "../../contracts/types/Types.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// forge-config: default.fuzz.runs = 64
contract ExactAdjudicatorTest {
    using Tensors for Tensor;

    bytes4 private constant RELU = bytes4(keccak256("aten.relu.default"));
    bytes4 private constant NEG = bytes4(keccak256("aten.neg.default"));
    bytes4 private constant ABS = bytes4(keccak256("aten.abs.default"));
    bytes4 private constant CLAMP = bytes4(keccak256("aten.clamp.default"));
    bytes4 private constant MAXIMUM = bytes4(keccak256("aten.maximum.default"));
    bytes4 private constant WHERE = bytes4(keccak256("aten.where.self"));
    bytes4 private constant MASKED_FILL = bytes4(keccak256("aten.masked_fill.Scalar"));
    bytes4 private constant WHERE_SCALAR_SELF = bytes4(keccak256("aten.where.ScalarSelf"));
    bytes4 private constant GT_SCALAR = bytes4(keccak256("aten.gt.Scalar"));
    bytes4 private constant LT_TENSOR = bytes4(keccak256("aten.lt.Tensor"));
    bytes4 private constant TO_COPY = bytes4(keccak256("aten._to_copy.default"));
    uint256 private constant ROWS = 3;
    uint256 private constant COLUMNS = 5;
    uint32 private constant NONE = 0x7fc00000;

    ExactAdjudicator private adjudicator = ExactAdjudicator(deploy("ExactAdjudicator", ""));

    function test_operators_areFortyAndDistinct() external view {
        Operator[] memory list = adjudicator.operators();
        require(list.length == 40, "count");
        for (uint256 i; i < list.length; ++i) {
            for (uint256 j; j < i; ++j) {
                require(Operator.unwrap(list[i]) != Operator.unwrap(list[j]), "twice");
            }
        }
    }

    // ---- every operand is read where its map says ----

    function testFuzz_maximum_readsBothOperandsThroughTheirMaps(uint256 seed) external view {
        // x is transposed and y is one row, repeated.
        Random memory random = Random(seed);
        Scene memory scene = Scenes.create(MAXIMUM, 2);
        Tensor memory x = _zeros(DType.INT32, COLUMNS, ROWS);
        Tensor memory y = _zeros(DType.INT32, 1, COLUMNS);
        scene.setOutput(_zeros(DType.INT32, ROWS, COLUMNS));
        for (uint256 i; i < COLUMNS; ++i) {
            y.set(i, random.below(1000));
            for (uint256 j; j < ROWS; ++j) {
                x.set(i * ROWS + j, random.below(1000));
                (uint256 a, uint256 b) = (x.get(i * ROWS + j), y.get(i));
                scene.output.set(j * COLUMNS + i, a > b ? a : b);
            }
        }
        scene.setOperand(0, x, random.below(2) == 0, Scenes.strides(1, ROWS), 0, 0);
        scene.setOperand(1, y, random.below(2) == 0, Scenes.strides(0, 1), 0, 0);
        uint256 element = random.below(ROWS * COLUMNS);
        require(!_refutes(scene, element), "the maximum is refuted");
        scene.output.set(element, scene.output.get(element) ^ (1 << random.below(32)));
        require(_refutes(scene, element), "another number is not refuted");
    }

    // ---- the rule, by example ----

    function test_relu_ofEveryKindOfNumber() external view {
        require(!_unary(RELU, DType.FLOAT32, 0x3f800000, 0x3f800000), "1");
        require(!_unary(RELU, DType.FLOAT32, 0xbf800000, 0), "-1");
        require(!_unary(RELU, DType.FLOAT32, 0xbf800000, 0x80000000), "-1 to -0");
        require(!_unary(RELU, DType.FLOAT32, 0xff800000, 0), "minus infinity");
        require(!_unary(RELU, DType.FLOAT32, 0xffc00000, 0x7fc00000), "NaN");
        require(_unary(RELU, DType.FLOAT32, 0xffc00000, 0), "a NaN of negative sign is not negative");
        require(_unary(RELU, DType.FLOAT32, 0xbf800000, 0xbf800000), "-1 kept");
        require(_unary(RELU, DType.FLOAT32, 0x3f800000, 0x3f800001), "one bit off");
        require(!_unary(RELU, DType.INT8, 0x80, 0) && _unary(RELU, DType.INT8, 0x7f, 0), "int8");
        require(!_unary(RELU, DType.UINT8, 0x80, 0x80), "uint8 has no negative numbers");
    }

    function test_relu_takesSubnormalsForZeroButNotFloat16() external view {
        require(!_unary(RELU, DType.FLOAT32, 1, 1) && !_unary(RELU, DType.FLOAT32, 1, 0), "either");
        require(_unary(RELU, DType.FLOAT32, 0x00800000, 0), "the smallest normal number");
        require(!_unary(RELU, DType.BFLOAT16, 0x7f, 0) && _unary(RELU, DType.BFLOAT16, 0x80, 0), "bfloat16");
        require(!_unary(RELU, DType.FLOAT64, 1, 0) && _unary(RELU, DType.FLOAT64, 1 << 52, 0), "float64");
        require(_unary(RELU, DType.FLOAT16, 1, 0), "float16");
    }

    function test_negAndAbs_ofTheSmallestIntegerIsItself() external view {
        require(!_unary(NEG, DType.INT32, 0x80000000, 0x80000000), "neg");
        require(!_unary(ABS, DType.INT32, 0x80000000, 0x80000000), "abs");
        require(!_unary(NEG, DType.UINT8, 1, 255) && _unary(NEG, DType.UINT8, 1, 1), "uint8 wraps");
        require(!_unary(ABS, DType.INT64, type(uint64).max, 1), "-1");
    }

    function test_clamp_withBoundsMissingAndTheWrongWayRound() external view {
        (uint32 one, uint32 two) = (0x3f800000, 0x40000000);
        require(!_decides(_clamp(0x40400000, one, two, two)), "3 to 2");
        require(!_decides(_clamp(0, one, two, one)), "0 to 1");
        require(!_decides(_clamp(0x40400000, one, NONE, 0x40400000)), "no upper bound");
        require(!_decides(_clamp(0, NONE, two, 0)), "no lower bound");
        require(!_decides(_clamp(0, two, one, one)), "wrong way round");
        require(!_decides(_clamp(0x7fc00001, one, two, 0xffc00000)), "NaN stays");
        require(_decides(_clamp(0x7fc00001, one, two, one)), "NaN to 1");
    }

    function test_where_takesTheSecondOperandWhereTrue() external view {
        require(!_decides(_where(1, 5, 6, 5)) && _decides(_where(1, 5, 6, 6)), "true");
        require(!_decides(_where(0, 5, 6, 6)) && _decides(_where(0, 5, 6, 5)), "false");
        require(!_decides(_where(2, 5, 6, 7)), "a condition that is none");
    }

    function test_maskedFillAndWhere_takeTheNumberWhereTheySay() external view {
        uint32 number = 0xff800000;
        Scene memory scene = _scene(MASKED_FILL, 2, DType.FLOAT32, number);
        _operand(scene, 0, DType.FLOAT32, 0x3f800000);
        _operand(scene, 1, DType.BOOL, 1);
        scene.node.attributes = _list(number);
        require(!_decides(scene), "filled");
        scene.operands[1].set(0, 0);
        require(_decides(scene), "not filled");
        scene = _scene(WHERE_SCALAR_SELF, 2, DType.FLOAT32, number);
        _operand(scene, 0, DType.BOOL, 1);
        _operand(scene, 1, DType.FLOAT32, 0x3f800000);
        scene.node.attributes = _list(number);
        require(!_decides(scene), "taken");
        scene.operands[0].set(0, 0);
        require(_decides(scene), "not taken");
    }

    function test_comparisons_areOfValuesAndNeverOfNaN() external view {
        require(!_decides(_compare(DType.INT8, 0xff, 1, 1)), "-1 < 1");
        require(!_decides(_compare(DType.UINT8, 0xff, 1, 0)), "255 < 1");
        require(!_decides(_compare(DType.FLOAT32, 0xbf800000, 0x3f800000, 1)), "-1.0 < 1.0");
        require(!_decides(_compare(DType.FLOAT32, 0x80000000, 0, 0)), "-0 < 0");
        require(!_decides(_compare(DType.FLOAT32, 0xffc00000, 0x3f800000, 0)), "NaN < 1");
        require(_decides(_compare(DType.FLOAT32, 0xffc00000, 0x3f800000, 1)), "NaN < 1 claimed");
        require(_decides(_compare(DType.INT8, 0xff, 1, 2)), "a result that is no bool");
        Scene memory scene = _scene(GT_SCALAR, 1, DType.BOOL, 1);
        _operand(scene, 0, DType.INT64, 3);
        scene.node.attributes = _list(0xffffffff);
        require(!_decides(scene), "3 > -1");
    }

    function test_casts_roundToNearestEvenAndWrap() external view {
        require(!_cast(DType.FLOAT32, DType.BFLOAT16, 0x3f808000, 0x3f80), "half to even, down");
        require(!_cast(DType.FLOAT32, DType.BFLOAT16, 0x3f818000, 0x3f82), "half to even, up");
        require(!_cast(DType.FLOAT32, DType.FLOAT16, 0x477ff000, 0x7c00), "to infinity");
        require(!_cast(DType.INT64, DType.FLOAT32, (1 << 24) + 1, 0x4b800000), "2^24 + 1");
        require(!_cast(DType.INT32, DType.INT8, 0x180, 0x80), "wraps");
        require(!_cast(DType.INT8, DType.INT64, 0xff, type(uint64).max), "-1");
        require(!_cast(DType.FLOAT32, DType.BOOL, 0x7fc00000, 1), "NaN is true");
        require(!_cast(DType.FLOAT32, DType.UINT8, 0xbf000000, 0), "-0.5 is cut off");
        require(_cast(DType.FLOAT32, DType.INT32, 0xbfc00000, 0xfffffffe), "-1.5 is not -2");
        require(!_cast(DType.FLOAT32, DType.INT8, 0x43000000, 5), "128 as int8 is nothing");
        require(!_cast(DType.FLOAT64, DType.FLOAT16, 0x3ff0020000000001, 7), "rounded once or twice");
    }

    // ---- what is out of scope, and malformed proofs ----

    function test_refutes_whatTheRuleDoesNotCoverReverts() external {
        _expect(_single(0x12345678, DType.FLOAT32), ExactRule.UnsupportedOperator.selector);
        _expect(_single(RELU, DType.BOOL), DType.UnsupportedType.selector);
        _expect(_single(MAXIMUM, DType.FLOAT32), ExactRule.WrongOperandCount.selector);
        _expect(_single(GT_SCALAR, DType.FLOAT32), ExactRule.WrongAttributeCount.selector);
        _expect(_single(bytes4(keccak256("aten.logical_not.default")), DType.UINT8), ExactRule.TypeMismatch.selector);
        Scene memory scene = _single(TO_COPY, DType.FLOAT16);
        scene.setOutput(_zeros(DType.BFLOAT16, ROWS, COLUMNS));
        _expect(scene, Cast.UnsupportedCast.selector);
    }

    function test_refutes_wrongCountsRevert() external {
        Scene memory scene = _single(RELU, DType.FLOAT32);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        ElementProof.Proof memory parts = _parts(scene, 0);
        parts.operands = new OperandProof.OperandOpening[](2);
        vm.expectRevert(abi.encodeWithSelector(ElementProof.WrongOpeningCount.selector, 2, 1));
        adjudicator.refutes(leaf, abi.encode(parts));
        bytes memory proof = abi.encode(_parts(scene, 0));
        scene.node.outputs = new NodeRecord.TensorType[](0);
        leaf.record = scene.leaf().record;
        vm.expectRevert(abi.encodeWithSelector(ElementProof.WrongOutputCount.selector, 0, 1));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_lanesRevert() external {
        Scene memory scene = _single(RELU, DType.FLOAT32);
        scene.node.operands[0].laneStride = 1;
        _expect(scene, ElementProof.WrongLaneStride.selector);
    }

    function test_refutes_operandsWithoutMapsRevert() external {
        Scene memory scene = _single(RELU, DType.FLOAT32);
        bytes memory proof = abi.encode(_parts(scene, 0));
        scene.node.operands[0].hasMap = false;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(OperandProof.NoIndexMap.selector));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_elementOutOfRangeReverts() external {
        Scene memory scene = _single(RELU, DType.FLOAT32);
        ElementProof.Proof memory proof = _parts(scene, 0);
        proof.element = ROWS * COLUMNS;
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(OperandProof.ElementOutOfRange.selector, proof.element, proof.element));
        adjudicator.refutes(leaf, abi.encode(proof));
    }

    function test_refutes_mapBeyondTheTensorReverts() external {
        Scene memory scene = _single(RELU, DType.FLOAT32);
        bytes memory proof = abi.encode(_parts(scene, 0));
        scene.node.operands[0].offset = uint32(ROWS * COLUMNS);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(abi.encodeWithSelector(TensorProof.RunOutOfRange.selector, ROWS * COLUMNS, 1));
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_anotherTensorReverts() external {
        Scene memory scene = _single(RELU, DType.FLOAT32);
        IAdjudicator.Leaf memory leaf = scene.leaf();
        scene.operands[0].set(1, 1);
        bytes memory proof = abi.encode(_parts(scene, 0));
        vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
        adjudicator.refutes(leaf, proof);
    }

    function test_refutes_otherEncodingsRevert() external {
        IAdjudicator.Leaf memory leaf = _single(RELU, DType.FLOAT32).leaf();
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, "");
        vm.expectRevert(abi.encodeWithSelector(Calldata.MalformedProof.selector));
        adjudicator.refutes(leaf, new bytes(512));
    }

    function testFuzz_refutes_changedProofsNeverRefuteAnHonestElement(uint256 seed) external view {
        Random memory random = Random(seed);
        Scene memory scene = _where(random.below(2), 5, 6, 0);
        scene.output.set(0, scene.operands[0].get(0) == 1 ? 5 : 6);
        bytes memory proof = abi.encode(_parts(scene, 0));
        for (uint256 i = 1 + random.below(3); i > 0; --i) {
            proof[random.below(proof.length)] = bytes1(uint8(random.next()));
        }
        (bool done, bytes memory output) =
            address(adjudicator).staticcall(abi.encodeCall(adjudicator.refutes, (scene.leaf(), proof)));
        require(!done || !abi.decode(output, (bool)), "an honest element is refuted");
    }

    // ---- scenes: pointwise operators whose element 0 is looked at ----

    function _scene(bytes4 op, uint256 operands, uint8 output, uint256 y) private pure returns (Scene memory scene) {
        scene = Scenes.create(op, operands);
        scene.setOutput(_zeros(output, ROWS, COLUMNS));
        scene.output.set(0, y);
    }

    function _operand(Scene memory scene, uint256 index, uint8 dtype, uint256 x) private pure {
        Tensor memory tensor = _zeros(dtype, ROWS, COLUMNS);
        tensor.set(0, x);
        scene.setOperand(index, tensor, false, Scenes.strides(COLUMNS, 1), 0, 0);
    }

    function _single(bytes4 op, uint8 dtype) private pure returns (Scene memory scene) {
        scene = _scene(op, 1, dtype, 0);
        _operand(scene, 0, dtype, 0);
    }

    function _unary(bytes4 op, uint8 dtype, uint256 x, uint256 y) private view returns (bool) {
        Scene memory scene = _scene(op, 1, dtype, y);
        _operand(scene, 0, dtype, x);
        return _decides(scene);
    }

    function _cast(uint8 from, uint8 to, uint256 x, uint256 y) private view returns (bool) {
        Scene memory scene = _scene(TO_COPY, 1, to, y);
        _operand(scene, 0, from, x);
        return _decides(scene);
    }

    function _clamp(uint256 x, uint32 lower, uint32 upper, uint256 y) private pure returns (Scene memory scene) {
        scene = _scene(CLAMP, 1, DType.FLOAT32, y);
        _operand(scene, 0, DType.FLOAT32, x);
        scene.node.attributes = new uint32[](2);
        (scene.node.attributes[0], scene.node.attributes[1]) = (lower, upper);
    }

    function _where(uint256 condition, uint256 a, uint256 b, uint256 y) private pure returns (Scene memory scene) {
        scene = _scene(WHERE, 3, DType.INT16, y);
        _operand(scene, 0, DType.BOOL, condition);
        _operand(scene, 1, DType.INT16, a);
        _operand(scene, 2, DType.INT16, b);
    }

    function _compare(uint8 dtype, uint256 a, uint256 b, uint256 y) private pure returns (Scene memory scene) {
        scene = _scene(LT_TENSOR, 2, DType.BOOL, y);
        _operand(scene, 0, dtype, a);
        _operand(scene, 1, dtype, b);
    }

    function _zeros(uint8 dtype, uint256 rows, uint256 columns) private pure returns (Tensor memory) {
        return Tensors.zeros(dtype, DType.size(dtype), Tensors.shape(rows, columns));
    }

    function _list(uint32 word) private pure returns (uint32[] memory list) {
        list = new uint32[](1);
        list[0] = word;
    }

    function _decides(Scene memory scene) private view returns (bool) {
        return _refutes(scene, 0);
    }

    function _refutes(Scene memory scene, uint256 element) private view returns (bool) {
        return adjudicator.refutes(scene.leaf(), abi.encode(_parts(scene, element)));
    }

    function _expect(Scene memory scene, bytes4 selector) private {
        IAdjudicator.Leaf memory leaf = scene.leaf();
        bytes memory proof = abi.encode(_parts(scene, 0));
        vm.expectPartialRevert(selector);
        adjudicator.refutes(leaf, proof);
    }

    function _parts(Scene memory scene, uint256 element) private pure returns (ElementProof.Proof memory proof) {
        proof.element = element;
        proof.operands = new OperandProof.OperandOpening[](scene.operands.length);
        for (uint256 i; i < scene.operands.length; ++i) {
            proof.operands[i] = scene.openOperand(i, element, 0, 1);
        }
        proof.output = scene.openOutput(element);
    }
}
