// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Ball } from "../libraries/Ball.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RoundedProof } from "../libraries/RoundedProof.sol";
import { RowSums } from "../libraries/RowSums.sol";
import { Scatter } from "../libraries/Scatter.sol";
import { Skipped } from "../libraries/Skipped.sol";
import { Operator } from "../types/Types.sol";
import { Zone, Zones } from "../libraries/Zone.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides one element of a sum, which is the exact one correctly rounded to FP32: over contiguous runs, or over
/// the places of a row that an embedding looked up.
/// @notice A sum's operand is x; a proof by value opens the run, or names its records, and its hint is the window exponent
/// of RowSums; one by breakdown opens a single number. An embedding's gradient reads more, see Scatter, and has no records.
contract RoundedReductionAdjudicator is PartialSums {
    bytes4 private constant SUM = bytes4(keccak256("rounded.aten.sum.dim_IntList"));
    bytes4 private constant EMBEDDING_GRADIENT = bytes4(keccak256("rounded.tao.embedding_gradient.default"));

    error UnsupportedOperator(Operator op);
    error NotASum(uint256 operands, uint256 reduction);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](2);
        (list[0], list[1]) = (Operator.wrap(SUM), Operator.wrap(EMBEDDING_GRADIENT));
    }

    /// @inheritdoc PartialSums
    function _refutes(Leaf calldata leaf, bytes calldata encoded, Total memory total)
        internal
        view
        override
        returns (bool)
    {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        bool ofRow = Operator.unwrap(node.op) == SUM;
        if (!ofRow && Operator.unwrap(node.op) != EMBEDDING_GRADIENT) revert UnsupportedOperator(node.op);
        uint256 operands = ofRow ? 1 : 2;
        if (node.operands.length != operands || node.reduction == 0) {
            revert NotASum(node.operands.length, node.reduction);
        }
        if (!ofRow) return _refutesScattered(leaf, node, RoundedProof.decode(node, encoded));
        if (_isRecorded(encoded)) return _refutesRecorded(leaf, node, _decodeRecorded(encoded), total);
        return _refutesRow(leaf, node, RoundedProof.decode(node, encoded));
    }

    function _refutesRow(Leaf calldata leaf, NodeRecord.Node memory node, RoundedProof.Proof calldata proof)
        private
        pure
        returns (bool)
    {
        if (proof.evidence.rule == RoundedProof.BREAKDOWN) return RoundedProof.breaks(leaf, node, proof);
        RoundedProof.requireOpenings(proof, 1);
        uint256 lanes = node.reduction;
        uint256 run = RoundedProof.openLanes(leaf, node, proof, 0, lanes);
        Ball memory sum = RowSums.sum(run, lanes, proof.hint).value;
        if (RoundedProof.refutesSum(leaf, node, proof, Zones.ofRow(sum, lanes))) return true;
        // What is left is so near to where rounding changes that it matters how many terms were skipped.
        uint256 skipped = Skipped.numbers(run, lanes, proof.hint);
        return RoundedProof.refutesSum(leaf, node, proof, Zones.ofRow(sum, skipped));
    }

    function _refutesRecorded(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RecordedProof calldata recorded,
        Total memory total
    ) private view returns (bool) {
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, recorded.proof);
        RoundedProof.requireOpenings(proof, 0);
        Row memory row = _row(leaf, node, recorded.tensors, 0, RoundedProof.position(node, proof, 0, 1));
        Row memory none;
        _addRecords(total, recorded.lanes, proof.hint, row, none, node.reduction);
        RowSums.Parts memory parts = RowSums.Parts(total.first, total.second, 0);
        Ball memory sum = RowSums.enclose(parts, node.reduction, proof.hint).value;
        Zone memory zone = Zones.ofRow(sum, total.third);
        return RoundedProof.refutesSum(leaf, node, proof, zone);
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

    /// @inheritdoc PartialSums
    function _runCount() internal pure override returns (uint256) {
        return 1;
    }

    /// @inheritdoc PartialSums
    function _sumsOver(uint256[2] memory runs, uint256 lanes, uint256 window)
        internal
        pure
        override
        returns (uint256, uint256, uint256)
    {
        RowSums.Parts memory parts = RowSums.partsOf(runs[0], lanes, window);
        return (parts.positive, parts.negative, Skipped.numbers(runs[0], lanes, window));
    }
}
