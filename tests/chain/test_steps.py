"""A run of several steps, claimed and disputed down to one operator by the pure rules on views of a chain."""

from dataclasses import replace

import pytest
import torch

from chain.world import CHALLENGER, PROVER
from tao.execution import capture
from tao.model import trace
from tao.protocol import actions, challenger, prover
from tao.protocol.challenger import Measured
from tao.protocol.views import Phase
from tao.tensors import commit, merkle, state_hash

STEPS = 5


class Pointing:
    """A judge that blames one operator of the run."""

    def __init__(self, operator):
        self.operator = operator

    def suspicious(self, claim, now):
        return True

    def deviation(self, dispute, child):
        return 2.0 if dispute.cuts[child] <= self.operator < dispute.cuts[child + 1] else 0.5

    def differs(self, dispute, child):
        return False

    def examine(self, dispute, given_up=()):
        return Measured(0.0)


@pytest.fixture(scope="module")
def run():
    """A model of five steps and the commitments of one run at all its cuts."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
    values = (torch.randn(2, 4),)
    bundle = replace(trace(module, values), steps=STEPS)
    nodes, states = len(bundle.graph), []
    for _ in range(STEPS):
        captured = capture(bundle.graph, bundle.parameters, values, range(nodes + 1))
        states += [[commit(value) for value in captured[cut]] for cut in range(nodes)]
        values = captured[nodes]
    return bundle, [*states, [commit(value) for value in values]]


@pytest.mark.parametrize("operator", [0, 2, 3, 8, 14])
def test_the_rules_lead_to_any_operator_of_any_step(world, run, operator):
    bundle, states = run
    nodes = len(bundle.graph)
    checkpoints = [state_hash(state) for state in states[::nodes]]
    claimant, opponent = world.actor(PROVER), world.actor(CHALLENGER)
    contracts = claimant.contracts
    claimant.send(contracts.models.functions.register(bundle.commitment, ""))
    root = merkle.root(checkpoints)
    call = contracts.claims.functions.claim(bundle.model_id, bytes(32), states[0], states[-1], root)
    claimant.send(call, value=claimant.reader.prover_bond)
    (claim,) = claimant.reader.view({bundle.model_id}).claims
    assert claim.checkpoint_root == root
    opponent.send(contracts.game.functions.open(claim.claim_id), value=opponent.reader.challenger_bond)

    judge, revealed = Pointing(operator), []
    while True:
        view = claimant.reader.view({bundle.model_id})
        (dispute,) = view.disputes
        assert dispute.node_count == nodes
        if dispute.phase is Phase.LEAF:
            break
        for move in prover.decide(view, claimant.address, bundle.model_id):
            assert isinstance(move, actions.Reveal)
            paths = [merkle.path(checkpoints, leaf) for leaf in move.checkpoints]
            values = [states[cut] for cut in move.cuts]
            segment = (dispute.lo, dispute.hi)
            claimant.send(contracts.game.functions.reveal(dispute.dispute_id, *segment, values, paths))
            revealed.append(move.checkpoints)
        move = challenger.pursue(dispute, judge, view.now, view.block)
        if move is not None:
            assert isinstance(move, actions.Select)
            call = contracts.game.functions.select(
                dispute.dispute_id, dispute.lo, dispute.hi, list(dispute.hashes), move.child
            )
            opponent.send(call)
    assert (dispute.lo, dispute.hi, dispute.node) == (operator, operator + 1, operator % nodes)
    assert dispute.states[dispute.lo] == tuple(states[operator])
    assert dispute.states[dispute.hi] == tuple(states[operator + 1])
    assert revealed[0] == (3,) and revealed[-1] == ()
