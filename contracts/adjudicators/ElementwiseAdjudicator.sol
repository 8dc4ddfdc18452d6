// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "../libraries/DType.sol";
import { ElementProof } from "../libraries/ElementProof.sol";
import { Elementwise } from "../libraries/Elementwise.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of FP32 arithmetic and elementary functions.
/// @notice The element is refuted iff it is proven outside the operator's bound (docs/protocol.md, section 4), by a
/// certified enclosure of the exact value.
contract ElementwiseAdjudicator is IAdjudicator {
    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory) {
        return Elementwise.operators();
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        ElementProof.Proof calldata proof = ElementProof.decode(node, encoded);
        DType.requireFloat32(node.outputs[0].dtype);
        uint256 count = node.operands.length;
        uint32[] memory inputs = new uint32[](count);
        for (uint256 i; i < count; ++i) {
            DType.requireFloat32(node.operands[i].tensorType.dtype);
            inputs[i] = uint32(ElementProof.read(leaf, node, proof, i));
        }
        uint256 claimed = ElementProof.claimed(leaf, node, proof);
        return Elementwise.refutes(node.op, inputs, node.attributes, uint32(claimed));
    }
}
