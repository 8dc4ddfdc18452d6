"""From a traced program to a canonical graph: one walk over the nodes of an fx graph."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Graph as FxGraph
from torch.fx import Node as FxNode
from torch.fx.node import map_aggregate

from tao.errors import InvalidTensor, ModelError, UnsupportedOperator
from tao.graph import operators
from tao.graph.builder import Builder, Ref
from tao.graph.rounding import EXACT, EXTREMA, SINGLE
from tao.graph.views import same_layout

CLONES = ("aten.clone.default", "aten.contiguous.default")
DROPOUT = "aten.dropout.default"
RECURRENT = ("aten.lstm.", "aten.gru.", "aten.rnn_")
"""Tagged as random for their dropout, whether there is any or not."""
DRAWN_IN_A_STEP = (
    "it draws random numbers; draw by torch.nn.functional.dropout, for example of a tensor of ones, or store several "
    "versions of the samples in the data set"
)
"""Of a training step, which has no input for them."""
MOVES = operators.overloads("""
    stack hstack vstack flip roll repeat repeat_interleave.self_int tile tril triu diag_embed pad reflection_pad1d
    reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d pixel_shuffle
    pixel_unshuffle im2col index_put scatter.src scatter.value select_scatter slice_scatter one_hot take_along_dim
    masked_fill.Tensor where.Scalar copy max max.dim min min.dim amin aminmax argmax argmin sort sort.stable topk
    argsort bucketize.Tensor searchsorted.Tensor floor ceil round trunc frac sign sgn isinf isnan
""")
"""Give elements or whole numbers back as they are, beside the exact operators of training steps."""
LAYOUT_DEPENDENT = ("aten.as_strided.default", "aten._reshape_alias.default", "aten.view.dtype")


class Walk:
    """Walks a functional fx graph once: say what each placeholder is, then `calls`, then `ref` of results.

    Every node's `meta["val"]` holds tensors of its type and strides. `env` holds, per fx node, a Ref or a
    list of them (None where unused); `constants` the tensors of nodes that depend on no input
    and no parameter.
    """

    def __init__(self, graph: FxGraph, builder: Builder) -> None:
        self.graph = graph
        self.builder = builder
        self.env: dict[FxNode, Any] = {}
        self.constants: dict[FxNode, Any] = {}
        self.needed = _reachable(graph.output_node())

    def input(self, node: FxNode, name: str) -> None:
        """A placeholder that is an input. Raises ModelError, with the name, for what cannot be committed."""
        value = node.meta.get("val")
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise ModelError(f"input {name!r} is a {kind}; only tensors and constants are inputs")
        if not value.numel():
            shape = tuple(value.shape)
            raise ModelError(f"input {name!r} is empty, of shape {shape}; trace with at least one sample")
        try:
            self.env[node] = self.builder.input(value)
        except InvalidTensor as error:
            raise ModelError(f"input {name!r}: {error}") from error

    def parameter(self, node: FxNode, tensor: Tensor, name: str) -> None:
        """A placeholder that is a parameter. Raises ModelError, with the name, for what cannot be one."""
        if node not in self.needed:
            return
        try:
            self.env[node] = self.builder.parameter(tensor.detach())
        except InvalidTensor as error:
            raise ModelError(f"parameter {name}: {error}") from error

    def constant(self, node: FxNode, value: Any) -> None:
        """A node that is a tensor, or a list of them, whatever the inputs and parameters hold."""
        self.constants[node] = value
        try:
            many = isinstance(value, list | tuple)
            self.env[node] = [*map(self.builder.constant, value)] if many else self.builder.constant(value)
        except InvalidTensor:  # it may yet vanish into another constant; where it does not, `ref` complains
            return

    def calls(self) -> None:
        """All calls that the results need. Raises UnsupportedOperator, naming operator and module path."""
        for node in self.graph.nodes:
            if node.op == "call_function" and node in self.needed:
                self._call(node)

    def ref(self, node: FxNode) -> Ref:
        """The one tensor that a node is. Raises UnsupportedOperator where it cannot be committed."""
        value = node.meta["val"]
        if isinstance(value, Tensor) and not value.numel():
            raise unsupported(node, "its result is empty and cannot be committed; leave it out")
        if node not in self.env:
            raise unsupported(node, "the type of its result cannot be committed; use a supported dtype")
        return self.env[node]

    def _call(self, node: FxNode) -> None:
        target = node.target
        if getattr(target, "__name__", "") == "getitem":
            self._getitem(node)
            return
        if not isinstance(target, OpOverload):
            raise unsupported(node, "control flow is not supported; write it with tensor operators")
        name = operators.name_of(target)
        if name in operators.ASSERTIONS:
            return
        self._check(node, name)
        if self._folds(node, name):
            self._fold(node, name)
        elif name in operators.IDENTITIES:
            self.env[node] = self.ref(node.args[0])
        elif self._is_clone(node, name):
            self.env[node] = self._laid_out(node, self.ref(node.args[0]))
        elif _is_view(node.target):
            self.env[node] = self._view(node)
        else:
            self.env[node] = self._operator(node, name)

    def _check(self, node: FxNode, name: str) -> None:
        for value in _flatten(node.meta["val"]):
            if not isinstance(value, Tensor):
                raise unsupported(node, "it reads a tensor as a number; keep it a tensor")
            if not all(type(size) is int for size in value.shape):
                reason = "the shape of its result depends on values; use a fixed shape and a mask"
                raise unsupported(node, reason)
        draws = torch.Tag.nondeterministic_seeded in node.target.tags
        has_rate = name in (operators.ATTENTION, DROPOUT)  # which is looked at
        if draws and not has_rate and not name.startswith(RECURRENT):
            inference = "it draws random numbers; remove it or pass the numbers as an input"
            raise unsupported(node, inference if self.builder.log is None else DRAWN_IN_A_STEP)
        if name in LAYOUT_DEPENDENT:
            raise unsupported(node, "it depends on memory layout; use indexing or reshape instead")
        known = name in operators.SUPPORTED | operators.FACTORIES | operators.IDENTITIES
        if not (known or _is_view(node.target) or self._is_clone(node, name)):
            raise unsupported(
                node, "it is not in the set of supported operators; express it by others (docs/operators.md)"
            )

    def _is_clone(self, node: FxNode, name: str) -> bool:
        """Whether a call gives its tensor back, at most laid out anew."""
        if name in CLONES:
            return True
        if name == DROPOUT:
            return not node.args[2]
        cast = name.startswith(("aten._to_copy.", "aten.to."))
        return cast and node.args[0].meta["val"].dtype == node.meta["val"].dtype

    def _getitem(self, node: FxNode) -> None:
        source, index = node.args
        if source in self.constants:
            self.constants[node] = self.constants[source][index]
        if source in self.env:
            self.env[node] = self.env[source][index]

    def _folds(self, node: FxNode, name: str) -> bool:
        """Whether a call depends on no input and no parameter, and has one result on all devices: whoever traces the
        module must find the same constants."""
        if name in operators.CONTENT_FREE:
            return True
        if not all(n in self.constants for n in node.all_input_nodes):
            return False
        if _is_view(node.target) or self._is_clone(node, name) or name in operators.FACTORIES:
            return True
        tensors = [*_flatten([n.meta["val"] for n in node.all_input_nodes]), *_flatten(node.meta["val"])]
        if not any(tensor.is_floating_point() for tensor in tensors):
            return True
        if name in EXTREMA:
            return self.builder.log is None
        is_one = not node.kwargs and len(node.args) < 3  # with an alpha it is two
        return name in EXACT | MOVES or is_one and name in SINGLE | {"aten.rsub.Scalar"}

    def _fold(self, node: FxNode, name: str) -> None:
        """Compute a call that depends on no input and no parameter."""
        if self.builder.log is not None and _is_of_floats(node):
            if name in SINGLE or name.startswith("aten.arange."):
                self.constant(node, self._single(node, name) if name in SINGLE else _arange(node))
                return

        def tensor(leaf: Any) -> Any:
            if not isinstance(leaf, FxNode):
                return torch.device("cpu") if isinstance(leaf, torch.device) else leaf
            if leaf in self.constants:
                return self.constants[leaf]
            like = leaf.meta["val"]  # only its type is read
            return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)

        value = node.target(*map_aggregate(node.args, tensor), **map_aggregate(node.kwargs, tensor))
        source = self.env.get(node.args[0]) if node.target.is_view else None
        if source is not None and (refs := self._apply_view(node, source)):
            self.constants[node] = value
            self.env[node] = refs if isinstance(value, list | tuple) else refs[0]
        else:
            self.constant(node, value)

    def _single(self, node: FxNode, name: str) -> Tensor:
        """One operation on constants, correctly rounded: in float64, and with numbers as tensors, as some kernels
        multiply by a number's reciprocal."""
        dtype = node.meta["val"].dtype

        def wide(leaf: Any) -> Tensor:
            given = self.constants[leaf] if isinstance(leaf, FxNode) else torch.tensor(leaf)
            return given.to(dtype).double()

        target = operators.resolve(name.replace(".Scalar", ".Tensor"))
        return target(*map(wide, node.args)).to(dtype)

    def _laid_out(self, node: FxNode, ref: Ref) -> Ref:
        """The elements of `ref` laid out as the result of `node`: a copy only where their order changes."""
        strides = node.meta["val"].stride()
        if same_layout(ref.view.shape, ref.strides, strides):
            return ref
        if ref.view.covers_in_order(ref.value.type.numel):
            return Ref(ref.value, ref.view, strides)
        return self.builder.copy(ref, strides, _path(node))

    def _view(self, node: FxNode) -> Ref | list[Ref]:
        ref = self.ref(node.args[0])
        refs = self._apply_view(node, ref)
        if refs is None:  # in memory it may be a view, in the value's own order it is none
            refs = self._apply_view(node, self.builder.copy(ref, ref.strides, _path(node)))
        if refs is None:
            raise unsupported(node, "it is neither a view nor a supported operator")
        return refs if isinstance(node.meta["val"], list | tuple) else refs[0]

    def _apply_view(self, node: FxNode, ref: Ref) -> list[Ref] | None:
        strides = [meta.stride() for meta in _flatten(node.meta["val"])]

        def call(tensor: Tensor) -> Any:
            return node.target(tensor, *node.args[1:], **node.kwargs)

        return self.builder.view(ref, call, strides)

    def _operator(self, node: FxNode, name: str) -> Ref | list[Ref | None]:
        given = node.args
        if name == "aten.cat.default":  # an empty cache joins nothing to its first entries
            parts = [part for part in node.args[0] if part.meta["val"].numel()]
            if len(parts) == 1:
                return self._laid_out(node, self.ref(parts[0]))
            given = (parts, *node.args[1:])
        args, kwargs = operators.normalise(node.target, given, node.kwargs)

        def ref(leaf: Any) -> Any:
            return self.ref(leaf) if isinstance(leaf, FxNode) else leaf

        args, kwargs = map_aggregate(tuple(args), ref), map_aggregate(kwargs, ref)
        meta = node.meta["val"]
        many = isinstance(meta, list | tuple)
        used = {n.args[1] for n in node.users if n in self.needed} if many else {0}
        metas = {slot: (meta[slot] if many else meta) for slot in sorted(used)}
        try:
            operators.check_call(name, args)
            refs = self.builder.call(name, args, kwargs, metas, _path(node))
        except (InvalidTensor, UnsupportedOperator) as error:
            raise unsupported(node, str(error)) from error
        return [refs.get(slot) for slot in range(len(meta))] if many else refs[0]


def _is_of_floats(node: FxNode) -> bool:
    return isinstance(node.meta["val"], Tensor) and node.meta["val"].is_floating_point()


def _arange(node: FxNode) -> Tensor:
    """A range of floats, which kernels add up by vectors of their own length."""
    start, step = (*node.args, 1)[0:3:2] if len(node.args) > 1 else (0, 1)
    places = torch.arange(node.meta["val"].numel(), dtype=torch.float64)
    return (places * step + start).to(node.meta["val"].dtype)


def _is_view(target: OpOverload) -> bool:
    return target.is_view or operators.name_of(target) == "aten._unsafe_view.default"


def _reachable(root: FxNode) -> set[FxNode]:
    found: set[FxNode] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.all_input_nodes)
    return found


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flatten(item)
    elif value is not None:
        yield value


def _path(node: FxNode) -> str:
    """Path of the module that a node comes from, such as `encoder.layer.0`; empty for the root."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    path = re.sub(r"^L\['self'\]\.?", "", path)
    return re.sub(r"_modules\['([^']+)'\]|\.?\[(\d+)\]", lambda m: m[1] or f".{m[2]}", path)


def unsupported(node: FxNode, reason: str) -> UnsupportedOperator:
    """The error that says why a call has no place in a graph."""
    name = operators.name_of(node.target) if isinstance(node.target, OpOverload) else str(node.target)
    return UnsupportedOperator(f"{name} in module {_path(node) or '(root)'}: {reason}")
