// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RoundedElementwise } from "../libraries/RoundedElementwise.sol";
import { RoundedProof } from "../libraries/RoundedProof.sol";
import { Operator } from "../types/Types.sol";
import { Zone } from "../libraries/Zone.sol";

/// @title Decides one element of arithmetic or of an elementary function, computed in float64 and rounded to FP32.
/// @notice One operation of float64 arithmetic gives the same number on every device, which is rounded and never logged:
/// such an element is refuted by its value alone. Elementary functions differ and are logged; the log is their last
/// operand. Neither has a hint.
contract RoundedElementwiseAdjudicator is IAdjudicator {
    error WrongOperandCount(uint256 given, uint256 required);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory) {
        return RoundedElementwise.operators();
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, encoded);
        (uint256 inputs, bool logged) = RoundedElementwise.signature(node.op);
        uint256 required = logged ? inputs + 1 : inputs;
        if (node.operands.length != required) revert WrongOperandCount(node.operands.length, required);
        uint256 rule = proof.evidence.rule;
        // INVARIANT: only nodes that are logged have a log to be wrong.
        if (!logged && rule != RoundedProof.VALUE) revert RoundedProof.UnknownRule(rule);
        if (rule == RoundedProof.CONTRADICTION) return RoundedProof.contradicts(leaf, node, proof);

        RoundedProof.requireOpenings(proof, inputs);
        uint32[] memory x = new uint32[](inputs);
        for (uint256 i; i < inputs; ++i) {
            x[i] = RoundedProof.read(leaf, node, proof, i);
        }
        (RoundedElementwise.Result known, Zone memory zone) = RoundedElementwise.zone(node.op, x, node.attributes);
        if (rule == RoundedProof.VALUE) {
            return RoundedElementwise.excludes(known, zone, logged, RoundedProof.claimed(leaf, node, proof));
        }
        return known == RoundedElementwise.Result.Number && RoundedProof.omits(leaf, node, proof, zone);
    }
}
