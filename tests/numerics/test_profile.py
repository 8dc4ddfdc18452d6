import dataclasses
import json
import math

import pytest
import torch

from tao.errors import ProfileError
from tao.numerics.profile import Device, NodeTolerance, Profile
from tao.numerics.statistics import GRID, deviation_statistics
from tao.tensors import merkle
from tao.tensors.keccak import keccak

PROFILE = Profile(
    graph_root=bytes(range(32)),
    nodes=tuple(
        NodeTolerance((0.0, 1e-9 * i, 1e-8 / 3, 2e-8, 0.1 + 0.2), (0.0, 1e-9, 1 / 3, 1 / 3, 5e-324 + i + 1))
        for i in range(3)
    ),
    devices=(Device("native", "vendor kernels"), Device("split-2", "contractions in two parts")),
    samples=64,
)


def test_the_file_keeps_every_bit_and_the_root():
    back = Profile.from_json(PROFILE.to_json())
    assert back == PROFILE
    assert back.root == PROFILE.root
    assert back.to_json() == PROFILE.to_json()


def test_a_leaf_binds_thresholds_grid_and_safety():
    record = json.loads(PROFILE.record(1))
    assert record == {
        "absolute": list(PROFILE.nodes[1].absolute),
        "grid": list(GRID),
        "relative": list(PROFILE.nodes[1].relative),
        "safety": PROFILE.safety,
    }
    assert PROFILE.leaves[1] == keccak(keccak(b"TAO.tolerance.v1") + PROFILE.record(1))
    assert dataclasses.replace(PROFILE, safety=PROFILE.safety + 1).root != PROFILE.root
    looser = dataclasses.replace(PROFILE.nodes[2], absolute=(1.0,) * 5)
    assert dataclasses.replace(PROFILE, nodes=(*PROFILE.nodes[:2], looser)).root != PROFILE.root


def test_every_leaf_is_proven_under_the_root():
    for index, leaf in enumerate(PROFILE.leaves):
        assert merkle.verify(PROFILE.root, leaf, index, 3, PROFILE.proof(index))


def test_a_node_is_judged_by_its_worst_output():
    own = torch.ones(100)
    fine, far = deviation_statistics(own, own), deviation_statistics(own + 7, own)
    assert PROFILE.exceedance(2, [fine]) == 0
    assert PROFILE.exceedance(2, [fine, far]) == PROFILE.exceedance(2, [far]) > 1
    mismatch = deviation_statistics(torch.tensor([1]), torch.tensor([2]))
    assert PROFILE.exceedance(0, [fine, mismatch]) == math.inf


def test_a_profile_of_another_graph_is_refused():
    PROFILE.require(bytes(range(32)), 3)
    with pytest.raises(ProfileError, match="it is of graph 0x0001.*calibrate the model again"):
        PROFILE.require(bytes(32), 3)
    with pytest.raises(ProfileError, match="3 nodes and the graph 4"):
        PROFILE.require(bytes(range(32)), 4)


def edited(path: list, value: object) -> bytes:
    record = json.loads(PROFILE.to_json())
    target = record
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (PROFILE.to_json()[:-20], "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "fields"),
        (edited(["extra"], 1), "fields"),
        (edited(["format"], "tao.profile.v0"), "format"),
        (edited(["graph_root"], "0x12"), "32 bytes"),
        (edited(["graph_root"], "0xzz"), "hexadecimal"),
        (edited(["graph_root"], 7), "hexadecimal"),
        (edited(["grid"], [50.0, 50.0, 99.0, 99.9, 100.0]), "does not rise"),
        (edited(["grid"], [0.0, 50.0, 99.0, 99.9, 100.0]), "does not rise"),
        (edited(["grid"], [1.0, 50.0, 99.0, 99.9, 101.0]), "does not rise"),
        (edited(["grid"], []), "does not rise"),
        (edited(["safety"], 0.5), "safety factor"),
        (edited(["safety"], "3"), "safety factor"),
        (edited(["safety"], math.inf), "not JSON"),
        (edited(["samples"], 0), "0 inputs"),
        (edited(["samples"], True), "samples"),
        (edited(["samples"], 1.5), "samples"),
        (edited(["nodes"], []), "no nodes"),
        (edited(["nodes"], {}), "not a list"),
        (edited(["nodes", 1], {"absolute": [0] * 5}), "other fields"),
        (edited(["nodes", 1, "absolute"], [0, 0, 0, 0]), "do not match the grid"),
        (edited(["nodes", 1, "absolute", 0], -1e-9), "negative"),
        (edited(["nodes", 1, "relative", 4], math.nan), "not JSON"),
        (edited(["nodes", 1, "relative", 4], 10**400), "out of range"),
        (edited(["nodes", 1, "relative", 4], "1"), "not a number"),
        (edited(["nodes", 1, "relative", 4], 0.0), "fall as the percentile rises"),
        (edited(["devices", 0, "name"], 5), "not text"),
    ],
)
def test_a_malformed_file_is_refused_in_one_sentence(data, reason):
    with pytest.raises(ProfileError, match=reason) as caught:
        Profile.from_json(data)
    assert str(caught.value).startswith("Invalid tolerance profile: ")
    assert "\n" not in str(caught.value)


def test_thresholds_that_are_not_finite_cannot_be_built():
    bad = NodeTolerance((0.0,) * 4 + (math.inf,), (0.0,) * 5)
    with pytest.raises(ProfileError, match="not finite"):
        dataclasses.replace(PROFILE, nodes=(bad,))
