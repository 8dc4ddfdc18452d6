import pytest
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from tao.tensors import merkle

from .reference import fold

COUNTS = st.integers(1, 40)


def leaves_of(count: int) -> list[bytes]:
    return [keccak(bytes([i])) for i in range(count)]


@given(COUNTS)
@settings(deadline=None)
def test_root_is_that_of_the_tree_padded_with_zero_hashes(count):
    assert merkle.root(leaves_of(count)) == fold(leaves_of(count))


def test_a_parent_of_two_zero_leaves_is_hashed():
    zeros = keccak(bytes(64))
    first = keccak(b"a")
    assert merkle.root([first] * 5) == keccak(
        keccak(keccak(first * 2) * 2) + keccak(keccak(first + bytes(32)) + zeros)
    )


def test_the_tree_of_one_leaf_is_that_leaf_and_of_none_is_zero():
    assert merkle.root([keccak(b"a")]) == keccak(b"a")
    assert merkle.root([]) == bytes(32)


@pytest.mark.parametrize(
    ("count", "height"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (1024, 10), (1025, 11)]
)
def test_tree_height(count, height):
    assert merkle.tree_height(count) == height


@given(COUNTS, st.data())
@settings(deadline=None)
def test_every_leaf_has_a_path_that_verifies_at_its_index_alone(count, data):
    leaves = leaves_of(count)
    root = merkle.root(leaves)
    index = data.draw(st.integers(0, count - 1))
    path = merkle.path(leaves, index)
    verified = [merkle.verify(root, leaves[index], i, count, path) for i in range(-1, 2 * count + 1)]
    assert verified == [i == index for i in range(-1, 2 * count + 1)]


@given(st.integers(2, 40), st.data())
@settings(deadline=None)
def test_a_changed_leaf_path_or_count_does_not_verify(count, data):
    leaves = leaves_of(count)
    root, index = merkle.root(leaves), data.draw(st.integers(0, count - 1))
    path = merkle.path(leaves, index)
    level = data.draw(st.integers(0, len(path) - 1))
    changed = [*path[:level], keccak(path[level]), *path[level + 1 :]]
    assert not merkle.verify(root, keccak(leaves[index]), index, count, path)
    assert not merkle.verify(root, leaves[index], index, count, changed)
    assert not merkle.verify(root, leaves[index], index, count, path[:-1])
    assert not merkle.verify(root, leaves[index], index, 4 * count, path)


def test_padding_is_no_leaf():
    leaves = leaves_of(3)
    path = [leaves[2], keccak(leaves[0] + leaves[1])]
    assert merkle.verify(merkle.root(leaves), bytes(32), 3, 4, path)
    assert not merkle.verify(merkle.root(leaves), bytes(32), 3, 3, path)


@pytest.mark.parametrize("index", [-1, 3])
def test_a_path_outside_the_tree_is_refused(index):
    with pytest.raises(IndexError, match="outside a tree of 3 leaves"):
        merkle.path(leaves_of(3), index)


def test_leaves_that_are_no_hashes_are_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.root([bytes(31)])
