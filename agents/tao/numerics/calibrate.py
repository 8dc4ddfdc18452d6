"""Calibration: what devices deviate by at each operator and over each segment, on real inputs.

Every device computes every operator from the first device's values, so the deviations of one operator do not
reach the next; and every segment at which a dispute can stand, from the first device's values at its start.
Thresholds are the largest statistics over all inputs and all pairs of devices.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from tao.errors import ProfileError
from tao.execution import node_values
from tao.files import write_whole
from tao.model import ModelBundle
from tao.numerics.bounds import FAMILIES
from tao.numerics.contraction import has_theta
from tao.numerics.dot import THETA_ONE
from tao.numerics.merge import merge
from tao.numerics.noise import NoisySegment
from tao.numerics.pairs import Envelope, accused, segment_envelope
from tao.numerics.process import Remote, ask_all, processes, step_together
from tao.numerics.profile import FORMAT, Device, NodeTolerance, Profile, SegmentTolerance
from tao.numerics.schedules import SPREAD, WORST, sample_elements, worst_schedule
from tao.numerics.settings import FAN_OUT, SAFETY, SEGMENT_SAFETY, is_factor
from tao.numerics.statistics import GRID
from tao.numerics.theta import UNITS, has_constant, node_statistic
from tao.numerics.variants import variant
from tao.protocol.partition import segments
from tao.tensors import commit
from tao.tensors.keccak import keccak
from tao.tensors.store import TensorStore

LEAST_THETA = 1.0
"""What honest kernels are taken to reach at least: the rounding of one product makes as much."""


@dataclass(frozen=True)
class Settings:
    """How deviations become a profile.

    grid: percentiles. safety, segment_safety: what the thresholds of operators and of segments are multiplied
    by; others than finite ones from 1 on raise ProfileError. fan_out: of the disputes for whose segments there are
    thresholds.
    """

    grid: tuple[float, ...] = GRID
    safety: float = SAFETY
    segment_safety: float = SEGMENT_SAFETY
    fan_out: int = FAN_OUT

    def __post_init__(self) -> None:
        for safety in (self.safety, self.segment_safety):
            if not is_factor(safety):
                raise ProfileError(f"the safety factor {safety} is not a finite number from 1 on")


def calibrate(
    bundle: ModelBundle,
    inputs: Sequence[tuple[Tensor, ...]],
    variants: Sequence[str],
    store_dir: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
    settings: Settings = Settings(),  # noqa: B008  frozen
    work_dir: Path | None = None,
) -> Profile:
    """The tolerance profile of a model from `inputs`, tuples of input tensors, on kernel variants.

    Every variant runs in a process of its own. store_dir: URL of a store that the processes load the model
    from. For `progress` and `work_dir` see `calibrate_on`. Raises VariantError where a variant cannot run,
    ProfileError as `calibrate_on`.
    """
    for name in variants:
        variant(name)  # before any process starts
    _require_comparable(variants, inputs)
    with processes(variants, bundle, TensorStore(store_dir)) as devices:
        return calibrate_on(devices, bundle, inputs, progress, settings, work_dir)


def calibrate_on(
    devices: Sequence[Remote],
    bundle: ModelBundle,
    inputs: Sequence[tuple[Tensor, ...]],
    progress: Callable[[int, int], None] = lambda done, of: None,
    settings: Settings = Settings(),  # noqa: B008  frozen
    work_dir: Path | None = None,
) -> Profile:
    """The tolerance profile of a model on devices that hold it.

    progress: is called after each operator with how many are done and of how many, over all inputs. work_dir:
    where the result of each input is kept, so that a calibration that was interrupted goes on; results of
    another model, input, device or setting are not used. Raises ProfileError where there is nothing to
    compare, where no threshold covers what the devices computed, and where one of them is faulty.
    """
    _require_comparable([device.name for device in devices], inputs)
    count, found = len(bundle.graph), []
    for number, sample in enumerate(inputs):

        def advance(node: int, before: int = number * count) -> None:
            progress(before + node, count * len(inputs))

        path = None if work_dir is None else work_dir / f"{_key(devices, bundle, sample, settings)}.json"
        if path is not None and path.exists():
            profile = _kept(path)
        else:
            profile = _Sample(devices, bundle, sample, settings).measure(number + 1, advance)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, profile.to_json())
        advance(count)
        found.append(profile)
    return merge(found)


def _kept(path: Path) -> Profile:
    """The result of an input that was measured before."""
    try:
        return Profile.from_json(path.read_bytes())
    except ProfileError as error:
        raise ProfileError(f"{error}; delete {path}, and that input is measured again") from error


def _require_comparable(names: Sequence[str], inputs: Sequence[tuple[Tensor, ...]]) -> None:
    if len(set(names)) < max(2, len(names)):
        raise ProfileError(
            f"calibration compares devices; give at least two different ones, not {list(names)}"
        )
    if not inputs:
        raise ProfileError("calibration needs at least one input")


def _key(
    devices: Sequence[Remote], bundle: ModelBundle, sample: tuple[Tensor, ...], settings: Settings
) -> str:
    """Names the result of one input: a hash of all that decides it."""
    bound = [
        bundle.graph.root.hex(),
        bundle.weights_root.hex(),
        [commit(tensor).hex() for tensor in sample],
        [[device.name, device.description] for device in devices],
        [settings.grid, settings.safety, settings.segment_safety, settings.fan_out],
        FORMAT,
        ["theta", LEAST_THETA, WORST, SPREAD, sorted(UNITS), sorted(FAMILIES)],
    ]
    return keccak(json.dumps(bound).encode()).hex()


@dataclass
class _Sample:
    """What the devices deviate by on one input."""

    devices: Sequence[Remote]
    bundle: ModelBundle
    inputs: tuple[Tensor, ...]
    settings: Settings
    ends: list[SegmentTolerance] = field(default_factory=list)

    def measure(self, number: int, advance: Callable[[int], None]) -> Profile:
        """The profile of this input alone, the `number`th. advance: is given the number of nodes done."""
        graph, names = self.bundle.graph, [device.name for device in self.devices]
        starting: dict[int, list[int]] = {}
        for lo, hi in segments(len(graph), self.settings.fan_out):
            starting.setdefault(lo, []).append(hi)
        before: tuple[Tensor, ...] = ()
        nodes: list[NodeTolerance] = []

        def at_cut(cut: int, state: tuple[Tensor, ...]) -> None:
            nonlocal before
            before = state
            for hi in starting.get(cut, ()):
                self._segment(cut, state, hi)

        steps = step_together(self.devices, graph, self.inputs, at_cut)
        for index, outputs in enumerate(steps):
            where = f"node {index} ({graph.names[index]})"
            envelope = Envelope(self.settings.grid)
            for slot in zip(*outputs, strict=True):
                deviations = envelope.compare(slot)
                faulty = accused(deviations, len(names))
                if faulty is not None:
                    raise ProfileError(
                        f"device {names[faulty]!r} is far from all others at {where} on input {number}, and "
                        "they agree; it is faulty or computes another function: repair it or leave it out"
                    )
                if any(deviation.mismatch for deviation in deviations.values()):
                    raise ProfileError(
                        f"honest devices disagree on an integer or non-finite element at {where} on input "
                        f"{number}; calibrate on inputs that keep its values apart from ties and overflow"
                    )
            theta = 0
            if has_constant(graph.nodes[index]):
                theta = self._theta(index, before, [y for (y,) in outputs])
            nodes.append(NodeTolerance(tuple(envelope.absolute), tuple(envelope.relative), theta))
            advance(index + 1)
        return Profile(
            graph_root=graph.root,
            nodes=tuple(nodes),
            devices=tuple(Device(device.name, device.description) for device in self.devices),
            samples=1,
            grid=self.settings.grid,
            safety=self.settings.safety,
            segments=tuple(self.ends),
            segment_safety=self.settings.segment_safety,
        )

    def _segment(self, lo: int, start: tuple[Tensor, ...], hi: int) -> None:
        """Thresholds of a segment from the state that all devices hold, if finite ones cover it."""
        noise = NoisySegment(self.bundle.graph, self.bundle.parameters, lo, start, hi)
        found = segment_envelope(ask_all(self.devices, "segment", hi), noise, self.settings.grid)
        if found is not None:
            self.ends.append(SegmentTolerance(lo, hi, *found))

    def _theta(self, index: int, before: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
        """The largest statistic of any device times the safety factor, as Q16.16, 0 where the result is exact.

        Of a sum of products, which can be accused by it, any honest schedule counts, too: vendors' kernels stay far
        below what a plain sequential sum makes. Others have none where it were above 65535.
        """
        node = self.bundle.graph.nodes[index]
        values = node_values(self.bundle.graph, self.bundle.parameters, index, before)
        # An element's deviation is largest at one end of what the devices computed.
        statistics = [node_statistic(node, values, end) for end in torch.stack(list(outputs)).aminmax(dim=0)]
        if any(each is None for each in statistics):
            return 0
        ratio = torch.maximum(*statistics)
        measured = float(ratio.max())
        if has_theta(node):
            schedules = worst_schedule(node, values, ratio.shape, sample_elements(ratio))
            measured = max(LEAST_THETA, measured, schedules)
        theta = max(math.ceil(measured * self.settings.safety * THETA_ONE), 1)  # 0 is for none
        if theta < 1 << 32:
            return theta
        if has_theta(node):
            name = self.bundle.graph.names[index]
            raise ProfileError(f"theta of node {index} ({name}) is {theta / THETA_ONE:g}, above 65535")
        return 0
