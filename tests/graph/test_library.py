"""What is drawn is Philox's published stream, samples are permutations, gradients of lookups are sums."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tao.graph import library
from tao.graph.log_format import END

ONES = 0xFFFFFFFF
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(*numbers: int) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(n) for n in numbers)


@pytest.mark.parametrize("counter, key, expected", PUBLISHED)
def test_philox_gives_the_published_answers(counter, key, expected) -> None:
    assert tuple(int(w) for w in library.philox(words(*counter), words(*key))) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 100, 1000, 4096, 4097])
def test_an_epoch_visits_every_sample_once_and_epochs_differ(size: int) -> None:
    seed = torch.tensor([7, 2**32 - 1])
    epochs = [torch.ops.tao.sample(torch.tensor([e]), seed, size, size) for e in range(3)]
    for drawn in epochs:
        assert torch.equal(drawn.sort().values, torch.arange(size))
    if size > 5:
        assert not torch.equal(epochs[0], epochs[1]) and not torch.equal(epochs[1], epochs[2])


def test_batches_are_consecutive_positions_across_the_end_of_an_epoch() -> None:
    seed, size = torch.tensor([1, 2]), 10
    whole = [torch.ops.tao.sample(torch.tensor([e]), seed, size, size) for e in range(2)]
    batches = [torch.ops.tao.sample(torch.tensor([s]), seed, size, 4) for s in range(5)]
    assert torch.equal(torch.cat(batches), torch.cat(whole))


def test_a_sample_is_the_feistel_network_of_the_protocol() -> None:
    """Written out for one element: two halves of 3 bits, four rounds, cycle walking."""
    seed, size, position, epoch = (11, 12), 50, 37, 2**33 + 5

    def network(x: int) -> int:
        left, right = x >> 3, x & 7
        for number in range(4):
            counter = words(number, right, epoch & ONES, epoch >> 32)
            left, right = right, left ^ (int(library.philox(counter, words(*seed))[0]) & 7)
        return left << 3 | right

    expected = network(position)
    while expected >= size:
        expected = network(expected)
    given = library.permute(torch.tensor([position]), torch.tensor([epoch]), torch.tensor(seed), size)
    assert given.tolist() == [expected]


def test_a_mask_is_the_words_of_its_stream_against_the_threshold() -> None:
    step, seed, stream, threshold = torch.tensor([2**32 + 9]), torch.tensor([3, 4]), 0x80000002, 2**31
    mask = torch.ops.tao.keep(step, seed, [3, 5], stream, threshold)
    assert mask.shape == (3, 5) and mask.dtype == torch.bool
    for element, kept in enumerate(mask.flatten().tolist()):
        drawn = library.philox(words(element // 4, 0, 9, stream), words(3, 4))[element % 4]
        assert kept == (int(drawn) >= threshold)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_a_mask_drops_its_share_and_changes_with_step_seed_and_stream(rate: float) -> None:
    def mask(step: int, seed: int, stream: int) -> Tensor:
        given = torch.tensor([step]), torch.tensor([seed, 0])
        return torch.ops.tao.keep(*given, [200, 200], 0x80000000 + stream, round(rate * 2**32))

    base = mask(0, 0, 0)
    assert abs(float((~base).float().mean()) - rate) < 0.01
    others = [mask(1, 0, 0), mask(0, 1, 0), mask(0, 0, 1)]
    assert all(torch.equal(base, other) == (rate == 0) for other in others)


def test_an_embedding_gradient_sums_the_rows_of_each_index() -> None:
    torch.manual_seed(0)
    grad, indices = torch.randn(6, 3), torch.tensor([4, 0, 4, 2, 4, 0])
    given = torch.ops.tao.embedding_gradient(grad, indices, 5)
    for row in range(5):
        assert torch.allclose(given[row], grad[indices == row].sum(0))
    with pytest.raises(IndexError, match="outside a table of 4 rows"):
        torch.ops.tao.embedding_gradient(grad, indices, 4)


def test_an_empty_log_holds_no_entry() -> None:
    log = torch.ops.tao.log(4)
    assert log.tolist() == [[END] * 4, [0] * 4]
