import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tao.errors import ProfileError
from tao.numerics.profile import (
    Device,
    NodeOpening,
    NodeTolerance,
    Profile,
    SegmentTolerance,
    node_leaf,
    segment_leaf,
)
from tao.numerics.statistics import GRID, deviation_statistics
from tao.protocol.partition import child, degree, segments
from tao.tensors import merkle
from tao.tensors.keccak import keccak

PROFILE = Profile(
    graph_root=bytes(range(32)),
    nodes=tuple(
        NodeTolerance(
            (0.0, 1e-9 * i, 1e-8 / 3, 2e-8, 0.1 + 0.2), (0.0, 1e-9, 1 / 3, 1 / 3, 5e-324 + i + 1), i << 15
        )
        for i in range(3)
    ),
    devices=(Device("native", "vendor kernels"), Device("split-2", "contractions in two parts")),
    samples=64,
    segments=(
        SegmentTolerance(0, 3, (0.0, 0.5, 1 / 3 + 1, 2.0, 3.0), (1.0,) * 5),
        SegmentTolerance(0, 2, (0.25,) * 5, (0.0,) * 5),
        SegmentTolerance(1, 3, (0.0,) * 5, (0.0,) * 5),
    ),
)
TAG = keccak(b"TAO.tolerance.v1")


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
    theta = (1 << 15).to_bytes(4, "big")
    assert PROFILE.leaves[1] == keccak(TAG + theta + keccak(PROFILE.record(1)))
    assert dataclasses.replace(PROFILE, safety=PROFILE.safety + 1).root != PROFILE.root
    for change in ({"absolute": (1.0,) * 5}, {"theta": 3}):
        looser = dataclasses.replace(PROFILE.nodes[2], **change)
        assert dataclasses.replace(PROFILE, nodes=(*PROFILE.nodes[:2], looser)).root != PROFILE.root


def test_a_segments_leaf_binds_its_ends_thresholds_grid_and_safety():
    record = json.loads(PROFILE.segment_record(0))
    assert record == {
        "elements": list(PROFILE.segments[0].elements),
        "grid": list(GRID),
        "rows": list(PROFILE.segments[0].rows),
        "safety": PROFILE.segment_safety,
    }
    ends = (1).to_bytes(4, "big") + (3).to_bytes(4, "big")
    assert PROFILE.segment_leaves[2] == keccak(TAG + ends + keccak(PROFILE.segment_record(2)))
    assert dataclasses.replace(PROFILE, segment_safety=7.0).root != PROFILE.root
    assert dataclasses.replace(PROFILE, segments=PROFILE.segments[:2]).root != PROFILE.root
    looser = dataclasses.replace(PROFILE.segments[2], rows=(0.0, 0.0, 0.0, 0.0, 1.0))
    assert dataclasses.replace(PROFILE, segments=(*PROFILE.segments[:2], looser)).root != PROFILE.root


def test_the_root_joins_both_trees_and_no_segments_are_a_tree_of_none():
    assert PROFILE.root == keccak(merkle.root(PROFILE.leaves) + merkle.root(PROFILE.segment_leaves))
    assert dataclasses.replace(PROFILE, segments=()).root == keccak(merkle.root(PROFILE.leaves) + bytes(32))


def test_every_node_is_proven_under_the_root_by_its_path_and_the_segments_root():
    for index, leaf in enumerate(PROFILE.leaves):
        opening = PROFILE.open_node(index)
        assert opening.verify(PROFILE.root, 3)
        # What a contract does: the path of a tree of three leaves, and the segments' root at its end.
        assert len(opening.path) == 2
        top = leaf
        for level, sibling in enumerate(opening.path):
            top = keccak(sibling + top if index >> level & 1 else top + sibling)
        assert keccak(top + opening.segments_root) == PROFILE.root


def test_a_changed_node_opening_does_not_verify():
    opening = PROFILE.open_node(1)
    changes = (
        {"node": 2}, {"node": 3}, {"node": -1}, {"theta": opening.theta + 1}, {"record_hash": bytes(32)},
        {"path": opening.path[:1]}, {"path": (*opening.path, bytes(32))}, {"path": opening.path[::-1]},
        {"segments_root": PROFILE.nodes_root},
    )  # fmt: skip
    for change in changes:
        assert not dataclasses.replace(opening, **change).verify(PROFILE.root, 3), change
    assert not opening.verify(PROFILE.root, 5)


def test_every_segment_is_proven_under_the_root_by_its_ends_its_thresholds_and_its_path():
    def leads_to_root(leaf: bytes, index: int, path: list[bytes]) -> bool:
        top = merkle.climb(leaf, index, len(PROFILE.segments), path)
        return top is not None and keccak(PROFILE.nodes_root + top) == PROFILE.root

    for index, segment in enumerate(PROFILE.segments):
        path, record = merkle.path(PROFILE.segment_leaves, index), keccak(PROFILE.segment_record(index))
        lo, hi = segment.lo, segment.hi
        assert leads_to_root(segment_leaf(lo, hi, record), index, path)
        for ends in ((7, hi), (lo, 9)):
            assert not leads_to_root(segment_leaf(*ends, record), index, path)
        assert not leads_to_root(segment_leaf(lo, hi, bytes(32)), index, path)
        assert not leads_to_root(segment_leaf(lo, hi, record), 3, path)
        assert not leads_to_root(segment_leaf(lo, hi, record), index, [])
    assert PROFILE.segment(0, 1) is None and PROFILE.segment(0, 2) == PROFILE.segments[1]


def test_leaves_of_nodes_and_segments_are_hashes_of_other_lengths():
    """A segment's leaf does not verify as a node's."""
    record = keccak(PROFILE.segment_record(0))
    assert node_leaf(0, record) != segment_leaf(0, 3, record)
    path = tuple(merkle.path(PROFILE.segment_leaves, 0))
    as_node = NodeOpening(0, 0, record, path, PROFILE.nodes_root)
    assert not as_node.verify(PROFILE.root, 3)


@given(st.integers(1, 300), st.integers(2, 32))
def test_the_segments_of_a_partition_are_where_a_dispute_can_stand(count, fan_out):
    found = segments(count, fan_out)
    assert list(found) == sorted(set(found), key=lambda segment: (segment[0], -segment[1]))
    assert all(hi - lo > 1 for lo, hi in found)
    assert ((0, count) in found) is (count > 1)
    for lo, hi in found:
        inside = [child(lo, hi, fan_out, index) for index in range(degree(lo, hi, fan_out))]
        assert {segment for segment in inside if segment[1] - segment[0] > 1} <= set(found)
    nested = sum(len([s for s in found if s[0] <= cut < s[1]]) for cut in (0, count - 1))
    assert nested <= 2 * count.bit_length()


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
        (edited(["segment_safety"], 0.99), "safety factor"),
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
        (edited(["nodes", 1, "theta"], 1 << 32), "not a Q16.16"),
        (edited(["nodes", 1, "theta"], -1), "not a Q16.16"),
        (edited(["nodes", 1, "theta"], 1.5), "not an integer"),
        (edited(["segments"], None), "not a list"),
        (edited(["segments", 0], {"lo": 0, "hi": 3}), "other fields"),
        (edited(["segments", 0, "hi"], 4), "does not hold two or more of the 3"),
        (edited(["segments", 1, "hi"], 1), "does not hold two or more"),
        (edited(["segments", 0, "lo"], -1), "does not hold two or more"),
        (edited(["segments", 0, "lo"], False), "not an integer"),
        (edited(["segments", 0, "hi"], 2), "out of order or there twice"),
        (edited(["segments", 2, "lo"], 0), "out of order or there twice"),
        (edited(["segments", 0, "elements", 0], -1.0), "negative"),
        (edited(["segments", 0, "rows"], [1.0]), "do not match the grid"),
        (edited(["segments", 0, "rows", 0], 2.0), "fall as the percentile rises"),
        (edited(["devices", 0, "name"], 5), "not text"),
    ],
)
def test_a_malformed_file_is_refused_in_one_sentence(data, reason):
    with pytest.raises(ProfileError, match=reason) as caught:
        Profile.from_json(data)
    assert str(caught.value).startswith("invalid tolerance profile: ")
    assert "\n" not in str(caught.value)


def test_thresholds_that_are_not_finite_cannot_be_built():
    bad = NodeTolerance((0.0,) * 4 + (math.inf,), (0.0,) * 5)
    with pytest.raises(ProfileError, match="not finite"):
        dataclasses.replace(PROFILE, nodes=(bad,))
