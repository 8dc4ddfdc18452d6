"""The tolerance profile of a model: what honest devices deviate by, operator by operator and over segments.

The profile commits to two Merkle trees, one leaf per node and one per segment (docs/protocol.md, section 2):

    node leaf       keccak256(TAG_tolerance || theta:uint32 || keccak256(JSON))            68 bytes
    segment leaf    keccak256(TAG_tolerance || lo:uint32 || hi:uint32 || keccak256(JSON))  72 bytes
    root            keccak256(nodes root || segments root)                                 64 bytes

where JSON is the canonical JSON of the thresholds with the grid and the safety factor they are read by. The
three hashes have inputs of different lengths, so none passes for another, and the nodes stand on the left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

from tao.errors import ProfileError
from tao.graph.literals import canonical_json
from tao.numerics.segments import SegmentStatistics, segment_exceedance
from tao.numerics.settings import SAFETY, SEGMENT_SAFETY, is_factor
from tao.numerics.statistics import GRID, Statistics, exceedance
from tao.tensors import merkle
from tao.tensors.keccak import keccak
from tao.tensors.tree import tag
from tao.untrusted import parse_json

FORMAT = "tao.profile.v3"
MOST_PERCENTILES = 32
"""Members publish two figures for each percentile beside their vote, in STATISTICS_LIMIT bytes."""


@dataclass(frozen=True)
class NodeTolerance:
    """Thresholds of one operator: the largest percentiles any pair of devices showed in calibration.

    theta: the largest error in the natural unit of the node's family times the safety factor (`tao.numerics.theta`), as
    Q16.16, an integer below 2^32; 0 for none. Only that of a sum of products is one to accuse by.
    """

    absolute: tuple[float, ...]
    relative: tuple[float, ...]
    theta: int = 0


@dataclass(frozen=True)
class SegmentTolerance:
    """Thresholds of the segment [lo, hi) of several operators: see `tao.numerics.segments`."""

    lo: int
    hi: int
    elements: tuple[float, ...]
    rows: tuple[float, ...]


@dataclass(frozen=True)
class Device:
    """A device that took part in the calibration."""

    name: str
    description: str


@dataclass(frozen=True)
class Profile:
    """Thresholds for every node of the graph with root `graph_root`, and for segments of it.

    samples: inputs calibrated on. devices: whose pairs were compared. segments: in ascending order of
    (lo, -hi), each of at least two operators. safety, segment_safety: of the thresholds of nodes and of
    segments. Floats survive the file bit for bit.
    """

    graph_root: bytes
    nodes: tuple[NodeTolerance, ...]
    devices: tuple[Device, ...]
    samples: int
    grid: tuple[float, ...] = GRID
    safety: float = SAFETY
    segments: tuple[SegmentTolerance, ...] = ()
    segment_safety: float = SEGMENT_SAFETY

    def __post_init__(self) -> None:
        """Raises ProfileError, in one sentence, for any value a profile cannot have."""
        _require(len(self.graph_root) == 32, "the graph root is not 32 bytes")
        _require(self.samples >= 1, f"it was calibrated on {self.samples} inputs; at least 1 is needed")
        for safety in (self.safety, self.segment_safety):
            _require(is_factor(safety), f"the safety factor {safety} is not a finite number from 1 on")
        ascending = all(low < high for low, high in zip((0.0, *self.grid), self.grid, strict=False))
        _require(
            bool(self.grid) and ascending and self.grid[-1] <= 100,
            f"the grid {list(self.grid)} does not rise within 0 to 100",
        )
        _require(
            len(self.grid) <= MOST_PERCENTILES,
            f"the grid has {len(self.grid)} percentiles; members publish {MOST_PERCENTILES} at most",
        )
        _require(bool(self.nodes), "it has no nodes")
        for index, node in enumerate(self.nodes):
            self._check(f"absolute thresholds of node {index}", node.absolute)
            self._check(f"relative thresholds of node {index}", node.relative)
            _require(0 <= node.theta < 1 << 32, f"theta of node {index} is not a Q16.16 number")
        previous = (-1, 0)
        for segment in self.segments:
            where = f"segment [{segment.lo}, {segment.hi})"
            _require(
                0 <= segment.lo and segment.lo + 1 < segment.hi <= len(self.nodes),
                f"{where} does not hold two or more of the {len(self.nodes)} operators",
            )
            _require(previous < (segment.lo, -segment.hi), f"{where} is out of order or there twice")
            previous = (segment.lo, -segment.hi)
            self._check(f"element thresholds of {where}", segment.elements)
            self._check(f"row thresholds of {where}", segment.rows)

    def _check(self, what: str, values: Sequence[float]) -> None:
        _require(len(values) == len(self.grid), f"the {what} do not match the grid of {len(self.grid)}")
        _require(all(math.isfinite(v) and v >= 0 for v in values), f"the {what} are negative or not finite")
        _require(list(values) == sorted(values), f"the {what} fall as the percentile rises")

    def exceedance(self, node: int, outputs: Sequence[Statistics]) -> float:
        """The worst exceedance of a node's outputs against its thresholds; above 1 the node is rejected."""
        tolerance = self.nodes[node]
        return max(
            (exceedance(output, tolerance.absolute, tolerance.relative, self.safety) for output in outputs),
            default=0.0,
        )

    def segment(self, lo: int, hi: int) -> SegmentTolerance | None:
        """The thresholds of the segment [lo, hi), None if it was not calibrated."""
        index = self._places.get((lo, hi))
        return None if index is None else self.segments[index]

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        return {(segment.lo, segment.hi): index for index, segment in enumerate(self.segments)}

    def segment_exceedance(self, lo: int, hi: int, end: Sequence[SegmentStatistics]) -> float:
        """The worst exceedance of a segment's end; above 1 it is rejected.

        0 if the segment was not calibrated: nothing is known against it.
        """
        tolerance = self.segment(lo, hi)
        if tolerance is None:
            return 0.0
        return segment_exceedance(end, tolerance.elements, tolerance.rows, self.segment_safety)

    def record(self, node: int) -> bytes:
        """Canonical JSON of a node's thresholds, whose hash is in its leaf."""
        tolerance = self.nodes[node]
        return canonical_json(
            {
                "absolute": tolerance.absolute,
                "grid": self.grid,
                "relative": tolerance.relative,
                "safety": self.safety,
            }
        )

    def segment_record(self, index: int) -> bytes:
        """Canonical JSON of the thresholds of the segment at `index`, whose hash is in its leaf."""
        tolerance = self.segments[index]
        return canonical_json(
            {
                "elements": tolerance.elements,
                "grid": self.grid,
                "rows": tolerance.rows,
                "safety": self.segment_safety,
            }
        )

    @cached_property
    def leaves(self) -> tuple[bytes, ...]:
        """The leaf of every node."""
        return tuple(
            node_leaf(node.theta, keccak(self.record(index))) for index, node in enumerate(self.nodes)
        )

    @cached_property
    def segment_leaves(self) -> tuple[bytes, ...]:
        """The leaf of every segment."""
        return tuple(
            segment_leaf(segment.lo, segment.hi, keccak(self.segment_record(index)))
            for index, segment in enumerate(self.segments)
        )

    @cached_property
    def nodes_root(self) -> bytes:
        return merkle.root(self.leaves)

    @cached_property
    def segments_root(self) -> bytes:
        """Root over the segments' leaves; zero if there are none."""
        return merkle.root(self.segment_leaves)

    @property
    def root(self) -> bytes:
        """The tolerances root of the model."""
        return keccak(self.nodes_root + self.segments_root)

    def open_node(self, node: int) -> "NodeOpening":
        """What proves a node's theta and thresholds under the root. Raises IndexError outside the graph."""
        path = tuple(merkle.path(self.leaves, node))
        return NodeOpening(node, self.nodes[node].theta, keccak(self.record(node)), path, self.segments_root)

    def require(self, graph_root: bytes, node_count: int) -> None:
        """Raises ProfileError unless this is a profile of the graph with this root and number of nodes."""
        _require(
            self.graph_root == graph_root,
            f"it is of graph 0x{self.graph_root.hex()}, not 0x{graph_root.hex()}; calibrate the model again",
        )
        _require(len(self.nodes) == node_count, f"it has {len(self.nodes)} nodes and the graph {node_count}")

    def to_json(self) -> bytes:
        """The profile's file: canonical JSON."""
        return canonical_json(
            {
                "format": FORMAT,
                "graph_root": "0x" + self.graph_root.hex(),
                "grid": self.grid,
                "safety": self.safety,
                "segment_safety": self.segment_safety,
                "samples": self.samples,
                "devices": [{"name": d.name, "description": d.description} for d in self.devices],
                "nodes": [vars(node) for node in self.nodes],
                "segments": [vars(segment) for segment in self.segments],
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> "Profile":
        """Read a profile's file. Raises ProfileError, in one sentence, if it is malformed."""
        try:
            record = parse_json(data, parse_constant=_no_constant)
        except ValueError as error:
            raise ProfileError(f"invalid tolerance profile: it is not JSON ({error})") from error
        _require(
            isinstance(record, dict) and record.keys() == _FIELDS, f"its fields are not {sorted(_FIELDS)}"
        )
        found = record["format"]
        _require(found == FORMAT, f"its format is {found!r}, not {FORMAT!r}; calibrate the model again")
        return cls(
            graph_root=_root(record["graph_root"]),
            nodes=tuple(
                NodeTolerance(
                    _numbers(node["absolute"], f"node {i}"),
                    _numbers(node["relative"], f"node {i}"),
                    _integer(node["theta"], f"theta of node {i}"),
                )
                for i, node in enumerate(_records(record, "nodes", NodeTolerance))
            ),
            devices=tuple(
                Device(_text(device["name"]), _text(device["description"]))
                for device in _records(record, "devices", Device)
            ),
            samples=_integer(record["samples"], "the number of samples"),
            grid=_numbers(record["grid"], "the grid"),
            safety=_numbers([record["safety"]], "the safety factor")[0],
            segments=tuple(
                SegmentTolerance(
                    _integer(segment["lo"], f"the start of segment {i}"),
                    _integer(segment["hi"], f"the end of segment {i}"),
                    _numbers(segment["elements"], f"segment {i}"),
                    _numbers(segment["rows"], f"segment {i}"),
                )
                for i, segment in enumerate(_records(record, "segments", SegmentTolerance))
            ),
            segment_safety=_numbers([record["segment_safety"]], "the safety factor of segments")[0],
        )


_FIELDS = {"format", *(field.name for field in fields(Profile))}


@dataclass(frozen=True)
class NodeOpening:
    """A node's leaf under a tolerances root: its theta, the hash of its JSON, and the siblings upwards."""

    node: int
    theta: int
    record_hash: bytes
    path: tuple[bytes, ...]
    segments_root: bytes

    def verify(self, root: bytes, node_count: int) -> bool:
        """Whether this is the node's leaf under `root`, the tolerances root of a graph of so many nodes."""
        leaf = node_leaf(self.theta, self.record_hash)
        top = merkle.climb(leaf, self.node, node_count, self.path)
        return top is not None and keccak(top + self.segments_root) == root


def node_leaf(theta: int, record_hash: bytes) -> bytes:
    """keccak256(TAG_tolerance || theta:uint32 || keccak256(JSON))."""
    return keccak(tag("tolerance") + theta.to_bytes(4, "big") + record_hash)


def segment_leaf(lo: int, hi: int, record_hash: bytes) -> bytes:
    """keccak256(TAG_tolerance || lo:uint32 || hi:uint32 || keccak256(JSON))."""
    return keccak(tag("tolerance") + lo.to_bytes(4, "big") + hi.to_bytes(4, "big") + record_hash)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProfileError(f"invalid tolerance profile: {otherwise}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _root(value: object) -> bytes:
    _require(isinstance(value, str) and value.startswith("0x"), "the graph root is not hexadecimal")
    try:
        return bytes.fromhex(value[2:])
    except ValueError as error:
        raise ProfileError("invalid tolerance profile: the graph root is not hexadecimal") from error


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
        raise ProfileError(f"invalid tolerance profile: {where} holds a number out of range") from error


def _integer(value: object, where: str) -> int:
    _require(isinstance(value, int) and not isinstance(value, bool), f"{where} is not an integer")
    return value


def _records(record: dict, name: str, of: type) -> list[dict]:
    """The list called `name`, of objects with the fields of the data class `of`."""
    expected, items = {field.name for field in fields(of)}, record[name]
    _require(isinstance(items, list), f"{name} is not a list")
    _require(
        all(isinstance(item, dict) and item.keys() == expected for item in items),
        f"an entry of {name} has other fields than {sorted(expected)}",
    )
    return items
