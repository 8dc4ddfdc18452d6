// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { DType } from "../../../contracts/libraries/DType.sol";
import { Floats } from "./Floats.sol";
import { Scene, Scenes } from "./Scene.sol";
import { Tensor, Tensors } from "./Tensors.sol";
import { Random } from "./Vm.sol";

/// @dev A convolution of two images; operands have their channels last or before the axes.
/// @param channels Channels of a group.
/// @param outputs Output channels of a group.
struct Layer {
    bool channelsLast;
    bool hasBias;
    uint256 groups;
    uint256 channels;
    uint256 outputs;
    uint256 height;
    uint256 width;
    uint256 kernelY;
    uint256 kernelX;
    uint256 stride;
    uint256 padding;
    uint256 dilation;
}

/// @title Convolutions of small integers, whose sums are exact.
library Convolutions {
    using Tensors for Tensor;

    /// @dev The input is live; kernel and bias are parameters 1 and 2. The output is zero.
    function create(Random memory random, Layer memory layer) internal pure returns (Scene memory scene) {
        scene = Scenes.create(bytes4(keccak256("aten.conv2d.default")), layer.hasBias ? 3 : 2);
        uint256 all = layer.groups * layer.channels;
        uint256 outputs = layer.groups * layer.outputs;
        scene.setOutput(
            Tensors.zeros(
                DType.FLOAT32,
                4,
                _shape(
                    2, outputs, _places(layer, layer.height, layer.kernelY), _places(layer, layer.width, layer.kernelX)
                )
            )
        );
        uint32[] memory input =
            layer.channelsLast ? _shape(2, layer.height, layer.width, all) : _shape(2, all, layer.height, layer.width);
        uint32[] memory kernel = layer.channelsLast
            ? _shape(outputs, layer.kernelY, layer.kernelX, layer.channels)
            : _shape(outputs, layer.channels, layer.kernelY, layer.kernelX);
        uint256 lanes = layer.channels * layer.kernelY * layer.kernelX;
        scene.setOperand(0, _integers(random, input), false, _shape(all * layer.height * layer.width, 0, 0, 0), 1, 0);
        scene.setOperand(1, _integers(random, kernel), true, _shape(0, lanes, 0, 0), 1, 0);
        if (layer.hasBias) {
            uint32[] memory shape = new uint32[](1);
            shape[0] = uint32(outputs);
            scene.setOperand(2, _integers(random, shape), true, _shape(0, 1, 0, 0), 0, 0);
        }
        scene.node.reduction = lanes;
        scene.node.attributes = _words(layer);
    }

    function _words(Layer memory layer) private pure returns (uint32[] memory words) {
        uint256 all = layer.groups * layer.channels;
        uint256 area = layer.height * layer.width;
        words = new uint32[](20);
        words[0] = uint32(layer.outputs);
        words[1] = uint32(layer.channels * (layer.channelsLast ? 1 : area));
        if (layer.channelsLast) {
            _setLevel(words, 0, layer.kernelY, layer.width * all, layer.kernelX * layer.channels);
            _setLevel(words, 1, layer.kernelX, all, layer.channels);
            _setLevel(words, 2, layer.channels, 1, 1);
            words[11] = 1 + 4 * 2;
        } else {
            _setLevel(words, 0, layer.channels, area, layer.kernelY * layer.kernelX);
            _setLevel(words, 1, layer.kernelY, layer.width, layer.kernelX);
            _setLevel(words, 2, layer.kernelX, 1, 1);
            words[11] = 4 * 1 + 16 * 2;
        }
        (words[12], words[16]) = (uint32(layer.height), uint32(layer.width));
        for (uint256 axis = 12; axis < 20; axis += 4) {
            words[axis + 1] = uint32(layer.stride);
            words[axis + 2] = uint32(layer.padding);
            words[axis + 3] = uint32(layer.dilation);
        }
    }

    function _setLevel(uint32[] memory words, uint256 level, uint256 size, uint256 aStride, uint256 bStride)
        private
        pure
    {
        words[2 + 3 * level] = uint32(size);
        words[3 + 3 * level] = uint32(aStride);
        words[4 + 3 * level] = uint32(bStride);
    }

    /// @dev The element from the tensors, by the definition of a convolution.
    function exact(Scene memory scene, Layer memory layer, uint256 element) internal pure returns (int256 sum) {
        uint32[] memory shape = scene.output.tensorType.shape;
        uint256 left = (element % shape[3]) * layer.stride;
        uint256 top = (element / shape[3] % shape[2]) * layer.stride;
        uint256 channel = element / shape[3] / shape[2] % shape[1];
        uint256 image = element / shape[3] / shape[2] / shape[1];
        for (uint256 y; y < layer.kernelY; ++y) {
            uint256 row = top + y * layer.dilation;
            if (row < layer.padding || row - layer.padding >= layer.height) continue;
            for (uint256 x; x < layer.kernelX; ++x) {
                uint256 column = left + x * layer.dilation;
                if (column < layer.padding || column - layer.padding >= layer.width) continue;
                for (uint256 c; c < layer.channels; ++c) {
                    uint256 from = channel / layer.outputs * layer.channels + c;
                    sum += _input(scene, layer, image, from, row - layer.padding, column - layer.padding)
                    * _kernel(scene, layer, channel, c, y, x);
                }
            }
        }
        if (layer.hasBias) sum += Floats.toInteger(scene.operands[2].get(channel));
    }

    function _input(Scene memory scene, Layer memory layer, uint256 image, uint256 c, uint256 row, uint256 column)
        private
        pure
        returns (int256)
    {
        uint256 all = layer.groups * layer.channels;
        uint256 at = layer.channelsLast
            ? ((image * layer.height + row) * layer.width + column) * all + c
            : ((image * all + c) * layer.height + row) * layer.width + column;
        return Floats.toInteger(scene.operands[0].get(at));
    }

    function _kernel(Scene memory scene, Layer memory layer, uint256 o, uint256 c, uint256 y, uint256 x)
        private
        pure
        returns (int256)
    {
        uint256 at = layer.channelsLast
            ? ((o * layer.kernelY + y) * layer.kernelX + x) * layer.channels + c
            : ((o * layer.channels + c) * layer.kernelY + y) * layer.kernelX + x;
        return Floats.toInteger(scene.operands[1].get(at));
    }

    function _places(Layer memory layer, uint256 extent, uint256 kernel) private pure returns (uint256) {
        return (extent + 2 * layer.padding - layer.dilation * (kernel - 1) - 1) / layer.stride + 1;
    }

    function _shape(uint256 first, uint256 second, uint256 third, uint256 fourth)
        private
        pure
        returns (uint32[] memory list)
    {
        list = new uint32[](4);
        (list[0], list[1], list[2], list[3]) = (uint32(first), uint32(second), uint32(third), uint32(fourth));
    }

    function _integers(Random memory random, uint32[] memory shape) private pure returns (Tensor memory tensor) {
        tensor = Tensors.zeros(DType.FLOAT32, 4, shape);
        for (uint256 i; i < tensor.data.length / 4; ++i) {
            tensor.set(i, Floats.ofInteger(int256(random.below(17)) - 8));
        }
    }
}
