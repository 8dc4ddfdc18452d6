"""Disputes about a sum of products inside the proven bound and beyond the calibrated constant, to the end."""

import json

import pytest
import torch
from torch import Tensor, nn

from benchmarks.small import Cheat, node
from benchmarks.substitutions import tf32
from chain.world import CLIENT, FEE
from numerics.local import LocalDevice
from tao.chain.local import let_pass
from tao.errors import TooLarge
from tao.execution import node_values
from tao.graph.states import of_outputs
from tao.model import ModelBundle, trace
from tao.numerics.calibrate import calibrate_on
from tao.numerics.contraction import node_theta
from tao.numerics.dot import THETA_ONE
from tao.proofs import find_accusable_element, find_refutable_element
from tao.protocol.challenger import Exceeding
from tao.protocol.partition import child as child_segment
from tao.protocol.views import Outcome, Phase, Status
from tao.roles import client
from tao.roles.judge import ReplayJudge
from tao.roles.states import around, fetch_segment

LANES = 4096


class Wide(nn.Module):
    """A layer whose weights are all positive, so that positive inputs round it one way."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LANES, 8)
        self.linear.weight.data = (torch.rand(8, LANES) / 2 + 0.5) / LANES

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).tanh()


def ordinary(seed: int) -> tuple[Tensor]:
    return (torch.randn(4, LANES, generator=torch.Generator().manual_seed(seed)),)


def one_sided() -> tuple[Tensor]:
    """Inputs made for it: partial sums grow, and with them each rounding."""
    return (torch.rand(4, LANES, generator=torch.Generator().manual_seed(9)) / 2 + 0.5,)


def low_precision(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return tf32(x) @ tf32(weight).T + bias


def sequential(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Honest: one accumulator per output."""
    total = torch.zeros(len(x), len(weight))
    for lane in range(LANES):
        total += x[:, lane, None] * weight[:, lane]
    return total + bias


def split(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    parts = zip(x.chunk(8, 1), weight.chunk(8, 1), strict=True)
    return sum(a @ b.T for a, b in parts) + bias


class Kernel(Cheat):
    """A prover that computes the layer by a kernel of its own."""

    def __init__(self, bundle: ModelBundle, kernel) -> None:
        super().__init__(bundle, node(bundle, "contraction"))
        self.kernel = kernel

    def alter(self, index, node, operands, outputs):
        return (self.kernel(*operands),) if index == self.node else outputs


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(6)
    bare = trace(Wide(), ordinary(0))
    other = Kernel(bare, split).alter
    fleet = [LocalDevice("vendor", bare), LocalDevice("split", bare, other)]
    return ModelBundle(bare.graph, bare.parameters, calibrate_on(fleet, bare, [ordinary(1), ordinary(2)]))


def play(world, given, *roles, **options):
    client.request(world.actor(CLIENT), world.bundle, given, FEE)
    return world.play(*roles, **options)


def named(done):
    return [each.action for each in done]


def votes(done):
    return [
        (v.details["vote"], json.loads(v.details["statistics"])["exceedance"])
        for v in done
        if v.action == "reveal-vote"
    ]


def until(world, phase, *roles):
    for _ in range(20):
        for role in roles:
            role.tick()
        disputes = world.reader.view().disputes
        if disputes and disputes[0].phase is phase:
            return
    raise AssertionError(f"never in phase {phase.name}: {world.log()}")


class Ruthless(ReplayJudge):
    """Disputes the layer of every claim, and accuses it of the element furthest beyond theta."""

    def suspicious(self, claim, now):
        return True

    def deviation(self, dispute, child):
        lo, hi = child_segment(dispute.lo, dispute.hi, dispute.fan_out, child)
        return 2.0 if lo <= node(self.bundle, "contraction") < hi else 0.0

    def examine(self, dispute, given_up=()):
        graph, (before, after) = self.bundle.graph, around(dispute)
        inputs, end = fetch_segment(self.store, graph, dispute.lo, before, dispute.hi, after)
        outputs = of_outputs(graph, dispute.lo, end)
        theta = self.bundle.profile.nodes[dispute.lo].theta
        element = find_accusable_element(self.bundle, dispute.lo, inputs, outputs, theta)
        assert find_refutable_element(self.bundle, dispute.lo, inputs, outputs) is None
        return Exceeding(element)


def ruthless(world):
    challenger = world.challenger()
    challenger.judge = Ruthless(world.bundle, challenger.context.store)
    return challenger


def test_low_precision_products_are_inside_the_proven_bound_and_beyond_theta(bundle):
    index, (x,) = node(bundle, "contraction"), ordinary(3)
    y = low_precision(x, *bundle.parameters)
    theta = bundle.profile.nodes[index].theta
    assert find_refutable_element(bundle, index, (x,), (y,)) is None
    assert find_accusable_element(bundle, index, (x,), (y,), theta) is not None
    honest = sequential(x, *bundle.parameters)
    assert find_accusable_element(bundle, index, (x,), (honest,), theta) is None


def test_an_accused_cheat_that_does_not_defend_itself_loses_on_time(world):
    client.request(world.actor(CLIENT), world.bundle, ordinary(3), FEE)
    cheat = Kernel(world.bundle, low_precision)
    prover, challenger = world.prover(cheat), world.challenger()
    until(world, Phase.LEAF, prover, challenger)
    (accused,) = challenger.tick()
    assert accused.action == "accuse" and accused.details["lo"] == cheat.node
    assert accused.details["theta"] == world.bundle.profile.nodes[cheat.node].theta / THETA_ONE
    assert world.dispute().phase is Phase.DEFENCE and challenger.tick() == []
    let_pass(world.w3, 601)
    assert named(challenger.tick()) == ["timeout"]
    dispute = world.dispute()
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.claim.status is Status.REFUTED


def test_an_accused_cheat_that_defends_itself_is_rejected_by_the_committee(world):
    prover = world.prover(Kernel(world.bundle, low_precision))
    done = play(world, ordinary(3), prover, world.challenger(), *world.members())
    assert {"accuse", "defend", "draw", "settle"} <= set(named(done))
    assert not {"prove", "escalate"} & set(named(done))
    assert len(votes(done)) == 3 and all(vote == "reject" and over > 1 for vote, over in votes(done))
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_an_honest_prover_accused_on_inputs_made_for_it_is_acquitted_and_the_accuser_pays(world):
    prover, accuser = world.prover(Kernel(world.bundle, sequential)), ruthless(world)
    done = play(world, one_sided(), prover, accuser, *world.members())
    assert {"accuse", "defend", "settle"} <= set(named(done)), "the contract confirmed that theta is exceeded"
    assert len(votes(done)) == 3 and all(vote == "accept" and over <= 1 for vote, over in votes(done))
    assert world.dispute().outcome is Outcome.PROVER_WON
    vault = accuser.context.contracts.vault.functions
    assert vault.creditOf(accuser.address).call() == 0 < vault.creditOf(prover.address).call()


def test_a_cheat_accused_on_inputs_made_for_honest_kernels_is_rejected_all_the_same(world):
    prover = world.prover(Kernel(world.bundle, low_precision))
    done = play(world, one_sided(), prover, ruthless(world), *world.members())
    assert "defend" in named(done) and {vote for vote, _ in votes(done)} == {"reject"}
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_what_members_would_acquit_is_not_accused(world):
    """Beyond theta, provably; but the challenger measures what the committee would."""
    client.request(world.actor(CLIENT), world.bundle, one_sided(), FEE)
    prover, challenger = world.prover(Kernel(world.bundle, sequential)), ruthless(world)
    until(world, Phase.LEAF, prover, challenger)
    challenger.judge = ReplayJudge(world.bundle, challenger.context.store)
    assert challenger.tick() == [] and "within tolerance" in world.log()
    assert world.dispute().phase is Phase.LEAF


def test_an_operator_whose_adjudicator_does_not_measure_goes_to_the_committee(world):
    client.request(world.actor(CLIENT), world.bundle, ordinary(3), FEE)
    prover, challenger = world.prover(Kernel(world.bundle, low_precision)), world.challenger()
    assert challenger.judge.is_measured("contraction") and not challenger.judge.is_measured(
        "aten.tanh.default"
    )
    challenger.judge.is_measured = lambda operator: False
    until(world, Phase.LEAF, prover, challenger)
    assert named(challenger.tick()) == ["escalate"]


def test_an_accusation_that_the_contract_refuses_goes_to_the_committee(world, monkeypatch):
    def nearest(bundle, index, inputs, outputs, theta):
        values = node_values(bundle.graph, bundle.parameters, index, inputs)
        ratio = node_theta(bundle.graph.nodes[index], values, outputs[0])
        assert float(ratio.min()) < theta / THETA_ONE
        return int(ratio.argmin())

    client.request(world.actor(CLIENT), world.bundle, ordinary(3), FEE)
    prover, challenger = world.prover(Kernel(world.bundle, low_precision)), world.challenger()
    until(world, Phase.LEAF, prover, challenger)
    monkeypatch.setattr("tao.roles.judge.find_accusable_element", nearest)
    assert challenger.tick() == [] and "accuse was refused: not exceeded" in world.log()
    assert named(challenger.tick()) == ["escalate"]


def test_an_accusation_that_no_node_takes_is_not_repeated(world, monkeypatch):
    client.request(world.actor(CLIENT), world.bundle, ordinary(3), FEE)
    prover, challenger = world.prover(Kernel(world.bundle, low_precision)), world.challenger()
    until(world, Phase.LEAF, prover, challenger)

    def refuse(*_):
        raise TooLarge("oversized data")

    with monkeypatch.context() as small:
        small.setattr(challenger.context.sender, "send", refuse)
        assert challenger.tick() == []
    assert named(challenger.tick()) == ["escalate"]
