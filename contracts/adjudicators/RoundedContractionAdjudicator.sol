// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Float32Dot } from "../libraries/Float32Dot.sol";
import { NodeRecord } from "../libraries/NodeRecord.sol";
import { RoundedProof } from "../libraries/RoundedProof.sol";
import { Skipped } from "../libraries/Skipped.sol";
import { Operator } from "../types/Types.sol";
import { Zone, Zones } from "../libraries/Zone.sol";
import { PartialSums } from "./PartialSums.sol";

/// @title Decides one element of a sum of products, which is the exact sum correctly rounded to FP32.
/// @notice Operands: a and b. A proof by value opens the runs of both, or names their records, and its hint is the window
/// exponent of the exact sum (see Float32Dot); one by breakdown opens a single number.
contract RoundedContractionAdjudicator is PartialSums {
    Operator private constant CONTRACTION = Operator.wrap(bytes4(keccak256("rounded.contraction")));

    error UnsupportedOperator(Operator op);
    error NotAContraction(uint256 operands, uint256 reduction);

    /// @inheritdoc IAdjudicator
    function operators() external pure returns (Operator[] memory list) {
        list = new Operator[](1);
        list[0] = CONTRACTION;
    }

    /// @inheritdoc PartialSums
    function _refutes(Leaf calldata leaf, bytes calldata encoded, Total memory total)
        internal
        view
        override
        returns (bool)
    {
        NodeRecord.Node memory node = NodeRecord.decode(leaf.record);
        if (Operator.unwrap(node.op) != Operator.unwrap(CONTRACTION)) revert UnsupportedOperator(node.op);
        if (node.operands.length != 2 || node.reduction == 0) {
            revert NotAContraction(node.operands.length, node.reduction);
        }
        if (_isRecorded(encoded)) return _refutesRecorded(leaf, node, _decodeRecorded(encoded), total);
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, encoded);
        if (proof.evidence.rule == RoundedProof.BREAKDOWN) return RoundedProof.breaks(leaf, node, proof);
        RoundedProof.requireOpenings(proof, 2);
        uint256 lanes = node.reduction;
        uint256 a = RoundedProof.openLanes(leaf, node, proof, 0, lanes);
        uint256 b = RoundedProof.openLanes(leaf, node, proof, 1, lanes);
        Float32Dot.Sum memory sum = Float32Dot.dot(a, b, lanes, proof.hint);
        if (RoundedProof.refutesSum(leaf, node, proof, Zones.ofDot(sum, lanes, proof.hint))) return true;
        // What is left is so near to where rounding changes that it matters how many products were skipped.
        uint256 skipped = Skipped.products(a, b, lanes, proof.hint);
        return RoundedProof.refutesSum(leaf, node, proof, Zones.ofDot(sum, skipped, proof.hint));
    }

    function _refutesRecorded(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RecordedProof calldata recorded,
        Total memory total
    ) private view returns (bool) {
        RoundedProof.Proof calldata proof = RoundedProof.decode(node, recorded.proof);
        RoundedProof.requireOpenings(proof, 0);
        Row memory a = _roundedRow(leaf, node, recorded, proof, 0);
        Row memory b = _roundedRow(leaf, node, recorded, proof, 1);
        _addRecords(total, recorded.lanes, proof.hint, a, b, node.reduction);
        Float32Dot.Sum memory sum;
        (sum.positive, sum.negative) = (total.first, total.second);
        Zone memory zone = Zones.ofDot(sum, total.third, proof.hint);
        return RoundedProof.refutesSum(leaf, node, proof, zone);
    }

    function _roundedRow(
        Leaf calldata leaf,
        NodeRecord.Node memory node,
        RecordedProof calldata recorded,
        RoundedProof.Proof calldata proof,
        uint256 index
    ) private pure returns (Row memory) {
        return _row(leaf, node, recorded.tensors, index, RoundedProof.position(node, proof, index, 1));
    }

    /// @inheritdoc PartialSums
    function _runCount() internal pure override returns (uint256) {
        return 2;
    }

    /// @inheritdoc PartialSums
    function _sumsOver(uint256[2] memory runs, uint256 lanes, uint256 window)
        internal
        pure
        override
        returns (uint256, uint256, uint256)
    {
        Float32Dot.Sum memory sum = Float32Dot.dot(runs[0], runs[1], lanes, window);
        return (sum.positive, sum.negative, Skipped.products(runs[0], runs[1], lanes, window));
    }
}
