"""Attack: flip a tie, which honest kernels may break either way, so that integers differ from the challenger's own.
Either nothing else is wrong, and whoever disputes the claim loses its bond; or the fault that can be shown lies
elsewhere, and the challenger descends to the tie instead.

Defence: integers that change when every operator's results move within their tolerances make no claim suspicious, and
integers never lead a challenger away from a child, or a segment, of which something can be shown.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from protocol.factories import CLAIM, DISPUTE, NOW
from tao.execution import capture, replay
from tao.graph.canonical import Graph
from tao.model import ModelBundle, trace
from tao.numerics import ties
from tao.numerics.measure import measure_segment
from tao.numerics.profile import NodeTolerance, Profile, SegmentTolerance
from tao.protocol import actions, challenger
from tao.protocol.partition import segments
from tao.protocol.views import Phase
from tao.receipt import Receipt
from tao.roles.judge import ReplayJudge
from tao.tensors import commit
from tao.tensors.store import TensorStore

ROUNDS = NodeTolerance((1e-7, 3e-7, 6e-7, 9e-7, 1.2e-6), (1e-7, 3e-7, 6e-7, 9e-7, 1.2e-6))
EXACT = NodeTolerance((0.0,) * 5, (0.0,) * 5)
ENDS = ((0.98, 2.49, 4.18, 6.06, 8.52), (1.5, 1.84, 2.55, 2.55, 2.55))
FAN_OUT = 2
States = dict[int, tuple[Tensor, ...]]


class Routed(nn.Module):
    """Looks up a row by the largest of its logits, and goes on from there."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.rows, self.head = nn.Linear(256, 64), nn.Embedding(64, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(self.gate(x).argmax(-1)))


class Classifier(nn.Module):
    """Answers with the largest of its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = nn.Linear(256, 64), nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.gate(x))).argmax(-1)


def bundle_of(module: nn.Module) -> ModelBundle:
    traced = trace(module, (torch.randn(16, 256),))
    nodes = tuple(ROUNDS if node.operator == "contraction" else EXACT for node in traced.graph.nodes)
    ends = tuple(SegmentTolerance(lo, hi, *ENDS) for lo, hi in segments(len(nodes), FAN_OUT))
    return replace(traced, profile=Profile(traced.graph.root, nodes, (), samples=1, segments=ends))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same weights whatever ran before: how near a tie can be made depends on them."""
    torch.manual_seed(0)


@pytest.fixture(scope="module", params=[Routed, Classifier])
def bundle(request) -> ModelBundle:
    torch.manual_seed(0)
    return bundle_of(request.param())


def argmax_of(graph: Graph) -> int:
    return next(i for i, node in enumerate(graph.nodes) if "argmax" in node.target)


def tied(bundle: ModelBundle) -> Tensor:
    """An input whose first sample has two largest logits some units in the last place apart."""
    graph, at = bundle.graph, argmax_of(bundle.graph)

    def chosen(x: Tensor) -> int:
        return int(replay(graph, bundle.parameters, 0, (x,), at + 1)[0][0])

    x = torch.randn(16, 256, generator=torch.Generator().manual_seed(3))
    first, other = x[0].clone(), next(row for row in x if chosen(torch.stack([row] * 16)) != chosen(x))
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        x[0] = first + middle * (other - first)
        low, high = (middle, high) if chosen(x) == chosen(torch.stack([first] * 16)) else (low, middle)
    # Not so near that float32 and float64 break the tie differently: then nothing is known of what follows.
    x[0] = first + (low - 3e-7) * (other - first)
    return x


def flipped(bundle: ModelBundle, x: Tensor) -> States:
    """An honest run but for the tie, which is broken the other way by a unit in the last place."""
    graph, at, end = bundle.graph, argmax_of(bundle.graph), len(bundle.graph)
    states = capture(graph, bundle.parameters, (x,), range(end + 1))
    (logits,) = (value.clone() for value in states[at])
    largest, second = logits[0].topk(2).indices.tolist()
    assert 0 <= logits[0, largest] - logits[0, second] < 1e-6
    logits[0, second] = logits[0, largest].nextafter(torch.tensor(torch.inf))
    states[at] = (logits,)
    for cut in range(at, end):
        states[cut + 1] = replay(graph, bundle.parameters, cut, states[cut], cut + 1)
    return states


def course(bundle: ModelBundle, states: States) -> list[actions.Action]:
    """What a challenger does with a claim of these states, to the last operator if it comes to that."""
    store = TensorStore("memory://ties")
    held = {cut: tuple(map(store.put_tensor, state)) for cut, state in states.items()}
    lo, hi = 0, len(bundle.graph)
    claim = replace(CLAIM, claim_id=b"".join(held[hi])[:32], inputs=held[lo], outputs=held[hi])
    judge = ReplayJudge(bundle, store)
    done: list[actions.Action] = []
    if not judge.suspicious(claim, NOW):
        return done
    done.append(actions.Open(claim))
    while isinstance(done[-1], actions.Open | actions.Select):
        phase = Phase.SELECT if hi - lo > 1 else Phase.LEAF
        dispute = replace(
            DISPUTE,
            claim=claim,
            phase=phase,
            fan_out=FAN_OUT,
            node_count=len(bundle.graph),
            lo=lo,
            hi=hi,
            states=held,
        )
        done.append(challenger.pursue(dispute, judge, NOW, 1))
        if isinstance(done[-1], actions.Select):
            lo, hi = dispute.cuts[done[-1].child], dispute.cuts[done[-1].child + 1]
    return done


def test_an_honest_run_that_a_tie_leads_elsewhere_is_left_alone():
    """All floating-point numbers of the sample are others, and every other replay agrees with none of them."""
    bundle = bundle_of(Routed())
    x, end = tied(bundle), len(bundle.graph)
    states, honest = flipped(bundle, x), replay(bundle.graph, bundle.parameters, 0, (x,), end)
    assert (states[end][0][0] - honest[0][0]).abs().max() > 0.1
    assert course(bundle, states) == []
    for segment in bundle.profile.segments:
        found = measure_segment(bundle, segment.lo, states[segment.lo], segment.hi, states[segment.hi])
        assert found.exceedance <= 1


def test_a_route_that_is_no_tie_is_not_taken_for_one():
    bundle = bundle_of(Routed())
    graph, at, end = bundle.graph, argmax_of(bundle.graph), len(bundle.graph)
    states = capture(graph, bundle.parameters, (tied(bundle),), range(end + 1))
    (row,) = (value.clone() for value in states[at + 1])
    row[5] = (row[5] + 1) % 64
    states[at + 1] = (row,)
    for cut in range(at + 1, end):
        states[cut + 1] = replay(graph, bundle.parameters, cut, states[cut], cut + 1)
    assert measure_segment(bundle, 0, states[0], end, states[end]).exceedance > 10
    assert isinstance(course(bundle, states)[-1], actions.Prove | actions.Escalate)


def test_a_class_flipped_at_a_tie_is_left_alone():
    bundle = bundle_of(Classifier())
    x = tied(bundle)
    states, honest = flipped(bundle, x), replay(bundle.graph, bundle.parameters, 0, (x,), len(bundle.graph))
    assert not torch.equal(states[len(bundle.graph)][0], honest[0])
    assert course(bundle, states) == []


def test_a_class_that_double_precision_gives_is_one_without_a_profile_too():
    own, exact, other = (torch.tensor([3, label]) for label in (1, 2, 4))
    bundle = replace(bundle_of(Classifier()), profile=None)
    for claimed, is_explained in ((own, True), (exact, True), (other, False)):
        assert ties.explain(bundle, 0, (), len(bundle.graph), [claimed], [own], [exact]) is is_explained


def test_a_class_replaced_outright_is_proven_wrong():
    bundle = bundle_of(Classifier())
    states = capture(bundle.graph, bundle.parameters, (tied(bundle),), range(len(bundle.graph) + 1))
    (label,) = (value.clone() for value in states[len(bundle.graph)])
    label[3] = (label[3] + 1) % 8
    assert isinstance(course(bundle, states | {len(bundle.graph): (label,)})[-1], actions.Prove)


def test_who_checks_a_receipt_takes_either_side_of_a_tie_and_no_other_class():
    bundle = bundle_of(Classifier())
    x, end = tied(bundle), len(bundle.graph)
    other = flipped(bundle, x)[end]
    assert not torch.equal(other[0], bundle.run((x,)).values[0])
    wrong = (torch.cat([other[0][:3], (other[0][3:] + 1) % 8]),)
    for labels, is_plausible in ((other, True), (wrong, False)):
        receipt = Receipt(labels, (commit(x),), tuple(map(commit, labels)))
        assert bundle.verify(receipt, (x,)).plausible is is_plausible


def test_a_class_that_follows_from_false_logits_is_shown_to(bundle):
    """The integers alone differ at the end: what they follow from is seen further down."""
    graph, at = bundle.graph, argmax_of(bundle.graph)
    states = capture(graph, bundle.parameters, (tied(bundle),), range(len(graph) + 1))
    (logits,) = (value.clone() for value in states[at])
    logits[5, int(logits[5].argmin())] = logits[5].max() + 1
    states[at] = (logits,)
    for cut in range(at, len(graph)):
        states[cut + 1] = replay(graph, bundle.parameters, cut, states[cut], cut + 1)
    last = course(bundle, states)[-1]
    assert isinstance(last, actions.Prove | actions.Escalate), last


def test_a_fault_behind_a_flipped_tie_is_found():
    bundle = bundle_of(Routed())
    states, end = flipped(bundle, tied(bundle)), len(bundle.graph)
    noise = torch.randn(states[end][0].shape, generator=torch.Generator().manual_seed(4))
    last = course(bundle, states | {end: (states[end][0] + noise,)})[-1]
    assert isinstance(last, actions.Prove) and last.dispute.lo == end - 1
