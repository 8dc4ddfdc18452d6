"""Attack: win a dispute by the sums over a long row without computing them on the chain: assert false ones, hide the
lie in a child, or doubt what is true and hope that nobody can show it.

Defence: whoever is wrong is led to a piece that the contract sums itself, and every turn is on a clock.
"""

import pytest

from game.stories import honest
from support.graphs import one_sum
from support.raises import refused
from support.sums import (
    LANES,
    Row,
    SumPlay,
    children,
    end_on_time,
    lied,
    won_by_challenger,
    won_by_prover,
)
from support.wire import Reverted

# ---- true sums


def test_accepted_true_sums_refute_a_false_element(game):
    game.assert_sum()
    game.accept()
    receipt = game.prove()
    assert receipt.event("ElementRefuted")["adjudicator"] == game.play.deployment.reduction.address
    assert won_by_challenger(game)


def test_accepted_true_sums_do_not_refute_a_true_element(play):
    game = SumPlay(play, Row(honest(one_sum())))
    game.assert_sum()
    game.accept()
    with refused("NotRefuted", game.dispute):
        game.prove()
    assert game.phase == "leaf"
    end_on_time(game)
    assert won_by_prover(game)


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("side", [0, -1])
def test_doubting_true_sums_loses_the_dispute_at_every_depth(game, depth, side):
    partials = [game.row.sums()]
    game.assert_sum()
    game.doubt(partials, 0)
    doubted = partials[0]
    for _ in range(depth):
        partials = game.revealed()
        game.split(doubted, partials)
        game.doubt(partials, len(partials) - 1 if side else 0)
        doubted = partials[side]
    lo, hi = game.bounds
    assert hi - lo in (LANES // 3**depth, LANES // 3**depth + 1)
    half = (hi - lo) // 2
    game.post(game.row.piece(lo, lo + half), game.row.piece(lo + half, hi))
    game.settle(doubted, [half, hi - lo - half], sender=game.play.watcher)
    assert won_by_challenger(game)


def test_a_prover_that_says_nothing_about_the_sums_loses_on_time(game):
    game.assert_sum()
    end_on_time(game)
    assert won_by_challenger(game)


def test_answers_in_the_last_second_are_in_time_and_a_second_later_are_not(game):
    partials = [game.row.sums()]
    game.assert_sum(at=game.play.deadline(game.dispute) - 1_000)
    late = game.play.deadline(game.dispute) + 1
    for move in (lambda: game.accept(at=late), lambda: game.doubt(partials, 0, at=late)):
        with refused("ClockExpired", game.dispute):
            move()
    with refused("ClockExpired", game.dispute):
        game.accept(at=late)


def test_every_answer_takes_from_ones_own_clock(game):
    rules, before = game.play.rules, game.play.time
    game.assert_sum(at=before + 100)
    game.doubt([game.row.sums()], 0, at=before + 300)
    game.split(game.row.sums(), game.revealed(), at=before + 350)
    entry = game.play.dispute(game.dispute)
    assert entry["prover_left"] == rules.prover_clock - 200
    assert rules.challenger_clock - 152 <= entry["challenger_left"] <= rules.challenger_clock - 148
    game.doubt(game.revealed(), 1, at=game.play.deadline(game.dispute))
    assert game.play.dispute(game.dispute)["prover_left"] == 0
    deadline = game.play.deadline(game.dispute)
    lo, hi = game.bounds
    game.post(game.row.piece(lo, hi))
    with refused("ClockExpired", game.dispute):
        game.settle(game.row.sums(lo, hi), [hi - lo], at=deadline + 1)
    assert game.play.deadline(game.dispute) == deadline


# ---- false sums


@pytest.mark.parametrize("lie", [0, 60, 90, LANES - 1])
def test_a_false_total_is_found_at_every_depth_and_costs_the_challengers_bond(game, lie):
    """The honest prover doubts the first sum that is not its own, down to one lane."""
    doubted, depth = lied(game.row.sums()), 0
    game.assert_sum(doubted)
    game.doubt([doubted], 0)
    while game.bounds[1] - game.bounds[0] > 1:
        lo, hi = game.bounds
        game.post(game.row.piece(lo, hi))
        with refused("SumsDiffer"):
            game.settle(doubted, [hi - lo])
        partials, depth = game.revealed(lie), depth + 1
        game.split(doubted, partials)
        own = [game.row.sums(a, b) for a, b in children(lo, hi, game.play.rules.fan_out)]
        child = next(i for i, pair in enumerate(zip(partials, own, strict=True)) if pair[0] != pair[1])
        game.doubt(partials, child)
        doubted = partials[child]
    assert game.bounds == (lie, lie + 1) and depth in (4, 5)
    game.post(game.row.piece(lie, lie + 1))
    with refused("SumsDiffer"):
        game.settle(doubted, [1])
    with refused("SingleLane"):
        game.split(doubted, [doubted])
    end_on_time(game)
    assert won_by_prover(game)


@pytest.mark.parametrize("part", range(3))
def test_children_have_to_add_up_in_each_of_the_three_sums(game, part):
    game.assert_sum()
    game.doubt([game.row.sums()], 0)
    partials = [list(sums) for sums in game.revealed()]
    partials[1][part] += 1
    with refused("PartialsDoNotAddUp", part):
        game.split(game.row.sums(), partials)
    partials[0][part] -= 1
    if partials[0][part] >= 0:
        game.split(game.row.sums(), partials)
        assert game.phase == "doubt"
    top = [list(sums) for sums in game.revealed()]
    top[1][part] = 2**256 - 1
    with pytest.raises(Reverted):
        game.split(game.row.sums(), top)


def test_children_are_as_many_as_the_partition_has(game):
    game.assert_sum()
    game.doubt([game.row.sums()], 0)
    total, partials = game.row.sums(), game.revealed()
    for wrong in ([total], [], [*partials, (0, 0, 0)]):
        with refused("WrongPartialCount", len(wrong), 3):
            game.split(total, wrong)


def test_what_is_argued_about_is_what_was_asserted(game):
    total, other = game.row.sums(), lied(game.row.sums())
    game.assert_sum()
    for wrong in ([other], [total, total], []):
        with refused("PartialsMismatch"):
            game.doubt(wrong, 0)
    with refused("ChildOutOfRange", 1, 1):
        game.doubt([total], 1)
    game.doubt([total], 0)
    with refused("PartialsMismatch"):
        game.split(other, game.revealed())
    with refused("PartialsMismatch"):
        game.settle(other, [LANES])
    partials = game.revealed()
    game.split(total, partials)
    with refused("ChildOutOfRange", 3, 3):
        game.doubt(partials, 3)
    with refused("PartialsMismatch"):
        game.doubt(partials[::-1], 0)


def test_sums_of_a_row_that_has_none_cannot_be_settled(game):
    """A window above which there are lanes: no piece with them is ever recorded."""
    game.assert_sum((5, 5, 5), hint=1)
    game.doubt([(5, 5, 5)], 0)
    low = Row(game.row.story, window=1)
    with refused("WindowTooLow"):
        game.post(low.piece(0, LANES))
    with refused("UnknownPiece"):
        game.settle((5, 5, 5), [LANES], range=low.range)
