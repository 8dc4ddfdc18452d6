"""Calls on ordinary and hostile inputs by family, with what real and simulated kernels make of them.

Every operator that has a bound is called in the family of its bound.
"""

from collections.abc import Callable, Iterator

from benchmarks.cases.case import Case
from benchmarks.cases.elementwise import elementwise
from benchmarks.cases.exact import exact_results
from benchmarks.cases.products import attentions, contractions
from benchmarks.cases.rows import normalisations, reductions, softmaxes
from benchmarks.cases.windows import interpolations, pools

__all__ = ["FAMILIES", "Case"]

FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "elementwise": elementwise,
    "reductions": reductions,
    "contraction": contractions,
    "normalisation": normalisations,
    "softmax": softmaxes,
    "pooling": pools,
    "interpolation": interpolations,
    "attention": attentions,
    "exact": exact_results,
}
