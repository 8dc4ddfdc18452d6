"""Bundles: the id follows from the content alone, and a store that changes anything is noticed."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from eth_abi import encode
from eth_hash.auto import keccak

from graph.models import build, case, exported
from tao.errors import ModelError, ProfileError, StoreError
from tao.graph import Graph
from tao.model import ModelBundle, ModelOutline, trace
from tao.numerics.profile import Device, NodeTolerance, Profile
from tao.numerics.statistics import GRID
from tao.tensors import TensorStore, commit, merkle
from tao.tensors.tree import tag


def bundle(name: str = "shapes", profile: Profile | None = None) -> ModelBundle:
    return ModelBundle(*exported(name), profile)


def profile_of(graph: Graph, threshold: float = 1e-6) -> Profile:
    tolerance = NodeTolerance((threshold,) * len(GRID), (threshold,) * len(GRID))
    return Profile(graph.root, (tolerance,) * len(graph), (Device("one", "a device"),), samples=1)


def test_model_id_is_the_hash_of_the_registered_struct() -> None:
    model = bundle()
    fields = list(model.commitment.values())
    registered = "(bytes32,bytes32,bytes32,uint32,uint32,uint32,uint32,uint32)"
    assert model.model_id == keccak(encode(["bytes32", registered], [tag("model"), fields]))
    counts = {"nodeCount": len(model.graph), "parameterCount": 2, "inputCount": 3, "outputCount": 25}
    counts["steps"] = 1
    assert {key: model.commitment[key] for key in counts} == counts


def test_weights_tree_holds_the_commitments_of_the_parameters() -> None:
    model = bundle()
    for index, parameter in enumerate(model.parameters):
        path = model.parameter_path(index)
        count = len(model.parameters)
        assert merkle.verify(model.weights_root, commit(parameter), index, count, path)
        assert model.parameter_tree(index).commitment == commit(parameter)
        assert model.parameter_tree(index) is model.parameter_tree(index)


def test_weights_change_the_id_and_names_and_memory_layout_do_not() -> None:
    same, other = build("resnet"), build("resnet", seed=1)
    model = trace(same.module, same.args)
    assert trace(other.module, other.args).model_id != model.model_id
    channels_last = same.module.to(memory_format=torch.channels_last)
    assert trace(channels_last, same.args).model_id == model.model_id


def test_profile_changes_the_id_and_must_be_of_the_graph() -> None:
    graph, _ = exported("shapes")
    plain, calibrated = bundle(), bundle(profile=profile_of(graph))
    assert plain.tolerances_root == bytes(32) != calibrated.tolerances_root
    assert plain.model_id != calibrated.model_id != bundle(profile=profile_of(graph, 1e-5)).model_id
    with pytest.raises(ProfileError, match="graph"):
        bundle(profile=profile_of(exported("mlp")[0]))


def test_store_gives_the_model_back(tmp_path: Path) -> None:
    store = TensorStore(str(tmp_path))
    for model in (bundle("resnet_channels_last"), bundle(profile=profile_of(exported("shapes")[0]))):
        loaded = ModelBundle.load(store, model.save(store))
        assert loaded.model_id == model.model_id
        assert loaded.graph == model.graph and loaded.profile == model.profile
        assert all(map(torch.equal, loaded.parameters, model.parameters))


def test_an_outline_has_the_models_id_and_graph_and_fetches_no_parameter(tmp_path: Path) -> None:
    store = TensorStore(str(tmp_path))
    for model in (bundle("mlp"), bundle(profile=profile_of(exported("shapes")[0]))):
        model.save(store)
        shutil.rmtree(tmp_path / "tensors")
        outline = ModelOutline.load(store, model.model_id)
        assert outline.graph == model.graph and outline.commitment == model.commitment


def test_steps_change_the_id_and_survive_the_store(tmp_path: Path) -> None:
    store, one = TensorStore(str(tmp_path)), trace(torch.nn.Tanh(), (torch.ones(2, 3),))
    many = replace(one, steps=1000)
    assert many.commitment == one.commitment | {"steps": 1000}
    assert many.model_id != one.model_id
    assert ModelBundle.load(store, many.save(store)).steps == 1000


def test_steps_that_no_game_can_play_are_refused() -> None:
    one = trace(torch.nn.Tanh(), (torch.ones(2, 3),))
    most = (2**32 - 1) // len(one.graph)
    assert replace(one, steps=most).steps == most
    for steps in (0, -1, most + 1):
        with pytest.raises(ModelError, match="steps of"):
            replace(one, steps=steps)
    assert bundle("mlp").steps == 1
    with pytest.raises(ModelError, match="a step cannot begin with"):
        replace(bundle("mlp"), steps=2)


@pytest.mark.parametrize("steps", ["7", None, 1.0, True, 0, -1, 2**300])
def test_manifests_with_malformed_steps_are_refused(tmp_path: Path, steps: object) -> None:
    store = TensorStore(str(tmp_path))
    model_id = bundle("mlp").save(store)
    name = f"models/{model_id.hex()}.json"
    manifest = json.loads(store.get_named(name))
    store.put_named(name, json.dumps(manifest | {"steps": steps}).encode())
    with pytest.raises(ModelError, match="manifest"):
        ModelBundle.load(store, model_id)


def test_missing_models_are_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        ModelBundle.load(TensorStore(str(tmp_path)), bytes(32))


def test_no_more_of_a_parameter_is_read_than_it_may_have(tmp_path: Path) -> None:
    store, model = TensorStore(str(tmp_path)), bundle("mlp")
    model.save(store)
    os.truncate(tmp_path / "tensors" / f"{model.parameter_commitments[0].hex()}.safetensors", 1 << 40)
    with pytest.raises(StoreError, match="longer than"):
        ModelBundle.load(store, model.model_id)


def test_a_manifest_of_too_few_or_too_many_parameters_is_refused(tmp_path: Path) -> None:
    store = TensorStore(str(tmp_path))
    model_id = bundle("mlp").save(store)
    name = f"models/{model_id.hex()}.json"
    manifest = json.loads(store.get_named(name))
    for count in (4, 6):
        parameters = (manifest["parameters"] * 2)[:count]
        store.put_named(name, json.dumps(manifest | {"parameters": parameters}).encode())
        with pytest.raises(ModelError, match=f"the graph has 5 parameters, not {count}"):
            ModelBundle.load(store, model_id)


def test_manifest_of_another_model_is_noticed(tmp_path: Path) -> None:
    store = TensorStore(str(tmp_path))
    name = f"models/{bundle('mlp').save(store).hex()}.json"
    wanted = bundle().save(store)
    store.put_named(f"models/{wanted.hex()}.json", store.get_named(name))
    with pytest.raises(ModelError, match=f"as 0x{wanted.hex()}"):
        ModelBundle.load(store, wanted)
    with pytest.raises(ModelError, match=f"as 0x{wanted.hex()}"):
        ModelOutline.load(store, wanted)


@pytest.mark.parametrize("key", ["graph", "parameters", "profile", "format"])
def test_malformed_manifests_are_refused(tmp_path: Path, key: str) -> None:
    store = TensorStore(str(tmp_path))
    model_id = bundle("mlp").save(store)
    name = f"models/{model_id.hex()}.json"
    manifest = json.loads(store.get_named(name))
    for change in ({key: 7}, {key: "zz"}, {key: ["abcd"] * 5}):
        store.put_named(name, json.dumps(manifest | change).encode())
        with pytest.raises(ModelError, match="manifest"):
            ModelBundle.load(store, model_id)


def test_a_tensor_in_the_place_of_a_tuple_of_them_is_told() -> None:
    x = torch.ones(2, 3)
    model = trace(torch.nn.Tanh(), (x,))
    receipt = model.run((x,))
    calls = (
        lambda: trace(torch.nn.Tanh(), x),
        lambda: model.run(x),
        lambda: model.verify(receipt, x),
        lambda: model.capture(x),
    )
    for call in calls:
        with pytest.raises(ModelError, match=r"inputs are a tuple of tensors; give \(tensor,\)"):
            call()


def test_a_model_can_be_pickled_and_copied_after_it_ran() -> None:
    model, x = trace(torch.nn.Linear(3, 2), (torch.ones(2, 3),)), torch.ones(2, 3)
    receipt = model.run((x,))
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert copied.model_id == model.model_id and copied.run((), {"input": x}) == receipt


def test_a_store_is_named_by_its_place_and_an_id_by_its_hex(tmp_path: Path) -> None:
    model = bundle("mlp")
    model_id = model.save(str(tmp_path))
    for given in (model_id, model_id.hex(), f"0x{model_id.hex()}"):
        assert ModelBundle.load(str(tmp_path), given).model_id == model_id
    for given in ("0x12", "zz", model_id[:31], None, 32):
        with pytest.raises(ModelError, match="is no model id; give its 32 bytes, or these in hex"):
            ModelBundle.load(str(tmp_path), given)


def test_parameters_of_other_types_are_refused() -> None:
    graph, parameters = exported("mlp")
    with pytest.raises(ModelError, match="5 parameters, not 4"):
        ModelBundle(graph, parameters[:4])
    with pytest.raises(ModelError, match="parameter 0 has type"):
        ModelBundle(graph, (parameters[0].double(), *parameters[1:]))


def test_a_traced_model_runs_from_the_store_as_it_ran_eagerly(tmp_path: Path) -> None:
    from tao.execution import Executor

    store, one = TensorStore(str(tmp_path)), case("gpt2_eager")
    model = trace(one.module, one.args, one.kwargs)
    loaded = ModelBundle.load(store, model.save(store))
    outputs = Executor(loaded.graph, loaded.parameters).run(one.args)
    assert all(map(torch.equal, outputs, one.eager()))
