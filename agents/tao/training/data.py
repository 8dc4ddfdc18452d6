"""A data set as tensors: what a training job commits to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from tao.errors import ModelError

_READ_TWICE = 16
"""Samples read a second time: a data set that draws as it reads cannot be committed to."""


def tensors_of(data: DataLoader | Sequence[Any] | Tensor) -> tuple[Tensor, ...]:
    """The tensors of a data set, sample by sample along their first dimension.

    data: a tuple of tensors, a map-style data set or a DataLoader over one, which draws all samples alike: batches
    follow from the seed. Raises ModelError where samples cannot be stacked, where reading one twice gives two
    results, where there is none or one is not finite, and for a loader that draws otherwise.
    """
    if isinstance(data, Tensor):
        data = (data,)
    elif isinstance(data, DataLoader):
        if data.collate_fn is not default_collate:
            raise ModelError(
                "the DataLoader has a collate_fn of its own, which a step cannot run; give the data set as tensors"
            )
        _check_sampling(data)
        data = data.dataset
    if isinstance(data, IterableDataset):
        raise ModelError(
            "the data set can only be iterated over, but batches are drawn by index; give a map-style data set, or "
            "its samples as tensors"
        )
    if isinstance(data, tuple | list) and data and all(isinstance(part, Tensor) for part in data):
        parts = tuple(data)
    else:
        parts = _stacked(data)
    if not parts or not all(part.dim() and len(part) == len(parts[0]) for part in parts) or not len(parts[0]):
        shapes = [list(part.shape) for part in parts]
        raise ModelError(
            f"the data set has parts of shapes {shapes}; each needs as many samples, at least one"
        )
    if any(part.is_meta for part in parts):
        raise ModelError("the data set is on the meta device, which holds no values; load it first")
    for part in filter(_is_broken, parts):
        sample = int((~part.isfinite()).reshape(len(part), -1).any(1).nonzero()[0])
        raise ModelError(
            f"sample {sample} of the data set has a NaN or infinite value, with which no step can be recorded; "
            "replace the value, or leave the sample out"
        )
    return tuple(part.detach().cpu().contiguous() for part in parts)


def _check_sampling(loader: DataLoader) -> None:
    """Raises ModelError for a loader that does not draw each sample once an epoch, as a recording does."""
    if isinstance(loader.dataset, IterableDataset):
        return  # that is told of the data set itself
    sampler, batches = loader.sampler, loader.batch_sampler
    in_turn = type(sampler) is SequentialSampler
    shuffled = type(sampler) is RandomSampler and not sampler.replacement
    plain = (in_turn or shuffled and sampler.num_samples == len(loader.dataset)) and (
        batches is None or type(batches) is BatchSampler and batches.sampler is sampler
    )
    if not plain or sampler.data_source is not loader.dataset:
        raise ModelError(
            "the DataLoader has a sampler of its own, which a step cannot run; give the samples to train on as a "
            "torch.utils.data.Subset, or as tensors"
        )
    if loader.drop_last and len(loader.dataset) % loader.batch_size:
        raise ModelError(
            "the DataLoader leaves the last samples of an epoch out, which a recording draws: its batches go on into "
            "the next epoch; give it without drop_last"
        )


def _is_broken(part: Tensor) -> bool:
    """Whether a value is NaN or infinite."""
    return part.is_floating_point() and part.numel() > 0 and not torch.stack(part.aminmax()).isfinite().all()


def _stacked(data: Any) -> tuple[Tensor, ...]:
    try:
        count = len(data)
        samples = [_sample(data[index]) for index in range(count)]
        parts = tuple(default_collate(list(slot)) for slot in zip(*samples, strict=True))
        if not all(isinstance(part, Tensor) for part in parts):
            raise TypeError(f"its samples hold {', '.join(type(part).__name__ for part in samples[0])}")
    except (TypeError, ValueError, IndexError, RuntimeError, AttributeError, KeyError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"the data set cannot be read as tensors ({reason}); give a map-style data set whose samples are "
            "tensors of one shape, or the tensors themselves"
        ) from error
    if not count:
        raise ModelError("the data set is empty; a batch is drawn from at least one sample")
    for index in range(0, count, max(1, count // _READ_TWICE)):
        again = _sample(data[index])
        for value, part in zip(again, parts, strict=True):
            if not torch.equal(default_collate([value])[0], part[index]):
                raise ModelError(
                    f"sample {index} of the data set is another one when read again; draw by "
                    "torch.nn.functional.dropout inside the module, or store several versions of the samples"
                )
    return parts


def _sample(sample: Any) -> tuple[Any, ...]:
    return tuple(sample) if isinstance(sample, tuple | list) else (sample,)
