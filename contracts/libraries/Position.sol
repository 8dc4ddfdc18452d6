// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "./DType.sol";
import { Element } from "./Element.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";
import { RowProof } from "./RowProof.sol";

/// @title Whether a claimed position of a row's maximum or minimum is wrong, shown by one better lane.
/// @notice The position is that of the first of the largest lanes (torch documents the first), a NaN being larger than
/// every number, and for a minimum smaller. A claim is refuted iff it is no lane of the row, or the opened lane is better
/// than the claimed one: beyond it, or equal to it and before it. Numbers that kernels may take for zero are equal, and
/// which of them is first decides nothing.
library Position {
    error WrongLane(uint256 lane, uint256 lanes);
    error WrongOutputType(uint8 dtype);

    /// @param proof Openings of the claimed lane and of the better one, whose number is the hint; neither is read where
    /// the claimed position is outside the row.
    /// @param least Whether it is the position of the minimum.
    function refutes(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        RowProof.Proof calldata proof,
        bool least
    ) internal pure returns (bool) {
        uint8 dtype = node.outputs[0].dtype;
        if (dtype != DType.INT64) revert WrongOutputType(dtype);
        uint256 lanes = node.reduction;
        uint256 claimed = OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element);
        // Negative positions are large as unsigned numbers.
        if (claimed >= lanes) return true;
        uint256 better = proof.hint;
        // INVARIANT: the better lane is one of the row.
        if (better >= lanes) revert WrongLane(better, lanes);
        if (proof.operands.length != 2) revert RowProof.WrongOpeningCount(proof.operands.length, 2);
        int256 given = _rank(_lane(leaf, node, proof, 0, claimed), least);
        Element memory x = _lane(leaf, node, proof, 1, better);
        int256 rank = _rank(x, least);
        if (rank != given) return rank > given;
        return better < claimed && !(rank == 0 && DType.isFloat(x.dtype));
    }

    /// @dev An integer that is larger for a better lane, and 0 for numbers that kernels may take for zero.
    function _rank(Element memory x, bool least) private pure returns (int256) {
        if (x.isNaN()) return type(int256).max;
        int256 order = x.flushed().order();
        return least ? -order : order;
    }

    function _lane(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        RowProof.Proof calldata proof,
        uint256 opening,
        uint256 lane
    ) private pure returns (Element memory x) {
        NodeRecord.Operand memory operand = node.operands[0];
        x.dtype = operand.tensorType.dtype;
        uint256 position = RowProof.rowStart(node, proof.element) + lane;
        uint256 run = OperandProof.openOperand(leaf, operand, proof.operands[opening], position, 1);
        uint256 unused = 256 - 8 * DType.size(x.dtype);
        uint256 bits;
        assembly ("memory-safe") {
            bits := shr(unused, calldataload(run))
        }
        x.bits = bits;
    }
}
