"""Soundness of the bounds: real and adversarial kernels on random and adversarial inputs, none outside; and what
the deployed adjudicators say about such results, and about claims outside (benchmarks.verdicts).

The distance is taken to the bound's own FP64 value, which the tests compare with exact arithmetic.

    python -m benchmarks soundness --cases 1000
"""

import math
from collections.abc import Callable, Iterable

import torch

from benchmarks.cases import FAMILIES, Case
from benchmarks.kernels import KINDS
from benchmarks.verdicts import Court, ask
from tao.numerics.bounds import Bound, bound

ELEMENTS = 1_000_000
CASES = 10_000
"""Verdicts of a family, at least."""
SEED = 7


def judge(cases: Iterable[Case], kind: str = "deterministic") -> dict:
    """Of the cases' results: how many elements of finite tolerance, how many outside, the worst."""
    found = {"elements": 0, "violations": 0, "worst_ratio": 0.0}
    for target, args, kwargs, operands, results in cases:
        limit = bound(target, args, kwargs, operands, kind)[0]
        for y in results:
            if isinstance(limit, Bound):
                excess = limit.excess(y)
                found["elements"] += int(limit.tolerance.isfinite().sum())
            else:
                excess = torch.where(y == results[0], 0.0, math.inf)
                found["elements"] += y.numel()
            found["violations"] += int((excess > 1).sum())
            found["worst_ratio"] = max(found["worst_ratio"], float(excess.max()))
    return found


def check(family: str, elements: int, seed: int = SEED) -> dict:
    """`judge` on at least so many elements of a family."""
    torch.manual_seed(seed)
    total = judge(())
    while total["elements"] < elements:
        found = judge(FAMILIES[family]())
        worst = max(total["worst_ratio"], found["worst_ratio"])
        total = {name: count + found[name] for name, count in total.items()} | {"worst_ratio": worst}
    return total


def decide(court: Court, family: str, cases: int, seed: int = SEED) -> dict:
    """At least so many verdicts on elements of a family's calls (see benchmarks.verdicts.ask), some of each call; none
    where no contract decides any."""
    torch.manual_seed(seed)
    found, asked = {"chain_cases": 0, "chain_unsound": 0, "chain_unprovable": 0}, -1
    while asked < found["chain_cases"] < cases:
        asked = found["chain_cases"]
        for case in FAMILIES[family]():
            found = {name: count + found[name] for name, count in ask(court, case).items()}
    return found


def measure(progress: Callable[[str], None], cases: int = CASES) -> dict:
    """Every family on ELEMENTS elements, and on `cases` verdicts of the contracts."""
    families = {}
    with Court.opened() as court:
        for family in FAMILIES:
            families[family] = found = check(family, ELEMENTS) | decide(court, family, cases)
            progress(
                f"{family}: {found['violations']} of {found['elements']}, worst {found['worst_ratio']:.3f};"
                f" of {found['chain_cases']} verdicts {found['chain_unsound']} unsound,"
                f" {found['chain_unprovable']} missing"
            )
    return {"families": families, "kinds_of_inputs": list(KINDS), "seed": SEED}
