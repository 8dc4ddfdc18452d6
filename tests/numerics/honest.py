"""Models calibrated on ordinary inputs, by devices of this process that sum in other orders."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn

from numerics.local import LocalDevice, shuffled
from tao.model import ModelBundle, trace
from tao.numerics.calibrate import Settings, calibrate_on
from tao.numerics.measure import compare_segment

DEVICES, INPUTS = 5, 5
"""That a model is calibrated on."""


def usual(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape or (8, 64), generator=torch.Generator().manual_seed(seed))


@cache
def calibrated(make: Callable[[], nn.Module], *shape: int) -> ModelBundle:
    shape = shape or (8, 64)
    torch.manual_seed(1)
    bundle = trace(make(), (usual(0, *shape),))
    devices = [LocalDevice("plain", bundle), *(shuffled(bundle, seed) for seed in range(1, DEVICES))]
    inputs = [(usual(seed, *shape),) for seed in range(INPUTS)]
    return replace(bundle, profile=calibrate_on(devices, bundle, inputs, settings=Settings(fan_out=3)))


def parameter(bundle: ModelBundle, shape: tuple[int, ...]) -> Tensor:
    return next(each for each in bundle.parameters if each.shape == shape)


def exceedance_of_a_thousandth(bundle: ModelBundle, x: Tensor) -> float:
    """Of a claim whose first output is off by a thousandth of its typical size, by an honest judge."""
    first, *others = shuffled(bundle, 100).run((x,))
    wrong = first + 1e-3 * first.square().mean().sqrt() * torch.randn(
        first.shape, generator=torch.Generator()
    )
    own = shuffled(bundle, 200).run((x,))
    return compare_segment(bundle, 0, (x,), len(bundle.graph), (wrong, *others), own).exceedance
