// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ContractionAdjudicator } from "../../contracts/adjudicators/ContractionAdjudicator.sol";
import { DType } from "../../contracts/libraries/DType.sol";
import { OperandProof } from "../../contracts/libraries/OperandProof.sol";
import { Scene, Scenes } from "./support/Scene.sol";
import { Tensor, Tensors } from "./support/Tensors.sol";
import { Random } from "./support/Vm.sol";
import { deploy } from "./support/Deploy.sol";

/// @dev A frame of its own, as memory is dear in a large one.
contract Meter {
    function measure(address target, bytes calldata input) external view returns (uint256) {
        bytes memory copy = input;
        uint256 before = gasleft();
        (bool done, bytes memory output) = target.staticcall(copy);
        uint256 used = before - gasleft();
        require(done && abi.decode(output, (bool)), "neither refuted nor exceeded");
        return used;
    }
}

/// @dev Gas of a whole transaction that carries a proof to the adjudicator, under Prague's prices. Calldata is
/// what binds: from a few hundred lanes on, execution is free under the floor price of EIP-7623.
contract ContractionGasTest {
    using Tensors for Tensor;

    error TooMuchGas(uint256 used, uint256 limit);

    ContractionAdjudicator private adjudicator = ContractionAdjudicator(deploy("ContractionAdjudicator", ""));
    Meter private meter = new Meter();

    function test_gas_64LanesWithin106k() external view {
        _check(64, 106_000);
    }

    function test_gas_1024LanesWithin420k() external view {
        _check(1024, 420_000);
    }

    function test_gas_4096LanesWithin1450k() external view {
        _check(4096, 1_450_000);
    }

    function test_gas_exceedsAt1024LanesWithin430k() external view {
        _require(_gasOfExceeds(_scene(1024)), 430_000);
    }

    function test_gas_exceedsAt4096LanesWithin1500k() external view {
        _require(_gasOfExceeds(_scene(4096)), 1_500_000);
    }

    function test_gas_1024LanesHalfOfThemZeroWithin330k() external view {
        // Outputs of a relu against pruned weights: zeros are below the window, and cheap.
        Scene memory scene = _scene(1024);
        for (uint256 i; i < 2048; i += 2) {
            scene.operands[0].set(i, 0);
            scene.operands[1].set(2048 + i + 1, 0);
        }
        _require(_gas(scene), 330_000);
    }

    function _check(uint256 lanes, uint256 limit) private view {
        _require(_gas(_scene(lanes)), limit);
    }

    function _require(uint256 used, uint256 limit) private pure {
        if (used > limit) revert TooMuchGas(used, limit);
    }

    function _scene(uint256 lanes) private pure returns (Scene memory scene) {
        scene = Scenes.create(bytes4(keccak256("contraction")), 2);
        scene.node.reduction = lanes;
        scene.setOutput(_random(Random(1), 2, 4));
        scene.setOperand(0, _random(Random(2), 2, lanes), false, Scenes.strides(lanes, 0), 1, 0);
        scene.setOperand(1, _random(Random(3), 4, lanes), true, Scenes.strides(0, lanes), 1, 0);
    }

    function _gas(Scene memory scene) private view returns (uint256) {
        return _gas(abi.encodeCall(adjudicator.refutes, (scene.leaf(), _proof(scene))));
    }

    function _gasOfExceeds(Scene memory scene) private view returns (uint256) {
        return _gas(abi.encodeCall(adjudicator.exceeds, (scene.leaf(), _proof(scene), 9 << 16)));
    }

    function _proof(Scene memory scene) private pure returns (bytes memory) {
        uint256 lanes = scene.node.reduction;
        ContractionAdjudicator.Proof memory proof;
        proof.element = 6;
        proof.window = 2 * 133 - 63;
        proof.operands = new OperandProof.OperandOpening[](2);
        proof.operands[0] = scene.openOperand(0, 6, 0, lanes);
        proof.operands[1] = scene.openOperand(1, 6, 0, lanes);
        proof.output = scene.openOutput(6);
        return abi.encode(proof);
    }

    function _gas(bytes memory input) private view returns (uint256) {
        uint256 execution = meter.measure(address(adjudicator), input);
        uint256 tokens;
        for (uint256 i; i < input.length; ++i) {
            tokens += input[i] == 0 ? 1 : 4;
        }
        uint256 used = 4 * tokens + execution;
        uint256 floor = 10 * tokens;
        return 21_000 + (used > floor ? used : floor);
    }

    /// @dev Numbers of either sign with magnitudes from 2^-4 to 2^7.
    function _random(Random memory random, uint256 rows, uint256 columns) private pure returns (Tensor memory tensor) {
        tensor = Tensors.zeros(DType.FLOAT32, 4, Tensors.shape(rows, columns));
        for (uint256 i; i < rows * columns; ++i) {
            uint256 word = random.next();
            tensor.set(i, ((word & 1) << 31) | ((123 + ((word >> 1) % 11)) << 23) | ((word >> 16) & 0x7fffff));
        }
    }
}
