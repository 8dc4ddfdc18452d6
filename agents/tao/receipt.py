"""The honest path: run the model as it is, then hash what went in and what came out. Nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, contiguous_format

from tao.errors import StoreError
from tao.tensors import TensorType, commit, state_hash

FORMAT = "tao.receipt.v1"


@dataclass(frozen=True, repr=False)
class Receipt:
    """What a run claims: its outputs, and the commitments of everything that went in and came out.

    `inputs` and `outputs` are tensor commitments in the order of the graph's inputs and outputs. Receipts are equal
    where these are.
    """

    values: tuple[Tensor, ...] = field(compare=False)
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

    def __repr__(self) -> str:
        """Such as `Receipt(float32[2, 8] 0x5be1a2c4…)`: the outputs, by type and commitment."""
        pairs = zip(self.values, self.outputs, strict=False)
        return f"Receipt({', '.join(f'{TensorType.of(value)} 0x{root[:4].hex()}…' for value, root in pairs)})"

    def save(self, path: str | os.PathLike) -> None:
        """Write a safetensors file: the values as the tensors 0, 1, …, and the commitments as metadata.

        Raises StoreError where it cannot be written.
        """
        values = (value.detach().resolve_neg().cpu() for value in self.values)
        tensors = {str(i): value.clone(memory_format=contiguous_format) for i, value in enumerate(values)}
        inputs, outputs = (" ".join(map(bytes.hex, each)) for each in (self.inputs, self.outputs))
        try:
            save_file(tensors, path, {"format": FORMAT, "inputs": inputs, "outputs": outputs})
        except (OSError, SafetensorError) as error:
            raise StoreError(f"the receipt cannot be saved to {path}: {error}") from error

    @classmethod
    def load(cls, path: str | os.PathLike) -> Receipt:
        """Read what anybody may have written as `save` does.

        Raises StoreError where that is no receipt, or its values are not those that it commits to.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                # As copies: else they would change with the file.
                values = tuple(file.get_tensor(str(i)).clone() for i in range(len(file.keys())))
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r} is not {FORMAT}")
            inputs, outputs = (
                tuple(map(bytes.fromhex, metadata[name].split())) for name in ("inputs", "outputs")
            )
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise StoreError(
                f"{path} is no receipt ({error}); ask for one that `Receipt.save` wrote"
            ) from error
        if tuple(map(commit, values)) != outputs:
            raise StoreError(f"the values in {path} are not those that it commits to; ask for them again")
        return cls(values, inputs, outputs)


def run(function: Callable[..., Tensor | Sequence[Tensor]], inputs: Sequence[Tensor]) -> Receipt:
    """Call `function` (a module, say) on `inputs` with unmodified kernels and commit to what it returned.

    Raises InvalidTensor where an input or output cannot be committed (empty, or of an unsupported dtype).
    """
    returned = function(*inputs)
    values = (returned,) if isinstance(returned, Tensor) else tuple(returned)
    return Receipt(values, tuple(map(commit, inputs)), tuple(map(commit, values)))
