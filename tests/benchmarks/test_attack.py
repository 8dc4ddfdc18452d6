"""The attack stays inside what the verifier accepts, and the cheats meet the deployed checks."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.attack.accumulated import cuts, exceedances
from benchmarks.attack.cheats import Cheat, judge, perturb, prune
from benchmarks.attack.forward import forward
from benchmarks.attack.honesty import rejected
from benchmarks.attack.regions import Limits, Region
from benchmarks.attack.search import Search, margins, runner_up
from benchmarks.attack.subjects import CharacterGpt, Subject, as_logits
from benchmarks.substitutions import int8
from tao.execution import Executor, capture
from tao.model import ModelBundle, trace
from tao.numerics.measure import measure_segment
from tao.numerics.profile import NodeTolerance, Profile, SegmentTolerance
from tao.numerics.statistics import GRID, deviation_statistics
from tao.protocol.partition import segments

SAMPLES = 6


class Net(nn.Module):
    """A residual block with a norm, a softmax and two exact operators."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.head = nn.Linear(24, 64), nn.Linear(64, 64), nn.Linear(64, 5)
        self.norm = nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = x + torch.softmax(self.inner(self.norm(x)), -1)
        return self.head(x.transpose(0, 1).contiguous().transpose(0, 1))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The kernels whose deviations the thresholds here are made for."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor]:
    return (torch.randn(SAMPLES, 24, generator=torch.Generator().manual_seed(5)),)


@pytest.fixture(scope="module")
def bundle(inputs) -> ModelBundle:
    torch.manual_seed(5)
    traced = trace(Net(), inputs)
    tolerance = NodeTolerance((1e-8, 5e-8, 1e-7, 2e-7, 8e-7), (1e-8, 5e-8, 1e-7, 2e-7, 6e-7))
    count = len(traced.graph)
    inside = [
        SegmentTolerance(lo, hi, (0.75, 1.5, 2.25, 3.0, 6.0), (2.25,) * 5) for lo, hi in segments(count, 3)
    ]
    profile = Profile(traced.graph.root, (tolerance,) * count, (), samples=1, segments=tuple(inside))
    return replace(traced, profile=profile)


def regions(bundle: ModelBundle) -> list[Region]:
    return [
        Region("worst-case", "deterministic"),
        Region("probabilistic", "probabilistic"),
        Region("empirical", None, bundle.profile),
        Region("operators", "deterministic", bundle.profile),
        Region("deployed", "deterministic", bundle.profile, segments=True),
    ]


def test_the_differentiable_run_has_the_bits_of_the_executor():
    torch.manual_seed(0)
    x = (torch.randint(9, (3, 24)),)
    model = trace(CharacterGpt(9).eval(), x)
    ours = forward(model, x, lambda index, node, operands, outputs: outputs)
    assert torch.equal(ours[0], Executor(model.graph, model.parameters).run(x)[0])


@pytest.mark.parametrize("mask", [0.1, -1e9])
def test_the_exceedance_of_one_sample_is_that_of_a_claim_whose_others_are_honest(bundle, mask):
    generator = torch.Generator().manual_seed(1)
    own = torch.randn(8, 500, generator=generator)
    own[:, 400:] = mask
    claimed = own + 1e-6 * torch.randn(8, 500, generator=generator) ** 3
    claimed[1::2, 450] *= 1 + 1e-6
    found = Limits.of(bundle.profile, 0, own).exceedance(claimed, own)
    for sample in range(8):
        alone = own.clone()
        alone[sample] = claimed[sample]
        expected = bundle.profile.exceedance(0, [deviation_statistics(alone, own, GRID)])
        assert expected > 0
        assert found[sample].item() == pytest.approx(expected, rel=1e-6)


def test_the_projection_onto_a_profile_touches_its_limits_and_favours_what_matters(bundle):
    generator = torch.Generator().manual_seed(2)
    own, gradient = (torch.randn(8, 500, generator=generator) for _ in range(2))
    region = Region("empirical", None, bundle.profile)
    reach = region.reach(0, bundle.graph.nodes[0], [], own, 0)
    delta = region.project(0, own, reach, reach * gradient.sign(), gradient)
    worst = Limits.of(bundle.profile, 0, own).exceedance(own.double() + delta.double(), own.double())
    assert (worst <= 1.001).all() and (worst > 0.99).all()
    important = (gradient.abs() * reach).argmax(1, keepdim=True)
    assert torch.equal(delta.gather(1, important).abs(), reach.gather(1, important))
    assert delta.abs().mean() < 0.5 * reach.mean()


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("targeted", [True, False])
def test_an_attack_lowers_every_margin_and_no_operator_leaves_the_region(bundle, inputs, place, targeted):
    region = regions(bundle)[place]
    found = Search(bundle, inputs, as_logits, region).run(targeted)
    assert 0 < found.excess <= 1
    assert (found.attacked < found.clean).all()


def test_a_looser_region_gives_a_larger_reach(bundle, inputs):
    found = [Search(bundle, inputs, as_logits, region, restarts=1).run(True) for region in regions(bundle)]
    worst, probable, empirical, operators, deployed = ((one.clean - one.attacked).mean() for one in found)
    assert worst >= probable > operators
    assert empirical > operators > 2 * deployed > 0


def test_what_an_attack_in_the_deployed_region_claims_is_accepted_of_every_segment(bundle, inputs):
    region = regions(bundle)[-1]
    search = Search(bundle, inputs, as_logits, region, restarts=1)
    clean = as_logits(Executor(bundle.graph, bundle.parameters).run(inputs))
    label = clean.argmax(1)
    reaches = {}

    def survey(index, node, operands, outputs):
        for output, slot, value in zip(outputs, node.slots, node.outputs, strict=True):
            if len(output) == SAMPLES:
                reaches[index, value] = region.reach(index, node, operands, output, slot)
        return outputs

    with torch.no_grad():
        forward(bundle, inputs, survey)
    deltas = search._descend(reaches, label, runner_up(clean, label), 0)
    wanted = cuts(bundle)
    _, _, states = search._execute(deltas, wanted)
    assert (exceedances(bundle, states, SAMPLES) > 1).any()  # the operators' thresholds alone let it pass
    logits, _ = search._claim(deltas)
    assert (margins(logits, label) < margins(clean, label)).all()


def test_the_exceedance_of_a_sample_is_the_members_where_it_alone_is_attacked(bundle, inputs):
    graph, last = bundle.graph, len(bundle.graph)
    states = capture(graph, bundle.parameters, inputs, cuts(bundle))
    changed = states[last][0].clone()
    changed[2] += 1e-4
    states[last] = (changed,)
    found = exceedances(bundle, states, SAMPLES)
    member = max(
        measure_segment(bundle, s.lo, states[s.lo], s.hi, states[s.hi]).exceedance
        for s in bundle.profile.segments
    )
    assert found[2].item() == pytest.approx(member, rel=0.2) and member > 1
    assert (found[[0, 1, 3, 4, 5]] <= 1).all()


def test_a_sample_within_reach_is_flipped_and_one_far_beyond_is_not(bundle, inputs):
    region = regions(bundle)[0]
    first = Search(bundle, inputs, as_logits, region).run(True)
    clean = as_logits(Executor(bundle.graph, bundle.parameters).run(inputs))
    label = clean.argmax(1)
    # A head of the client's that hands the runner-up nearly the whole margin of sample 0, half of sample 1's.
    shift = torch.zeros_like(clean)
    lead, reach = margins(clean, label), first.clean - first.attacked
    runner = clean.scatter(1, label[:, None], -torch.inf).argmax(1)
    shift[0, runner[0]] = lead[0] - 0.5 * reach[0]
    shift[1, runner[1]] = lead[1] / 2
    found = Search(bundle, inputs, lambda outputs: as_logits(outputs) + shift, region).run(True)
    assert found.flipped.tolist()[:2] == [True, False]


def test_a_region_accepts_its_own_kernels_and_rejects_what_its_parts_reject(bundle, inputs):
    worst, _, empirical, operators, _ = regions(bundle)
    node, x = bundle.graph.nodes[0], inputs[0]
    operands = [x, *bundle.parameters[:2]]
    own = torch.nn.functional.linear(*operands)
    off = own.clone()
    off[0, 0] += 1e-3
    spread = own + 1e-6  # inside gamma_n T, and far above what the profile's median allows
    cases = (own,), (off,), (spread,)
    for region, expected in (
        (worst, [False, True, False]),
        (empirical, [False, True, True]),
        (operators, [False, True, True]),
    ):
        assert rejected(region, 0, node, operands, (own,), cases) == expected


def test_a_wrong_weight_is_proven_wrong_and_a_rounding_is_left_alone(bundle, inputs):
    subject = Subject("net", bundle, as_logits, [inputs], [], [], [["inner"]])
    own = tuple(bundle.parameters)
    honest = judge(subject, Cheat("none", None, own), inputs)
    assert honest.route is None and honest.drift_ratio < 4
    quantised = tuple(int8(p) if p.dim() == 2 else p for p in own)
    caught = judge(subject, Cheat("int8", None, quantised), inputs)
    assert caught.route == "proof" and caught.drift_ratio > 100


def test_changed_weights_differ_by_what_they_say():
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(3))
    assert ((int8(weight) - weight).abs() <= weight.abs().amax(1, keepdim=True) / 253).all()
    assert (prune(weight, 0.1).norm(dim=1) == 0).sum() == 4
    assert (prune(weight, 0.0).norm(dim=1) == 0).sum() == 1
    off = (perturb(weight, 1e-3, torch.Generator().manual_seed(4)) / weight - 1).std().item()
    assert off == pytest.approx(1e-3, rel=0.1)
