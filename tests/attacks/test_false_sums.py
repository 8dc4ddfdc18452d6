"""Attack: win a dispute by the sums over a long row without computing them on the chain: assert false ones, hide the
lie in a child, borrow the word of another prover, or doubt what is true and hope that nobody can show it.

Defence: whoever is wrong is led to a piece that the contract sums itself; an agreement binds the two sides of one
dispute, about one range of the disputed operator's own operands; and every turn is on a clock.
"""

from fractions import Fraction

import pytest

from game.stories import false_output, honest, networks
from support.encoding import ZERO, keccak, tag
from support.graphs import one_contraction
from support.raises import refused
from support.sums import LANES, Row, SumPlay, children, lied, one_sum
from support.wire import Reverted


@pytest.fixture
def game(play) -> SumPlay:
    game = SumPlay(play)
    assert game.phase == "leaf" if game.dispute else False
    return game


def conserved(play) -> bool:
    totals = (play.read("vault", name) for name in ("totalLocked", "totalCredited", "totalBurned"))
    return play.wire.balance(play.deployment.vault.address) == sum(totals)


def won_by_challenger(game) -> bool:
    play, rules = game.play, game.play.rules
    gained = rules.challenger_bond + rules.prover_bond - rules.burned(rules.prover_bond)
    assert conserved(play) and play.status(game.claim) == "refuted"
    return play.credit(play.challenger) == gained and play.credit(play.prover) == 0


def won_by_prover(game) -> bool:
    play, bond = game.play, game.play.rules.challenger_bond
    assert conserved(play) and play.status(game.claim) == "pending"
    return play.credit(play.prover) == bond - play.rules.burned(bond) and play.credit(play.challenger) == 0


def end_on_time(game) -> None:
    """Nobody can end it in the last second of the side to move, and anyone a second later."""
    play, deadline = game.play, game.play.deadline(game.dispute)
    with refused("ClockRunning", game.dispute):
        play.send(play.stranger, "game", "timeout", game.dispute, at=deadline)
    play.send(play.stranger, "game", "timeout", game.dispute, at=deadline + 1)


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


# ---- other ranges, other operands, other disputes


def test_sums_are_of_the_disputed_operators_own_operands(game):
    row, story = game.row, game.row.story
    foreign = Row(false_output(one_sum(lanes=LANES + 1), 0)).tensor.commitment
    for tensors in ([(foreign, [])], [(story.states[0][1].commitment, [])], [(ZERO, [])]):
        with refused("OperandMismatch"):
            game.assert_sum(tensors=tensors)
    with refused("WrongTensorCount", 2, 1):
        game.assert_sum(tensors=[(row.tensor.commitment, [])] * 2)
    with refused("WrongRunCount", 2, 1):
        game.assert_sum(firsts=[0, 0])
    for first, lanes in ((row.first, LANES + 1), (row.first - 1, LANES), (2 * LANES, 1), (row.first, 0)):
        with refused("RunOutOfRange", first, lanes):
            game.assert_sum(firsts=[first], lanes=lanes)
    record, *others = game.leaf
    with refused("NodeNotInGraph"):
        game.assert_sum(leaf=(record[:-1] + bytes([record[-1] ^ 1]), *others))


def test_integers_have_no_sums(play):
    network = networks()["seven"]
    told = false_output(network, 1)
    dispute = play.to_leaf(told)
    leaf = play.leaf(told, 1)
    before = told.states[1][0].commitment
    with pytest.raises(Reverted):  # an adjudicator that sums nothing
        play.send(play.challenger, "sums", "assertSum", dispute, leaf, [(before, [])], [0], 1, 1, (0, 0, 0))


def test_an_operator_that_nobody_decides_has_no_sums(play):
    told = false_output(networks()["vote"], 0)
    dispute = play.to_leaf(told)
    with refused("NoAdjudicator"):
        play.send(play.challenger, "sums", "assertSum", dispute, play.leaf(told, 0), [], [], 1, 1, (0, 0, 0))


def test_sums_over_another_row_do_not_prove_this_one(game):
    """The prover agreed to row 0; element 1 is the sum of row 1."""
    other = Row(game.row.story, 0)
    game.assert_sum(other.sums(), firsts=[0])
    game.accept()
    with refused("UnknownPiece", game.row.key):
        game.prove(other.sums())
    with refused("UnknownPiece"):
        game.prove(other.sums(), other.proof(element=1))
    with refused("NotRefuted"):
        game.prove(other.sums(), other.proof())


def test_a_part_of_the_row_is_not_the_row(game):
    game.assert_sum(game.row.sums(0, 100), lanes=100)
    game.accept()
    with refused("PiecesMissing", 50):
        game.prove(game.row.sums(0, 100), game.row.proof([100]))
    with refused("PieceBeyondRun", 100, 50):
        game.prove(game.row.sums(0, 100), game.row.proof([100, 100]))
    game.post(game.row.piece(100, LANES))
    game.prove(game.row.sums(0, 100), game.row.proof([100, 50]))
    assert won_by_challenger(game)


def test_a_doubt_is_settled_by_pieces_of_its_own_lanes_only(game):
    other = Row(game.row.story, 0)
    shifted = Row(game.row.story, window=71)
    game.assert_sum(other.sums())  # what row 0 sums to, asserted of row 1
    game.doubt([other.sums()], 0)
    game.post(
        other.piece(0, LANES), shifted.piece(0, LANES), game.row.piece(0, 100), game.row.piece(50, LANES)
    )
    for range_, error in (
        (other.range, "RangeMismatch"),
        (shifted.range, "RangeMismatch"),
        (game.row.range, "UnknownPiece"),
    ):
        with refused(error):
            game.settle(other.sums(), [LANES], range=range_)
    for lanes, error in (
        ([100], "PiecesMissing"),
        ([100, 100], "PieceBeyondRun"),
        ([100, 50], "UnknownPiece"),
        ([LANES + 1], "PieceBeyondRun"),
    ):
        with refused(error):
            game.settle(other.sums(), lanes)
    game.post(game.row.piece(0, LANES))
    with refused("PieceBeyondRun", 1, 0):
        game.settle(other.sums(), [LANES, 1])
    with refused("SumsDiffer"):
        game.settle(other.sums(), [LANES])


def test_products_are_settled_by_pieces_of_both_of_their_rows(play):
    """A doubt of the last child of 150 products of element (1, 1): row 1 of x by row 1 of the weights."""
    told = false_output(one_contraction(LANES), 0)
    dispute, leaf, window = play.to_leaf(told), play.leaf(told, 0), 200
    x, w = told.states[0][0], told.network.parameters[0]
    tensors = [(x.commitment, []), (w.commitment, told.network.weight_path(0))]
    names = [keccak(tag("sums") + tensor.commitment + tensor.type.packed) for tensor in (x, w)]
    statement = (window, LANES, names[0], LANES, names[1], LANES)

    def sums(lo: int, hi: int, row: int = 1) -> tuple[int, int, int]:
        positive = negative = 0
        for a, b in zip(x.array[1, lo:hi], w.array[row, lo:hi], strict=True):
            units = Fraction(float(a)) * Fraction(float(b)) * Fraction(2) ** (300 - window)
            assert units.denominator == 1 and 2**46 <= abs(units)  # no product is below the window
            positive, negative = (positive + units, negative) if units > 0 else (positive, negative - units)
        return int(positive), int(negative), 0

    def piece(lo: int, hi: int, row: int) -> tuple:
        runs = []
        for tensor, first in ((x, LANES), (w, row * LANES)):
            _, data, path = tensor.open(first + lo, hi - lo)
            runs.append((tensor.type.packed, first + lo, data, path))
        return window, hi - lo, runs

    def send(sender: str, method: str, *args) -> None:
        play.send(sender, "sums", method, dispute, *args)

    partials = [sums(*child) for child in children(0, LANES, play.rules.fan_out)]
    send(play.challenger, "assertSum", leaf, tensors, [LANES, LANES], LANES, window, sums(0, LANES))
    key = play.read("sums", "assertionOf", dispute)[0]
    send(play.prover, "doubt", key, [sums(0, LANES)], 0)
    send(play.challenger, "split", sums(0, LANES), partials)
    send(play.prover, "doubt", key, partials, 2)
    play.send(play.stranger, "contraction", "post", [piece(100, LANES, 0), piece(50, 100, 1)])
    with refused("UnknownPiece"):
        send(play.challenger, "settle", statement, partials[2], [50])
    play.send(play.stranger, "contraction", "post", [piece(100, LANES, 1)])
    send(play.challenger, "settle", statement, partials[2], [50])
    assert play.dispute(dispute)["outcome"] == "challenger won" and conserved(play)


def test_an_agreement_is_no_record_and_binds_no_other_dispute(game):
    play, friend = game.play, SumPlay(game.play, game.row)
    friend.claim, friend.dispute = game.claim, play.open(game.claim, play.friend)
    false = lied(game.row.sums())
    friend.assert_sum(false, sender=play.friend)
    friend.accept()
    with refused("UnknownPiece", game.row.key):
        play.send(play.challenger, "game", "prove", game.dispute, game.leaf, game.row.proof())
    with refused("WrongSumStage", game.dispute, 0, 3):
        game.prove(false)
    game.assert_sum(false)
    with refused("WrongSumStage", game.dispute, 1, 3):
        game.prove(false)
    assert play.read("reduction", "sumsOf", game.row.key) == (0, 0, 0, False)


def test_there_is_one_assertion_in_a_dispute(game):
    game.assert_sum()
    with refused("WrongPhase", game.dispute, 6, 3):
        game.assert_sum()
    game.accept()
    for sums in (game.row.sums(), lied(game.row.sums())):
        with refused("AlreadyAsserted", game.dispute):
            game.assert_sum(sums)
    with refused("PartialsMismatch"):
        game.prove(lied(game.row.sums()))
    assert game.play.read("sums", "assertionOf", game.dispute)[0] == game.row.key


def test_what_was_doubted_is_not_accepted(game):
    game.assert_sum()
    game.doubt([game.row.sums()], 0)
    game.split(game.row.sums(), game.revealed())
    with refused("WrongSumStage", game.dispute, 2, 1):
        game.accept()


def test_each_side_makes_its_own_moves(game):
    play, total = game.play, game.row.sums()
    for sender in (play.prover, play.stranger):
        with refused("NotYourTurn", sender, play.challenger):
            game.assert_sum(sender=sender)
    game.assert_sum()
    for sender in (play.challenger, play.stranger):
        with refused("NotYourTurn", sender, play.prover):
            game.accept(sender=sender)
        with refused("NotYourTurn", sender, play.prover):
            game.doubt([total], 0, sender=sender)
    game.doubt([total], 0)
    for sender in (play.prover, play.stranger):
        with refused("NotYourTurn", sender, play.challenger):
            game.send(sender, "split", total, game.revealed())


def test_nobody_but_the_sum_game_passes_turns_or_wins_by_sums(game):
    play = game.play
    for sender in (play.challenger, play.prover, play.stranger):
        with refused("NotSumGame", sender):
            play.send(sender, "game", "passTurn", game.dispute, play.challenger, 3, 1)
        with refused("NotSumGame", sender):
            play.send(sender, "game", "winBySums", game.dispute, 3)


def test_a_running_assertion_ends_with_a_claim_refuted_elsewhere(game):
    play, rival = game.play, SumPlay(game.play, game.row)
    rival.claim, rival.dispute = game.claim, play.open(game.claim, play.friend)
    rival.assert_sum(sender=play.friend)
    rival.accept()
    game.assert_sum()
    rival.prove()
    with refused("ClaimRefutedElsewhere"):
        game.accept()
    play.send(play.stranger, "game", "close", game.dispute)
    assert play.dispute(game.dispute)["outcome"] == "moot"
    assert play.credit(play.challenger) == play.rules.challenger_bond and conserved(play)
    with refused("AlreadyClosed"):
        game.accept()


def test_after_an_agreement_the_leaf_is_as_before(game):
    game.assert_sum()
    game.accept()
    play, row = game.play, game.row
    game.post(row.piece(0, 75), row.piece(75, LANES))
    proof = row.proof([75, 75])
    play.send(play.challenger, "game", "prove", game.dispute, game.leaf, proof)
    assert won_by_challenger(game)
