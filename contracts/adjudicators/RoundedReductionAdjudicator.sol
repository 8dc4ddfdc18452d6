// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Ball } from "../libraries/Ball.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { Limits } from "../libraries/Limits.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RoundedProof } from "../libraries/RoundedProof.sol";
import { RowSums } from "../libraries/RowSums.sol";
import { Scatter } from "../libraries/Scatter.sol";
import { Skipped } from "../libraries/Skipped.sol";
import { Operator } from "../types/Types.sol";
import { Zones } from "../libraries/Zone.sol";

/// @title Decides one element of a sum, which is the exact one correctly rounded to FP32: over contiguous runs, or over
/// the places of a row that an embedding looked up.
/// @notice A sum's operand is x; a proof is by value or breakdown and opens the run, and its hint is the window exponent
/// of RowSums. An embedding's gradient reads more, see Scatter.
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
        uint256 operands = ofRow ? 1 : 2;
        if (node.operands.length != operands || node.reduction == 0) {
            revert NotASum(node.operands.length, node.reduction);
        }
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, encoded);
        return ofRow ? _refutesRow(leaf, node, proof) : _refutesScattered(leaf, node, proof);
    }

    function _refutesRow(Leaf calldata leaf, NodeRecord.Node memory node, RoundedProof.Proof calldata proof)
        private
        pure
        returns (bool)
    {
        RoundedProof.requireOpenings(proof, 1);
        uint256 lanes = node.reduction;
        uint256 run = RoundedProof.openLanes(leaf, node, proof, 0, lanes);
        if (proof.evidence.rule == RoundedProof.BREAKDOWN) return !Limits.areFinite(run, lanes);
        Ball memory sum = RowSums.sum(run, lanes, proof.hint).value;
        if (RoundedProof.refutesSum(leaf, node, proof, Zones.ofRow(sum, lanes))) return true;
        // What is left is so near to where rounding changes that it matters how many terms were skipped.
        uint256 skipped = Skipped.numbers(run, lanes, proof.hint);
        return RoundedProof.refutesSum(leaf, node, proof, Zones.ofRow(sum, skipped));
    }

    function _refutesScattered(Leaf calldata leaf, NodeRecord.Node memory node, RoundedProof.Proof calldata proof)
        private
        pure
        returns (bool)
    {
        (bool finite, Float32Dot.Sum memory sum, uint256 skipped) = Scatter.sum(leaf, node, proof);
        if (proof.evidence.rule == RoundedProof.BREAKDOWN) return !finite;
        return finite && RoundedProof.refutesSum(leaf, node, proof, Zones.ofDot(sum, skipped, proof.hint));
    }
}
