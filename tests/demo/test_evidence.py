"""What the demo says about an element that was proven wrong: the value it should have, and the bound on chain."""

import pytest
import torch
from torch import nn

from benchmarks.small import Cheat, inputs, node
from demo import evidence
from protocol.factories import dispute
from tao.model import trace
from tao.proofs.leaf import Leaf
from tao.proofs.search import candidates
from tao.tensors.store import TensorStore

ELEMENT = 1
"""The one that `Cheat` changes."""


class Mixed(nn.Module):
    """A contraction, operators with a bound of their own, and one that is decided bit for bit."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(12, 16), nn.LayerNorm(16)

    def forward(self, x):
        hidden = self.norm(self.linear(x))
        return torch.relu(hidden / (1 + x.abs().sum(1, keepdim=True)))


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(7)
    return trace(Mixed(), (torch.randn(2, 12),))


@pytest.fixture
def proven(bundle, tmp_path):
    """Of an operator: what is said of its false element, and the honest value of that."""
    store = TensorStore(tmp_path)

    def proven(operator: str) -> tuple[dict, float]:
        cheat = Cheat(bundle, node(bundle, operator))
        index, given = cheat.node, inputs()
        cuts = (index, index + 1)
        states, honest = cheat.capture(given, cuts), Cheat(bundle, -1).capture(given, cuts)
        told = dispute(
            lo=index,
            hi=index + 1,
            states={cut: tuple(map(store.put_tensor, state)) for cut, state in states.items()},
        )
        position = bundle.graph.live(index + 1).index(bundle.graph.nodes[index].outputs[0])
        leaf = Leaf.of(bundle, index, states[index], states[index + 1][position : position + 1])
        assert ELEMENT in candidates(leaf)
        found = evidence.element_proven(bundle, store, told, ELEMENT)
        assert found["claimed"] == leaf.output.flatten()[ELEMENT].item()
        return found, honest[index + 1][position].flatten()[ELEMENT].item()

    return proven


@pytest.mark.parametrize("operator", ["contraction", "layer_norm", "div", "sum"])
def test_an_element_within_rounding_is_shown_with_its_bound(proven, operator):
    found, honest = proven(operator)
    assert 0 < abs(found["exact"] - honest) <= found["bound"] < abs(found["claimed"] - found["exact"])
    said = evidence.sentence("proof", found)
    assert f"exact {found['exact']:.8g}" in said and f"bound {found['bound']:.2g}" in said


def test_an_element_decided_by_its_bits_must_be_the_honest_one(proven):
    found, honest = proven("relu")
    assert found["bound"] == 0 and found["exact"] == honest
    assert evidence.sentence("proof", found).endswith(f"must be {honest}")
