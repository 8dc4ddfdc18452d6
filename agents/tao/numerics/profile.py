"""The tolerance profile of a model: what honest devices deviate by, operator by operator.

The profile commits to a Merkle tree with one leaf per node: the keccak of TAG_tolerance and the canonical
JSON of the node's tolerance, which are its thresholds with the grid and the safety factor they are read by.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tao.errors import ProfileError
from tao.numerics.statistics import GRID, Statistics, exceedance
from tao.tensors import merkle
from tao.tensors.keccak import keccak
from tao.tensors.tree import tag
from tao.untrusted import parse_json

FORMAT = "tao.profile.v1"
SAFETY = 3.0
"""Deviations are rejected beyond this many times the calibrated ones, unless the profile says otherwise."""


@dataclass(frozen=True)
class NodeTolerance:
    """Thresholds of one operator: the largest percentiles any pair of devices showed in calibration."""

    absolute: tuple[float, ...]
    relative: tuple[float, ...]


@dataclass(frozen=True)
class Device:
    """A device that took part in the calibration."""

    name: str
    description: str


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


@dataclass(frozen=True)
class Profile:
    """Thresholds for every node of the graph with root `graph_root`.

    samples: inputs calibrated on. devices: whose pairs were compared. Floats survive the file bit for bit.
    """

    graph_root: bytes
    nodes: tuple[NodeTolerance, ...]
    devices: tuple[Device, ...]
    samples: int
    grid: tuple[float, ...] = GRID
    safety: float = SAFETY

    def __post_init__(self) -> None:
        """Raises ProfileError, in one sentence, for any value a profile cannot have."""
        _require(len(self.graph_root) == 32, "the graph root is not 32 bytes")
        _require(self.samples >= 1, f"it was calibrated on {self.samples} inputs; at least 1 is needed")
        _require(
            math.isfinite(self.safety) and self.safety >= 1, f"the safety factor {self.safety} is below 1"
        )
        ascending = all(low < high for low, high in zip((0.0, *self.grid), self.grid, strict=False))
        _require(
            bool(self.grid) and ascending and self.grid[-1] <= 100,
            f"the grid {list(self.grid)} does not rise within 0 to 100",
        )
        _require(bool(self.nodes), "it has no nodes")
        for index, node in enumerate(self.nodes):
            for kind, values in (("absolute", node.absolute), ("relative", node.relative)):
                where = f"the {kind} thresholds of node {index}"
                _require(len(values) == len(self.grid), f"{where} do not match the grid of {len(self.grid)}")
                _require(
                    all(math.isfinite(v) and v >= 0 for v in values), f"{where} are negative or not finite"
                )
                _require(list(values) == sorted(values), f"{where} fall as the percentile rises")

    def exceedance(self, node: int, outputs: Sequence[Statistics]) -> float:
        """The worst exceedance of a node's outputs against its thresholds; above 1 the node is rejected."""
        tolerance = self.nodes[node]
        return max(
            (exceedance(output, tolerance.absolute, tolerance.relative, self.safety) for output in outputs),
            default=0.0,
        )

    def record(self, node: int) -> bytes:
        """Canonical JSON of a node's tolerance, the content of its leaf."""
        tolerance = self.nodes[node]
        return _canonical(
            {
                "absolute": tolerance.absolute,
                "grid": self.grid,
                "relative": tolerance.relative,
                "safety": self.safety,
            }
        )

    @cached_property
    def leaves(self) -> tuple[bytes, ...]:
        """keccak256(TAG_tolerance || record) of every node."""
        return tuple(keccak(tag("tolerance") + self.record(node)) for node in range(len(self.nodes)))

    @property
    def root(self) -> bytes:
        """The tolerances root of the model."""
        return merkle.root(self.leaves)

    def proof(self, node: int) -> list[bytes]:
        """Merkle path of a node's tolerance."""
        return merkle.path(self.leaves, node)

    def require(self, graph_root: bytes, node_count: int) -> None:
        """Raises ProfileError unless this is a profile of the graph with this root and number of nodes."""
        _require(
            self.graph_root == graph_root,
            f"it is of graph 0x{self.graph_root.hex()}, not 0x{graph_root.hex()}; calibrate the model again",
        )
        _require(len(self.nodes) == node_count, f"it has {len(self.nodes)} nodes and the graph {node_count}")

    def to_json(self) -> bytes:
        """The profile's file: canonical JSON."""
        return _canonical(
            {
                "format": FORMAT,
                "graph_root": "0x" + self.graph_root.hex(),
                "grid": self.grid,
                "safety": self.safety,
                "samples": self.samples,
                "devices": [{"name": d.name, "description": d.description} for d in self.devices],
                "nodes": [{"absolute": n.absolute, "relative": n.relative} for n in self.nodes],
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> "Profile":
        """Read a profile's file. Raises ProfileError, in one sentence, if it is malformed."""
        try:
            record = parse_json(data, parse_constant=_no_constant)
        except ValueError as error:
            raise ProfileError(f"Invalid tolerance profile: it is not JSON ({error}).") from error
        fields = {"format", "graph_root", "grid", "safety", "samples", "devices", "nodes"}
        _require(isinstance(record, dict) and record.keys() == fields, f"its fields are not {sorted(fields)}")
        _require(record["format"] == FORMAT, f"its format is {record['format']!r}, not {FORMAT!r}")
        _require(
            isinstance(record["samples"], int) and not isinstance(record["samples"], bool),
            "the number of samples is not an integer",
        )
        return cls(
            graph_root=_root(record["graph_root"]),
            nodes=tuple(
                NodeTolerance(
                    _numbers(node["absolute"], f"node {i}"), _numbers(node["relative"], f"node {i}")
                )
                for i, node in enumerate(_records(record["nodes"], "nodes", {"absolute", "relative"}))
            ),
            devices=tuple(
                Device(_text(device["name"]), _text(device["description"]))
                for device in _records(record["devices"], "devices", {"name", "description"})
            ),
            samples=record["samples"],
            grid=_numbers(record["grid"], "the grid"),
            safety=_numbers([record["safety"]], "the safety factor")[0],
        )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProfileError(f"Invalid tolerance profile: {otherwise}.")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _root(value: object) -> bytes:
    _require(isinstance(value, str) and value.startswith("0x"), "the graph root is not hexadecimal")
    try:
        return bytes.fromhex(value[2:])
    except ValueError as error:
        raise ProfileError("Invalid tolerance profile: the graph root is not hexadecimal.") from error


def _text(value: object) -> str:
    _require(isinstance(value, str), "a device's name or description is not text")
    return value


def _numbers(value: object, where: str) -> tuple[float, ...]:
    _require(isinstance(value, list), f"{where} has no list of numbers")
    _require(
        all(isinstance(x, int | float) and not isinstance(x, bool) for x in value),
        f"{where} holds something that is not a number",
    )
    try:
        return tuple(float(x) for x in value)
    except OverflowError as error:
        raise ProfileError(f"Invalid tolerance profile: {where} holds a number out of range.") from error


def _records(value: object, where: str, fields: set[str]) -> list[dict]:
    _require(isinstance(value, list), f"{where} is not a list")
    _require(
        all(isinstance(item, dict) and item.keys() == fields for item in value),
        f"an entry of {where} has other fields than {sorted(fields)}",
    )
    return value
