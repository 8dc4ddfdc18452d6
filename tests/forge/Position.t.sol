// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { NodeRecord } from "../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { Position } from "../../contracts/libraries/Position.sol";
import { RowProof } from "../../contracts/libraries/RowProof.sol";
import { Floats } from "./support/Floats.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random, vm } from "./support/Vm.sol";

contract PositionFrame {
    function refutes(IAdjudicator.Leaf calldata leaf, bytes calldata encoded, bool least) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        return Position.refutes(leaf, node, RowProof.decodeLanes(node, encoded), least);
    }
}

/// forge-config: default.fuzz.runs = 64
/// forge-config: deep.fuzz.runs = 2000
contract PositionTest {
    using Tensors for Tensor;

    uint256 private constant ROWS = 2;
    uint256 private constant LANES = 5;
    uint256 private constant OFFSET = 3; // of the first row in the input
    uint32 private constant NAN = 0x7fc00000;
    uint32 private constant NEGATIVE_INFINITY = 0xff800000;
    uint32 private constant SUBNORMAL = 0x00000001;
    uint32 private constant NEGATIVE_ZERO = 0x80000000;

    PositionFrame private frame = new PositionFrame();

    // ---- verdicts ----

    function testFuzz_refutes_onlyPositionsThatAreNotTheFirstOfTheBest(uint256 seed) external view {
        Random memory random = Random(seed);
        bool ofIntegers = random.below(2) == 0;
        bool least = random.below(2) == 0;
        Scene memory scene = ofIntegers ? _scene(DType.INT16, 2) : _scene(DType.FLOAT32, 4);
        uint256 row = random.below(ROWS);
        int256[] memory values = new int256[](LANES);
        for (uint256 lane; lane < LANES; ++lane) {
            values[lane] = int256(random.below(5)) - 2;
            uint256 bits = ofIntegers ? uint16(int16(values[lane])) : Floats.ofInteger(values[lane]);
            _set(scene, row, lane, bits);
        }
        uint256 best = _first(values, least);
        for (uint256 claimed; claimed < LANES; ++claimed) {
            // Kernels may take numbers for zero, so the first of several zeros is no one's duty to find.
            bool isWrong = values[claimed] != values[best] || (claimed != best && (ofIntegers || values[best] != 0));
            require(_isRefuted(scene, row, claimed, best, least) == isWrong, "the best lane does not decide");
            for (uint256 lane; lane < LANES && !isWrong; ++lane) {
                require(!_isRefuted(scene, row, claimed, lane, least), "another lane refutes a right position");
            }
        }
    }

    function test_refutes_aNaNIsBeyondAllNumbersAndTheFirstOfThemIsMeant() external view {
        Scene memory scene = _scene(DType.FLOAT32, 4);
        for (uint256 lane; lane < LANES; ++lane) {
            _set(scene, 1, lane, lane == 2 || lane == 3 ? NAN : NEGATIVE_INFINITY);
        }
        for (uint256 i; i < 2; ++i) {
            bool least = i == 1;
            require(_isRefuted(scene, 1, 0, 2, least), "a number is not refuted by a NaN");
            require(!_isRefuted(scene, 1, 2, 0, least), "a NaN is refuted by a number");
            require(_isRefuted(scene, 1, 3, 2, least), "the second NaN is not refuted by the first");
            require(!_isRefuted(scene, 1, 2, 3, least), "the first NaN is refuted by the second");
        }
    }

    function test_refutes_numbersThatMayBeTakenForZeroAreEqual() external view {
        Scene memory scene = _scene(DType.FLOAT32, 4);
        uint32[LANES] memory lanes = [SUBNORMAL, 0, NEGATIVE_ZERO, NEGATIVE_ZERO | SUBNORMAL, 0];
        for (uint256 lane; lane < LANES; ++lane) {
            _set(scene, 0, lane, lanes[lane]);
        }
        for (uint256 claimed; claimed < LANES; ++claimed) {
            for (uint256 lane; lane < LANES; ++lane) {
                require(!_isRefuted(scene, 0, claimed, lane, false), "as a maximum");
                require(!_isRefuted(scene, 0, claimed, lane, true), "as a minimum");
            }
        }
    }

    function test_refutes_positionsOutsideTheRowWithoutOpenings() external view {
        Scene memory scene = _scene(DType.FLOAT32, 4);
        uint64[3] memory outside = [uint64(LANES), type(uint64).max, 1 << 63];
        for (uint256 i; i < outside.length; ++i) {
            scene.output.set(0, outside[i]);
            RowProof.Proof memory proof;
            proof.output = scene.openOutput(0);
            require(frame.refutes(scene.leaf(), abi.encode(proof), false), "not refuted");
        }
    }

    // ---- malformed proofs ----

    function test_refutes_lanesOutsideTheRowRevert() external {
        Scene memory scene = _scene(DType.FLOAT32, 4);
        RowProof.Proof memory proof = _proof(scene, 0, 0, 1);
        proof.hint = LANES;
        _expect(scene, proof, abi.encodeWithSelector(Position.WrongLane.selector, LANES, LANES));
    }

    function test_refutes_openingsOfAnotherRowRevert() external {
        Scene memory scene = _scene(DType.FLOAT32, 4);
        _set(scene, 1, 4, NAN); // so that the rows differ
        RowProof.Proof memory proof = _proof(scene, 0, 0, 1);
        for (uint256 i; i < 2; ++i) {
            OperandProof.OperandOpening memory right = proof.operands[i];
            proof.operands[i] = scene.openOperand(0, 1, i, 1);
            IAdjudicator.Leaf memory leaf = scene.leaf();
            vm.expectPartialRevert(OperandProof.OperandMismatch.selector);
            frame.refutes(leaf, abi.encode(proof), false);
            proof.operands[i] = right;
        }
    }

    function test_refutes_oneOpeningReverts() external {
        Scene memory scene = _scene(DType.FLOAT32, 4);
        RowProof.Proof memory proof = _proof(scene, 0, 0, 1);
        proof.operands = new OperandProof.OperandOpening[](1);
        _expect(scene, proof, abi.encodeWithSelector(RowProof.WrongOpeningCount.selector, 1, 2));
    }

    function test_refutes_positionsOfAnotherTypeRevert() external {
        Scene memory scene = _scene(DType.FLOAT32, 4);
        RowProof.Proof memory proof = _proof(scene, 0, 0, 1);
        scene.setOutput(Tensors.zeros(DType.INT32, 4, Tensors.shape(ROWS, 1)));
        _expect(scene, proof, abi.encodeWithSelector(Position.WrongOutputType.selector, DType.INT32));
    }

    // ---- scenes and proofs ----

    /// @dev Rows of zeros, each inside a longer row of the input.
    function _scene(uint8 dtype, uint256 size) private pure returns (Scene memory scene) {
        scene = Scenes.create(bytes4(keccak256("aten.argmax.default")), 1);
        scene.node.reduction = LANES;
        uint256 width = LANES + 2 * OFFSET;
        scene.setOperand(
            0, Tensors.zeros(dtype, size, Tensors.shape(ROWS, width)), false, Scenes.strides(width, 0), 1, OFFSET
        );
        scene.setOutput(Tensors.zeros(DType.INT64, 8, Tensors.shape(ROWS, 1)));
    }

    function _set(Scene memory scene, uint256 row, uint256 lane, uint256 bits) private pure {
        scene.operands[0].set(scene.source(0, row, lane), bits);
    }

    function _first(int256[] memory values, bool least) private pure returns (uint256 best) {
        for (uint256 lane = 1; lane < values.length; ++lane) {
            if (least ? values[lane] < values[best] : values[lane] > values[best]) best = lane;
        }
    }

    function _isRefuted(Scene memory scene, uint256 row, uint256 claimed, uint256 better, bool least)
        private
        view
        returns (bool)
    {
        scene.output.set(row, claimed);
        return frame.refutes(scene.leaf(), abi.encode(_proof(scene, row, claimed, better)), least);
    }

    function _proof(Scene memory scene, uint256 row, uint256 claimed, uint256 better)
        private
        pure
        returns (RowProof.Proof memory proof)
    {
        proof.element = row;
        proof.hint = better;
        proof.operands = new OperandProof.OperandOpening[](2);
        proof.operands[0] = scene.openOperand(0, row, claimed, 1);
        proof.operands[1] = scene.openOperand(0, row, better, 1);
        proof.output = scene.openOutput(row);
    }

    function _expect(Scene memory scene, RowProof.Proof memory proof, bytes memory reason) private {
        IAdjudicator.Leaf memory leaf = scene.leaf();
        vm.expectRevert(reason);
        frame.refutes(leaf, abi.encode(proof), false);
    }
}
