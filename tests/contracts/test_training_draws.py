"""The adjudicator of what only training has: the batch's draw, dropout's masks, the log's own form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from support import philox, steps
from support.wire import Reverted
from tao.graph.log_format import END
from tao.training import proofs
from tao.training.search import find_fault


@pytest.fixture
def judge(wire, deployment):
    """The verdict on a proof."""
    return lambda step, proof: step.refuted(wire, deployment.training, proof)


def drawn(operator: str, output: torch.Tensor, step: int, key, attributes) -> steps.Step:
    given = (torch.tensor([step]), torch.tensor(key))
    return steps.Step.of(operator, given, (None, None), output, attributes=attributes)


@pytest.mark.parametrize("size, count", [(1, 2), (2, 3), (5, 4), (1000, 7), (60_000, 128), (2**32 - 1, 3)])
@pytest.mark.parametrize("step", [0, 3, 2**40])
def test_a_sample_is_what_the_permutation_gives(judge, size, count, step):
    key = (0x12345678, 0xFEDCBA98)
    expected = torch.tensor([philox.sample(step, i, size, count, key) for i in range(count)])
    honest = drawn("tao.sample.default", expected, step, key, (size, count))
    for element in (0, count - 1):
        assert not judge(honest, proofs.draw_proof(*honest.given, element))
        wrong = honest.claiming(element, expected[element] + 1)
        assert judge(wrong, proofs.draw_proof(*wrong.given, element))
        fault = find_fault(*wrong.given, expected)
        assert fault.element == element and judge(wrong, fault.proof)
    assert find_fault(*honest.given, expected) is None


@pytest.mark.parametrize("step", [-1, -(2**63), 2**62, 2**63 - 1])
def test_a_sample_whose_positions_wrap_around_is_not_refuted_whatever_it_is(judge, step):
    """A client may ask for a run from such a step; kernels count in int64, and an honest trainer is not slashed."""
    key, size, count = (3, 4), 10, 2
    kernels = torch.ops.tao.sample(torch.tensor([step]), torch.tensor(key), size, count)
    for output in (kernels, kernels + 1):
        claim = drawn("tao.sample.default", output, step, key, (size, count))
        assert not judge(claim, proofs.draw_proof(*claim.given, 0))
        assert find_fault(*claim.given, kernels) is None


def test_the_last_sample_whose_positions_are_int64_is_decided(judge):
    key, size, count = (3, 4), 10, 2
    step = 2**62 - 2
    kernels = torch.ops.tao.sample(torch.tensor([step]), torch.tensor(key), size, count)
    honest = drawn("tao.sample.default", kernels, step, key, (size, count))
    wrong = honest.claiming(1, int(kernels[1]) + 1)
    assert not judge(honest, proofs.draw_proof(*honest.given, 1))
    assert judge(wrong, proofs.draw_proof(*wrong.given, 1))


def test_an_epoch_holds_every_index_once():
    for size in (1, 2, 7, 64, 65, 1000):
        epoch = [philox.sample(5 * size + i, 0, size, 1, (1, 2)) for i in range(size)]
        assert sorted(epoch) == list(range(size))


@pytest.mark.parametrize("shape", [(7,), (3, 100)])
@pytest.mark.parametrize("step, stream, threshold", [(0, 2**31, 2**31), (2**33 + 1, 2**31 + 6, 429496730)])
def test_a_mask_is_what_the_counters_give(judge, shape, step, stream, threshold):
    key = (2**32 - 1, 5)
    size = int(np.prod(shape))
    bits = [philox.is_kept(e, step, stream, threshold, key) for e in range(size)]
    expected = torch.tensor(bits).reshape(shape)
    honest = drawn("tao.keep.default", expected, step, key, (stream, threshold))
    for element in range(0, size, 1 + size // 9):
        assert not judge(honest, proofs.draw_proof(*honest.given, element))
        wrong = honest.claiming(element, not bits[element])
        assert judge(wrong, proofs.draw_proof(*wrong.given, element))
        assert find_fault(*wrong.given, expected).element == element


def test_draws_of_another_form_revert(judge):
    key = (1, 2)
    honest = drawn("tao.sample.default", torch.tensor([0]), 0, key, (1, 1))
    proof = proofs.draw_proof(*honest.given, 0)
    with pytest.raises(Reverted, match="WrongAttributeCount"):
        judge(drawn("tao.sample.default", torch.tensor([0]), 0, key, (1,)), proof)
    with pytest.raises(Reverted, match="UnsupportedType"):
        judge(drawn("tao.sample.default", torch.tensor([0.0]), 0, key, (1, 1)), proof)
    with pytest.raises(Reverted, match="EmptySet"):
        judge(drawn("tao.sample.default", torch.tensor([0]), 0, key, (0, 1)), proof)
    lone = steps.Step.of("tao.keep.default", (torch.tensor([0]),), (None,), torch.tensor([True]), 0, (0, 0))
    with pytest.raises(Reverted, match="WrongOperandCount"):
        judge(lone, proofs.draw_proof(*lone.given, 0))


# ---- the log node


def log_step(kept: torch.Tensor) -> steps.Step:
    return steps.Step.of("tao.log.default", (), (), kept)


def test_an_ascending_log_stands(judge):
    for kept in (
        steps.log({}),
        steps.log({0: 5}),
        steps.log({0: 2**32 - 1, 9: 0}, 2),
        steps.log({e: 1 for e in range(100)}, 100),
    ):
        step = log_step(kept)
        assert find_fault(*step.given) is None
        for slot in range(kept.shape[1]):
            assert not judge(step, proofs.log_proof(kept, slot, False))
            if slot + 1 < kept.shape[1]:
                assert not judge(step, proofs.log_proof(kept, slot, True))


@pytest.mark.parametrize(
    "row, slot, value",
    [
        (0, 1, steps.NUMBER << 40),  # as the first
        (0, 0, (steps.NUMBER << 40) + 1),  # as the second
        (0, 0, (steps.NUMBER << 40) + 2),
        (0, 3, 7),  # behind the end
        (0, 7, -1),
        (0, 0, -1),
        (0, 0, END),
        (1, 0, -1),
        (1, 1, 2**32),
        (1, 2, 1),  # a value without an entry
        (1, 7, 2**62),
    ],
)
def test_any_other_log_is_refuted(judge, row, slot, value):
    kept = steps.log({0: 5, 1: 6})
    kept[row, slot] = value
    step = log_step(kept)
    fault = find_fault(*step.given)
    assert judge(step, fault.proof)


def test_log_proofs_of_another_form_revert(judge):
    kept = steps.log({0: 5})
    step, proof = log_step(kept), proofs.log_proof(kept, 6, True)
    assert not judge(step, proof)
    with pytest.raises(Reverted, match="SlotOutOfRange"):
        judge(step, (0x20).to_bytes(32, "big") + (7).to_bytes(32, "big") + proof[64:])
    with pytest.raises(Reverted, match="OutputMismatch"):
        judge(log_step(steps.log({0: 6})), proof)
    with pytest.raises(Reverted, match="MalformedProof"):
        judge(step, proof[:0x80])


# ---- gas


def test_draws_cost_less_than_100k(wire, people, deployment):
    key = (1, 2)
    batch = torch.tensor([philox.sample(3, i, 50_000, 128, key) for i in range(128)])
    sample = drawn("tao.sample.default", batch, 3, key, (50_000, 128))
    mask = drawn("tao.keep.default", torch.zeros(1000, dtype=torch.bool), 3, key, (2**31, 5))
    for step in (sample, mask):
        proof = proofs.draw_proof(*step.given, 7)
        assert step.cost(wire, people[0], deployment.training, proof) < 100_000
