"""From a torch module to its canonical graph."""

from __future__ import annotations

import inspect
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.fx import Node as FxNode
from torch.utils._pytree import keystr, tree_flatten_with_path

from tao.errors import ModelError, UnsupportedOperator
from tao.graph import operators
from tao.graph.builder import Builder
from tao.graph.canonical import Graph
from tao.graph.measure import measure_layouts
from tao.graph.walk import Walk, unsupported


def export(
    module: torch.nn.Module, args: tuple, kwargs: Mapping[str, Any] | None = None, strict: bool = False
) -> tuple[Graph, dict[int, Tensor]]:
    """Trace a module into its canonical graph, with the parameter tensors by parameter index.

    The module is put into evaluation mode. Shapes are those of `args` and `kwargs`. The graph's inputs are the
    tensors of `args` and then of `kwargs`, in the order given; its outputs those that the module returns, in the
    order of its tuple, dict or dataclass. The graph does not depend on names, on `strict` or on what the
    parameters hold. Parameters are detached, not copied.

    Raises UnsupportedOperator, naming operator and module path, for data-dependent shapes and control flow,
    random operators, mutation and types that cannot be committed; ModelError where an input or a parameter
    cannot be committed, `args` is no tuple, `module` no module or there is no tensor among the inputs or outputs.
    """
    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"a {type(module).__name__} cannot be traced; give a torch.nn.Module")
    args, kwargs = arguments(args, kwargs)
    module = module.eval()
    with torch.no_grad():
        try:
            with _quietly():
                program = torch.export.export(module, args, kwargs, strict=strict).run_decompositions({})
                measure_layouts(program, args, kwargs)
        except Exception as error:  # torch.export documents no common base of what it raises
            raise UnsupportedOperator(explain(error, module)) from error
        graph, parameters = _Exporter(program).run()
    return graph, dict(enumerate(parameters))


def arguments(args: Any, kwargs: Any) -> tuple[tuple, dict[str, Any]]:
    """Inputs by position and by name, as modules are called with them. Raises ModelError for anything but a tuple
    or list, and a mapping or None."""
    if isinstance(args, Tensor):
        raise ModelError("inputs are a tuple of tensors; give (tensor,)")
    if not isinstance(args, tuple | list):
        kind = type(args).__name__
        raise ModelError(
            f"inputs are a tuple of tensors, not a {kind}; give inputs by name as a mapping, after it"
        )
    if not isinstance(kwargs, Mapping | None):
        kind = type(kwargs).__name__
        raise ModelError(f"inputs by name are not a {kind}; give a mapping of names to tensors")
    return tuple(args), dict(kwargs or {})


def input_names(
    module: torch.nn.Module, args: tuple, kwargs: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """What `forward` calls the inputs of the module's graph, in their order; of a tensor within a list or dict with
    its place there, such as `cache[0]`."""
    args, kwargs = arguments(args, kwargs)
    named = inspect.signature(module.forward).bind_partial(*args).arguments | kwargs
    leaves = tree_flatten_with_path(named)[0]
    return tuple(f"{path[0].key}{keystr(path[1:])}" for path, leaf in leaves if isinstance(leaf, Tensor))


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch tells of a trace besides its errors, which `explain` puts into a sentence: its log, the graph
    of a program that it cannot trace, and a warning of a type that it copies itself."""
    log, said, graph = logging.getLogger("torch"), io.StringIO(), ""
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(said):
            warnings.filterwarnings(
                "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
            )
            yield
    except Exception as error:
        if hasattr(error, "partial_fx_graph"):
            graph = f"{error.partial_fx_graph}\n"
        raise
    finally:
        log.setLevel(level)
        sys.stderr.write(said.getvalue().replace(graph, ""))  # the module's own words


def explain(error: BaseException, module: torch.nn.Module) -> str:
    """One sentence for a failed trace: innermost operator and module on the traceback, torch's reason, and
    what to do."""
    paths = {id(child): path for path, child in module.named_modules()}
    operator, path, data_dependent = "", "", "data-dependent" in str(error).lower()
    for frame in _frames(error):
        for value in frame.f_locals.values():
            if isinstance(value, OpOverload):
                operator = operators.name_of(value)
            elif isinstance(value, torch.nn.Module) and id(value) in paths:
                path = paths[id(value)]
    if data_dependent and not operator:
        operator = "a branch on a tensor's value"
    reason = re.split(r"\.?\s*\n|\. ", str(error).strip())[0].rstrip(".")
    remedy = "use torch.where on tensors instead" if data_dependent else "torch.export must accept the module"
    where = f"{operator or 'an operator'} in module {path or '(root)'}"
    return f"{where} cannot be traced with static shapes ({reason}); {remedy}"


def _frames(error: BaseException | None) -> Iterator[FrameType]:
    """Stack frames of an error and of what caused it, outermost first."""
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            yield traceback.tb_frame
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__


class _Exporter:
    """Walks the exported program, whose signature says what its placeholders are."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.program = program
        self.walk = Walk(program.graph, Builder())
        self.held = {**program.constants, **program.state_dict}

    def run(self) -> tuple[Graph, list[Tensor]]:
        self._check_mutation()
        placeholders = (n for n in self.program.graph.nodes if n.op == "placeholder")
        for node, spec in zip(placeholders, self.program.graph_signature.input_specs, strict=True):
            self._placeholder(node, spec)
        if not self.walk.builder.inputs:
            raise ModelError("the module takes no tensor; give it at least one tensor input")
        self.walk.calls()
        (results,) = self.program.graph.output_node().args
        specs = self.program.graph_signature.output_specs
        pairs = zip(results, specs, strict=True)
        outputs = [self.walk.ref(result) for result, spec in pairs if isinstance(spec.arg, TensorArgument)]
        if not outputs:
            raise ModelError("the module returns no tensor; let it return at least one")
        graph, parameters, _ = self.walk.builder.finish(outputs)
        return graph, parameters

    def _check_mutation(self) -> None:
        results = self.program.graph.output_node().args[0]
        for result, spec in zip(results, self.program.graph_signature.output_specs, strict=True):
            if spec.kind is not OutputKind.USER_OUTPUT:
                what = spec.kind.name.lower().replace("_", " ")
                reason = f"it writes to {spec.target} ({what}); return the new value instead"
                raise unsupported(result, reason)

    def _placeholder(self, node: FxNode, spec: Any) -> None:
        if spec.kind is InputKind.USER_INPUT:
            if not isinstance(spec.arg, ConstantArgument):
                self.walk.input(node, node.name)
        elif node not in self.walk.needed:
            return
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            self.walk.parameter(node, self.held[spec.target], spec.target)
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            self.walk.constant(node, self.held[spec.target])
        else:
            raise ModelError(f"input {node.name} is a {spec.kind.name.lower()}, which cannot be committed")
