import re
import struct
from dataclasses import replace

import pytest
import torch
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from tao.chain.build import ROOT
from tao.errors import InvalidTensor
from tao.tensors import TAGS, Opening, TensorTree, TensorType, commit, encode, state_hash, tag, tree

from . import reference
from .strategies import tensors

GOLDEN = {
    "float32 scalar 1.0": "a68d662ec06f9b17701d155ef227df1cb97bd206de39a78ebebccb35a3528602",
    "float32 arange 3x65": "3fcc0fccb607baf46fafe9b0a90833d1a0f3ef3a2d1cbd47e3b30b5bba06a840",
    "bfloat16 arange 2x3x5": "2d8ac117a2dca419fedd02364210a6cdb3adfb8cc2d05fa2736ac277e0869f02",
    "int64 arange 1000": "c275f2873e3cac78d52c70dde68d2239e4163613a62c28277ce0f040455c0d24",
    "bool 9x1": "5ed3172ef3b467879e9dfefe9a604de7f170a76ef552b3b8e2bf1c26d90337db",
}


def golden_tensor(name: str) -> torch.Tensor:
    return {
        "float32 scalar 1.0": torch.tensor(1.0),
        "float32 arange 3x65": torch.arange(195, dtype=torch.float32).reshape(3, 65),
        "bfloat16 arange 2x3x5": torch.arange(30, dtype=torch.bfloat16).reshape(2, 3, 5),
        "int64 arange 1000": torch.arange(1000),
        "bool 9x1": (torch.arange(9) % 2 == 0).reshape(9, 1),
    }[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_commitments(name):
    assert commit(golden_tensor(name)).hex() == GOLDEN[name]


@given(tensors())
@settings(max_examples=150, deadline=None)
def test_commitment_is_that_of_the_reference_whatever_dtype_shape_and_strides(tensor):
    assert commit(tensor) == reference.commitment(tensor)


@given(tensors(), st.sampled_from([256, 512, 4096]))
@settings(deadline=None)
def test_commitment_does_not_depend_on_the_pieces(tensor, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "PIECE", size)
        assert commit(tensor) == reference.commitment(tensor)


def test_equal_values_of_another_type_or_shape_have_another_commitment():
    values = torch.zeros(2, 8)
    others = [values.view(8, 2), values.view(16), values.to(torch.int32), values.view(torch.bfloat16)]
    assert len({commit(values), *map(commit, others)}) == 5


def test_zero_padding_does_not_hide_the_shape_of_a_row():
    assert commit(torch.zeros(1, 3)) != commit(torch.zeros(1, 4))
    assert TensorTree(torch.zeros(3)).data_root == TensorTree(torch.zeros(4)).data_root


def test_a_parameter_commits_like_its_values():
    values = torch.arange(6.0).view(2, 3)
    assert commit(torch.nn.Parameter(values)) == commit(values)


@given(tensors(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_run_inside_a_row_opens_by_the_smallest_aligned_subtree(tensor, data):
    opened, tensor_type = TensorTree(tensor), TensorType.of(tensor)
    row = data.draw(st.integers(0, tensor_type.rows - 1))
    begin = data.draw(st.integers(0, tensor_type.row_length - 1))
    length = data.draw(st.integers(1, tensor_type.row_length - begin))
    opening = opened.open(row * tensor_type.row_length + begin, length)

    per_chunk = 256 // tensor.element_size()
    first, last = begin // per_chunk, (begin + length - 1) // per_chunk
    start = first >> opening.level << opening.level
    assert last < start + 2**opening.level
    assert opening.level == 0 or (first >> opening.level - 1) != (last >> opening.level - 1)
    leaf = row * 2**tensor_type.row_height + start
    assert reference.accepts(opened.commitment, tensor_type.pack(), leaf, opening)
    at = (begin - start * per_chunk) * tensor.element_size()
    run = encode(tensor.reshape(tensor_type.rows, -1)[row, begin : begin + length])
    assert opening.data[at : at + len(run)] == run


@given(tensors(), st.data())
@settings(deadline=None)
def test_every_chunk_opens_by_its_leaf(tensor, data):
    opened, tensor_type = TensorTree(tensor), TensorType.of(tensor)
    row = data.draw(st.integers(0, tensor_type.rows - 1))
    chunk = data.draw(st.integers(0, tensor_type.chunks_per_row - 1))
    leaf = row * 2**tensor_type.row_height + chunk
    opening = opened.open_chunk(leaf)
    assert opening.level == 0
    assert opening.data == reference.chunks_of(reference.rows_of(tensor)[row])[chunk]
    assert reference.accepts(opened.commitment, tensor_type.pack(), leaf, opening)


ROWS = torch.arange(5 * 300, dtype=torch.float32).view(5, 300)  # 5 chunks a row in 8 leaves, 5 rows in 8
LEAF = 3 * 8 + 2


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def tampered(opening: Opening) -> dict[str, Opening]:
    path = opening.path
    return {
        "first byte": replace(opening, data=changed(opening.data, 0)),
        "last byte": replace(opening, data=changed(opening.data, len(opening.data) - 1)),
        "a chunk less": replace(opening, data=opening.data[:-256]),
        "a chunk more": replace(opening, data=opening.data + bytes(256)),
        "lowest sibling": replace(opening, path=(changed(path[0], 31), *path[1:])),
        "highest sibling": replace(opening, path=(*path[:-1], changed(path[-1], 0))),
        "short path": replace(opening, path=path[:-1]),
        "long path": replace(opening, path=(*path, bytes(32))),
        "swapped siblings": replace(opening, path=(path[1], path[0], *path[2:])),
        "level below": replace(opening, level=opening.level - 1),
        "level above": replace(opening, level=opening.level + 1),
    }


@pytest.mark.parametrize("kind", tampered(Opening(1, bytes(512), (bytes(32),) * 5)))
def test_a_tampered_opening_is_rejected(kind):
    opened = TensorTree(ROWS)
    opening = opened.open(3 * 300 + 130, 120)  # chunks 2 and 3 of row 3
    packed = opened.type.pack()
    assert opening.level == 1 and reference.accepts(opened.commitment, packed, LEAF, opening)
    assert not reference.accepts(opened.commitment, packed, LEAF, tampered(opening)[kind])


def test_an_opening_verifies_at_its_own_index_and_type_alone():
    opened = TensorTree(ROWS)
    opening = opened.open_chunk(LEAF)
    packed = opened.type.pack()
    accepted = [leaf for leaf in range(128) if reference.accepts(opened.commitment, packed, leaf, opening)]
    assert accepted == [LEAF]
    for shape in [(5, 301), (6, 300), (1500,)]:
        other = struct.pack(f">BB{len(shape)}I", 6, len(shape), *shape)
        assert not reference.accepts(opened.commitment, other, LEAF, opening)


@pytest.mark.parametrize(
    ("element", "length", "sentence"),
    [
        (0, 0, "a run of 0 elements"),
        (5, -1, "a run of -1 elements"),
        (-1, 1, "elements -1 to -1 are outside the tensor of 1500"),
        (1500, 1, "elements 1500 to 1500 are outside"),
        (1499, 2, "elements 1499 to 1500 are outside"),
        (299, 2, "elements 299 to 300 cross the end of a row of 300"),
        (0, 301, "elements 0 to 300 cross the end of a row of 300"),
    ],
)
def test_runs_outside_the_tensor_or_across_rows_are_refused(element, length, sentence):
    with pytest.raises(InvalidTensor, match=sentence):
        TensorTree(ROWS).open(element, length)


@pytest.mark.parametrize("leaf", [-1, 5, 7, 8 + 5, 5 * 8, 64])
def test_leaves_without_a_chunk_are_refused(leaf):
    with pytest.raises(InvalidTensor, match=f"leaf {leaf} holds no chunk: the tensor has 5 rows of 5 chunks"):
        TensorTree(ROWS).open_chunk(leaf)


def test_nothing_is_hashed_before_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(tree, "hash_rows", lambda *_: pytest.fail("hashed early"))
    assert TensorTree(ROWS).type.shape == (5, 300)


def test_tags_are_hashes_of_their_names():
    assert all(tag(name) == keccak(f"TAO.{name}.v1".encode()) for name in TAGS)


def test_tags_are_those_of_the_contracts_which_keep_them_in_one_place():
    said = {
        path.name: re.findall(r'"TAO\.(\w+)\.v1"', path.read_text("utf-8"))
        for path in (ROOT / "contracts").rglob("*.sol")
        if ".cache" not in path.parts
    }
    solidity = said.pop("Tags.sol")
    assert len(said) > 40 and not any(said.values())
    # A seed is hashed off chain only.
    assert sorted([*solidity, "seed"]) == sorted(TAGS)


def test_state_hash_is_tagged_and_ordered():
    a, b = keccak(b"a"), keccak(b"b")
    assert state_hash([a, b]) == keccak(keccak(b"TAO.state.v1") + a + b)
    assert state_hash([a, b]) != state_hash([b, a])


@pytest.mark.parametrize("commitments", [[], [bytes(31)], [bytes(32), bytes(33)]])
def test_a_state_of_anything_but_commitments_is_refused(commitments):
    with pytest.raises(InvalidTensor, match="one or more tensor commitments of 32 bytes"):
        state_hash(commitments)
