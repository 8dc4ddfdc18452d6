// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../../../contracts/interfaces/IAdjudicator.sol";
import { NodeRecord } from "../../../contracts/libraries/NodeRecord.sol";
import { OperandProof } from "../../../contracts/libraries/OperandProof.sol";
import { TensorProof } from "../../../contracts/libraries/TensorProof.sol";
import { Operator } from "../../../contracts/types/Types.sol";
import { Records } from "./Records.sol";
import { Tensor, Tensors } from "./Tensors.sol";
import { Trees } from "./Trees.sol";

/// @dev One node with its operands, its output and a model of three parameters around it. Operand i is live value
/// `i + 1` of four, or parameter `i` of three, so that no position is right by accident.
struct Scene {
    NodeRecord.Node node;
    Tensor[] operands;
    Tensor output;
}

using Scenes for Scene global;

library Scenes {
    using Tensors for Tensor;

    uint256 internal constant LIVE = 4;
    uint256 internal constant PARAMETERS = 3;

    function create(bytes4 op, uint256 operands) internal pure returns (Scene memory scene) {
        scene.node.op = Operator.wrap(op);
        scene.node.outputs = new NodeRecord.TensorType[](1);
        scene.node.operands = new NodeRecord.Operand[](operands);
        scene.node.liveBefore = LIVE;
        scene.node.afterEntries = new uint32[](1);
        scene.node.afterEntries[0] = NodeRecord.OUTPUT_FLAG;
        scene.operands = new Tensor[](operands);
    }

    function setOutput(Scene memory scene, Tensor memory tensor) internal pure {
        scene.output = tensor;
        scene.node.outputs[0] = tensor.tensorType;
    }

    function setOperand(
        Scene memory scene,
        uint256 index,
        Tensor memory tensor,
        bool isParameter,
        uint32[] memory mapStrides,
        uint256 laneStride,
        uint256 offset
    ) internal pure {
        scene.operands[index] = tensor;
        scene.node.operands[index] = NodeRecord.Operand({
            isParameter: isParameter,
            index: uint16(isParameter ? index : index + 1),
            tensorType: tensor.tensorType,
            hasMap: true,
            strides: mapStrides,
            laneStride: uint32(laneStride),
            offset: uint32(offset)
        });
    }

    function strides(uint256 first, uint256 second) internal pure returns (uint32[] memory) {
        return Tensors.shape(first, second);
    }

    function strides(uint256 first, uint256 second, uint256 third) internal pure returns (uint32[] memory list) {
        list = new uint32[](3);
        (list[0], list[1], list[2]) = (uint32(first), uint32(second), uint32(third));
    }

    function leaf(Scene memory scene) internal pure returns (IAdjudicator.Leaf memory leaf_) {
        leaf_.record = Records.encode(scene.node);
        leaf_.stateBefore = new bytes32[](LIVE);
        leaf_.stateBefore[0] = keccak256("another value");
        for (uint256 i; i < scene.operands.length; ++i) {
            NodeRecord.Operand memory operand = scene.node.operands[i];
            if (!operand.isParameter) leaf_.stateBefore[operand.index] = scene.operands[i].commitment();
        }
        leaf_.outputs = new bytes32[](1);
        leaf_.outputs[0] = scene.output.commitment();
        leaf_.weightsRoot = Trees.root(weights(scene));
        leaf_.parameterCount = PARAMETERS;
    }

    function weights(Scene memory scene) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](PARAMETERS);
        for (uint256 i; i < PARAMETERS; ++i) {
            bool isOperand = i < scene.operands.length && scene.node.operands[i].isParameter;
            leaves[i] = isOperand ? scene.operands[i].commitment() : keccak256(abi.encode("parameter", i));
        }
    }

    /// @dev The element of operand `index` that output element `element` reads at `lane`.
    function source(Scene memory scene, uint256 index, uint256 element, uint256 lane)
        internal
        pure
        returns (uint256 position)
    {
        NodeRecord.Operand memory operand = scene.node.operands[index];
        uint32[] memory dimensions = scene.output.tensorType.shape;
        position = operand.offset + lane * operand.laneStride;
        uint256 span = scene.output.data.length / scene.output.size;
        for (uint256 d; d < dimensions.length; ++d) {
            span /= dimensions[d];
            position += (element / span) * operand.strides[d];
            element %= span;
        }
    }

    function openOperand(Scene memory scene, uint256 index, uint256 element, uint256 lane, uint256 length)
        internal
        pure
        returns (OperandProof.OperandOpening memory opening)
    {
        uint256 first = source(scene, index, element, lane);
        (opening.data, opening.path) = scene.operands[index].open(first, length);
        if (scene.node.operands[index].isParameter) opening.weightsPath = Trees.path(weights(scene), index, 0);
    }

    function openOutput(Scene memory scene, uint256 element)
        internal
        pure
        returns (TensorProof.Opening memory opening)
    {
        (opening.data, opening.path) = scene.output.open(element, 1);
    }
}
