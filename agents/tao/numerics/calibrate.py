"""Calibration: what pairs of devices deviate by at each operator, on real inputs."""

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from tao.errors import ProfileError
from tao.model import ModelBundle
from tao.numerics.process import processes, step_together
from tao.numerics.profile import SAFETY, Device, NodeTolerance, Profile
from tao.numerics.statistics import GRID, deviation_statistics
from tao.numerics.variants import variant
from tao.tensors.store import TensorStore


def _distinct(outputs: Sequence[Tensor]) -> list[Tensor]:
    """One tensor for each class of equal ones; devices often agree bit for bit."""
    found: list[Tensor] = []
    for output in outputs:
        if not any(torch.equal(output, other) for other in found):
            found.append(output)
    return found


class _Envelope:
    """The largest percentiles seen at one node."""

    def __init__(self, size: int) -> None:
        self.absolute, self.relative = [0.0] * size, [0.0] * size

    def add(self, a: Tensor, b: Tensor, grid: Sequence[float], where: str) -> None:
        """Widen by the deviation of two devices. Raises ProfileError if no threshold can cover it."""
        statistics = deviation_statistics(a, b, grid)
        if statistics.mismatch:
            raise ProfileError(
                f"Honest devices disagree on an integer or non-finite element at {where}; "
                "calibrate on inputs that keep its values apart from ties and overflow."
            )
        self.absolute = list(map(max, self.absolute, statistics.absolute))
        self.relative = list(map(max, self.relative, statistics.relative))


def calibrate(
    bundle: ModelBundle,
    inputs: Sequence[tuple[Tensor, ...]],
    variants: Sequence[str],
    store_dir: str,
    progress: Callable[[str], None] = lambda _: None,
    grid: tuple[float, ...] = GRID,
    safety: float = SAFETY,
) -> Profile:
    """The tolerance profile of a model from `inputs`, tuples of input tensors, on kernel variants.

    Every variant runs in its own process and computes every operator from the first variant's values, so
    the deviations of one operator do not reach the next. A threshold is the largest percentile over all
    inputs and all pairs of variants. store_dir: URL of a store that the processes load the model from.
    progress: is given a line after each input. Raises VariantError where a variant cannot run, ProfileError
    where there is nothing to compare or where no threshold covers what the variants computed.
    """
    if len(set(variants)) < 2:
        raise ProfileError(f"Calibration compares devices; give at least two variants, not {list(variants)}.")
    if not inputs:
        raise ProfileError("Calibration needs at least one input.")
    graph = bundle.graph
    devices = tuple(Device(name, variant(name).description) for name in variants)
    envelopes = [_Envelope(len(grid)) for _ in graph.nodes]
    with processes(variants, bundle, TensorStore(store_dir)) as workers:
        for done, sample in enumerate(inputs, 1):
            for node, outputs in enumerate(step_together(workers, len(graph), sample)):
                for slot in zip(*outputs, strict=True):
                    for a, b in combinations(_distinct(slot), 2):
                        envelopes[node].add(a, b, grid, f"node {node} ({graph.names[node]})")
            progress(f"calibrated {len(graph)} operators on input {done} of {len(inputs)}")
    return Profile(
        graph_root=graph.root,
        nodes=tuple(NodeTolerance(tuple(e.absolute), tuple(e.relative)) for e in envelopes),
        devices=devices,
        samples=len(inputs),
        grid=grid,
        safety=safety,
    )
