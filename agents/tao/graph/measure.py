"""How eager execution lays out the tensors of a traced program, found by running it once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node
from torch.utils._pytree import tree_leaves, tree_map_only


def measure_layouts(program: ExportedProgram, args: tuple, kwargs: dict[str, Any]) -> None:
    """Replace the example value of every node of the program by one with the strides that it has when run.

    The tracer imitates kernels, and is wrong about strides where dimensions have size 1. By strides kernels
    choose their order of summation, so a graph with the tracer's would not give eager execution's bits.
    """
    inputs = iter(tree_leaves((args, kwargs)))
    held = {**program.constants, **program.state_dict}
    values = [
        next(inputs) if spec.kind is InputKind.USER_INPUT else held[spec.target]
        for spec in program.graph_signature.input_specs
    ]
    _Measurer(program.graph_module).run(*values)


class _Measurer(Interpreter):
    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        traced = [leaf for leaf in tree_leaves(n.meta.get("val")) if isinstance(leaf, Tensor)]
        if n.op == "call_function" and all(type(size) is int for leaf in traced for size in leaf.shape):
            n.meta["val"] = tree_map_only(Tensor, _without_elements, result)
        return result


def _without_elements(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
