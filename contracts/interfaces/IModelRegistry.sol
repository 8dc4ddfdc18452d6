// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ModelId } from "../types/Types.sol";

/// @title Immutable model commitments.
/// @notice A model is three roots and five counts. Its id is the hash of all of them, so the same
/// model has the same id on every chain and nobody can change what an id means. A run repeats the graph `steps`
/// times, each step from the state in which the one before ended: inference is a run of one step, training of many.
interface IModelRegistry {
    /// @param weightsRoot Merkle root over the tensor commitments of the parameters.
    /// @param graphRoot Merkle root over the node records of the canonical operator graph.
    /// @param tolerancesRoot Hash of the Merkle roots over the nodes' and over the segments' tolerances; zero without any.
    /// @param nodeCount Number of operators of one step, at least 1.
    /// @param parameterCount Number of parameters (tied ones count once).
    /// @param inputCount Values live before the first operator, at least 1.
    /// @param outputCount Values live after the last operator, at least 1; `inputCount` where there are several steps.
    /// @param steps How often a run repeats the graph, at least 1; steps * nodeCount is below 2^32.
    struct Model {
        bytes32 weightsRoot;
        bytes32 graphRoot;
        bytes32 tolerancesRoot;
        uint32 nodeCount;
        uint32 parameterCount;
        uint32 inputCount;
        uint32 outputCount;
        uint32 steps;
    }

    /// @param uri Where the bundle (graph, weights, tolerances) is stored; unauthenticated, a hint only.
    event ModelRegistered(ModelId indexed modelId, address indexed registrant, Model model, string uri);

    error AlreadyRegistered(ModelId modelId);
    error UnknownModel(ModelId modelId);
    /// @notice A count that must be positive is zero, or above the limit the game can partition, or a step could not
    /// begin with what the one before ended with.
    error InvalidModel(Model model);

    /// @notice Register a model. Anyone may; the id depends on the content alone.
    function register(Model calldata model, string calldata uri) external returns (ModelId);

    /// @notice The commitments of a registered model; reverts with UnknownModel otherwise.
    function get(ModelId modelId) external view returns (Model memory);

    function isRegistered(ModelId modelId) external view returns (bool);

    /// @notice keccak256(abi.encode(TAG_MODEL, model)).
    function idOf(Model calldata model) external pure returns (ModelId);
}
