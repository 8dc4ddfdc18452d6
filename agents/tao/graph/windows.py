"""Convolutions and pooling: windows that slide along the last one or two dimensions.

Three nested levels of lanes are read in runs of the innermost. In the layout of the call (channels, rows,
columns) a run lies along a row of the window; where there are more channels than columns, both operands are
copied so that channels come last and a run holds the channels of one place (docs/protocol.md, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from tao.graph.maps import Call, IndexMap, Meaning, Rows

N = TypeVar("N", int, Tensor)

CONVOLUTIONS = {"aten.conv1d.default": 6, "aten.conv2d.default": 6, "aten.convolution.default": 8}
"""Position of the number of groups."""
AVG_POOL = "aten.avg_pool2d.default"
POOLS = ("aten.max_pool2d.default", AVG_POOL)
PLAIN, ALONG_Y, ALONG_X = 0, 1, 2
"""Roles of a level."""
_LANES, _PADDED_LANES = 0, 2**32 - 1
"""What an average is divided by, instead of a number: the lanes, or those inside the padded input."""


@dataclass(frozen=True)
class Axis:
    """A dimension that windows slide along: elements of the input, and how a window moves and spreads."""

    extent: int
    stride: int
    padding: int
    dilation: int

    def place(self, at: N, lane: N) -> N:
        """Where on the axis lane `lane` of the window at the output's coordinate `at` lies."""
        return at * self.stride + lane * self.dilation - self.padding


@dataclass(frozen=True)
class Level:
    """One of the three nested levels of lanes. role: PLAIN, or the axis that it lies along."""

    size: int
    a_stride: int
    b_stride: int
    role: int


@dataclass(frozen=True)
class Windows:
    """The words of a node's attributes that say what its windows read, as Windows.sol takes them.

    per_group: output channels of one group. group_stride: from a group's input to the next one's. axes: Y and X.
    """

    per_group: int
    group_stride: int
    levels: tuple[Level, Level, Level]
    axes: tuple[Axis, Axis]

    @classmethod
    def of(cls, attributes: Sequence[int]) -> Windows:
        """Read from a node's attributes; what stands behind these words is the operator's."""
        roles = attributes[11]
        levels = (Level(*attributes[2 + 3 * i : 5 + 3 * i], roles >> 2 * i & 3) for i in range(3))
        return cls(*attributes[:2], tuple(levels), (Axis(*attributes[12:16]), Axis(*attributes[16:20])))

    @property
    def words(self) -> tuple[int, ...]:
        """The first words of the attributes, 20 of them."""
        return (
            self.per_group,
            self.group_stride,
            *(word for level in self.levels for word in (level.size, level.a_stride, level.b_stride)),
            sum(level.role << 2 * i for i, level in enumerate(self.levels)),
            *(word for axis in self.axes for word in (axis.extent, axis.stride, axis.padding, axis.dilation)),
        )

    def along(self, level: Level, coordinates: Sequence[N]) -> tuple[Axis, N] | None:
        """The axis that a level lies along, and the output's coordinate on it; None for a plain level."""
        if level.role == PLAIN:
            return None
        number = level.role - ALONG_Y
        return self.axes[number], coordinates[number - 2]


@dataclass(frozen=True)
class _Window:
    """sizes: of the window, one or two. axes: likewise. groups: of channels. channels: of one group."""

    sizes: tuple[int, ...]
    axes: tuple[Axis, ...]
    groups: int
    channels: int

    @property
    def channels_last(self) -> bool:
        return self.channels > self.sizes[-1] or self.axes[-1].dilation != 1


def rows(call: Call) -> dict[int, Rows]:
    """What operands must be like; nothing for calls that cannot be followed."""
    window = _window(call)
    if window is None:
        return {}
    rank = len(call.shape)
    if call.target in POOLS:
        return {0: Rows(tuple(range(rank)), call.views[0].shape[-1])}
    order = (0, *range(2, rank), 1) if window.channels_last else tuple(range(rank))
    return {i: Rows(order, call.views[i].shape[order[-1]]) for i in (0, 1)}


def meaning(call: Call) -> Meaning:
    """The windows in 20 words, behind which an average has its divisor; or the opaque meaning."""
    window = _window(call)
    if window is None:
        return call.opaque()
    x, rank = call.views[0], len(call.shape)
    channel = x.strides[1]
    y_stride, x_stride = (0 if rank == 3 else x.strides[-2]), x.strides[-1]
    sizes = (1, *window.sizes) if rank == 3 else window.sizes
    axes = (Axis(1, 1, 0, 1), *window.axes) if rank == 3 else window.axes
    along_y = PLAIN if rank == 3 else ALONG_Y
    pools = call.target in POOLS
    if pools:
        b_strides: tuple[int, ...] = (0, 0, 0, 0)
    else:
        weight = call.views[1].strides
        b_strides = (weight[0], weight[1], 0 if rank == 3 else weight[-2], weight[-1])
    levels = [
        Level(sizes[0], y_stride, b_strides[2], along_y),
        Level(sizes[1], x_stride, b_strides[3], ALONG_X),
    ]
    levels.insert(2 if window.channels_last else 0, Level(window.channels, channel, b_strides[1], PLAIN))
    # The innermost level is read as it lies, whatever stride a dimension of size 1 has.
    levels[2] = replace(levels[2], a_stride=1, b_stride=0 if pools else 1)
    per_group = 1 if pools else call.shape[1] // window.groups
    group_stride = 0 if window.groups == 1 else channel * window.channels
    attributes = Windows(per_group, group_stride, tuple(levels), axes).words
    if call.target == AVG_POOL:
        divisor = call.argument(6, None) or (_PADDED_LANES if call.argument(5, True) else _LANES)
        if not 0 <= divisor <= _PADDED_LANES or call.argument(6, None) == _PADDED_LANES:
            return call.opaque()
        attributes = (*attributes, divisor)
    none = (0,) * (rank - 1)
    maps = [IndexMap((x.strides[0], *none), 1, x.offset)]
    if not pools:
        maps.append(IndexMap((0, b_strides[0], *none[1:]), 1, call.views[1].offset))
    if len(call.views) == 3:
        bias = call.views[2]
        maps.append(IndexMap((0, *bias.strides, *none[1:]), 0, bias.offset))
    return Meaning(call.target, tuple(maps), sizes[0] * sizes[1] * window.channels, attributes)


def _window(call: Call) -> _Window | None:
    """None for calls that cannot be followed: other types, other ranks, transposed or dilated ones."""
    rank = len(call.shape)
    spatial, x = rank - 2, call.views[0]
    if not call.is_float32 or rank not in (3, 4) or len(x.shape) != rank:
        return None

    def pair(place: int, default: Any) -> tuple[int, ...]:
        given = call.argument(place, default) or default  # an empty stride is the default one
        given = [given] if isinstance(given, int) else list(given)
        return tuple(given * spatial if len(given) == 1 else given)

    if call.target in POOLS:
        if rank != 4:
            return None
        sizes = pair(1, 1)
        stride, padding = pair(2, sizes), pair(3, 0)
        dilation = pair(4, 1) if call.target != AVG_POOL else (1, 1)
        groups, channels = x.shape[1], 1
        if dilation[-1] != 1:
            return None
    else:
        transposed = call.target == "aten.convolution.default" and call.argument(6, False)
        if transposed or len(call.views) < 2 or call.tensor(1) != 1 or len(call.views[1].shape) != rank:
            return None  # of another rank where the input has no batch
        stride, padding, dilation = pair(3, 1), pair(4, 0), pair(5, 1)
        sizes, channels = call.views[1].shape[2:], call.views[1].shape[1]
        groups = call.argument(CONVOLUTIONS[call.target], 1)
    axes = zip(x.shape[2:], stride, padding, dilation, strict=True)
    return _Window(tuple(sizes), tuple(Axis(*axis) for axis in axes), groups, channels)
