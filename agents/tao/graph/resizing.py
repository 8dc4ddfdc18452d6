"""Images of another size: adaptive average pooling and bilinear upsampling (docs/protocol.md, section 2).

An output element reads a box of its input, which follows from its coordinates and both sizes.
"""

from __future__ import annotations

from fractions import Fraction

from tao.graph.maps import Call, IndexMap, Meaning, Rows

ADAPTIVE = ("aten.adaptive_avg_pool2d.default", "aten._adaptive_avg_pool2d.default")
BILINEAR = ("aten.upsample_bilinear2d.default", "aten.upsample_bilinear2d.vec")
_LARGEST_EXTENT = 2**20
_COORDINATE_BITS = 22
"""A coordinate among n places is off by less than (n + 2) / 2^22."""


def rows(call: Call) -> dict[int, Rows]:
    """What the image must be like; nothing for calls that cannot be followed."""
    if not _is_followed(call):
        return {}
    return {0: Rows((0, 1, 2, 3), call.views[0].shape[-1])}


def meaning(call: Call) -> Meaning:
    """Map and attributes, or the opaque meaning."""
    if not _is_followed(call):
        return call.opaque()
    x = call.views[0]
    attributes: tuple[int, ...] = (x.shape[2], x.strides[2], x.shape[3])
    if call.target in BILINEAR:
        attributes = (*attributes, int(call.argument(2, False)))
    return Meaning(call.target, (IndexMap((*x.strides[:2], 0, 0), 1, x.offset),), attributes=attributes)


def _is_followed(call: Call) -> bool:
    """float32 images [N, C, Y, X], and no scale that is another number than the ratio of the sizes."""
    x = call.views[0]
    if not call.is_float32 or len(x.shape) != 4 or max(*x.shape[2:], *call.shape[2:]) > _LARGEST_EXTENT:
        return False
    if call.target in ADAPTIVE or call.argument(2, False):
        return True
    given = call.argument(3, None) or (None, None)
    scales = given if call.target.endswith("vec") else (call.argument(3, None), call.argument(4, None))
    sizes = zip(scales, x.shape[2:], call.shape[2:], strict=True)
    return all(not scale or scale < 0 or Fraction(scale) * n == k for scale, n, k in sizes)


def averaged(place: int, n: int, k: int) -> tuple[int, int]:
    """First and number of the n places that output `place` of k averages."""
    first = place * n // k
    return first, -(-(place + 1) * n // k) - first


def interpolated(place: int, n: int, k: int, aligned: bool) -> tuple[int, int]:
    """First and number of the n places between which kernels may interpolate for output `place` of k."""
    if aligned:
        numerator, whole = (place * (n - 1), k - 1) if k > 1 else (0, 1)
    else:
        numerator, whole = max((2 * place + 1) * n - k, 0), 2 * k
    index, rest = divmod(numerator, whole)
    reach = (n + 2) * whole
    low = index - 1 if index and rest << _COORDINATE_BITS < reach else index
    high = index + (2 if (whole - rest) << _COORDINATE_BITS <= reach else 1)
    return low, min(high, n - 1) + 1 - low
