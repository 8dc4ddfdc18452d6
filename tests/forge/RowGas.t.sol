// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ReductionAdjudicator } from "../../contracts/adjudicators/ReductionAdjudicator.sol";
import { SoftmaxAdjudicator } from "../../contracts/adjudicators/SoftmaxAdjudicator.sol";
import { IAdjudicator } from "../../contracts/interfaces/IAdjudicator.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { RowProof } from "../../contracts/libraries/RowProof.sol";
import { Meter } from "./ContractionGas.t.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev Gas of a whole transaction that carries a proof of a row to its adjudicator, under Prague's prices, and of its
/// execution per lane.
contract RowGasTest {
    using Tensors for Tensor;

    error TooMuchGas(uint256 used, uint256 limit);

    uint32 private constant THOUSAND = 0x447a0000;
    uint256 private constant MAXIMUM = 5;
    uint256 private constant WINDOW = 132 - 63;
    uint256 private constant WINDOW_OF_SQUARES = 2 * 132 - 63;

    SoftmaxAdjudicator private softmax = SoftmaxAdjudicator(deploy("SoftmaxAdjudicator", ""));
    ReductionAdjudicator private reduction = ReductionAdjudicator(deploy("ReductionAdjudicator", ""));
    Meter private meter = new Meter();

    function test_gas_softmaxOf512LanesWithin320k() external view {
        bytes memory input = _input(softmax, "aten.softmax.int", 512, MAXIMUM);
        uint256 execution = meter.measure(address(softmax), input);
        uint256 tokens;
        for (uint256 i; i < input.length; ++i) {
            tokens += input[i] == 0 ? 1 : 4;
        }
        uint256 used = 4 * tokens + execution;
        uint256 floor = 10 * tokens;
        _require(21_000 + (used > floor ? used : floor), 320_000);
    }

    function test_gas_softmaxWithin390PerLane() external view {
        _require(_perLane(softmax, "aten.softmax.int", MAXIMUM), 390);
    }

    function test_gas_logSoftmaxWithin390PerLane() external view {
        _require(_perLane(softmax, "aten.log_softmax.int", MAXIMUM), 390);
    }

    function test_gas_sumWithin75PerLane() external view {
        _require(_perLane(reduction, "aten.sum.default", WINDOW), 75);
    }

    function test_gas_meanWithin75PerLane() external view {
        _require(_perLane(reduction, "aten.mean.dim", WINDOW), 75);
    }

    function test_gas_normWithin140PerLane() external view {
        _require(_perLane(reduction, "aten.linalg_vector_norm.default", WINDOW_OF_SQUARES), 140);
    }

    function test_gas_maximumWithin125PerLane() external view {
        _require(_perLane(reduction, "aten.amax.default", 0), 125);
    }

    function _require(uint256 used, uint256 limit) private pure {
        if (used > limit) revert TooMuchGas(used, limit);
    }

    function _perLane(IAdjudicator adjudicator, string memory op, uint256 hint) private view returns (uint256) {
        uint256 few = meter.measure(address(adjudicator), _input(adjudicator, op, 512, hint));
        uint256 many = meter.measure(address(adjudicator), _input(adjudicator, op, 1024, hint));
        return (many - few) / 512;
    }

    /// @dev A proof that the first element is not 1000.
    function _input(IAdjudicator adjudicator, string memory op, uint256 lanes, uint256 hint)
        private
        view
        returns (bytes memory)
    {
        bool keepsShape = adjudicator == softmax;
        Scene memory scene = Scenes.create(bytes4(keccak256(bytes(op))), 1);
        scene.node.reduction = lanes;
        scene.setOutput(Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(2, keepsShape ? lanes : 1)));
        scene.output.set(0, THOUSAND);
        scene.setOperand(0, _random(Random(1), 2, lanes), false, Scenes.strides(lanes, keepsShape ? 1 : 0), 1, 0);
        RowProof.Proof memory proof;
        proof.hint = hint;
        proof.operands = new OperandProof.OperandOpening[](1);
        proof.operands[0] = scene.openOperand(0, 0, 0, lanes);
        proof.output = scene.openOutput(0);
        return abi.encodeCall(adjudicator.refutes, (scene.leaf(), abi.encode(proof)));
    }

    /// @dev Numbers of either sign with magnitudes from 2^-4 to 2^5, and 2^5 in lane MAXIMUM.
    function _random(Random memory random, uint256 rows, uint256 columns) private pure returns (Tensor memory tensor) {
        tensor = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(rows, columns));
        for (uint256 i; i < rows * columns; ++i) {
            uint256 word = random.next();
            uint256 bits = ((word & 1) << 31) | ((123 + ((word >> 1) % 9)) << 23) | ((word >> 16) & 0x7fffff);
            tensor.set(i, i % columns == MAXIMUM ? 132 << 23 : bits);
        }
    }
}
