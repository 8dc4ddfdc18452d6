"""A prover whose kernels compute other bits than when it claimed: after a restart, on another number of threads."""

import pytest
import torch

from chain.test_every_fault import Liar
from chain.world import CHALLENGER
from tao.chain.local import mine
from tao.graph.states import is_consistent
from tao.protocol.views import Phase
from tao.roles.challenger import ChallengerRole
from tao.roles.prover import Honest

ULPS = 2.0**-22


class Drifting(Honest):
    """Computes everything a few ulps further up with each further thread."""

    def _moved(self, tensors):
        return tuple(t * (1 + ULPS * (torch.get_num_threads() - 1)) for t in tensors)

    def run(self, inputs):
        return self._moved(super().run(inputs))

    def capture(self, inputs, cuts):
        return {cut: self._moved(state) for cut, state in super().capture(inputs, cuts).items()}


class Restless(Honest):
    """Computes other bits at each capture, whatever the number of threads."""

    captures = 0

    def capture(self, inputs, cuts):
        self.captures += 1
        states = super().capture(inputs, cuts)
        return {cut: tuple(t * (1 + ULPS * self.captures) for t in state) for cut, state in states.items()}


@pytest.fixture
def threads():
    given = torch.get_num_threads()
    yield
    torch.set_num_threads(given)


def attacked(world, prover):
    """Let somebody attack a claim and choose its way to one operator; the dispute."""
    attacker = ChallengerRole(world.actor(CHALLENGER), world.bundle)
    attacker.judge = Liar(world.bundle, attacker.context.store)
    for _ in range(8):
        attacker.tick()
        prover.tick()
        mine(world.w3)
        (dispute,) = world.reader.view().disputes
        if dispute.phase is Phase.LEAF:
            return dispute
    raise AssertionError("no operator was reached")


def assert_values_that_pass_are_the_same_at_all_cuts(world, dispute):
    cuts = sorted(dispute.states)
    assert len(cuts) >= 5
    for lo, hi in zip(cuts, cuts[1:], strict=False):
        assert is_consistent(world.bundle.graph, lo, dispute.states[lo], hi, dispute.states[hi])


def test_what_was_revealed_is_revealed_again_whatever_a_later_run_gives(world):
    prover = world.prover(Restless(world.bundle))
    decide = prover.decide

    def forgetful(view):
        prover._captured.clear()
        return decide(view)

    prover.decide = forgetful
    world.request()
    prover.tick()
    dispute = attacked(world, prover)
    assert prover._behaviour.captures >= 2
    assert_values_that_pass_are_the_same_at_all_cuts(world, dispute)


def test_a_prover_restarted_on_another_number_of_threads_finds_the_one_that_made_its_claim(world, threads):
    torch.set_num_threads(2)
    first = world.prover(Drifting(world.bundle))
    world.request()
    first.tick()
    torch.set_num_threads(1)
    dispute = attacked(world, world.prover(Drifting(world.bundle)))
    assert torch.get_num_threads() == 2
    assert_values_that_pass_are_the_same_at_all_cuts(world, dispute)


def test_a_prover_that_never_computes_its_claims_bits_again_says_so(world):
    world.request()
    world.prover(Honest(world.bundle)).tick()
    (claim,) = world.reader.view().claims
    changed = world.prover(Honest(world.bundle))
    given = torch.get_num_threads()
    inputs = tuple(tensor + 1 for tensor in map(changed.context.store.get_tensor, claim.inputs))
    changed._compute_alike(claim, inputs)
    assert torch.get_num_threads() == given
    assert "has other bits than this process computes" in world.log()
