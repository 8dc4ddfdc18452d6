"""False alarms: what honest provers on other kernels meet, and what cheats meet under the same thresholds.

A claim is a batch of sentences that one kernel variant ran through the sentence encoder and another judges,
on the real weights and with the committed profile. Three tests: the challenger's of the whole graph, by its
thresholds; every operator's exceedance of its thresholds; every element of a contraction against the provable
bound. The last two judge operators on the prover's own inputs to them, for sentences that were not calibrated
on. Some of the variants were not calibrated on either.
"""

import random
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.substitutions import int8
from models.minilm.calibrate import SENTENCES
from models.minilm.model import batches, build, load_sentences
from tao.execution import Executor
from tao.model import ModelBundle
from tao.numerics.contraction import node_excess
from tao.numerics.drift import DRIFT_THRESHOLD
from tao.numerics.process import VariantProcess, processes, step_together
from tao.numerics.statistics import deviation_statistics
from tao.numerics.variants import available
from tao.tensors.store import TensorStore

CLAIMS = 200
OPERATOR_CLAIMS = 12
"""Claims whose every operator is judged, too."""
SEED = 20


@dataclass
class Operators:
    """Figures of the tests on single operators."""

    judged: int = 0
    false_alarms: int = 0
    exceedances: list[float] = field(default_factory=list)
    elements: int = 0
    refutable: int = 0
    largest_excess: float = 0.0


def judge_operators(
    bundle: ModelBundle,
    prover: VariantProcess,
    judge: VariantProcess,
    inputs: Sequence[Tensor],
    found: Operators,
) -> None:
    """Both tests on every operator of one claim; `prover` computes each from its own values."""
    graph = bundle.graph
    values: dict[int, Tensor] = dict(zip(graph.live(0), inputs, strict=True))
    values |= {graph.value_of_parameter(i): tensor for i, tensor in enumerate(bundle.parameters)}
    for index, (claimed, own) in enumerate(step_together([prover, judge], graph, inputs)):
        node = graph.nodes[index]
        pairs = zip(claimed, own, strict=True)
        compared = [deviation_statistics(y, mine, bundle.profile.grid) for y, mine in pairs]
        exceedance = bundle.profile.exceedance(index, compared)
        found.judged += 1
        found.false_alarms += exceedance > 1
        found.exceedances.append(exceedance)
        if node.operator == "contraction":
            excess = node_excess(node, [values[operand.value] for operand in node.operands], claimed[0])
            found.elements += excess.numel()
            found.refutable += int((excess > 1).sum())
            found.largest_excess = max(found.largest_excess, float(excess.max()))
        values |= dict(zip(node.outputs, claimed, strict=True))
        for value in graph.releases[index]:
            values.pop(value, None)


CHEATS: dict[str, Callable[[Tensor], Tensor]] = {
    "int8_weights": int8,
    "bfloat16_weights": lambda weight: weight.bfloat16().float(),
    "weights_off_by_1e-4": lambda weight: weight * (1 + 1e-4 * torch.randn_like(weight)),
}


def judge_cheats(
    bundle: ModelBundle, judge: VariantProcess, inputs: Sequence[Tensor]
) -> dict[str, tuple[float, float]]:
    """The drift ratio of each cheat's outputs, and how far they exceed what a challenger accepts."""
    found = {}
    for name, change in CHEATS.items():
        weights = [change(p) if p.is_floating_point() and p.dim() == 2 else p for p in bundle.parameters]
        found[name] = judge.judge(inputs, Executor(bundle.graph, weights).run(inputs))
    return found


@contextmanager
def devices(bundle: ModelBundle) -> Iterator[list[VariantProcess]]:
    """A process for each kernel variant that this processor can run."""
    names = available()
    with tempfile.TemporaryDirectory() as folder, processes(names, bundle, TensorStore(folder)) as workers:
        yield workers


def measure(progress: Callable[[str], None]) -> dict:
    """False alarms and margins of honest claims, and the same of cheats."""
    torch.manual_seed(SEED)
    chooser, bundle = random.Random(SEED), build()
    unseen = batches(OPERATOR_CLAIMS, SEED, load_sentences()[SENTENCES:])
    found, operators = [], Operators()
    with devices(bundle) as workers:
        names = [worker.name for worker in workers]
        for done, inputs in enumerate(unseen, 1):
            judge_operators(bundle, *chooser.sample(workers, 2), inputs, operators)
            progress(f"{done} claims, {operators.judged} operators: {operators.false_alarms} false alarms")
        for done, inputs in enumerate(batches(CLAIMS, SEED), 1):
            prover, judge = chooser.sample(workers, 2)
            found.append(judge.judge(inputs, prover.run(inputs)))
            if done % 25 == 0:
                progress(f"{done} claims: {sum(excess > 1 for _, excess in found)} false alarms")
        cheats = judge_cheats(bundle, workers[0], unseen[0])
    ratios, excesses = zip(*found, strict=True)
    calibrated = {device.name for device in bundle.profile.devices}
    return {
        "model": "all-MiniLM-L6-v2",
        "variants": names,
        "variants_not_calibrated": [name for name in names if name not in calibrated],
        "profile": {
            "devices": len(calibrated),
            "samples": bundle.profile.samples,
            "safety": bundle.profile.safety,
        },
        "whole_graph": {
            "claims": len(found),
            "false_alarms": sum(excess > 1 for excess in excesses),
            "excess_median": statistics.median(excesses),
            "excess_max": max(excesses),
            "drift_threshold": DRIFT_THRESHOLD,
            "drift_ratio_median": statistics.median(ratios),
            "drift_ratio_max": max(ratios),
            "excess_of_cheats": {name: excess for name, (_, excess) in cheats.items()},
            "drift_ratio_of_cheats": {name: ratio for name, (ratio, _) in cheats.items()},
        },
        "operators": {
            "claims": OPERATOR_CLAIMS,
            "judged": operators.judged,
            "false_alarms": operators.false_alarms,
            "exceedance_max": max(operators.exceedances),
            "exceedance_p99": statistics.quantiles(operators.exceedances, n=100)[-1],
        },
        "contractions": {
            "elements": operators.elements,
            "refutable": operators.refutable,
            "excess_max": operators.largest_excess,
        },
        "threads": torch.get_num_threads(),
    }
