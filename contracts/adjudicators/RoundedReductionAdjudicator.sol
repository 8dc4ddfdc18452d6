// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RoundedProof } from "../libraries/RoundedProof.sol";
import { RowSums } from "../libraries/RowSums.sol";
import { Scatter } from "../libraries/Scatter.sol";
import { Operator } from "../types/Types.sol";
import { Zone, Zones } from "../libraries/Zone.sol";

/// @title Decides one element of a sum that was computed in float64, rounded to FP32 and logged: over contiguous runs, or
/// over the places of a row that an embedding looked up.
/// @notice A sum's operands are x and the log; a proof by value or omission opens the run, and its hint is the window
/// exponent of RowSums. An embedding's gradient reads more, see Scatter.
contract RoundedReductionAdjudicator is IAdjudicator {
    bytes4 private constant SUM = bytes4(keccak256("rounded.aten.sum.dim_IntList"));
    bytes4 private constant EMBEDDING_GRADIENT = bytes4(keccak256("rounded.tao.embedding_gradient.default"));

    error UnsupportedOperator(Operator op);
    error NotASum(uint256 operands, uint256 reduction);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](2);
        (list[0], list[1]) = (Operator.wrap(SUM), Operator.wrap(EMBEDDING_GRADIENT));
    }

    /// @inheritdoc IAdjudicator
    function refutes(Leaf calldata leaf, bytes calldata encoded) external pure returns (bool) {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        bool ofRow = Operator.unwrap(node.op) == SUM;
        if (!ofRow && Operator.unwrap(node.op) != EMBEDDING_GRADIENT) revert UnsupportedOperator(node.op);
        uint256 operands = ofRow ? 2 : 3;
        if (node.operands.length != operands || node.reduction == 0) {
            revert NotASum(node.operands.length, node.reduction);
        }
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, encoded);
        if (proof.evidence.rule == RoundedProof.CONTRADICTION) return RoundedProof.contradicts(leaf, node, proof);
        Zone memory zone = ofRow ? _row(leaf, node, proof) : _scattered(leaf, node, proof);
        return RoundedProof.refutes(leaf, node, proof, zone);
    }

    function _row(Leaf calldata leaf, NodeRecord.Node memory node, RoundedProof.Proof calldata proof)
        private
        pure
        returns (Zone memory)
    {
        RoundedProof.requireOpenings(proof, 1);
        uint256 run = RoundedProof.openLanes(leaf, node, proof, 0, node.reduction);
        return Zones.ofRow(RowSums.sum(run, node.reduction, proof.hint), node.reduction);
    }

    function _scattered(Leaf calldata leaf, NodeRecord.Node memory node, RoundedProof.Proof calldata proof)
        private
        pure
        returns (Zone memory)
    {
        (Float32Dot.Sum memory sum, uint256 terms) = Scatter.sum(leaf, node, proof);
        return Zones.ofDot(sum, terms, proof.hint);
    }
}
