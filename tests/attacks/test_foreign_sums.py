"""Attack: win a dispute by sums over something else: by those of another row or operand, by pieces of other lanes,
by the word of another prover, or by a move that is not one's own.

Defence: an agreement binds the two sides of one dispute, about one range of the disputed operator's own operands, and
each side makes its own moves.
"""

from fractions import Fraction

import pytest

from game.stories import false_output, networks
from support.encoding import ZERO, keccak, tag
from support.graphs import one_contraction, one_sum
from support.raises import refused
from support.sums import LANES, Row, SumPlay, children, conserved, lied, won_by_challenger
from support.wire import Reverted


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
    send(play.prover, "doubt", key, 0, LANES, [sums(0, LANES)], 0)
    send(play.challenger, "split", 0, LANES, sums(0, LANES), partials)
    send(play.prover, "doubt", key, 0, LANES, partials, 2)
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
            game.split(total, game.revealed(), sender=sender)


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
