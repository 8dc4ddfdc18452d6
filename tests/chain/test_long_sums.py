"""Disputes about elements whose operands no transaction holds: the real roles post pieces, then prove."""

import pytest
import torch
from torch import nn

from benchmarks.small import Cheat, node
from chain.long_rows import Liar, calibrated, group_of, until_closed
from chain.world import CHALLENGER
from tao.chain.local import let_pass
from tao.chain.reverts import Refused
from tao.errors import ChainError, TooLarge
from tao.protocol.views import Outcome, Phase, Status
from tao.roles.disputant import ATTEMPTS, SECONDS_PER_TRANSACTION

LANES, K = 110_000, 40_000


class Long(nn.Module):
    """A group of 110,000 numbers, and a product of rows of 40,000."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.GroupNorm(1, 2), nn.Linear(K, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.norm(x)[:, 0, :K])


@pytest.fixture(scope="module")
def given():
    return group_of(LANES)


@pytest.fixture(scope="module")
def bundle(given):
    return calibrated(Long, given)


@pytest.mark.parametrize(("operator", "lanes", "postings"), [("group_norm", LANES, 4), ("contraction", K, 3)])
def test_a_wrong_sum_of_many_lanes_is_proven_in_several_transactions(requested, operator, lanes, postings):
    world = requested
    cheat = Cheat(world.bundle, node(world.bundle, operator), offset=2.0)
    done = until_closed(world, lambda: world.prover(cheat), world.challenger)
    assert world.dispute().outcome is Outcome.CHALLENGER_WON and world.dispute().lo == cheat.node
    posts = [each for each in done if each.action == "post"]
    assert len(posts) == postings and done[-1].action == "prove"
    assert sum(each.details["lanes"] for each in posts) == lanes
    assert [each.details["posted"] for each in posts] == sorted({each.details["posted"] for each in posts})
    assert posts[-1].details["posted"] == posts[-1].details["of"] == done[-1].details["pieces"]
    for each in posts:
        assert each.sent.gas_used <= each.details["gas_estimate"] <= 1.35 * each.sent.gas_used
        assert len(world.w3.eth.get_transaction(each.sent.transaction)["input"]) < 128 * 1024
    assert f"of the {lanes:,} lanes that operator" in posts[0].what
    assert f"; {postings - 1} more transactions, about " in posts[0].what


def test_what_another_challenger_posted_need_not_be_posted_again(requested):
    world = requested
    cheat = Cheat(world.bundle, node(world.bundle, "contraction"), offset=2.0)
    prover, first, second = world.prover(cheat), world.challenger(), world.challenger(CHALLENGER + 1)
    done = world.play(prover, first, second)
    posts = [each for each in done if each.action == "post"]
    assert sum(each.details["lanes"] for each in posts) == K
    assert {each.account for each in posts} == {first.address, second.address}


@pytest.mark.parametrize(
    ("error", "is_passing"),
    [
        (ChainError("too many requests"), True),
        (TooLarge("oversized data"), False),
        (Refused("prove", "", "x"), False),
    ],
)
def test_a_proof_is_given_up_for_what_does_not_pass_alone(requested, monkeypatch, error, is_passing):
    world = requested
    cheat = Cheat(world.bundle, node(world.bundle, "contraction"), offset=2.0)
    prover, challenger = world.prover(cheat), world.challenger()
    until_leaf(prover, challenger)
    with monkeypatch.context() as failing:
        failing.setattr(challenger.context.sender, "send", fail_with(error))
        for _ in range(ATTEMPTS):
            assert challenger.tick() == []
    (done,) = challenger.tick()
    assert done.action == ("post" if is_passing else "escalate")


def fail_with(error):
    def fail(*_, **__):
        raise error

    return fail


def until_leaf(prover, challenger):
    for _ in range(20):
        prover.tick()
        if any(dispute.phase is Phase.LEAF for dispute in challenger.view().disputes):
            return
        challenger.tick()


def test_what_the_clock_has_no_time_to_post_goes_to_the_committee(requested):
    world = requested
    cheat = Cheat(world.bundle, node(world.bundle, "group_norm"), offset=2.0)
    prover, challenger = world.prover(cheat), world.challenger()
    until_leaf(prover, challenger)
    left = world.dispute().challenger_left - 4 * SECONDS_PER_TRANSACTION
    let_pass(world.w3, left)
    assert challenger.tick() == [] and "takes 4 transactions to post and one to prove" in world.log()
    assert [each.action for each in challenger.tick()] == ["escalate"]


def test_an_honest_sum_of_many_lanes_is_not_refuted_by_its_pieces(requested):
    world = requested
    prover, liar = world.prover(), world.challenger()
    liar.judge = Liar(world.bundle, liar.context.store)
    done = world.play(prover, liar, each_round=lambda: let_pass(world.w3, 20))
    posts = [each for each in done if each.action == "post"]
    assert posts[-1].details["posted"] == posts[-1].details["of"] > 10
    assert "prove was refused: not refuted" in world.log()
    assert "prove" not in [each.action for each in done]
    assert world.dispute().outcome is Outcome.PROVER_WON
    assert world.dispute().claim.status in (Status.PENDING, Status.FINALISABLE)
