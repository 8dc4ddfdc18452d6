"""Data sets as tensors: what is read, and what is refused in a sentence."""

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from tao.errors import ModelError
from tao.training.data import tensors_of
from training.cases import mlp


class Shuffling(torch.utils.data.Dataset):
    """Draws noise whenever it is read."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.randn(6), torch.tensor(index % 3)


SAMPLES = list(zip(*mlp().dataset, strict=True))
SAMPLERS = {
    "a part": dict(batch_size=4, sampler=SubsetRandomSampler([0, 2, 4, 6])),
    "weights": dict(batch_size=4, sampler=WeightedRandomSampler([1.0] * 10, 10)),
    "with replacement": dict(batch_size=4, sampler=RandomSampler(SAMPLES, replacement=True)),
    "some of them": dict(batch_size=4, sampler=RandomSampler(SAMPLES, num_samples=5)),
    "others": dict(batch_size=4, sampler=SequentialSampler(SAMPLES[:5])),
    "own batches": dict(batch_sampler=[[0, 1], [2, 3]]),
    "batches of a part": dict(batch_sampler=BatchSampler(SubsetRandomSampler([0, 2]), 2, False)),
}


@pytest.mark.parametrize("options", SAMPLERS.values(), ids=SAMPLERS)
def test_a_sampler_that_leaves_samples_out_or_weighs_them_is_refused_in_a_sentence(options):
    """A recording would train on samples that it is validated with."""
    with pytest.raises(ModelError, match=r"sampler of its own.*torch\.utils\.data\.Subset, or as tensors$"):
        tensors_of(DataLoader(SAMPLES, **options))


def test_a_loader_that_drops_samples_is_refused_and_one_that_would_drop_none_is_not():
    for shuffle in (False, True):
        with pytest.raises(ModelError, match="leaves the last samples of an epoch out.* without drop_last$"):
            tensors_of(DataLoader(SAMPLES, batch_size=4, shuffle=shuffle, drop_last=True))
    assert len(tensors_of(DataLoader(SAMPLES, batch_size=5, drop_last=True))[0]) == 10


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(SAMPLES)


REFUSED = {
    "a stream": (Stream(), "can only be iterated over"),
    "a loader of a stream": (DataLoader(Stream(), batch_size=4), "can only be iterated over"),
    "noise in the data set": (
        DataLoader(Shuffling(), batch_size=4),
        "another one when read again; draw by torch.nn.functional.dropout inside the module",
    ),
    "data without values": ((torch.zeros(9, 6, device="meta"),), "meta"),
    "an empty data set": (DataLoader([], batch_size=4), "the data set is empty"),
    "empty tensors": ((torch.zeros(0, 6), torch.zeros(0)), "at least one"),
    "a sample that is no number": (
        (torch.tensor([[0.0, 1.0], [2.0, torch.nan]]), torch.zeros(2)),
        "^sample 1 of the data set has a NaN or infinite value",
    ),
    "an infinite sample": (
        (torch.zeros(3, 2), torch.tensor([0, 1, -torch.inf])),
        "^sample 2 of the data set has a NaN or infinite value",
    ),
    "words": (["a", "b", "c", "d", "e"], "cannot be read as tensors"),
    "named parts": ([{"x": torch.zeros(6)}] * 5, "cannot be read as tensors"),
    "parts that come and go": (
        [(torch.zeros(6), 1), (torch.zeros(6), 1, 2)] * 5,
        "cannot be read as tensors",
    ),
    "an iterable": (iter([1, 2]), "cannot be read as tensors"),
    "an own way to make batches": (
        DataLoader(list(zip(*mlp().dataset, strict=True)), batch_size=4, collate_fn=tuple),
        "collate_fn",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_set_is_refused_in_a_sentence(case):
    data, reason = REFUSED[case]
    with pytest.raises(ModelError, match=reason) as caught:
        tensors_of(data)
    assert "\n" not in str(caught.value)


def test_a_data_set_a_loader_over_it_and_its_tensors_are_the_same_data():
    tensors = mlp().dataset
    samples = list(zip(*tensors, strict=True))
    part = DataLoader(Subset([*samples, *samples], range(10)), batch_size=4)
    for data in (tensors, list(tensors), samples, DataLoader(samples, batch_size=4, shuffle=True), part):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(tensors_of(data), tensors, strict=True))


def test_samples_of_python_numbers_are_stacked():
    floats, integers = tensors_of([(i / 2, i) for i in range(40)])
    assert (floats.dtype, integers.dtype) == (torch.float64, torch.int64)
    assert integers.tolist() == list(range(40))


def test_tensors_are_read_in_logical_order_without_their_gradient():
    data = torch.randn(6, 4, requires_grad=True).t()
    (tensor,) = tensors_of(data)
    assert torch.equal(tensor, data) and tensor.is_contiguous() and not tensor.requires_grad


@pytest.mark.parametrize("changed", [0, 7, 8])
def test_one_sample_that_changes_among_few_is_noticed(changed):
    class Once(Shuffling):
        reads = 0

        def __len__(self):
            return 9

        def __getitem__(self, index):
            self.reads += index == changed
            return torch.tensor([float(index + (self.reads if index == changed else 0))])

    with pytest.raises(ModelError, match=f"sample {changed} of the data set is another one"):
        tensors_of(Once())
