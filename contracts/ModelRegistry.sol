// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { IModelRegistry } from "./interfaces/IModelRegistry.sol";
import { Tags } from "./libraries/Tags.sol";
import { ModelId } from "./types/Types.sol";

/// @title ModelRegistry
/// @dev Documented in IModelRegistry.
contract ModelRegistry is IModelRegistry {
    /// @dev A node record names a live value by a position below its output flag.
    uint256 private constant MAX_POSITIONS = 0x8000;
    /// @dev A node record names a parameter by a uint16.
    uint256 private constant MAX_PARAMETERS = 0x10000;

    mapping(ModelId modelId => Model) private _models;

    /// @inheritdoc IModelRegistry
    function register(Model calldata model, string calldata uri) external returns (ModelId modelId) {
        // INVARIANT: every claim of a model has operators to partition and states a record can describe.
        bool isPlayable = model.nodeCount > 0 && model.inputCount > 0 && model.outputCount > 0
            && model.inputCount <= MAX_POSITIONS && model.outputCount <= MAX_POSITIONS
            && model.parameterCount <= MAX_PARAMETERS;
        // INVARIANT: a run has at least one step, its operators are numbered by a uint32, and the state that ends a
        // step can begin the next.
        bool isRepeatable = model.steps > 0 && uint256(model.steps) * model.nodeCount <= type(uint32).max
            && (model.steps == 1 || model.inputCount == model.outputCount);
        if (!isPlayable || !isRepeatable) revert InvalidModel(model);
        modelId = idOf(model);
        if (isRegistered(modelId)) revert AlreadyRegistered(modelId);
        _models[modelId] = model;
        emit ModelRegistered(modelId, msg.sender, model, uri);
    }

    /// @inheritdoc IModelRegistry
    function get(ModelId modelId) external view returns (Model memory) {
        if (!isRegistered(modelId)) revert UnknownModel(modelId);
        return _models[modelId];
    }

    /// @inheritdoc IModelRegistry
    function isRegistered(ModelId modelId) public view returns (bool) {
        return _models[modelId].nodeCount > 0;
    }

    /// @inheritdoc IModelRegistry
    function idOf(Model calldata model) public pure returns (ModelId) {
        return ModelId.wrap(keccak256(abi.encode(Tags.MODEL, model)));
    }
}
