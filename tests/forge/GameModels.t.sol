// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import { ModelRegistry } from "../../contracts/ModelRegistry.sol";
import { IModelRegistry } from "../../contracts/interfaces/IModelRegistry.sol";
import { ModelId } from "../../contracts/types/Types.sol";
import { Cheats } from "./mocks/Cheats.sol";
import { deploy } from "./support/Deploy.sol";

contract GameModelsTest is Cheats {
    ModelRegistry private immutable _models = ModelRegistry(deploy("ModelRegistry", ""));

    function testFuzz_register_givesTheHashOfTheContent(IModelRegistry.Model memory model) external {
        model = _valid(model);
        ModelId expected = ModelId.wrap(keccak256(abi.encode(keccak256("TAO.model.v1"), model)));
        vm.assertFalse(_models.isRegistered(expected), "not before");
        vm.expectEmit();
        emit IModelRegistry.ModelRegistered(expected, address(this), model, "file:///model");
        ModelId modelId = _models.register(model, "file:///model");
        vm.assertEq(ModelId.unwrap(modelId), ModelId.unwrap(expected), "id");
        vm.assertEq(ModelId.unwrap(_models.idOf(model)), ModelId.unwrap(expected), "idOf");
        vm.assertEq(keccak256(abi.encode(_models.get(modelId))), keccak256(abi.encode(model)), "get");
        vm.assertTrue(_models.isRegistered(modelId), "registered");
    }

    function testFuzz_register_again_reverts(IModelRegistry.Model memory model) external {
        model = _valid(model);
        ModelId modelId = _models.register(model, "");
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.AlreadyRegistered.selector, modelId));
        _models.register(model, "another place");
    }

    function test_register_ofCountsOutOfRange_reverts() external {
        IModelRegistry.Model memory model = _model(0, 1, 1, 1);
        _expectInvalid(model);
        _models.register(model, "");
        model = _model(1, 1, 0, 1);
        _expectInvalid(model);
        _models.register(model, "");
        model = _model(1, 1, 1, 0);
        _expectInvalid(model);
        _models.register(model, "");
        model = _model(1, 0x10001, 1, 1);
        _expectInvalid(model);
        _models.register(model, "");
        model = _model(1, 1, 0x8001, 1);
        _expectInvalid(model);
        _models.register(model, "");
        model = _model(1, 1, 1, 0x8001);
        _expectInvalid(model);
        _models.register(model, "");
    }

    function test_register_ofCountsAtTheirLimits_succeeds() external {
        _models.register(_model(1, 0, 1, 1), "");
        _models.register(_model(type(uint32).max, 0x10000, 0x8000, 0x8000), "");
        IModelRegistry.Model memory model = _model(1 << 16, 0, 2, 2);
        model.steps = 0xffff; // 2^32 - 2^16 operators
        _models.register(model, "");
    }

    function test_register_ofStepsOutOfRange_reverts() external {
        IModelRegistry.Model memory model = _model(1, 0, 2, 2);
        model.steps = 0;
        _expectInvalid(model);
        _models.register(model, "");
        model = _model(1 << 16, 0, 2, 2);
        model.steps = 1 << 16; // 2^32 operators
        _expectInvalid(model);
        _models.register(model, "");
    }

    function test_register_ofStepsThatDoNotJoin_reverts() external {
        IModelRegistry.Model memory model = _model(1, 0, 2, 3);
        model.steps = 2;
        _expectInvalid(model);
        _models.register(model, "");
        model.steps = 1;
        _models.register(model, "");
    }

    function test_get_ofAnUnknownModel_reverts() external {
        ModelId nobodys = ModelId.wrap(keccak256("nothing"));
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.UnknownModel.selector, nobodys));
        _models.get(nobodys);
    }

    function _expectInvalid(IModelRegistry.Model memory model) private {
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.InvalidModel.selector, model));
    }

    function _model(uint32 nodes, uint32 parameters, uint32 inputs, uint32 outputs)
        private
        pure
        returns (IModelRegistry.Model memory model)
    {
        model.nodeCount = nodes;
        model.parameterCount = parameters;
        model.inputCount = inputs;
        model.outputCount = outputs;
        model.steps = 1;
    }

    function _valid(IModelRegistry.Model memory model) private pure returns (IModelRegistry.Model memory) {
        model.nodeCount = uint32(bound(model.nodeCount, 1, type(uint32).max));
        model.parameterCount = uint32(bound(model.parameterCount, 0, 0x10000));
        model.inputCount = uint32(bound(model.inputCount, 1, 0x8000));
        model.outputCount = uint32(bound(model.outputCount, 1, 0x8000));
        model.steps = uint32(bound(model.steps, 1, type(uint32).max / model.nodeCount));
        if (model.steps > 1) model.outputCount = model.inputCount;
        return model;
    }
}
