// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { Limits } from "../libraries/Limits.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RoundedProof } from "../libraries/RoundedProof.sol";
import { Skipped } from "../libraries/Skipped.sol";
import { Operator } from "../types/Types.sol";
import { Zones } from "../libraries/Zone.sol";

/// @title Decides one element of a sum of products, which is the exact sum correctly rounded to FP32.
/// @notice Operands: a and b. A proof is by value or breakdown and opens the runs of both; its hint is the window exponent
/// of the exact sum (see Float32Dot).
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
        if (node.operands.length != 2 || node.reduction == 0) {
            revert NotAContraction(node.operands.length, node.reduction);
        }
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, encoded);
        RoundedProof.requireOpenings(proof, 2);
        uint256 lanes = node.reduction;
        uint256 a = RoundedProof.openLanes(leaf, node, proof, 0, lanes);
        uint256 b = RoundedProof.openLanes(leaf, node, proof, 1, lanes);
        if (proof.evidence.rule == RoundedProof.BREAKDOWN) {
            return !Limits.areFinite(a, lanes) || !Limits.areFinite(b, lanes);
        }
        Float32Dot.Sum memory sum = Float32Dot.dot(a, b, lanes, proof.hint);
        if (RoundedProof.refutesSum(leaf, node, proof, Zones.ofDot(sum, lanes, proof.hint))) return true;
        // What is left is so near to where rounding changes that it matters how many products were skipped.
        uint256 skipped = Skipped.products(a, b, lanes, proof.hint);
        return RoundedProof.refutesSum(leaf, node, proof, Zones.ofDot(sum, skipped, proof.hint));
    }
}
