"""Attack: a reorganisation puts another revealed partition under the same dispute, so that an index
selected for the old one now means something else.

Defence: the index travels with the values expected there: `select` repeats the hashes of the reveal it is
about, and every move names the segment, or the lanes, that its sender saw.
"""

from game.stories import false_output, honest, networks
from support.encoding import state_hash
from support.raises import refused
from support.sums import LANES, SumPlay, lied


def test_a_selection_made_for_one_reveal_is_refused_after_another(play):
    story = false_output(networks()["seven"], 4)
    dispute = play.open(play.claim(story))
    before = play.wire.snapshot()
    seen = play.reveal(dispute, story)
    play.wire.restore(before)
    # On the other branch the prover moves the lie to the last child: it reveals the honest states.
    truth = honest(networks()["seven"])
    actual = play.reveal(dispute, truth)
    assert actual != seen
    with refused("BoundariesMismatch"):
        play.select(dispute, seen, 1)
    play.select(dispute, actual, 2)
    assert (play.dispute(dispute)["lo"], play.dispute(dispute)["hi"]) == (5, 7)


def test_an_answer_given_for_one_demand_is_refused_for_another(play):
    story = honest(networks()["seven"])
    dispute = play.to_leaf(story, 0)
    tensor = story.states[0][0]
    before = play.wire.snapshot()
    leaf = play.leaf(story, 0)
    play.send(play.challenger, "game", "demand", dispute, leaf, False, 0, 2)
    play.wire.restore(before)
    play.send(play.challenger, "game", "demand", dispute, leaf, False, 0, 4)
    with refused("DemandMismatch"):
        play.send(
            play.prover,
            "game",
            "answer",
            dispute,
            tensor.commitment,
            tensor.type.packed,
            2,
            tensor.chunk(2),
            tensor.path(2),
        )


def test_a_dispute_opened_on_a_claim_that_vanished_finds_nothing(play):
    """The claim's id holds all it says, so a dispute cannot end up against another claim."""
    before = play.wire.snapshot()
    claim = play.claim(false_output(networks()["contraction"], 0))
    play.wire.restore(before)
    play.models.clear()
    play.claim(honest(networks()["contraction"]))
    with refused("UnknownClaim", claim):
        play.open(claim)


def test_states_revealed_for_one_segment_are_refused_for_another(play):
    """On the other branch the challenger has selected another child, which has as many cuts."""
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    hashes = play.reveal(dispute, story)
    before = play.wire.snapshot()
    play.select(dispute, hashes, 1)
    seen, states = play.dispute(dispute), play.inner_states(dispute, story)
    play.wire.restore(before)
    play.select(dispute, hashes, 2)
    actual = play.dispute(dispute)
    assert len(play.inner_states(dispute, story)) == len(states)
    with refused("SegmentMismatch", actual["lo"], actual["hi"]):
        play.send(play.prover, "game", "reveal", dispute, seen["lo"], seen["hi"], states, [])
    play.reveal(dispute, story)


def test_a_vote_asked_for_one_segment_is_none_on_another(play):
    """On the other branch the challenger has not selected the child yet that it wants to put to the vote."""
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    hashes = play.reveal(dispute, story)
    before = play.wire.snapshot()
    play.select(dispute, hashes, 1)
    play.reveal(dispute, story)
    seen = play.segment(dispute)
    play.wire.restore(before)
    with refused("SegmentMismatch", 0, 7):
        play.escalate(dispute, segment=seen)
    assert play.dispute(dispute)["phase"] == "select"


def test_a_selection_made_in_one_segment_is_refused_in_another_of_the_same_hashes(play):
    """The prover says that the first child ends as the whole run does. On the other branch it reveals of the run
    what it had revealed of that child.
    """
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    start, end, inner = play.dispute(dispute)["lo_state"], list(story.outputs), [[b"\1" * 32], [b"\2" * 32]]

    def reveal(states):
        play.send(play.prover, "game", "reveal", dispute, *play.segment(dispute), states, [])
        return [start, *map(state_hash, states), state_hash(end)]

    before = play.wire.snapshot()
    play.select(dispute, reveal([end, inner[1]]), 0)
    seen, hashes = play.segment(dispute), reveal(inner)
    play.wire.restore(before)
    assert reveal(inner) == hashes
    with refused("SegmentMismatch", 0, 7):
        play.select(dispute, hashes, 1, segment=seen)


def test_sums_over_some_lanes_are_neither_doubted_nor_split_as_those_over_others(play):
    """On the other branch sums that are as large are said of other lanes."""
    game = SumPlay(play)
    total, third, nothing = (6, 6, 6), (2, 2, 2), (0, 0, 0)
    game.assert_sum(total)
    game.doubt([total], 0)
    before = play.wire.snapshot()
    game.split(total, [total, nothing, nothing])
    game.doubt([total, nothing, nothing], 0)
    seen = game.bounds
    play.wire.restore(before)
    with refused("LanesMismatch", 0, LANES):
        game.split(total, [third] * 3, lanes=seen)
    game.split(total, [third] * 3)
    with refused("LanesMismatch", 0, LANES):
        game.doubt([third] * 3, 1, lanes=seen)


def test_an_agreement_to_one_assertion_is_none_to_another(play):
    """On the other branch the challenger asserts false sums, or says the true ones of another range."""
    game = SumPlay(play)
    assert game.phase == "leaf"
    before = play.wire.snapshot()
    game.assert_sum()
    key, true = game.key, game.row.sums()
    play.wire.restore(before)
    before = play.wire.snapshot()
    game.assert_sum(lied(true))
    with refused("PartialsMismatch"):
        game.accept(true)
    play.wire.restore(before)
    game.assert_sum(true, hint=game.row.window - 1)
    for move in (lambda: game.accept(true, key=key), lambda: game.doubt([true], 0, key=key)):
        with refused("RangeMismatch", key, game.key):
            move()
