"""What the reference model is told: the parameters of a deployment, the time, the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from support.encoding import MODEL_ABI, Record, height, keccak, tag, tolerance_leaf

__all__ = ["MODEL_ABI", "Model", "Now", "Refused", "Rules"]


class Refused(Exception):
    """The move is not allowed; `error` is the custom error the contracts answer with."""

    def __init__(self, error: str):
        super().__init__(error)
        self.error = error


class Now(NamedTuple):
    """The block in which a move is made."""

    time: int
    block: int


@dataclass(frozen=True)
class Rules:
    """Parameters of a deployment; money in wei, time in seconds, `burn_bps` in 1/10,000."""

    window: int
    prover_bond: int
    challenger_bond: int
    burn_bps: int
    fan_out: int
    prover_clock: int
    challenger_clock: int
    max_demands: int
    stake: int
    member_fee: int
    no_show_penalty: int
    minority_penalty: int
    size: int
    quorum: int
    minority_margin: int
    seed_delay: int
    commit_period: int
    reveal_period: int
    leave_delay: int
    chain: int = 0
    registry: str = ""
    game: str = ""
    committee: str = ""
    adjudicators: Mapping[bytes, str] = field(default_factory=dict)

    def burned(self, bond: int) -> int:
        return bond * self.burn_bps // 10_000


@dataclass(frozen=True)
class Model:
    """A registered model: the eight fields of its commitment and the records under its graph root."""

    commitment: tuple
    records: tuple[Record, ...]

    @property
    def node_count(self) -> int:
        return self.commitment[3]

    @property
    def input_count(self) -> int:
        return self.commitment[5]

    @property
    def output_count(self) -> int:
        return self.commitment[6]

    @property
    def steps(self) -> int:
        return self.commitment[7]

    def contains(self, record: bytes, index: int, path: list[bytes]) -> bool:
        """Whether `path` leads from the record at `index` to the graph root."""
        return is_member(keccak(tag("node") + record), index, self.node_count, path, self.commitment[1])

    def has_parameter(self, commitment: bytes, index: int, path: list[bytes]) -> bool:
        """Whether `path` leads from parameter `index` to the weights root."""
        return is_member(commitment, index, self.commitment[4], path, self.commitment[0])

    def is_threshold(self, theta: int, other: bytes, index: int, path: list[bytes]) -> bool:
        """Whether these are the tolerances of the node at `index`; the path ends with the segments' root."""
        if len(path) != height(self.node_count) + 1:
            return False
        root = keccak(fold(tolerance_leaf(theta, other), index, path[:-1]) + path[-1])
        return root == self.commitment[2]


def is_member(leaf: bytes, index: int, count: int, path: list[bytes], root: bytes) -> bool:
    """Whether `path` leads from leaf `index` of `count` to the root."""
    return len(path) == height(count) and fold(leaf, index, path) == root


def fold(leaf: bytes, index: int, path: list[bytes]) -> bytes:
    """The root above leaf `index`."""
    for level, sibling in enumerate(path):
        leaf = keccak(sibling + leaf if index >> level & 1 else leaf + sibling)
    return leaf


def require(condition: bool, error: str) -> None:
    if not condition:
        raise Refused(error)
