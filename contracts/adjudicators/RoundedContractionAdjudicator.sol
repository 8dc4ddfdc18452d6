// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RoundedProof } from "../libraries/RoundedProof.sol";
import { Operator } from "../types/Types.sol";
import { Zones } from "../libraries/Zone.sol";

/// @title Decides one element of a sum of products that was computed in float64, rounded to FP32 and logged.
/// @notice Operands: a, b and the log. A proof by value or omission opens the runs of a and b; its hint is the window
/// exponent of the exact sum (see Float32Dot).
contract RoundedContractionAdjudicator is IAdjudicator {
    Operator public constant CONTRACTION = Operator.wrap(bytes4(keccak256("rounded.contraction")));

    error UnsupportedOperator(Operator op);
    error NotAContraction(uint256 operands, uint256 reduction);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](1);
        list[0] = CONTRACTION;
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        if (Operator.unwrap(node.op) != Operator.unwrap(CONTRACTION)) revert UnsupportedOperator(node.op);
        if (node.operands.length != 3 || node.reduction == 0) {
            revert NotAContraction(node.operands.length, node.reduction);
        }
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, encoded);
        if (proof.evidence.rule == RoundedProof.CONTRADICTION) return RoundedProof.contradicts(leaf, node, proof);

        RoundedProof.requireOpenings(proof, 2);
        uint256 lanes = node.reduction;
        uint256 a = RoundedProof.openLanes(leaf, node, proof, 0, lanes);
        uint256 b = RoundedProof.openLanes(leaf, node, proof, 1, lanes);
        Float32Dot.Sum memory sum = Float32Dot.dot(a, b, lanes, proof.hint);
        return RoundedProof.refutes(leaf, node, proof, Zones.ofDot(sum, lanes, proof.hint));
    }
}
