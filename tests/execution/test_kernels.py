"""Values on which a kernel has no result: an error, whoever committed to them, and never the end of the process."""

import subprocess
import sys

import pytest
import torch

from tao.execution import kernel, refuses_values

LEAST = torch.iinfo(torch.int64).min
NOWHERE = 10**9

CALLS = {
    "pool": (
        "aten.max_pool2d_with_indices_backward.default",
        lambda index: (
            torch.ones(1, 1, 2, 2), torch.ones(1, 1, 4, 4), [2, 2], [2, 2], [0, 0], [1, 1], False,
            torch.full((1, 1, 2, 2), index),
        ),
        15, (16, -1, NOWHERE),
    ),
    "embedding": (
        "aten.embedding_dense_backward.default",
        lambda index: (torch.ones(4, 8), torch.tensor([0, 1, index, 2]), 5, -1, True),
        4, (5, -1, NOWHERE),
    ),
    **{
        name: (f"aten.{name}.Tensor", lambda by: (torch.tensor([7, LEAST]), torch.tensor([2, by])), 3, (0, -1))
        for name in ("fmod", "remainder")
    },
    "fmod by a number": ("aten.fmod.Scalar", lambda by: (torch.tensor([7, LEAST]), by), 3, (0, -1)),
    "one_hot": ("aten.one_hot.default", lambda index: (torch.tensor([index]), 5), 4, (-1, 5)),
    "power": (
        "aten.pow.Tensor_Scalar", lambda power: (torch.tensor([2]), power), 3, (-1,)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_values_without_a_result_are_refused(case: str) -> None:
    name, arguments, fine, refused = CALLS[case]
    kernel(name)(*arguments(fine))
    for value in refused:
        with pytest.raises(Exception) as caught:
            kernel(name)(*arguments(value))
        assert refuses_values(caught.value), caught.value


def test_integers_divided_in_floating_point_are_not_refused() -> None:
    by = torch.tensor([0.0, -1.0])
    assert kernel("aten.fmod.Tensor")(torch.tensor([7, LEAST]), by).isnan().tolist() == [True, False]
    kernel("aten.div.Tensor_mode")(torch.tensor([7.0]), torch.tensor([0]), rounding_mode="floor")


@pytest.mark.parametrize("mode", ["trunc", "floor"])
def test_a_rounded_division_that_a_processor_traps_is_refused(mode: str) -> None:
    divide = kernel("aten.div.Tensor_mode")
    assert divide(torch.tensor([7]), torch.tensor([-2]), rounding_mode=mode).item() in (-3, -4)
    for a, b in ((LEAST, -1), (7, 0)):
        with pytest.raises(ArithmeticError):
            divide(torch.tensor([a]), torch.tensor([b]), rounding_mode=mode)


def test_the_checks_are_needed_as_the_process_would_end() -> None:
    """Without them, as torch is called by itself."""
    code = (
        "import torch; torch.ops.aten.max_pool2d_with_indices_backward.default("
        "torch.ones(1,1,2,2), torch.ones(1,1,4,4), [2,2], [2,2], [0,0], [1,1], False,"
        f"torch.full((1,1,2,2), {NOWHERE}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode < 0


def test_want_of_memory_is_no_refusal() -> None:
    assert not refuses_values(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
