// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { Calldata } from "./Calldata.sol";
import { DType } from "./DType.sol";
import { Limits } from "./Limits.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";
import { RoundingLog } from "./RoundingLog.sol";
import { TensorProof } from "./TensorProof.sol";
import { Zone } from "./Zone.sol";

/// @title Proofs about operators whose only output was computed in float64 and rounded to FP32, by one of four rules:
/// @notice
/// - value: no number of [S - tau, S + tau] rounds to the claimed element, or that is -0 where it is a sum, or not finite
///   where it is a sum or logged;
/// - contradiction: the log's entry for the element is another encoding than the claimed one's;
/// - omission: the log has no entry for the element, although RN(S - tau) and RN(S + tau) differ;
/// - breakdown: the element is a sum of terms that are not all finite.
/// An honest recording ends where a sum or a logged result is not finite, so that whoever claims one, or something in its
/// place, has made it up.
library RoundedProof {
    using OperandProof for NodeRecord.Operand;

    /// @param element Row-major index of the output element.
    /// @param hint What the operator's sums are scaled by; a bad one can only make the proof fail. Of the breakdown of a run
    /// of lanes, which number is not finite: its lane, and `reduction` more if it is the second operand's.
    /// @param operands Openings of what the operator's rule reads, in its order; none for a contradiction.
    /// @param output Opening of the output element; empty for an omission.
    /// @param evidence The rule, and openings of the log.
    struct Proof {
        uint256 element;
        uint256 hint;
        OperandProof.OperandOpening[] operands;
        TensorProof.Opening output;
        RoundingLog.Evidence evidence;
    }

    uint256 internal constant VALUE = 0;
    uint256 internal constant CONTRADICTION = 1;
    uint256 internal constant OMISSION = 2;
    uint256 internal constant BREAKDOWN = 3;

    uint32 private constant NEGATIVE_ZERO = 0x80000000;

    error UnknownRule(uint256 rule);
    error WrongOutputCount(uint256 given, uint256 required);
    error WrongOpeningCount(uint256 given, uint256 required);
    error WrongLaneStride(uint256 operand, uint256 given, uint256 required);
    error LaneOutOfRange(uint256 hint);

    /// @notice The proof in place: decoding into memory would copy all lanes.
    function decode(NodeRecord.Node memory node, bytes calldata encoded) internal pure returns (Proof calldata proof) {
        uint256 at = Calldata.dynamicStruct(encoded, 0xc0);
        assembly ("memory-safe") {
            proof := at
        }
        if (node.outputs.length != 1) revert WrongOutputCount(node.outputs.length, 1);
        // INVARIANT: elements are FP32; other grids round otherwise.
        DType.requireFloat32(node.outputs[0].dtype);
    }

    /// @notice Whether a proof by the rule of contradiction shows the element to be wrong; it needs no arithmetic.
    function contradicts(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        internal
        pure
        returns (bool)
    {
        requireOpenings(proof, 0);
        return RoundingLog.contradicts(leaf, node, proof.evidence, proof.element, claimed(leaf, node, proof));
    }

    /// @notice Whether a proof by the rule of omission shows the element of a logged node to be missing from the log.
    function omits(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, Zone memory zone)
        internal
        pure
        returns (bool)
    {
        if (proof.evidence.rule != OMISSION) revert UnknownRule(proof.evidence.rule);
        RoundingLog.requireAbsent(leaf, node, proof.evidence, proof.element);
        return zone.isSplit();
    }

    /// @notice Whether a proof shows the element of a sum to be wrong, of which S alone matters.
    function refutesSum(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        Proof calldata proof,
        Zone memory zone
    ) internal pure returns (bool) {
        // INVARIANT: no log excuses or condemns a sum.
        if (proof.evidence.rule != VALUE) revert UnknownRule(proof.evidence.rule);
        uint32 y = claimed(leaf, node, proof);
        // A sum that rounds to zero is +0, whatever it is made of.
        return y == NEGATIVE_ZERO || !Limits.isFinite(y) || zone.excludes(y);
    }

    /// @notice Whether a proof by the rule of breakdown opens a number of the element's lanes that is not finite.
    function breaks(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        internal
        pure
        returns (bool)
    {
        requireOpenings(proof, 1);
        uint256 index = proof.hint / node.reduction;
        // INVARIANT: the number is one of the lanes' own.
        if (index >= node.operands.length) revert LaneOutOfRange(proof.hint);
        NodeRecord.Operand memory operand = node.operands[index];
        DType.requireFloat32(operand.tensorType.dtype);
        uint256 at = position(node, proof, index, 1) + proof.hint % node.reduction;
        return !Limits.isFinite(OperandProof.openFloat32(leaf, operand, proof.operands[0], at));
    }

    /// @notice Calldata position of a run of `length` FP32 numbers of operand `index`, which the map puts at the element.
    function openLanes(
        IAdjudicator.Leaf calldata leaf,
        NodeRecord.Node memory node,
        Proof calldata proof,
        uint256 index,
        uint256 length
    ) internal pure returns (uint256 run) {
        NodeRecord.Operand memory operand = node.operands[index];
        DType.requireFloat32(operand.tensorType.dtype);
        return OperandProof.openOperand(leaf, operand, proof.operands[index], position(node, proof, index, 1), length);
    }

    /// @notice The FP32 bits of the only element of operand `index` that the output element reads.
    function read(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof, uint256 index)
        internal
        pure
        returns (uint32)
    {
        NodeRecord.Operand memory operand = node.operands[index];
        DType.requireFloat32(operand.tensorType.dtype);
        return OperandProof.openFloat32(leaf, operand, proof.operands[index], position(node, proof, index, 0));
    }

    /// @notice Where the map of operand `index`, of the given lane stride, puts the output element.
    function position(NodeRecord.Node memory node, Proof calldata proof, uint256 index, uint256 laneStride)
        internal
        pure
        returns (uint256)
    {
        NodeRecord.Operand memory operand = node.operands[index];
        // INVARIANT: lanes are read in one contiguous run, and a single element without them.
        if (operand.laneStride != laneStride) revert WrongLaneStride(index, operand.laneStride, laneStride);
        return operand.firstElement(node.outputs[0], proof.element);
    }

    /// @notice The FP32 bits of the output element.
    function claimed(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, Proof calldata proof)
        internal
        pure
        returns (uint32)
    {
        return uint32(OperandProof.openOutput(leaf, node.outputs[0], proof.output, proof.element));
    }

    function requireOpenings(Proof calldata proof, uint256 required) internal pure {
        if (proof.operands.length != required) revert WrongOpeningCount(proof.operands.length, required);
    }
}
