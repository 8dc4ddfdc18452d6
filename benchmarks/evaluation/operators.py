"""The page of supported operators, docs/operators.md, made from the tables that decide."""

import textwrap
from collections.abc import Iterable

from benchmarks.evaluation.cells import DOCS
from tao.graph.operators import CONTRACTIONS, SUPPORTED, TRAINING
from tao.proofs.search import EXACT, INEXACT

PAGE = DOCS / "operators.md"

INTRODUCTION = """# Supported operators

Made by `python -m benchmarks.evaluation` from the tables in `tao.graph.operators` and `tao.proofs.search`.

A traced model may hold the ATen operators below, `.default` left out of their names. Views (reshape, transpose,
slice and the like) are part of an operator's operands and need no entry; calls that read no input and no parameter
are computed while tracing. Any other operator is refused with its name and module: express it by these.

Whoever wants a model that a contract can decide uses the first two lists only, in float32: on half-precision values
every operator that rounds is decided by vote. `tao register` says how many of a model's operators are.
"""


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
    return "\n".join((INTRODUCTION, *lists))


def _names(operators: Iterable[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(map(_short, operators)))
    return textwrap.fill(listed, 110, break_on_hyphens=False)


def _short(operator: str) -> str:
    return operator.removeprefix("aten.").removesuffix(".default")
