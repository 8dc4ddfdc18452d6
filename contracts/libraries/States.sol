// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { NodeRecord } from "./NodeRecord.sol";
import { Tags } from "./Tags.sol";

/// @title The values live at a cut of the graph, and how an operator's record ties one cut to the next.
library States {
    /// @dev Commitments in a state; two such states fit one transaction of 128 KiB.
    uint256 internal constant MAX_VALUES = 1536;

    /// @notice An output slot that the state after the operator does not contain: nothing would bind its value.
    error UnboundOutput(uint256 slot);

    function hash(bytes32[] memory commitments) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(Tags.STATE, commitments));
    }

    /// @notice The state after the operator, put together from what passes through and its outputs.
    function successor(NodeRecord.Node memory node, bytes32[] calldata stateBefore, bytes32[] calldata outputs)
        internal
        pure
        returns (bytes32[] memory stateAfter)
    {
        uint256 count = node.afterEntries.length;
        stateAfter = new bytes32[](count);
        uint256 bound;
        for (uint256 i = 0; i < count; ++i) {
            uint256 entry = node.afterEntries[i];
            if (entry < NodeRecord.OUTPUT_FLAG) {
                stateAfter[i] = stateBefore[entry];
            } else {
                uint256 slot = entry - NodeRecord.OUTPUT_FLAG;
                stateAfter[i] = outputs[slot];
                bound |= 1 << slot;
            }
        }
        // INVARIANT: every output is an entry of the state after, so the prover's hash of that state binds it.
        for (uint256 slot = 0; slot < outputs.length; ++slot) {
            if (bound & (1 << slot) == 0) revert UnboundOutput(slot);
        }
    }

    /// @notice Whether `stateAfter` has the record's length and repeats every value that only passes through.
    function isConsistent(NodeRecord.Node memory node, bytes32[] calldata stateBefore, bytes32[] calldata stateAfter)
        internal
        pure
        returns (bool)
    {
        if (stateAfter.length != node.afterEntries.length) return false;
        for (uint256 i = 0; i < stateAfter.length; ++i) {
            uint256 entry = node.afterEntries[i];
            if (entry < NodeRecord.OUTPUT_FLAG && stateAfter[i] != stateBefore[entry]) return false;
        }
        return true;
    }
}
