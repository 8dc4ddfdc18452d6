import pytest
import torch

from models.minilm.model import (
    BATCH,
    LENGTH,
    batches,
    build,
    load_module,
    load_sentences,
    tokenise,
    trace_model,
)
from tao.execution import Executor
from tao.model import ModelBundle
from tao.tensors import commit


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return build()


def test_the_sentences_fill_three_batches_without_repetition():
    sentences = load_sentences()
    assert len(set(sentences)) == len(sentences) >= 3 * BATCH


def test_batches_depend_on_the_seed_alone():
    first, second = batches(2, 7)
    again, _ = batches(2, 7)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], second[0])
    assert first[0].shape == first[1].shape == (BATCH, LENGTH)


def test_the_encoder_puts_related_sentences_closer():
    texts = ["A dog runs in the park.", "A puppy is running outdoors.", "The parliament passed a tax law."]
    with torch.no_grad():
        vectors = load_module()(*tokenise(texts))
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.5 > 0.2 > similarity[0, 2]


def test_the_committed_profile_is_of_the_traced_graph(bundle):
    assert bundle.profile.samples >= 4 and len(bundle.profile.devices) >= 6
    assert bundle.tolerances_root == bundle.profile.root
    assert bundle.graph_root == trace_model().graph_root


def test_the_graph_computes_what_the_module_does_bit_for_bit(bundle):
    inputs = batches(1, 9)[0]
    with torch.no_grad():
        expected = load_module()(*inputs)
    (actual,) = Executor(bundle.graph, bundle.parameters).run(inputs)
    assert commit(actual) == commit(expected)
