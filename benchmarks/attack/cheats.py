"""Cheats that save work or change the model, each taken through the checks of a deployed challenger."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.attack.forward import call
from benchmarks.attack.subjects import SEED, Subject
from benchmarks.substitutions import int8
from tao.execution import capture
from tao.execution.run import Override
from tao.graph.states import of_outputs
from tao.model import ModelBundle
from tao.numerics.measure import measure, measure_segment
from tao.proofs import find_refutable_element
from tao.protocol.partition import child, degree

FAN_OUT = 16
WEIGHTED = ("aten.linear.default", "aten.conv2d.default")
MULTIPLYING = (*WEIGHTED, "aten.matmul.default")
States = dict[int, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Cheat:
    """parameters: those used in place of the model's. override: what is done to operators, if anything."""

    name: str
    size: float | None
    parameters: tuple[Tensor, ...]
    override: Override | None = None


# ---- what is done ----


def prune(weight: Tensor, share: float) -> Tensor:
    """Without the share of output channels of smallest norm, at least one."""
    norms = weight.flatten(1).norm(dim=1)
    kept = torch.ones_like(norms)
    kept[norms.argsort()[: max(1, round(share * len(norms)))]] = 0
    return weight * kept.view(-1, *[1] * (weight.dim() - 1))


def perturb(weight: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """Every weight off by a normal relative error of standard deviation `size`."""
    return weight * (1 + size * torch.randn(weight.shape, generator=generator))


def _low_precision(bundle: ModelBundle, dtype: torch.dtype) -> Override:
    """Contractions on operands, and with results, of `dtype`."""

    def override(index: int, node, operands, outputs):
        if node.target not in MULTIPLYING:
            return outputs
        return [y.float() for y in call(bundle.graph, node, [operand.to(dtype) for operand in operands])]

    return override


def _parameters_of(bundle: ModelBundle, module: str) -> list[int]:
    """Weight and bias of the weighted operator of a module."""
    graph = bundle.graph
    for node, name in zip(graph.nodes, graph.names, strict=True):
        if node.target in WEIGHTED and name.split(":")[0].endswith(module):
            return [graph.parameter_of(operand.value) for operand in node.operands[1:]]
    raise ValueError(f"The graph has no weighted operator of a module {module}.")


def _change(
    bundle: ModelBundle, change: Callable[[Tensor], Tensor], which: Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """The parameters with some of them changed: by default the weights of all contractions."""
    graph = bundle.graph
    if which is None:
        which = [graph.parameter_of(n.operands[1].value) for n in graph.nodes if n.target in WEIGHTED]
    return tuple(change(p) if i in which else p for i, p in enumerate(bundle.parameters))


def cheats(subject: Subject, sizes: Sequence[float], shares: Sequence[float]) -> Iterator[Cheat]:
    """All cheats on a model. sizes: of relative errors of weights. shares: of channels pruned."""
    bundle = subject.bundle
    own = tuple(bundle.parameters)
    yield Cheat("int8_weights", None, _change(bundle, int8))
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        yield Cheat(f"{name}_weights", None, _change(bundle, lambda w, d=dtype: w.to(d).float()))
        yield Cheat(f"{name}_matmuls", None, own, _low_precision(bundle, dtype))
    last = subject.branches[-1]
    skipped = [index for module in last for index in _parameters_of(bundle, module)]
    yield Cheat("last_layer_skipped", None, _change(bundle, torch.zeros_like, skipped))
    if subject.heads is not None:
        module, heads = subject.heads

        def without_a_head(weight: Tensor) -> Tensor:
            width = weight.shape[1] // heads
            return torch.cat([torch.zeros_like(weight[:, :width]), weight[:, width:]], 1)

        weight = _parameters_of(bundle, module)[:1]
        yield Cheat("one_head_pruned", 1 / heads, _change(bundle, without_a_head, weight))
    for share in shares:
        yield Cheat("channels_pruned", share, _change(bundle, lambda w, s=share: prune(w, s)))
    for size in sizes:
        generator = torch.Generator().manual_seed(SEED)
        changed = _change(bundle, lambda w, s=size, g=generator: perturb(w, s, g))
        yield Cheat("weights_perturbed", size, changed)


# ---- what comes of it ----


def dispute(bundle: ModelBundle, states: States, fan_out: int = FAN_OUT) -> str | None:
    """How a dispute of an execution ends: by "proof", by "vote", by "segment" or with nothing to show.

    Plays the challenger's rules: the first implausible child, else a vote on the segment if it is beyond its
    own thresholds, else the worst child, down to one operator.
    """

    def deviation(lo: int, hi: int) -> float:
        if hi - lo > 1:
            return measure_segment(bundle, lo, states[lo], hi, states[hi]).excess
        return torch.inf if _is_refutable(lo) else measure(bundle, lo, states[lo], states[hi]).exceedance

    def _is_refutable(node: int) -> bool:
        outputs = of_outputs(bundle.graph, node, states[node + 1])
        return find_refutable_element(bundle, node, states[node], outputs) is not None

    lo, hi = 0, len(bundle.graph)
    while hi - lo > 1:
        worst, chosen = -1.0, (lo, hi)
        for number in range(degree(lo, hi, fan_out)):
            segment = child(lo, hi, fan_out, number)
            found = deviation(*segment)
            if found > worst:
                worst, chosen = found, segment
            if found > 1:
                break
        whole = measure_segment(bundle, lo, states[lo], hi, states[hi])
        if worst <= 1 < whole.excess and whole.is_calibrated:
            return "segment"
        lo, hi = chosen
    if _is_refutable(lo):
        return "proof"
    return "vote" if measure(bundle, lo, states[lo], states[hi]).exceedance > 1 else None


@dataclass(frozen=True)
class Verdict:
    """drift_ratio: of the outputs. route: how the dispute ended; None where there was none or it was lost."""

    drift_ratio: float
    route: str | None
    predictions_changed: float


def judge(subject: Subject, cheat: Cheat, inputs: tuple[Tensor, ...]) -> Verdict:
    """Take one claim of a cheat through the deployed checks."""
    bundle = subject.bundle
    end = len(bundle.graph)
    cuts = range(end + 1)
    states = capture(bundle.graph, cheat.parameters, inputs, cuts, cheat.override)
    honest = capture(bundle.graph, bundle.parameters, inputs, [end])[end]
    found = measure_segment(bundle, 0, inputs, end, states[end])
    claimed, own = (subject.logits(outputs).argmax(1) for outputs in (states[end], honest))
    route = dispute(bundle, states) if found.excess > 1 else None
    return Verdict(found.drift_ratio, route, float((claimed != own).double().mean()))
