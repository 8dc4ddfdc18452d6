"""What a verifier accepts of one operator, and the strongest deviation that fits into it.

A claim is a batch; its samples lie along the first dimension of every value and do not meet. The attacker
needs one sample only, and a profile's percentiles count the elements of the whole batch: so each sample is
attacked as if all others were honest, and then has the largest thresholds to itself. Because samples do not
meet, one run attacks every one of them so, each in a claim of its own.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tao.graph.canonical import Node
from tao.numerics.bounds import Bound, Kind, bound, tolerance
from tao.numerics.profile import Profile
from tao.numerics.statistics import FLOOR, mask_limit, typical_size

_RETRIES = 4


def positions(grid: tuple[float, ...], size: int) -> Tensor:
    """Where the percentiles of `size` values stand when counted from the largest, which is 0."""
    return torch.tensor([size - max(math.ceil(p / 100 * size), 1) for p in grid])


@dataclass(frozen=True)
class Limits:
    """Thresholds of one output as the verifier applies them: the safety factor and the floors included.

    places: int64 [grid], as `positions`. absolute, relative: float64 [grid]. size: max(|y'|, s) of every
    element, what relative deviations are relative to. masks: which elements stand for infinity.
    """

    places: Tensor
    absolute: Tensor
    relative: Tensor
    size: Tensor
    masks: Tensor

    @classmethod
    def of(cls, profile: Profile, index: int, own: Tensor) -> "Limits":
        values = own.detach().double().flatten().numpy()
        scale, masks = typical_size(values), own.detach().abs() >= mask_limit(values)
        node, floor = profile.nodes[index], FLOOR * torch.finfo(own.dtype).eps / 2
        absolute, relative = (torch.tensor(x, dtype=torch.float64) for x in (node.absolute, node.relative))
        return cls(
            positions(profile.grid, int((~masks).sum())),
            profile.safety * absolute.clamp_min(floor * scale),
            profile.safety * relative.clamp_min(floor),
            torch.where(masks, own.detach().abs(), own.detach().abs().clamp_min(scale)),
            masks,
        )

    def at(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Absolute and relative limit of an element of which so many have a larger deviation."""
        order = self.places.argsort()
        which = order[torch.bucketize(ranks, self.places[order], right=True) - 1]
        return self.absolute.float()[which], self.relative.float()[which]

    def exceedance(self, claimed: Tensor, own: Tensor) -> Tensor:
        """`Profile.exceedance` of the claims in each of which one sample is as claimed, the others honest."""
        deviation = (claimed.double() - own.double()).abs().flatten(1)
        deviation[deviation < torch.finfo(own.dtype).smallest_normal] = 0.0
        relative = torch.where(deviation == 0, 0.0, deviation / self.size.double().flatten(1))
        masks = self.masks.flatten(1)
        worst = torch.where(masks, relative, 0.0).amax(1) / self.relative[-1]
        deviation, relative = (torch.where(masks, 0.0, x) for x in (deviation, relative))
        reached = self.places < deviation.shape[1]  # percentiles further down are of honest samples
        for values, limits in ((deviation, self.absolute), (relative, self.relative)):
            depth = int(self.places[reached].max()) + 1
            found = values.topk(depth, dim=1).values[:, self.places[reached]]
            ratios = torch.where(found == 0, 0.0, found / limits[reached])
            worst = torch.maximum(worst, ratios.amax(1))
        return worst


@dataclass(frozen=True)
class Region:
    """Accepts an output that is within the bound of this kind and within this profile, as far as given.

    segments: the ends of segments must be within the profile's thresholds for them as well.
    """

    name: str
    kind: Kind | None = None
    profile: Profile | None = None
    segments: bool = False

    def reach(self, index: int, node: Node, operands: list[Tensor], own: Tensor, slot: int) -> Tensor:
        """The largest deviation any element may have, in the output's shape; 0 where the bound is infinite,
        for those elements are sentinels such as a mask's."""
        reach = torch.full_like(own, torch.inf)
        if self.kind is not None:
            allowed = tolerance(node.target, node.args, node.kwargs, operands, self.kind)[slot]
            if not isinstance(allowed, Tensor):
                return torch.zeros_like(own)
            reach = torch.minimum(reach, allowed.float().expand_as(own))
        if self.profile is not None:
            limits = Limits.of(self.profile, index, own)
            absolute = torch.where(limits.masks, torch.inf, limits.absolute.max().float())
            reach = torch.minimum(reach, absolute)
            reach = torch.minimum(reach, limits.relative.max().float() * limits.size)
        return torch.where(reach.isfinite(), reach, 0.0)

    def project(self, index: int, own: Tensor, reach: Tensor, delta: Tensor, gradient: Tensor) -> Tensor:
        """Bring a deviation into the region. The profile's largest limits go to the elements that matter
        most, by |gradient| times reach."""
        delta = delta.clamp(-reach, reach)
        if self.profile is None:
            return delta
        limits = Limits.of(self.profile, index, own)
        flat = torch.where(limits.masks, 0.0, gradient.abs() * reach).flatten(1)
        order, ranks = flat.argsort(1, descending=True), torch.arange(flat.shape[1])
        absolute, relative = (torch.empty_like(flat) for _ in range(2))
        for by_element, by_rank in zip((absolute, relative), limits.at(ranks), strict=True):
            by_element.scatter_(1, order, by_rank.expand_as(flat))
        limit = torch.minimum(absolute, relative * limits.size.flatten(1)).view_as(delta)
        limit = torch.where(limits.masks, reach, limit)
        return delta.clamp(-limit, limit)

    def admit(
        self, index: int, node: Node, operands: list[Tensor], own: Tensor, slot: int, delta: Tensor
    ) -> tuple[Tensor, float]:
        """A float32 output near own + delta that the verifier accepts, and its largest excess, at most 1
        where one's own has no larger one."""
        rule = None
        if self.kind is not None:
            rule = bound(node.target, node.args, node.kwargs, operands, self.kind)[slot]
            if not isinstance(rule, Bound):
                return own, 0.0
        if self.profile is None:
            claimed = _within(rule, own, own.double() + delta)
            return claimed, float(rule.excess(claimed).max())
        limits, share = Limits.of(self.profile, index, own), torch.ones(len(own), dtype=torch.float64)
        for last in range(_RETRIES, -1, -1):
            wanted = own.double() + delta * share.view(-1, *[1] * (own.dim() - 1))
            claimed = wanted.to(own.dtype) if rule is None else _within(rule, own, wanted)
            worst = limits.exceedance(claimed, own)
            if not (worst > 1).any():
                break
            share = torch.where(worst > 1, share * 0.99 / worst, share) if last > 1 else share * (worst <= 1)
        return claimed, float(worst.max())


def _within(rule: Bound, own: Tensor, wanted: Tensor) -> Tensor:
    """The float32 values nearest `wanted` inside the bound; one's own where rounding leaves it."""
    low, high = rule.value - rule.tolerance, rule.value + rule.tolerance
    claimed = wanted.clamp(low, high).to(own.dtype)
    claimed = torch.where(rule.excess(claimed) > 1, claimed.nextafter(rule.value.to(own.dtype)), claimed)
    outside = (rule.excess(claimed) > 1) | ~claimed.isfinite() | ~rule.tolerance.isfinite()
    return torch.where(outside, own, claimed)
