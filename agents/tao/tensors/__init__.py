"""Tensor types, commitments, openings and the content-addressed store."""

from tao.tensors.codec import CHUNK, DType, TensorType, decode, encode
from tao.tensors.keccak import hash_blocks
from tao.tensors.store import TensorStore
from tao.tensors.tree import TAGS, Opening, TensorTree, commit, state_hash, tag

__all__ = [
    "CHUNK",
    "TAGS",
    "DType",
    "Opening",
    "TensorStore",
    "TensorTree",
    "TensorType",
    "commit",
    "decode",
    "encode",
    "hash_blocks",
    "state_hash",
    "tag",
]
