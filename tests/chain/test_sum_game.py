"""Disputes about sums too long to be posted: the real roles assert, accept, doubt, split and settle."""

import shutil

import pytest
import torch
from torch import nn

from benchmarks.small import Cheat, node
from benchmarks.sums import Doubter
from chain.long_rows import Liar, calibrated, group_of, until_closed
from tao.chain.local import let_pass
from tao.protocol.views import Outcome, Phase
from tao.roles import sums
from tao.roles.disputant import SECONDS_PER_TRANSACTION

LANES = 240_000


class Long(nn.Module):
    """A group of 240,000 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)[:, :, :8].relu()


@pytest.fixture(scope="module")
def given():
    return group_of(LANES)


@pytest.fixture(scope="module")
def bundle(given):
    return calibrated(Long, given)


@pytest.fixture
def cheat(bundle):
    return Cheat(bundle, node(bundle, "group_norm"), offset=2.0)


def of_sums(done) -> list[str]:
    """The moves from the assertion on."""
    names = [each.action for each in done]
    return names[names.index("assert") :]


def gas(done) -> int:
    """Of the moves from the opening of the dispute on."""
    names = [each.action for each in done]
    return sum(each.sent.gas_used for each in done[names.index("open") :] if each.sent)


def test_a_cheat_that_accepts_the_true_sums_is_refuted_by_them(requested, cheat):
    world = requested
    done = until_closed(world, lambda: world.prover(cheat), world.challenger)
    assert of_sums(done) == ["assert", "accept", "prove"]
    assert world.dispute().outcome is Outcome.CHALLENGER_WON and world.dispute().lo == cheat.node
    assert gas(done) < 3_000_000
    assert all(each.details["lanes"] == LANES for each in done if each.action in ("assert", "accept"))


def test_a_cheat_that_doubts_the_true_sums_loses_by_one_piece_of_them(requested, cheat):
    world = requested
    prover = Doubter(world.prover().context, world.bundle, cheat)
    done = world.play(prover, world.challenger())
    rounds = ["doubt", "split"] * 4
    assert of_sums(done) == ["assert", *rounds, "doubt", "post", "settle"]
    assert world.dispute().outcome is Outcome.CHALLENGER_WON
    assert done[-1].details["to"] == LANES and done[-1].details["from"] == LANES - LANES // 16
    assert gas(done) < 9_000_000


def test_operands_withdrawn_after_the_assertion_save_no_cheat(requested, cheat):
    world = requested
    prover = Doubter(world.prover().context, world.bundle, cheat)

    def withdraw():
        disputes = world.reader.view().disputes
        if disputes and disputes[0].phase in (Phase.DOUBT, Phase.SPLIT):
            shutil.rmtree(world.folder / "store" / "tensors", ignore_errors=True)

    done = world.play(prover, world.challenger(), each_round=withdraw)
    assert not (world.folder / "store" / "tensors").exists() and done[-1].action == "settle"
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_a_cheat_that_does_not_answer_loses_on_time(requested, cheat):
    world = requested
    prover, challenger = world.prover(cheat), world.challenger()
    for _ in range(20):
        prover.tick()
        if challenger.tick() and any(d.phase is Phase.DOUBT for d in challenger.view().disputes):
            break
    let_pass(world.w3, 601)
    assert [each.action for each in challenger.tick()] == ["timeout"]
    assert world.dispute().outcome is Outcome.CHALLENGER_WON


def test_false_sums_cost_the_challenger_its_bond(requested, monkeypatch):
    """The lie is in one lane's unit; what is revealed adds up down to the range that holds it."""
    world, lane = requested, 77_777
    known = sums._known

    def false(leaf, hint, firsts, lo, hi):
        first, second, third = known(leaf, hint, firsts, lo, hi)
        return (first + 1, second, third) if lo <= lane < hi else (first, second, third)

    monkeypatch.setattr(sums, "_known", false)
    prover, liar = world.prover(), world.challenger()
    liar.judge = Liar(world.bundle, liar.context.store)
    done = world.play(prover, liar, each_round=lambda: let_pass(world.w3, 40))
    doubts = [each.details for each in done if each.action == "doubt"]
    assert all(each["from"] <= lane < each["to"] for each in doubts) and len(doubts) == 5
    assert "settle was refused: sums differ" in world.log()
    assert world.dispute().outcome is Outcome.PROVER_WON
    assert world.dispute().claim.open_disputes == 0


def test_true_sums_do_not_refute_an_honest_prover(requested):
    world = requested
    prover, liar = world.prover(), world.challenger()
    liar.judge = Liar(world.bundle, liar.context.store)
    done = world.play(prover, liar, each_round=lambda: let_pass(world.w3, 40))
    assert "prove was refused: not refuted" in world.log() and "accept" in of_sums(done)
    assert world.dispute().outcome is Outcome.PROVER_WON


def test_what_the_clock_has_no_time_to_support_goes_to_the_committee(requested, cheat):
    world = requested
    prover, challenger = world.prover(cheat), world.challenger()
    for _ in range(20):
        prover.tick()
        if any(dispute.phase is Phase.LEAF for dispute in challenger.view().disputes):
            break
        challenger.tick()
    let_pass(world.w3, world.dispute().challenger_left - 6 * SECONDS_PER_TRANSACTION)
    assert challenger.tick() == [] and "takes up to 7 transactions to assert and to support" in world.log()
    assert [each.action for each in challenger.tick()] == ["escalate"]
