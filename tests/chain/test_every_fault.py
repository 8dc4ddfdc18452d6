"""Every position and kind of fault in a small network, played by roles that are killed at every point."""

import pytest
import torch

from benchmarks.small import Cheat, Rewriter, Withholder, inputs
from chain.mortal import Mortal, Silent, have_voted, mortal_members, play
from chain.world import CHALLENGER, PROVER
from tao.chain.local import let_pass
from tao.protocol.challenger import Measured
from tao.protocol.partition import child as child_segment
from tao.protocol.views import Outcome, Status
from tao.roles.challenger import ChallengerRole
from tao.roles.judge import ReplayJudge
from tao.roles.prover import Honest, ProverRole
from tao.tensors import commit

NODES = range(6)
VOTED = (1, 5)
"""Those that no contract decides, mish and softplus."""


class Liar(ReplayJudge):
    """Disputes everything and leads every dispute to operator `target`."""

    target = 0

    def suspicious(self, claim, now):
        return True

    def deviation(self, dispute, child):
        lo, hi = child_segment(dispute.lo, dispute.hi, dispute.fan_out, child)
        return 1e6 if lo <= self.target < hi else 0.0

    def examine(self, dispute, given_up=()):
        return Measured(1e6)


def mortal_prover(world, behaviour):
    return Mortal(world.actor(PROVER), lambda context: ProverRole(context, world.bundle, behaviour))


def mortal_challenger(world):
    return Mortal(world.actor(CHALLENGER), lambda context: ChallengerRole(context, world.bundle))


def mortal_liar(world, target):
    def build(context):
        role = ChallengerRole(context, world.bundle)
        role.judge = Liar(world.bundle, context.store)
        role.judge.target = target
        return role

    return Mortal(world.actor(CHALLENGER), build)


@pytest.mark.parametrize("node", NODES)
def test_a_wrong_output_is_found_and_loses_wherever_it_is(world, node):
    world.request()
    prover, challenger = mortal_prover(world, Cheat(world.bundle, node)), mortal_challenger(world)
    members = mortal_members(world)
    dispute = play(world, prover, challenger, members=members)
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.claim.status is Status.REFUTED
    assert dispute.lo == node
    assert prover.deaths >= 4 and challenger.deaths >= 6
    assert have_voted(members) if node in VOTED else challenger.sent[-1] == "prove"


@pytest.mark.parametrize("node", [1, 2])
def test_a_passing_value_altered_loses_wherever_one_passes(world, node):
    world.request()
    challenger = mortal_challenger(world)
    dispute = play(world, mortal_prover(world, Rewriter(world.bundle, node)), challenger)
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.lo == node
    assert challenger.deaths >= 6


class Concealer(Cheat):
    """Cheats, and does not store the wrong output."""

    def alter(self, index, node, operands, outputs):
        altered = super().alter(index, node, operands, outputs)
        if index == self.node:
            self.wrong = altered[0]
        return altered

    def publish(self, store, tensor):
        is_wrong = tensor.shape == self.wrong.shape and torch.equal(tensor, self.wrong)
        return commit(tensor) if is_wrong else store.put_tensor(tensor)


@pytest.mark.parametrize("node", NODES)
def test_what_is_withheld_loses_wherever_it_is(world, node):
    world.request()
    prover, challenger = mortal_prover(world, Concealer(world.bundle, node)), mortal_challenger(world)
    members = mortal_members(world)
    dispute = play(world, prover, challenger, members=members)
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.lo == node
    assert have_voted(members)


def test_who_withholds_everything_loses(world, parameters):
    world.request()
    prover, members = mortal_prover(world, Withholder(world.bundle, 5)), mortal_members(world)
    dispute = play(world, prover, mortal_challenger(world), members=members)
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.lo == 0
    assert prover.sent.count("answer") == parameters["game"]["maxDemands"]


@pytest.mark.parametrize("moves", range(7))
def test_a_prover_that_falls_silent_loses_at_every_turn(world, moves):
    """It makes its claim and `moves` further moves of the seven in this dispute, and never another."""
    world.request()
    prover = mortal_prover(world, Withholder(world.bundle, 0))
    dispute = play(world, Silent(prover, 1 + moves), mortal_challenger(world))
    assert dispute.outcome is Outcome.CHALLENGER_WON
    assert prover.sent == ["claim", *["reveal"] * 3, *["answer"] * 4][: 1 + moves]


@pytest.mark.parametrize("moves", range(4))
def test_a_challenger_that_falls_silent_loses_at_every_turn(world, moves):
    """It opens a dispute and makes `moves` further moves, and never another."""
    world.request()
    prover, liar = mortal_prover(world, Honest(world.bundle)), mortal_liar(world, 0)
    dispute = play(world, prover, Silent(liar, 1 + moves))
    assert dispute.outcome is Outcome.PROVER_WON and prover.sent[-1] == "timeout"
    assert liar.sent == ["open", *["select"] * moves]


def test_the_boundaries_of_another_run_lose(world):
    class AnotherRun(Honest):
        def run(self, given):
            return super().run(inputs(1))

        def capture(self, given, cuts):
            return super().capture(inputs(1), cuts)

    world.request()
    dispute = play(world, mortal_prover(world, AnotherRun(world.bundle)), mortal_challenger(world))
    assert dispute.outcome is Outcome.CHALLENGER_WON and dispute.lo == 0


@pytest.mark.parametrize("node", NODES)
def test_an_honest_prover_wins_wherever_it_is_attacked(world, node):
    world.request()
    prover, liar, members = (
        mortal_prover(world, Honest(world.bundle)),
        mortal_liar(world, node),
        mortal_members(world),
    )
    dispute = play(world, prover, liar, members=members)
    assert dispute.outcome is Outcome.PROVER_WON and dispute.lo == node
    assert prover.deaths >= 4 and liar.deaths >= 6
    assert have_voted(members)


def test_an_honest_prover_is_never_disputed_by_an_honest_challenger(world):
    world.request()
    prover, challenger = mortal_prover(world, Honest(world.bundle)), mortal_challenger(world)
    for _ in range(8):
        prover.tick()
        challenger.tick()
    let_pass(world.w3, 601)
    for _ in range(3):
        prover.tick()
        challenger.tick()
    view = world.reader.view()
    assert [claim.status for claim in view.claims] == [Status.FINALISED]
    assert view.disputes == () and challenger.deaths == 0
