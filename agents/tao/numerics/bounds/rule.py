"""What every bound is made of: the model of arithmetic, gamma_n, and the result.

Model. Inputs are FP32, u = 2^-24, MIN = 2^-126. Every operation rounds to nearest, fl(a op b) =
(a op b)(1 + delta) + eta with |delta| <= u; results below MIN may be flushed to zero (|eta| < MIN) and
subnormal inputs may count as zero. Sums may be taken in any order, products may be fused into them.
Elementary functions are as far off as each family says. Literal arguments mean their FP32 values.

A tolerance is infinite, so that nothing is refuted, where an input is not finite, where an input is outside
the function's domain, and where some order of evaluation may overflow on the way.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

UNIT_ROUNDOFF = 2.0**-24
SMALLEST_NORMAL = 2.0**-126
OVERFLOW = 2.0**127
"""Beyond this magnitude a kernel may overflow."""

INFLATION = 1 + 2.0**-16
"""Covers what evaluating value and tolerance adds. An FP64 sum of n terms is off by n 2^-53 T, which is
2^-29 of gamma_n T; FP64 elementary functions are taken to be good to 2^-44, which is 2^-20 of u; tolerances
evaluated in FP32 are products of a few factors, each good to 12 u."""

Kind = Literal["deterministic", "probabilistic"]


@dataclass(frozen=True)
class Exact:
    """Every kernel gives the same bits (+0 and -0 being equal, and NaN and NaN)."""


@dataclass(frozen=True)
class Bound:
    """Every conforming result y has |y - value| <= tolerance, elementwise.

    value: float64, the real function of the FP32 inputs to within what the tolerance covers; None where it
    was not asked for. tolerance: >= 0, of the output's shape; float64, or float32 where no value was asked
    for.
    """

    value: Tensor | None
    tolerance: Tensor

    def excess(self, y: Tensor) -> Tensor:
        """|y - value| / tolerance, float64: above 1 no conforming kernel gives y.

        Infinite where y is not finite although |value| + tolerance < 2^127; 0 where y equals the value.
        Raises ValueError where the bound has no value.
        """
        if self.value is None:
            raise ValueError("the bound was made without its value; ask for it with with_value=True")
        distance = (y.double() - self.value).abs()
        ratio = torch.where(distance == 0, 0.0, distance / self.tolerance)
        impossible = self.value.abs() + self.tolerance < OVERFLOW
        ratio = torch.where(y.isfinite(), ratio, torch.where(impossible, torch.inf, 0.0))
        return torch.where(self.tolerance.isfinite(), ratio, 0.0)


@dataclass(frozen=True)
class Rule:
    """Which bound is wanted.

    kind: "deterministic" holds always; "probabilistic" holds for an element with probability 1 - failure
    where rounding errors are independent with mean zero (Higham and Mary, 2019, model 2.1). failure: that
    probability, for one output element. with_value: whether the FP64 reference is computed as well.
    """

    kind: Kind = "deterministic"
    failure: float = 2.0**-40
    with_value: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("deterministic", "probabilistic"):
            raise ValueError(f"a bound is deterministic or probabilistic, not {self.kind!r}")
        if not 0 < self.failure < 1:
            raise ValueError(f"a failure probability is between 0 and 1, not {self.failure}")

    @property
    def dtype(self) -> torch.dtype:
        """What elementwise tolerances are evaluated in."""
        return torch.float64 if self.with_value else torch.float32

    def lambda_of(self, n: float) -> float:
        """lambda with 2 n exp(-lambda^2 (1 - u)^2 / 2) = failure: n products of roundings, each bounded
        (Higham and Mary, 2019, theorems 2.4 and 3.1)."""
        return math.sqrt(2 * math.log(2 * max(n, 1.0) / self.failure)) / (1 - UNIT_ROUNDOFF)

    def gamma(self, n: float) -> float:
        """What n roundings may do to a term of a sum, relatively; infinite for n >= 2^24.

        Deterministic: gamma_n = n u / (1 - n u) (Higham, Accuracy and Stability, lemma 3.1). Probabilistic:
        exp(lambda sqrt(n) u + n u^2 / (1 - u)) - 1, or gamma_n where that is smaller.
        """
        drift = n * UNIT_ROUNDOFF
        worst = drift / (1 - drift) if drift < 1 else math.inf
        if self.kind == "deterministic" or n <= 0:
            return worst
        spread = self.lambda_of(n) * math.sqrt(n) * UNIT_ROUNDOFF
        return min(worst, math.expm1(spread + drift * UNIT_ROUNDOFF / (1 - UNIT_ROUNDOFF)))

    def bound(self, tolerance: Tensor, value: Callable[[], Tensor]) -> Bound:
        """The tolerance with what its own and the reference's evaluation add, and the value if wanted.

        tolerance: taken over, written to.
        """
        tolerance = torch.nan_to_num_(tolerance.mul_(INFLATION), nan=math.inf, posinf=math.inf)
        if not self.with_value:
            return Bound(None, tolerance)
        reference = value()
        tolerance = torch.where(reference.isfinite(), tolerance.double(), math.inf)
        return Bound(reference, tolerance.expand_as(reference))


DETERMINISTIC = Rule()


def is_subnormal(x: Tensor) -> Tensor:
    """Where x is below MIN but not zero, decided on its bits: comparisons may count subnormals as zero."""
    if x.dtype != torch.float32:
        return (x != 0) & (x.abs() < SMALLEST_NORMAL)
    bits = x.view(torch.int32) & 0x7FFFFFFF
    return (bits > 0) & (bits < 0x00800000)


def subnormal_part(x: Tensor) -> Tensor | None:
    """|x| in float64 where x is subnormal and 0 elsewhere; None where no element is."""
    small = is_subnormal(x)
    return torch.where(small, x.abs().double(), 0.0) if bool(small.any()) else None


def as_float32(number: float) -> float:
    """The FP32 value that a literal means."""
    return float(torch.tensor(number, dtype=torch.float32))
