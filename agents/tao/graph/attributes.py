"""Attributes: the numbers among a call's arguments that decide an element (docs/protocol.md, section 2)."""

from __future__ import annotations

import math
import struct
from typing import Any

from tao.graph.maps import Call

_COMPARISONS = frozenset(f"aten.{name}.Scalar" for name in ("eq", "ne", "lt", "le", "gt", "ge"))
_ALPHA, _OTHER = ("alpha", 1.0), (1, None)
_NUMBERS: dict[str, tuple[tuple[int | str | None, Any], ...]] = {
    "aten.add.Tensor": (_ALPHA,),
    "aten.sub.Tensor": (_ALPHA,),
    "aten.add.Scalar": (_OTHER, (2, 1.0)),
    "aten.sub.Scalar": (_OTHER, (2, 1.0)),
    "aten.rsub.Scalar": (_OTHER, (2, 1.0)),
    "aten.mul.Scalar": (_OTHER,),
    "aten.div.Scalar": (_OTHER,),
    "aten.pow.Tensor_Scalar": (_OTHER,),
    "aten.leaky_relu.default": ((1, 0.01),),
    "aten.gelu.default": (("approximate", "none"),),
    "aten.clamp.default": ((1, None), (2, None)),
    "aten.clamp_min.default": (_OTHER, (None, None)),
    "aten.clamp_max.default": ((None, None), _OTHER),
    "aten.hardtanh.default": ((1, -1.0), (2, 1.0)),
    "aten.relu6.default": ((None, 0.0), (None, 6.0)),
    "aten.masked_fill.Scalar": ((2, None),),
    "aten.where.ScalarOther": ((2, None),),
    "aten.where.ScalarSelf": (_OTHER,),
    **{target: (_OTHER,) for target in _COMPARISONS},
}
"""Where each number is, as a position or a keyword, and what it is where it is left out; None is NaN."""

_LIMITS = frozenset(f"aten.{name}.default" for name in ("clamp", "clamp_min", "clamp_max", "hardtanh"))
_ARITHMETIC = frozenset(f"aten.{name}.Scalar" for name in ("add", "sub", "rsub", "mul", "div")) | {
    "aten.add.Tensor",
    "aten.sub.Tensor",
    "aten.leaky_relu.default",
    "aten.pow.Tensor_Scalar",
}

_SCALAR_FORMS = {f"aten.{name}.Tensor": f"aten.{name}.Scalar" for name in ("add", "sub", "mul", "div")}
_WORDS = {"none": 0.0, "tanh": 1.0, None: math.nan}


def scalar_form(target: str, operands: int) -> str:
    """The name on chain of a pointwise call: `add`, `sub`, `mul` and `div` of a tensor and a number are their
    scalar overloads, however the tracer writes them."""
    return _SCALAR_FORMS.get(target, target) if operands == 1 else target


def attributes(call: Call) -> tuple[int, ...] | None:
    """The numbers of a pointwise call in the order that its adjudicator reads them: float32 encodings, or the
    32-bit two's complement where an integer tensor is compared.

    A number that float32 does not hold is rounded to nearest, an infinity beyond its range. None where no word says
    what the number says: a limit that is NaN (the word for no limit), a factor or a summand that rounds to zero, a
    compared number beyond 32 bits or, as beside a float integers count as float32, one of 2^24 or more.
    """
    target, args = call.target, call.args
    if target in _COMPARISONS and not call.types[0].dtype.torch.is_floating_point:
        # Beside -2^24 as a float, too, an integer beyond it may be rounded to it.
        least, most = (1 - 2**24, 2**24) if isinstance(args[1], float) else (-(2**31), 2**31)
        if not math.isfinite(args[1]) or args[1] != int(args[1]) or not least <= args[1] < most:
            return None
        return (int(args[1]) & 0xFFFFFFFF,)
    if len(call.views) == 1 and target in _SCALAR_FORMS:
        args = [*args[:2], call.argument("alpha", 1.0)]
        target = _SCALAR_FORMS[target]
    numbers = []
    for place, default in _NUMBERS.get(target, ()):
        given = default
        if isinstance(place, str):
            given = call.kwargs.get(place, default)
        elif place is not None and place < len(args):
            given = args[place]
        if target in _LIMITS and given is not None and math.isnan(given):
            return None
        if target in _ARITHMETIC and given and float32_word(abs(given)) == 0:
            return None
        numbers.append(given)
    return tuple(float32_word(_WORDS.get(number, number)) for number in numbers)


def float32_word(number: float) -> int:
    """The float32 encoding of a number, rounded to nearest."""
    return int.from_bytes(_packed(number), "big")


def float32_number(number: float) -> float:
    """The float32 number that is nearest to one; infinite beyond the largest."""
    return struct.unpack(">f", _packed(number))[0]


def _packed(number: float) -> bytes:
    if isinstance(number, int):
        # Rounded to odd where float64 does not hold it, so that it is rounded to nearest once.
        size = abs(number)
        left = max(size.bit_length() - 53, 0)
        odd = (size >> left) | bool(size & ((1 << left) - 1))
        number = (odd << left) * (-1 if number < 0 else 1)
    try:
        return struct.pack(">f", number)
    except OverflowError:
        return struct.pack(">f", float("inf") if number > 0 else float("-inf"))
