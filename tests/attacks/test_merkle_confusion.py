"""Attack: pass an inner node for a leaf, one index for another, a path of another length, a chunk for a
node.

Defence: leaves are tagged or of another length than inner nodes, `index < count`, the path's length is the
tree's height, and the bits of the index say on which side each sibling stands.
"""

import pytest

from game.stories import false_output, honest, networks
from support.encoding import keccak, layers, tag
from support.raises import refused


def prove(play, dispute, story, node, *, leaf=None, proof=None):
    leaf = play.leaf(story, node) if leaf is None else leaf
    proof = play.proof(story, node) if proof is None else proof
    play.send(play.challenger, "game", "prove", dispute, leaf, proof.encoded)


def test_the_record_of_another_operator_is_not_the_disputed_one(play):
    story = false_output(networks()["seven"], 4)
    dispute = play.to_leaf(story)
    _, _, before, outputs = play.leaf(story, 4)
    for other in (0, 1, 3, 5, 6):
        record, path, _, _ = play.leaf(story, other)
        with refused("NodeNotInGraph", 4):
            prove(play, dispute, story, 4, leaf=(record, path, before, outputs))


@pytest.mark.parametrize("change", ["longer", "shorter", "swapped"])
def test_a_path_of_another_length_or_order_is_refused(play, change):
    story = false_output(networks()["seven"], 4)
    dispute = play.to_leaf(story)
    record, path, before, outputs = play.leaf(story, 4)
    path = {"longer": [*path, bytes(32)], "shorter": path[:-1], "swapped": path[::-1]}[change]
    with refused("NodeNotInGraph", 4):
        prove(play, dispute, story, 4, leaf=(record, path, before, outputs))


def test_an_inner_node_of_the_graph_tree_is_no_record(play):
    """A record of 64 bytes whose hash were an inner node would need the tag in front of it."""
    story = false_output(networks()["seven"], 4)
    dispute = play.to_leaf(story)
    _, path, before, outputs = play.leaf(story, 4)
    children = layers(story.network.leaves)[0][4:6]
    assert keccak(b"".join(children)) == layers(story.network.leaves)[1][2]
    with refused("NodeNotInGraph", 4):
        prove(play, dispute, story, 4, leaf=(b"".join(children), path[1:], before, outputs))


def test_the_padding_leaf_of_the_graph_tree_is_no_operator(play):
    """Seven operators in a tree of eight: nothing hashes to the eighth leaf, and no dispute reaches it."""
    leaves = layers(networks()["seven"].leaves)[0]
    assert leaves[7] == bytes(32)
    story = honest(networks()["seven"])
    dispute = play.open(play.claim(story))
    hashes = play.reveal(dispute, story)
    with refused("ChildOutOfRange", 3, 3):
        play.select(dispute, hashes, 3)


def test_the_opening_of_another_element_does_not_stand_for_the_claimed_one(play):
    """The false element is number 1; its opening is offered as that of its honest neighbours and the
    reverse.
    """
    story = false_output(networks()["contraction"], 0)
    dispute = play.to_leaf(story)
    proof = play.proof(story, 0)
    output = play.output(story, 0)
    _, data, path = output.open(4)
    assert (data, path) != proof.output
    with refused("OutputMismatch"):
        prove(play, dispute, story, 0, proof=proof.__class__(1, proof.operands, (data, path), proof.window))
    with refused("ElementOutOfRange", 6, 6):
        prove(play, dispute, story, 0, proof=proof.__class__(6, proof.operands, proof.output, proof.window))
    prove(play, dispute, story, 0)


def test_another_row_or_another_weight_is_no_operand(play):
    """An operand's run is bound to the element by the record's index map, a parameter to its number."""
    network = networks()["seven"]
    story = false_output(network, 0)
    dispute = play.to_leaf(story)
    proof = play.proof(story, 0)
    x, w, bias, other = story.states[0][0], *network.parameters
    _, data, path = x.open(2 * 72, 72)
    with refused("OperandMismatch"):
        prove(play, dispute, story, 0, proof=proof.with_operand(0, (data, path, [])))
    _, data, path = w.open(3 * 72, 72)
    with refused("OperandMismatch"):
        prove(play, dispute, story, 0, proof=proof.with_operand(1, (data, path, network.weight_path(0))))
    right, right_path, _ = proof.operands[1]
    for wrong in (network.weight_path(2), network.weight_path(0)[:-1], [*network.weight_path(0), bytes(32)]):
        with refused("OperandMismatch"):
            prove(play, dispute, story, 0, proof=proof.with_operand(1, (right, right_path, wrong)))
    assert {bias.commitment, other.commitment} <= set(network.weights)


def test_a_tampered_chunk_or_path_is_refused(play):
    story = false_output(networks()["seven"], 0)
    dispute = play.to_leaf(story)
    proof = play.proof(story, 0)
    data, path, weights = proof.operands[0]
    with refused("OperandMismatch"):
        spoiled = bytes([data[0] ^ 1]) + data[1:]
        prove(play, dispute, story, 0, proof=proof.with_operand(0, (spoiled, path, weights)))
    with refused("OperandMismatch"):
        prove(play, dispute, story, 0, proof=proof.with_operand(0, (data, path[::-1], weights)))
    with refused("RunNotCovered"):
        prove(play, dispute, story, 0, proof=proof.with_operand(0, (data, [*path, bytes(32)], weights)))
    with refused("WrongPathLength"):
        prove(
            play, dispute, story, 0, proof=proof.with_operand(0, (data, [*path, *[bytes(32)] * 2], weights))
        )
    with refused("WrongChunkLength"):
        prove(play, dispute, story, 0, proof=proof.with_operand(0, (data[:256], path, weights)))


def test_a_tensor_commitment_binds_the_type(play):
    """The same bytes under another shape or element type are another tensor."""
    tensor = honest(networks()["contraction"]).states[0][0]
    for dtype, shape in ((6, (8, 2)), (6, (16,)), (2, (2, 8)), (6, (2, 8, 1))):
        packed = bytes([dtype, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        assert keccak(tag("tensor") + packed + tensor.data_root) != tensor.commitment
