"""Attack: the prover publishes commitments and keeps the data, so that nobody can build a proof.

Defence: reveal the states of every round or lose on time; at the leaf, open the chunk that is demanded or
lose on time; what it opens is in the transaction for everybody to read.
"""

from game.stories import false_output, ghost_output, honest, networks
from support.encoding import keccak
from support.raises import refused


def test_a_prover_that_does_not_reveal_loses_on_time(play):
    claim = play.claim(honest(networks()["seven"]))
    dispute = play.open(claim)
    play.send(play.stranger, "game", "timeout", dispute, at=play.deadline(dispute) + 1)
    assert play.status(claim) == "refuted"


def test_a_prover_without_the_data_behind_its_output_cannot_answer_and_loses(play):
    story = ghost_output(networks()["seven"], 4)
    dispute = play.to_leaf(story)
    leaf = play.leaf(story, 4)
    play.send(play.challenger, "game", "demand", dispute, leaf, True, 0, 0)
    commitment, kind = leaf[3][0], story.network.records[4].outputs[0]
    with refused("OpeningMismatch", commitment):
        play.send(
            play.prover, "game", "answer", dispute, commitment, kind.packed, 0, bytes(256), [bytes(32)] * 2
        )
    play.send(play.challenger, "game", "timeout", dispute, at=play.deadline(dispute) + 1)
    assert play.dispute(dispute)["outcome"] == "challenger won"


def test_a_demanded_chunk_is_published_and_then_proves_the_lie(play):
    """The challenger knows nothing but the chain, and still wins."""
    story = false_output(networks()["seven"], 4)
    dispute = play.to_leaf(story)
    tensor = play.output(story, 4)
    chunk = 0 * (1 << tensor.row_height)
    demanded = play.send(play.challenger, "game", "demand", dispute, play.leaf(story, 4), True, 0, chunk)
    assert demanded.event("ElementDemanded")["commitment"] == tensor.commitment
    answer = play.send(
        play.prover,
        "game",
        "answer",
        dispute,
        tensor.commitment,
        tensor.type.packed,
        chunk,
        tensor.chunk(chunk),
        tensor.path(chunk),
    )
    opened = answer.event("ElementOpened")
    assert keccak(opened["data"]) == keccak(tensor.chunk(chunk))
    assert list(opened["path"]) == tensor.path(chunk)
    assert play.dispute(dispute)["phase"] == "leaf"


def test_an_honest_prover_can_open_every_chunk_it_may_be_asked_for(play):
    """Nothing outside the tensor can be demanded: neither padding rows nor padding chunks, which have no
    data.
    """
    story = honest(networks()["seven"])
    dispute = play.to_leaf(story, 0)
    leaf = play.leaf(story, 0)
    tensor = story.states[0][0]
    assert (tensor.rows, tensor.chunks_per_row, tensor.height) == (3, 2, 3)
    with refused("DemandOutOfRange"):
        play.send(play.challenger, "game", "demand", dispute, leaf, False, 0, 6)
    with refused("ParameterDemanded", 1):
        play.send(play.challenger, "game", "demand", dispute, leaf, False, 1, 0)
    for chunk in (0, 5):
        play.send(play.challenger, "game", "demand", dispute, leaf, False, 0, chunk)
        play.send(
            play.prover,
            "game",
            "answer",
            dispute,
            tensor.commitment,
            tensor.type.packed,
            chunk,
            tensor.chunk(chunk),
            tensor.path(chunk),
        )
    with refused("NoDemandsLeft", dispute):
        play.send(play.challenger, "game", "demand", dispute, leaf, False, 0, 1)


def test_another_chunk_or_another_tensor_is_no_answer(play):
    story = honest(networks()["seven"])
    dispute = play.to_leaf(story, 0)
    tensor = story.states[0][0]
    play.send(play.challenger, "game", "demand", dispute, play.leaf(story, 0), False, 0, 2)

    def answer(commitment=tensor.commitment, chunk=2, source=2):
        play.send(
            play.prover,
            "game",
            "answer",
            dispute,
            commitment,
            tensor.type.packed,
            chunk,
            tensor.chunk(source),
            tensor.path(source),
        )

    with refused("DemandMismatch"):
        answer(chunk=3, source=3)
    with refused("DemandMismatch"):
        answer(commitment=play.output(story, 0).commitment)
    with refused("OpeningMismatch"):
        answer(source=3)
    answer()
