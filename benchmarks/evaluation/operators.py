"""The page of supported operators, docs/operators.md, made from the tables that decide."""

import textwrap
from collections.abc import Iterable

from benchmarks.evaluation.cells import DOCS
from tao.graph.operators import CONTRACTIONS, SUPPORTED, TRAINING, overloads
from tao.graph.rounding import EXACT as EXACT_ROUNDED
from tao.graph.rounding import LOGGED, SINGLE, SUMS
from tao.proofs.search import EXACT, INEXACT
from tao.training.decompositions import arithmetic, lookups, normalisation, reductions, windows

PAGE = DOCS / "operators.md"

INTRODUCTION = """# Supported operators

Made by `python -m benchmarks.evaluation` from the tables that decide, `tao.graph.operators` and `tao.proofs.search`.

A traced model may hold the ATen operators below, `.default` left out of their names. Views (reshape, transpose,
slice and the like) are part of an operator's operands and need no entry; exact calls that read no input and no
parameter are computed while tracing. Any other operator is refused with its name and module: express it by these.

Whoever wants a model that a contract can decide uses the first two lists only, in float32: on half-precision values
every operator that rounds is decided by vote. Of exact ones, a contract decides logic and bitwise operators on booleans
only; clamps, padding, `masked_fill` and `where` with a number on float32 only; comparisons with a number on float32
and integers. `tao register` says how many of a model's operators are decided. Of `max.dim` and `min.dim`, calls with
one output in use become `amax`, `argmax` and the like.
"""

TRAINED = """## In a training step

Forward pass, gradients and the optimizer's update are traced into the operators below. On float32 and booleans each is
decided by a contract, arithmetic on integers by vote. Others of PyTorch's core set become these by its own
decompositions. The tables are those of `tao.graph.rounding` and `tao.training.decompositions`.
"""
_PARTS = (arithmetic, lookups, normalisation, reductions, windows)


def page() -> str:
    """The Markdown page."""
    products = CONTRACTIONS & SUPPORTED
    exact, bounded = EXACT & SUPPORTED, (INEXACT & SUPPORTED) | products
    sections = (
        ("Decided by a contract, by the bits", exact),
        ("Decided by a contract, by a bound", bounded),
        ("Decided by vote only", SUPPORTED - exact - bounded - TRAINING),
    )
    lists = (f"## {heading}\n\n{_names(names)}\n" for heading, names in sections)
    return "\n".join((INTRODUCTION, *lists, *_trained()))


def _trained() -> Iterable[str]:
    rounded = EXACT_ROUNDED | SINGLE | SUMS | LOGGED | overloads("mm bmm")
    basic = {name for name in rounded if name.startswith("aten.")}
    traced = {
        f"aten.{key._schema.name.split('::')[1]}.{key._overloadname}" for part in _PARTS for key in part.TABLE
    }
    composed = {name for name in traced - basic if "backward" not in name}
    yield TRAINED + "\n" + _names(basic) + "\n"
    yield (
        "Made of these in their usual forms, with their gradients, and dropout beside them:\n\n"
        + _names(composed)
        + "\n"
    )


def _names(operators: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(map(_short, operators)))
    return textwrap.fill(listed, 110, break_on_hyphens=False)


def _short(operator: str) -> str:
    return operator.removeprefix("aten.").removesuffix(".default")
