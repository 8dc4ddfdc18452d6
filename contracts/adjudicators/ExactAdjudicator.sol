// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Element } from "../libraries/Element.sol";
import { ElementProof } from "../libraries/ElementProof.sol";
import { ExactRule } from "../libraries/ExactRule.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { Operator } from "../types/Types.sol";

/// @title Decides one element of pointwise operators whose result is exact: selections, comparisons, logic, casts.
/// @notice The element is refuted iff it is not the operator's result (see ExactRule).
contract ExactAdjudicator is IAdjudicator {
    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory) {
        return ExactRule.operators();
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        ElementProof.Proof calldata proof = ElementProof.decode(node, encoded);
        Element[] memory x = new Element[](node.operands.length);
        for (uint256 i; i < x.length; ++i) {
            x[i] = Element(node.operands[i].tensorType.dtype, ElementProof.read(leaf, node, proof, i));
        }
        Element memory y = Element(node.outputs[0].dtype, ElementProof.claimed(leaf, node, proof));
        return ExactRule.refutes(node.op, x, node.attributes, y);
    }
}
