"""Integers and booleans that honest kernels need not agree on: a comparison of numbers that are nearly equal."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tao.errors import NoResult
from tao.execution import replay
from tao.execution.run import Override
from tao.model import ModelBundle
from tao.numerics.bounds import FAMILIES
from tao.numerics.statistics import FLOOR, mask_limit, typical_size

DRAWS = 16
"""Replays of which one shows the other side of a tie: of two numbers well within a tolerance of each other, one in two
to four does."""


def explain(
    bundle: ModelBundle,
    lo: int,
    start: Sequence[Tensor],
    hi: int,
    claimed: Sequence[Tensor],
    own: Sequence[Tensor],
    exact: Sequence[Tensor],
) -> bool:
    """Whether every integer and boolean at the end of the segment [lo, hi) is one's own, in float32 or float64, or
    becomes the claimed one in a replay in which every operator's results are off by something that the profile
    tolerates.

    start, claimed, own, exact: the values live at `lo`, those claimed at `hi` and those of one's own replays. A single
    operator is judged by its own rule and has no ties, nor has a model without a profile.
    """
    left = {
        place: differs
        for place, (theirs, mine, other) in enumerate(
            zip(claimed, own, exact if hi - lo > 1 else own, strict=True)
        )
        if not mine.is_floating_point() and (differs := (theirs != mine) & (theirs != other)).any()
    }
    if left and (hi - lo == 1 or bundle.profile is None):
        return False
    for draw in range(DRAWS):
        if not left:
            break
        try:
            end = replay(bundle.graph, bundle.parameters, lo, start, hi, override=_off(bundle, draw))
        except NoResult:
            continue  # an index that this draw moved out of its table
        for place in list(left):
            left[place] &= end[place] != claimed[place]
            if not left[place].any():
                del left[place]
    return not left


def _off(bundle: ModelBundle, draw: int) -> Override:
    """Moves results by as much as their operator's thresholds allow the largest deviation to be, or less."""
    generator = torch.Generator().manual_seed(draw)

    def override(index, node, operands, outputs):
        return [_moved(bundle, index, y, generator) if node.target in FAMILIES else y for y in outputs]

    return override


def _moved(bundle: ModelBundle, index: int, y: Tensor, generator: torch.Generator) -> Tensor:
    if not y.is_floating_point() or not y.numel():
        return y
    profile, values = bundle.profile, y.double().numpy()
    node, floor = profile.nodes[index], FLOOR * torch.finfo(y.dtype).eps / 2
    size, is_ordinary = typical_size(values), y.abs() < mask_limit(values)
    reach = torch.minimum(
        torch.tensor(max(node.absolute[-1], floor * size), dtype=torch.float64),
        y.double().abs().clamp_min(size) * max(node.relative[-1], floor),
    )
    share = 2 * torch.rand(y.shape, generator=generator, dtype=torch.float64) - 1
    moved = (y.double() + share * reach * profile.safety).to(y.dtype)
    return torch.where(is_ordinary, moved, y)
