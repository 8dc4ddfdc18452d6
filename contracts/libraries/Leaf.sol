// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IAdjudicator } from "../interfaces/IAdjudicator.sol";
import { IDisputeGame } from "../interfaces/IDisputeGame.sol";
import { IModelRegistry } from "../interfaces/IModelRegistry.sol";
import { Operator } from "../types/Types.sol";
import { Merkle } from "./Merkle.sol";
import { NodeRecord } from "./NodeRecord.sol";
import { States } from "./States.sol";
import { Tags } from "./Tags.sol";
import { TensorProof } from "./TensorProof.sol";

/// @title The disputed operator: what is said about it against what the model and the prover committed to.
library Leaf {
    /// @notice Operator `number` of the model, with `stateBefore` the preimage of `loState`.
    function verifyNode(
        IDisputeGame.LeafClaim calldata leaf,
        IModelRegistry.Model memory model,
        uint32 number,
        bytes32 loState
    ) internal pure returns (NodeRecord.Node memory node) {
        bytes32 nodeHash = NodeRecord.leafHash(leaf.record);
        // INVARIANT: the record is the very operator in dispute, as registered.
        if (!Merkle.isMember(nodeHash, number, model.nodeCount, leaf.graphProof, model.graphRoot)) {
            revert IDisputeGame.NodeNotInGraph(number);
        }
        requireState(States.hash(leaf.stateBefore), loState);
        node = NodeRecord.decode(leaf.record);
        // INVARIANT: a position in the record is a position in the state. The challenger agreed to this state
        // by selecting; one of a wrong length was its chance to select the child that ends there.
        requireCount(leaf.stateBefore.length, node.liveBefore);
    }

    /// @notice `outputs` are the prover's: they and what passes through are the preimage of `hiState`.
    function verifyOutputs(IDisputeGame.LeafClaim calldata leaf, NodeRecord.Node memory node, bytes32 hiState)
        internal
        pure
    {
        requireCount(leaf.outputs.length, node.outputs.length);
        requireState(States.hash(States.successor(node, leaf.stateBefore, leaf.outputs)), hiState);
    }

    /// @notice The whole operator as an adjudicator is told of it, and its code.
    function verify(
        IDisputeGame.LeafClaim calldata leaf,
        IModelRegistry.Model memory model,
        uint32 number,
        bytes32 loState,
        bytes32 hiState
    ) internal pure returns (bytes4 operator, IAdjudicator.Leaf memory committed) {
        NodeRecord.Node memory node = verifyNode(leaf, model, number, loState);
        verifyOutputs(leaf, node, hiState);
        operator = Operator.unwrap(node.op);
        committed = IAdjudicator.Leaf({
            record: leaf.record,
            stateBefore: leaf.stateBefore,
            outputs: leaf.outputs,
            weightsRoot: model.weightsRoot,
            parameterCount: model.parameterCount
        });
    }

    /// @notice The value that a demand is about and its packed type.
    function demanded(
        IDisputeGame.LeafClaim calldata leaf,
        NodeRecord.Node memory node,
        bool ofOutput,
        uint256 index,
        uint256 chunk
    ) internal pure returns (bytes32 commitment, bytes memory packedType) {
        uint256 size = ofOutput ? node.outputs.length : node.operands.length;
        if (index >= size) revert IDisputeGame.DemandOutOfRange(index, size);
        NodeRecord.TensorType memory tensorType;
        if (ofOutput) {
            commitment = leaf.outputs[index];
            tensorType = node.outputs[index];
        } else {
            NodeRecord.Operand memory operand = node.operands[index];
            if (operand.isParameter) revert IDisputeGame.ParameterDemanded(index);
            commitment = leaf.stateBefore[operand.index];
            tensorType = operand.tensorType;
        }
        // INVARIANT: an honest prover can open whatever is demanded, as padding is not in its tensor.
        if (!TensorProof.isChunk(tensorType, chunk)) {
            revert IDisputeGame.DemandOutOfRange(chunk, 1 << TensorProof.height(tensorType));
        }
        packedType = NodeRecord.pack(tensorType);
    }

    /// @notice `theta` and `toleranceHash` are node `number`'s leaf of the model's tolerances, and `theta` is a threshold.
    /// The root is keccak256(nodes' root || segments' root), so the last sibling of the path is the segments' root.
    function verifyThreshold(
        IModelRegistry.Model memory model,
        uint32 number,
        uint32 theta,
        bytes32 toleranceHash,
        bytes32[] calldata path
    ) internal pure {
        // INVARIANT: thresholds are calibrated for inference; the operators of training round by rules of their own.
        if (theta == 0 || model.steps > 1) revert IDisputeGame.NotCalibrated(number);
        bytes32 leaf = keccak256(abi.encodePacked(Tags.TOLERANCE, theta, toleranceHash));
        // INVARIANT: it is the node's own threshold, as the model's registrant committed to it. A path of that length
        // leads through the nodes' tree, and as `number` fits into that, the nodes' root stands on the left.
        bool isLong = path.length == Merkle.height(model.nodeCount) + 1;
        if (!isLong || Merkle.climb(leaf, number, path) != model.tolerancesRoot) {
            revert IDisputeGame.ThresholdMismatch(number, theta);
        }
    }

    function requireCount(uint256 given, uint256 required) internal pure {
        if (given != required) revert IDisputeGame.WrongStateCount(given, required);
    }

    function requireState(bytes32 given, bytes32 required) internal pure {
        if (given != required) revert IDisputeGame.StateMismatch(given, required);
    }
}
