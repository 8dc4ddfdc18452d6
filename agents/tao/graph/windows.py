"""Convolutions and pooling: windows that slide along the last one or two dimensions.

Three nested levels of lanes are read in runs of the innermost. In the layout of the call (channels, rows,
columns) a run lies along a row of the window; where there are more channels than columns, both operands are
copied so that channels come last and a run holds the channels of one place (docs/protocol.md, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tao.graph.maps import Call, IndexMap, Meaning, Rows

CONVOLUTIONS = {"aten.conv1d.default": 6, "aten.conv2d.default": 6, "aten.convolution.default": 8}
"""Position of the number of groups."""
AVG_POOL = "aten.avg_pool2d.default"
POOLS = ("aten.max_pool2d.default", AVG_POOL)
_PLAIN, _ALONG_Y, _ALONG_X = 0, 1, 2
_LANES, _PADDED_LANES = 0, 2**32 - 1
"""What an average is divided by, instead of a number: the lanes, or those inside the padded input."""


@dataclass(frozen=True)
class _Axis:
    """A dimension that windows slide along: elements of the input, and how a window moves and spreads."""

    extent: int
    stride: int
    padding: int
    dilation: int


@dataclass(frozen=True)
class _Window:
    """sizes: of the window, one or two. axes: likewise. groups: of channels. channels: of one group."""

    sizes: tuple[int, ...]
    axes: tuple[_Axis, ...]
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
    axes = (_Axis(1, 1, 0, 1), *window.axes) if rank == 3 else window.axes
    along_y = _PLAIN if rank == 3 else _ALONG_Y
    pools = call.target in POOLS
    if pools:
        b_strides: tuple[int, ...] = (0, 0, 0, 0)
    else:
        weight = call.views[1].strides
        b_strides = (weight[0], weight[1], 0 if rank == 3 else weight[-2], weight[-1])
    levels = [
        (sizes[0], y_stride, b_strides[2], along_y),
        (sizes[1], x_stride, b_strides[3], _ALONG_X),
    ]
    levels.insert(2 if window.channels_last else 0, (window.channels, channel, b_strides[1], _PLAIN))
    # The innermost level is read as it lies, whatever stride a dimension of size 1 has.
    size, _, _, role = levels[2]
    levels[2] = (size, 1, 0 if pools else 1, role)
    per_group = 1 if pools else call.shape[1] // window.groups
    attributes = (
        per_group,
        0 if window.groups == 1 else channel * window.channels,
        *(word for size, a, b, _ in levels for word in (size, a, b)),
        sum(role << 2 * i for i, (*_, role) in enumerate(levels)),
        *(word for axis in axes for word in (axis.extent, axis.stride, axis.padding, axis.dilation)),
    )
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
        if transposed or len(call.views) < 2 or call.tensor(1) != 1:
            return None
        stride, padding, dilation = pair(3, 1), pair(4, 0), pair(5, 1)
        sizes, channels = call.views[1].shape[2:], call.views[1].shape[1]
        groups = call.argument(CONVOLUTIONS[call.target], 1)
    axes = zip(x.shape[2:], stride, padding, dilation, strict=True)
    return _Window(tuple(sizes), tuple(_Axis(*axis) for axis in axes), groups, channels)
