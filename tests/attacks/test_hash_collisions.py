"""Attack: two different statements that hash to the same id, by moving bytes across the border of two
fields.

Defence: ids are hashes of `abi.encode` with a tag in front; where bytes are packed, the fields have a fixed
width or carry their length.
"""

import itertools

from game.stories import honest, networks
from support.encoding import (
    ZERO,
    boundaries_hash,
    claim_id,
    dispute_id,
    model_id,
    request_id,
    state_hash,
    tag,
    vote_hash,
)
from support.raises import refused

TAGS = ("tensor", "state", "node", "tolerance", "model", "request", "claim", "dispute", "vote")


def test_the_ids_of_the_contracts_are_those_of_the_specification(play):
    story = honest(networks()["contraction"])
    rules, chain = play.rules, play.wire.chain_id
    model = play.register(story.network)
    inputs, outputs = state_hash(story.inputs), state_hash(story.outputs)
    assert model == model_id(story.network.commitment)
    request = play.request(story, fee=7, salt=3)
    assert request == request_id(chain, rules.registry, model, inputs, play.client, 7, 3)
    claim = play.claim(story, request=request)
    assert claim == claim_id(chain, rules.registry, model, request, inputs, outputs, ZERO, play.prover)
    dispute = play.open(claim)
    assert dispute == dispute_id(chain, rules.game, claim, play.challenger)
    salt, statistics = b"\1" * 32, b"measured"
    given = play.read("committee", "voteHash", dispute, play.watcher, 2, statistics, salt)
    assert given == vote_hash(chain, rules.committee, dispute, play.watcher, 2, statistics, salt)


def test_every_kind_of_hash_has_a_tag_of_its_own():
    assert len({tag(name) for name in TAGS}) == len(TAGS)


def test_values_cannot_be_moved_from_inputs_to_outputs_of_a_claim(play):
    """(a)(b, c) and (a, b)(c) are the same bytes in a row; their number is the model's, and both are hashed
    apart.
    """
    story = honest(networks()["seven"])
    model = play.register(story.network)
    values = story.inputs + story.outputs
    bond = play.rules.prover_bond
    for cut in (0, 2, 3):
        with refused("WrongValueCount"):
            play.send(
                play.prover, "claims", "claim", model, ZERO, values[:cut], values[cut:], ZERO, value=bond
            )
    assert (
        len(
            {
                claim_id(
                    1,
                    play.rules.registry,
                    model,
                    bytes(32),
                    state_hash(values[:cut]),
                    state_hash(values[cut:]),
                    ZERO,
                    play.prover,
                )
                for cut in range(4)
            }
        )
        == 4
    )


def test_values_cannot_be_moved_between_the_states_of_a_reveal(play):
    """The lists are hashed one by one, so regrouping the same commitments gives other boundaries."""
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    first, second = play.inner_states(dispute, story)
    entry = play.dispute(dispute)
    values = first + second
    groupings = [(values[:cut], values[cut:]) for cut in range(1, len(values))]
    hashes = [
        boundaries_hash([entry["lo_state"], state_hash(a), state_hash(b), entry["hi_state"]])
        for a, b in groupings
    ]
    assert len(set(hashes)) == len(groupings)
    play.reveal(dispute, story)
    assert play.dispute(dispute)["boundaries"] == hashes[len(first) - 1]


def test_a_state_hash_of_one_value_is_not_the_value(play):
    """Nor is any pair of hashes a state: states start with their tag, inner nodes of trees do not."""
    value = honest(networks()["contraction"]).inputs[0]
    assert state_hash([value]) != value
    pairs = itertools.combinations([value, tag("state"), state_hash([value])], 2)
    assert all(state_hash([a, b]) != boundaries_hash([a, b]) for a, b in pairs)


def test_vote_statistics_cannot_be_moved_into_the_salt(play):
    case, member = b"\2" * 32, play.watcher
    split = [
        play.read("committee", "voteHash", case, member, 1, b"ab", b"c".ljust(32, b"\0")),
        play.read("committee", "voteHash", case, member, 1, b"a", b"bc".ljust(32, b"\0")),
        play.read("committee", "voteHash", case, member, 1, b"abc", bytes(32)),
    ]
    assert len(set(split)) == 3
