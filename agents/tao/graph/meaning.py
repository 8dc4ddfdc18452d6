"""What a call is on chain, and what its operands must be like for that, by family of operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tao.graph import contractions, drawn, moves, resizing, windows
from tao.graph import rows as on_rows
from tao.graph.attributes import attributes, scalar_form
from tao.graph.contractions import is_contraction
from tao.graph.maps import Call, Meaning, Rows, broadcast
from tao.graph.operators import COPY, POINTWISE


@dataclass(frozen=True)
class _Family:
    """meaning: of a call whose operands are as `rows` says."""

    meaning: Callable[[Call], Meaning]
    rows: Callable[[Call], dict[int, Rows]] = lambda call: {}


def rows(call: Call) -> dict[int, Rows]:
    """What operands must be like so that an element of the output can be followed; by operand."""
    return _family(call).rows(call)


def meaning(call: Call) -> Meaning | None:
    """The meaning of a call; None where an operand is not as `rows` says: a copy must stand before it."""
    for operand, needed in rows(call).items():
        if not needed.holds(call.views[operand], call.types[operand].row_length):
            return None
    return _family(call).meaning(call)


def _family(call: Call) -> _Family:
    if is_contraction(call.target, call.kwargs, [t.dtype for t in call.types]):
        return _CONTRACTION
    if call.target in resizing.ADAPTIVE and list(call.args[1]) != [1, 1]:
        return _RESIZE
    return _FAMILIES.get(call.target, _POINTWISE if call.target in POINTWISE else _OPAQUE)


def _pointwise(call: Call) -> Meaning:
    if call.shape != torch.broadcast_shapes(*(view.shape for view in call.views)):
        return call.opaque()
    numbers = attributes(call)
    if numbers is None:
        return call.opaque()
    maps = tuple(broadcast(view, call.shape) for view in call.views)
    return Meaning(scalar_form(call.target, len(call.views)), maps, attributes=numbers)


_CONTRACTION = _Family(contractions.meaning, contractions.rows)
_POINTWISE = _Family(_pointwise)
_OPAQUE = _Family(Call.opaque)
_MOVE = _Family(moves.meaning)
_ROW = _Family(on_rows.meaning, on_rows.rows)
_WINDOW = _Family(windows.meaning, windows.rows)
_RESIZE = _Family(resizing.meaning, resizing.rows)
_DRAWN = _Family(drawn.meaning, drawn.rows)
_FAMILIES = {
    COPY: _POINTWISE,
    **dict.fromkeys((moves.CAT, *moves.PADS, *moves.UPSAMPLES, *moves.LOOKUPS), _MOVE),
    **dict.fromkeys(on_rows.OPERATORS, _ROW),
    **dict.fromkeys((*windows.CONVOLUTIONS, *windows.POOLS), _WINDOW),
    **dict.fromkeys(resizing.BILINEAR, _RESIZE),
    **dict.fromkeys(drawn.OPERATORS, _DRAWN),
}
