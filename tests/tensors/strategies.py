"""Hypothesis strategies for tensors of every type, of telling shapes and strides."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st

from .reference import CODES

ROW_LENGTHS = (1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 129, 255, 257, 1000)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    leading = draw(st.sampled_from([(), (1,), (2,), (3,), (5,), (9,), (2, 3), (3, 1, 2)]))
    return (*leading, draw(st.sampled_from(ROW_LENGTHS))) if draw(st.integers(0, 9)) else ()


@st.composite
def tensors(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = tuple(CODES)) -> torch.Tensor:
    """Random bits, so NaN payloads, infinities and subnormals too; strides of many kinds."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(shapes())
    layout = draw(st.sampled_from(["dense", "permuted", "stepped", "expanded", "offset"]))
    memory = list(shape)
    if shape and layout == "permuted":
        memory = memory[::-1]
    elif shape and layout == "stepped":
        memory[-1] *= 2
    elif shape and layout == "expanded":
        memory[0] = 1
    elif shape and layout == "offset":
        memory[0] += 1
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    raw = generator.integers(0, 256, size=(*memory, dtype.itemsize), dtype=np.uint8)
    if dtype == torch.bool:
        raw %= 2
    tensor = torch.from_numpy(raw).view(dtype).squeeze(-1)
    if shape and layout == "permuted":
        tensor = tensor.permute(*reversed(range(len(shape))))
    elif shape and layout == "stepped":
        tensor = tensor[..., ::2]
    elif shape and layout == "expanded":
        tensor = tensor.expand(shape)
    elif shape and layout == "offset":
        tensor = tensor[1:]
    assert tensor.shape == shape
    return tensor


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    a, b = (t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return a.shape == b.shape and bool((a == b).all())
