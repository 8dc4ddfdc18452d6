"""The honest path: run the model as it is, then hash what went in and what came out. Nothing else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from tao.tensors import commit, state_hash


@dataclass(frozen=True)
class Receipt:
    """What a run claims: its outputs, and the commitments of everything that went in and came out.

    `inputs` and `outputs` are tensor commitments in the order of the graph's inputs and outputs.
    """

    values: tuple[Tensor, ...]
    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]

    @property
    def input_root(self) -> bytes:
        """State hash before the first operator."""
        return state_hash(self.inputs)

    @property
    def output_root(self) -> bytes:
        """State hash after the last operator."""
        return state_hash(self.outputs)


def run(function: Callable[..., Tensor | Sequence[Tensor]], inputs: Sequence[Tensor]) -> Receipt:
    """Call `function` (a module, say) on `inputs` with unmodified kernels and commit to what it returned.

    Raises InvalidTensor where an input or output cannot be committed (empty, or of an unsupported dtype).
    """
    returned = function(*inputs)
    values = (returned,) if isinstance(returned, Tensor) else tuple(returned)
    return Receipt(values, tuple(map(commit, inputs)), tuple(map(commit, values)))
