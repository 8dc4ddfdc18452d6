// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { DType } from "./DType.sol";
import { Float32Dot } from "./Float32Dot.sol";
import { Limits } from "./Limits.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { OperandProof } from "./OperandProof.sol";
import { RoundedProof } from "./RoundedProof.sol";
import { Skipped } from "./Skipped.sol";
import { TensorProof } from "./TensorProof.sol";

/// @title The gradient of an embedding: element (v, d) is the sum of grad[t, d] over the places t that looked up row v.
/// @notice Operands: grad and the indices. The indices are int64, read whole in row-major order, one for each of the
/// record's `reduction` lanes; the lanes of grad are a contiguous run, which begins where its map puts element (v, d). A
/// proof opens that run and then each row of the indices; its hint is the window exponent of Float32Dot, for products
/// with 1.
library Scatter {
    using TensorProof for NodeRecord.TensorType;
    using Float32Dot for Float32Dot.Sum;

    uint256 private constant GRADIENT = 0;
    uint256 private constant INDICES = 1;
    uint256 private constant ONE_PLACE = 127; // the exponent of 1

    error NotAMatrix(uint256 rank);
    error NotIndices(uint8 dtype, uint256 count, uint256 required);

    /// @notice Whether all terms of the proof's element are finite; if so, their exact windowed sum and how many of them are
    /// below the window.
    function sum(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, RoundedProof.Proof calldata proof)
        internal
        pure
        returns (bool finite, Float32Dot.Sum memory total, uint256 skipped)
    {
        if (node.reduction > Float32Dot.MAX_TERMS) {
            revert Float32Dot.TooManyTerms(node.reduction, Float32Dot.MAX_TERMS);
        }
        if (proof.hint < Float32Dot.MIN_WINDOW || proof.hint > Float32Dot.MAX_WINDOW) {
            revert Float32Dot.WindowOutOfRange(proof.hint);
        }
        uint256[] memory places = _places(leaf, node, proof);
        uint256 run = RoundedProof.openLanes(leaf, node, proof, GRADIENT, node.reduction);
        unchecked {
            for (uint256 i; i < places.length; ++i) {
                uint256 at = run + 4 * places[i];
                uint32 bits;
                assembly ("memory-safe") {
                    bits := shr(224, calldataload(at))
                }
                if (!Limits.isFinite(bits)) return (false, total, skipped);
                total.add(bits, proof.hint);
                if (Skipped.place(bits) + ONE_PLACE < proof.hint) ++skipped;
            }
        }
        finite = true;
    }

    /// @dev The lanes whose index is the row of the proof's element.
    function _places(IAdjudicator.Leaf calldata leaf, NodeRecord.Node memory node, RoundedProof.Proof calldata proof)
        private
        pure
        returns (uint256[] memory places)
    {
        uint32[] memory shape = node.outputs[0].shape;
        if (shape.length != 2) revert NotAMatrix(shape.length);
        uint256 wanted = proof.element / shape[1];
        NodeRecord.Operand memory indices = node.operands[INDICES];
        uint256 columns = indices.tensorType.rowLength();
        uint256 count = indices.tensorType.numel();
        // INVARIANT: each lane has an index.
        if (indices.tensorType.dtype != DType.INT64 || count != node.reduction) {
            revert NotIndices(indices.tensorType.dtype, count, node.reduction);
        }
        // INVARIANT: the run of grad and every row of the indices are opened, and nothing else.
        RoundedProof.requireOpenings(proof, 1 + indices.tensorType.rows());
        places = new uint256[](count);
        uint256 found;
        for (uint256 first; first < count; first += columns) {
            OperandProof.OperandOpening calldata opening = proof.operands[1 + first / columns];
            uint256 run = OperandProof.openOperand(leaf, indices, opening, first, columns);
            unchecked {
                for (uint256 i; i < columns; ++i) {
                    uint256 index;
                    assembly ("memory-safe") {
                        index := shr(192, calldataload(add(run, shl(3, i))))
                    }
                    if (index == wanted) places[found++] = first + i;
                }
            }
        }
        assembly ("memory-safe") {
            mstore(places, found)
        }
    }
}
