"""What a committee accepts of segments: the drift of several operators together, sample by sample.

As in `regions`, each sample is judged as if all others were honest, and has the largest thresholds to itself.
"""

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from benchmarks.attack.regions import positions
from tao.execution import replay
from tao.model import ModelBundle
from tao.numerics.noise import NoisySegment
from tao.numerics.segments import as_rows, noise, widening

DRAWS = 2
"""Of replays with random errors: an attack is judged many times, and more change the noise of large tensors little."""

States = dict[int, tuple[Tensor, ...]]
"""By cut, the claimed values live there."""


def cuts(bundle: ModelBundle) -> set[int]:
    """Where segments with thresholds begin and end."""
    return {cut for segment in bundle.profile.segments for cut in (segment.lo, segment.hi)}


def exceedances(bundle: ModelBundle, states: States, samples: int) -> Tensor:
    """The worst exceedance of any segment's thresholds by each sample, float64 [samples].

    states: at all `cuts`. Tensors whose first dimension is not that of the samples are no sample's.
    """
    graph, profile = bundle.graph, bundle.profile
    worst = torch.zeros(samples, dtype=torch.float64)
    for segment in profile.segments:
        start, end = states[segment.lo], states[segment.hi]
        single = replay(graph, bundle.parameters, segment.lo, start, segment.hi)
        noisy = NoisySegment(graph, bundle.parameters, segment.lo, start, segment.hi)
        drawn = list(islice(noisy.drawn(), DRAWS))
        for place, (claimed, own) in enumerate(zip(end, single, strict=True)):
            if not own.is_floating_point() or own.dim() < 2 or len(own) != samples:
                continue
            judge = noise(noisy.exact[place], [own], noisy.narrowest)
            judge.draw(*(as_rows(state[place]) for state in drawn))
            elements, rows = judge.deviations(as_rows(claimed))
            factor = profile.segment_safety * widening(judge.count)
            counted = (int(judge.counted.sum()), int(judge.counted.any(axis=1).sum()))
            for values, thresholds, size in zip(
                (elements, rows), (segment.elements, segment.rows), counted, strict=True
            ):
                found = torch.from_numpy(values).reshape(samples, -1)
                limits = [factor * max(threshold, judge.floor) for threshold in thresholds]
                worst = torch.maximum(worst, _worst(found, limits, positions(profile.grid, size)))
    return worst


def _worst(found: Tensor, limits: Sequence[float], places: Tensor) -> Tensor:
    """The largest ratio to a limit among those that a sample alone can reach."""
    reached = places < found.shape[1]
    if not reached.any():
        return torch.zeros(len(found), dtype=torch.float64)
    top = found.topk(int(places[reached].max()) + 1, dim=1).values[:, places[reached]]
    ratios = top / torch.tensor(limits, dtype=torch.float64)[reached]
    return torch.where(top == 0, 0.0, ratios).amax(1)
