"""What honest devices do under the same rules: rejected operators, and how far their outputs drift apart."""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.attack.regions import Region
from benchmarks.attack.search import Logits, margins, runner_up
from tao.execution.layout import view_operand
from tao.graph.canonical import Node
from tao.model import ModelBundle
from tao.numerics.bounds import Bound, bound
from tao.numerics.measure import judge_end
from tao.numerics.noise import NoisySegment
from tao.numerics.process import VariantProcess, ask_all, step_together
from tao.numerics.statistics import deviation_statistics


def rejected(
    region: Region,
    index: int,
    node: Node,
    operands: list[Tensor],
    own: tuple[Tensor, ...],
    claims: Sequence[tuple[Tensor, ...]],
) -> list[bool]:
    """Of each claimed tuple of outputs whether a verifier that computed `own` rejects it."""
    found = [False] * len(claims)
    if region.kind is not None:
        rules = bound(node.target, node.args, node.kwargs, operands, region.kind)
        for place, slot in enumerate(node.slots):
            rule = rules[slot]
            for i, claimed in enumerate(claims):
                y = claimed[place]
                if isinstance(rule, Bound):
                    found[i] |= bool((rule.excess(y) > 1).any())
                else:
                    found[i] |= not torch.equal(y, own[place])
    if region.profile is not None:
        for i, claimed in enumerate(claims):
            grid, pairs = region.profile.grid, zip(claimed, own, strict=True)
            statistics = [deviation_statistics(y, mine, grid) for y, mine in pairs]
            found[i] |= region.profile.exceedance(index, statistics) > 1
    return found


def count_rejections(
    bundle: ModelBundle,
    regions: Sequence[Region],
    workers: Sequence[VariantProcess],
    inputs: Sequence[Tensor],
) -> dict[str, tuple[int, int]]:
    """For each region: how many operators of the other workers' runs the first worker rejects, of how many.

    Every operator is computed by all from the first worker's values. Segments count like operators, where the
    region has them.
    """
    graph = bundle.graph
    values: dict[int, Tensor] = dict(zip(graph.live(0), inputs, strict=True))
    values |= {graph.value_of_parameter(i): tensor for i, tensor in enumerate(bundle.parameters)}
    counts = {region.name: (0, 0) for region in regions}

    def judge_segments(cut: int, state: tuple[Tensor, ...]) -> None:
        for region in regions:
            for segment in region.profile.segments if region.segments else ():
                if segment.lo == cut:
                    noise = NoisySegment(graph, bundle.parameters, cut, state, segment.hi)
                    own, *claims = ask_all(workers, "segment", segment.hi)
                    bad, judged = counts[region.name]
                    for claimed in claims:
                        bad += judge_end(region.profile, noise, claimed, own)[1] > 1
                    counts[region.name] = bad, judged + len(claims)

    for index, (own, *claims) in enumerate(step_together(workers, graph, inputs, judge_segments)):
        node = graph.nodes[index]
        operands = [view_operand(values[operand.value], operand) for operand in node.operands]
        for region in regions:
            verdicts = rejected(region, index, node, operands, own, claims)
            bad, judged = counts[region.name]
            counts[region.name] = bad + sum(verdicts), judged + len(verdicts)
        values |= dict(zip(node.outputs, own, strict=True))
        for value in graph.releases[index]:
            values.pop(value, None)
    return counts


def honest_drift(
    workers: Sequence[VariantProcess], claims: Sequence[Sequence[Tensor]], logits: Logits
) -> float:
    """How far at most honest devices' margins over the runner-up lie apart, over all samples of all claims.

    A single sample's devices may happen to agree; what honest noise amounts to is the most that it does.
    """
    drift = 0.0
    for inputs in claims:
        results = [logits(worker.run(inputs)) for worker in workers]
        label = results[0].argmax(1)
        target = runner_up(results[0], label)
        found = torch.stack([margins(result, label, target) for result in results])
        drift = max(drift, float((found.amax(0) - found.amin(0)).max()))
    return drift
