"""Tightness: worst-case bounds beside what kernels deviate by, and false positives of calibrated thresholds.

Each network is calibrated on half of the kernel variants and half of the inputs. For every operator that
rounds, the median over its elements of the worst-case tolerance is divided by the largest deviation that
calibration saw there. Then the other variants run every operator on the other inputs, and each judges the
others' outputs by the calibrated thresholds with the deployed safety factors, and the ends of all segments so.
"""

import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.configurations import BERT_BASE, GPT2, QWEN3_100M, RESNET_50, VIT_BASE
from benchmarks.networks import (
    Inputs,
    Network,
    image_classifier,
    language_model,
    random_network,
    text_classifier,
)
from models.minilm.model import batches, load_module
from tao.execution import Executor
from tao.model import ModelBundle, trace
from tao.numerics.bounds import FAMILIES, tolerance
from tao.numerics.calibrate import calibrate
from tao.numerics.measure import judge_end
from tao.numerics.noise import NoisySegment
from tao.numerics.process import VariantProcess, ask_all, processes, step_together
from tao.numerics.profile import Profile
from tao.numerics.settings import SAFETY, SEGMENT_SAFETY
from tao.numerics.statistics import deviation_statistics
from tao.numerics.variants import available
from tao.tensors.store import TensorStore

CALIBRATED = ("native", "onednn-off-baseline", "baseline", "composed")
HELD_OUT = ("avx2", "onednn-off", "mkl-sse42", "split-2")
"""Halves of the variants. Either has two kinds of kernels of every library, convolutions with oneDNN and
without, and contractions split."""
PARTIAL = ("native", "mkl-compatible", "composed")
"""Variants with one path of oneDNN, so that most convolutions agree: what thresholds from them miss."""
CONVOLUTIONAL = "ResNet-50"
"""The model calibrated on PARTIAL, too."""
INPUTS = 3
"""Inputs calibrated on, and inputs judged."""
SEED = 11
LENGTH = 32
"""Tokens of a text."""
IMAGE = 112
"""Pixels of a side; like the others smaller than usual, so that two cores finish in minutes."""
SENTENCES = 4
"""Sentences of a batch for the sentence encoder."""


def sentence_encoder() -> tuple[ModelBundle, Inputs]:
    """all-MiniLM-L6-v2 with its published weights, on batches of sentences."""
    inputs = [tuple(x[:SENTENCES] for x in batch) for batch in batches(2 * INPUTS, SEED)]
    return trace(load_module(), inputs[0]), inputs


def _random(make: Callable[[], Network]) -> Callable[[], tuple[ModelBundle, Inputs]]:
    return partial(random_network, make, 2 * INPUTS, SEED)


MODELS: dict[str, Callable[[], tuple[ModelBundle, Inputs]]] = {
    "MiniLM": sentence_encoder,
    "BERT-base": _random(lambda: text_classifier("Bert", BERT_BASE, LENGTH)),
    "GPT-2": _random(lambda: language_model("GPT2", "LMHeadModel", GPT2, LENGTH)),
    "ResNet-50": _random(lambda: image_classifier("ResNet", RESNET_50, IMAGE)),
    "ViT-base": _random(lambda: image_classifier("ViT", {**VIT_BASE, "image_size": IMAGE}, IMAGE)),
    "Qwen3-100M": _random(lambda: language_model("Qwen3", "ForCausalLM", QWEN3_100M, LENGTH)),
}


def family(target: str) -> str:
    """The family of a bounded operator: the module that holds its formula."""
    function = FAMILIES[target]
    function = function.func if isinstance(function, partial) else function
    return function.__module__.rpartition(".")[2]


def rounds(target: str) -> bool:
    """Whether kernels may differ in the operator's bits; the others move, select or compare values."""
    return target in FAMILIES


def tolerances(bundle: ModelBundle, inputs: Sequence[Tensor]) -> dict[int, tuple[float, float]]:
    """By index of every node that rounds: the median and the largest of its elements' worst-case tolerances.

    Elements whose tolerance is infinite, which a bound says nothing about, are left out: masked attention
    scores close to overflow, mostly.
    """
    executor, found = Executor(bundle.graph, bundle.parameters), {}
    state = tuple(inputs)
    for index, node in enumerate(bundle.graph.nodes):
        if rounds(node.target):
            operands = executor.operands(index, state)
            outputs = tolerance(node.target, node.args, node.kwargs, operands)
            elements = torch.cat([outputs[slot].flatten() for slot in node.slots])
            decided = elements[elements.isfinite()]
            found[index] = float(decided.median()), float(decided.max())
        state = executor.advance(index, state, index + 1)
    return found


def ratios(bundle: ModelBundle, profile: Profile, inputs: Sequence[Tensor]) -> dict[str, dict]:
    """By family, over its nodes: the median and the largest ratio of the median tolerance to the largest
    calibrated deviation, and the median ratio of the largest tolerance to it. Nodes on which all calibrated
    variants agree bit for bit have no ratio and are counted apart."""
    typical, largest, agreeing = defaultdict(list), defaultdict(list), Counter()
    for index, (median, maximum) in tolerances(bundle, inputs).items():
        name, deviation = family(bundle.graph.nodes[index].target), profile.nodes[index].absolute[-1]
        if deviation == 0:
            agreeing[name] += 1
        else:
            typical[name].append(median / deviation)
            largest[name].append(maximum / deviation)
    return {
        name: {
            "nodes": len(typical[name]),
            "nodes_bit_equal": agreeing[name],
            "ratio_median": statistics.median(typical[name]) if typical[name] else None,
            "ratio_max": max(typical[name], default=None),
            "ratio_of_largest_median": statistics.median(largest[name]) if largest[name] else None,
        }
        for name in sorted({*typical, *agreeing})
    }


@dataclass
class Judged:
    """Runs of single operators, each by one variant on one input, and what the other variants said.

    exceedances: the worst of each run of an operator that rounds, by family. runs_bit_equal: those among them
    that every judge reproduced. exact_runs, exact_rejected: of the other operators, compared bit by bit. where:
    rejected runs by the operator's name and the variant that ran it. segments: the exceedance of each run of a
    segment, as each of the other variants finds it. segments_where: what is known of those above 1.
    """

    runs_bit_equal: int = 0
    exact_runs: int = 0
    exact_rejected: int = 0
    exceedances: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    where: Counter[tuple[str, str]] = field(default_factory=Counter)
    segments: list[float] = field(default_factory=list)
    segments_where: list[dict[str, Any]] = field(default_factory=list)

    @property
    def all_exceedances(self) -> list[float]:
        return list(chain.from_iterable(self.exceedances.values()))

    @property
    def rejected(self) -> int:
        return sum(exceedance > 1 for exceedance in self.all_exceedances)

    def summary(self) -> dict:
        """The fields of a result; shares are of the operators that round."""
        exceedances, families = self.all_exceedances, self.exceedances.items()
        return {
            "false_positive_rate": self.rejected / len(exceedances),
            "false_positives": self.rejected,
            "false_positives_by_family": {name: sum(x > 1 for x in them) for name, them in families},
            "operator_runs": len(exceedances),
            "operator_runs_bit_equal": self.runs_bit_equal,
            "exact_operator_runs": self.exact_runs,
            "exact_operator_runs_rejected": self.exact_rejected,
            "largest_exceedance": max(exceedances),
            "largest_exceedance_by_family": {name: max(them) for name, them in families},
            "exceedance_p99": statistics.quantiles(exceedances, n=100)[-1],
            "rejected": [
                {"operator": name, "variant": variant, "runs": runs}
                for (name, variant), runs in self.where.most_common()
            ],
            "segments": {
                "judged": len(self.segments),
                "false_positives": sum(exceedance > 1 for exceedance in self.segments),
                "largest_exceedance": max(self.segments),
                "exceedance_p99": statistics.quantiles(self.segments, n=100)[-1],
                "rejected": self.segments_where,
            },
        }


def judge(
    bundle: ModelBundle,
    profile: Profile,
    workers: Sequence[VariantProcess],
    inputs: Sequence[Tensor],
    found: Judged,
) -> None:
    """Let every worker judge every other one's output of each operator, computed from the same operands, and end
    of each segment."""
    segments = defaultdict(list)
    for segment in profile.segments:
        segments[segment.lo].append(segment.hi)

    def judge_segments(lo: int, start: tuple[Tensor, ...]) -> None:
        for hi in segments[lo]:
            noise = NoisySegment(bundle.graph, bundle.parameters, lo, start, hi)
            singles = ask_all(workers, "segment", hi)
            ends = [(worker.name, end) for worker, end in zip(workers, singles, strict=True)]
            for (prover, claimed), (member, own) in permutations(ends, 2):
                _, exceedance = judge_end(profile, noise, claimed, own)
                found.segments.append(exceedance)
                if exceedance > 1:
                    names = bundle.graph.names
                    found.segments_where.append(
                        {
                            "first": names[lo],
                            "last": names[hi - 1],
                            "variant": prover,
                            "judge": member,
                            "exceedance": exceedance,
                        }
                    )

    for index, outputs in enumerate(step_together(workers, bundle.graph, inputs, judge_segments)):
        target, worst = bundle.graph.nodes[index].target, [0.0] * len(outputs)
        for (prover, claimed), (_, own) in permutations(enumerate(outputs), 2):
            if all(map(torch.equal, claimed, own)):
                continue
            compared = [deviation_statistics(*pair, profile.grid) for pair in zip(claimed, own, strict=True)]
            worst[prover] = max(worst[prover], profile.exceedance(index, compared))
        if rounds(target):
            found.exceedances[family(target)] += worst
            found.runs_bit_equal += worst.count(0.0)
            rejected = [worker.name for worker, most in zip(workers, worst, strict=True) if most > 1]
            found.where.update((bundle.graph.names[index], variant) for variant in rejected)
        else:
            found.exact_runs += len(worst)
            found.exact_rejected += sum(exceedance > 1 for exceedance in worst)


def study(
    bundle: ModelBundle, inputs: Inputs, calibrated: Sequence[str], held_out: Sequence[str], found: Judged
) -> dict[str, dict]:
    """Calibrate on one half of devices and inputs, let the other half judge; returns the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        profile = calibrate(bundle, inputs[:INPUTS], calibrated, folder)
        with processes(held_out, bundle, TensorStore(folder)) as workers:
            for sample in inputs[INPUTS:]:
                judge(bundle, profile, workers, sample, found)
    return ratios(bundle, profile, inputs[0])


def measure(progress: Callable[[str], None]) -> dict:
    """Ratios of every model and family, and the false positives over all models."""
    calibrated, held_out, partial_fleet = (
        [name for name in half if name in available()] for half in (CALIBRATED, HELD_OUT, PARTIAL)
    )
    details, judged, judged_by_partial = {}, Judged(), Judged()
    for name, make in MODELS.items():
        progress(f"{name}: calibrating on {', '.join(calibrated)}")
        bundle, inputs = make()
        details[name] = study(bundle, inputs, calibrated, held_out, judged)
        medians = {kind: found["ratio_median"] for kind, found in details[name].items()}
        shown = ", ".join(f"{kind} {ratio:.3g}" for kind, ratio in medians.items() if ratio is not None)
        progress(f"{name}: {shown}; {judged.rejected} of {len(judged.all_exceedances)} runs rejected so far")
        if name == CONVOLUTIONAL:
            study(bundle, inputs, partial_fleet, held_out, judged_by_partial)
            progress(f"{name}: {judged_by_partial.rejected} rejected if {', '.join(partial_fleet)} calibrate")
    return {
        "models": {
            name: {kind: found["ratio_median"] for kind, found in kinds.items() if found["nodes"]}
            for name, kinds in details.items()
        },
        "details": details,
        **judged.summary(),
        "variants_calibrated": calibrated,
        "variants_held_out": held_out,
        "partial_calibration": {
            "model": CONVOLUTIONAL,
            "variants_calibrated": partial_fleet,
            **judged_by_partial.summary(),
        },
        "safety": SAFETY,
        "segment_safety": SEGMENT_SAFETY,
        "inputs_calibrated": INPUTS,
        "inputs_held_out": INPUTS,
        "seed": SEED,
        "threads": torch.get_num_threads(),
    }


# Okabe and Ito's colours, which colour-blind readers tell apart; the shapes do so without colour.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
MARKERS = "osD^vP"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """A mark for every model and family: the median ratio, with a line to the largest."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = sorted({family for found in result["models"].values() for family in found}, reverse=True)
    figure, axes = pyplot.subplots(figsize=(8, 0.8 * len(families) + 1.6), layout="constrained")
    for place, (model, found) in enumerate(result["details"].items()):
        shift = 0.7 * (0.5 - (place + 0.5) / len(result["details"]))
        style = {"color": COLOURS[place % len(COLOURS)]}
        shown = [name for name in families if found.get(name, {}).get("nodes")]
        heights = [families.index(name) + shift for name in shown]
        medians, largest = ([found[name][key] for name in shown] for key in ("ratio_median", "ratio_max"))
        axes.hlines(heights, medians, largest, linewidth=1.5, **style)
        axes.plot(medians, heights, MARKERS[place % len(MARKERS)], markersize=6, label=model, **style)
    axes.axvline(1, color="black", linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_yticks(range(len(families)), families)
    axes.set_ylim(-0.5, len(families) - 0.5)
    for between in range(len(families) - 1):
        axes.axhline(between + 0.5, color="0.85", linewidth=0.8)
    axes.set_xlabel(
        "median worst-case bound / largest deviation between devices\n"
        "(mark: median over the nodes, line: to the largest)"
    )
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    pyplot.close(figure)
