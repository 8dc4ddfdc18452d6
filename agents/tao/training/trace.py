"""A training step (forward, loss, backward, optimizer) as one canonical graph."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._functorch._aot_autograd.logging_utils import setup_stacktrace_preservation_hooks
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.func import functional_call
from torch.fx import Graph as FxGraph
from torch.fx import GraphModule
from torch.fx import Node as FxNode
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_aggregate
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from tao.errors import ModelError, UnsupportedOperator
from tao.graph.attributes import float32_number
from tao.graph.builder import Builder
from tao.graph.export import explain
from tao.graph.walk import DRAWN_IN_A_STEP, Walk, unsupported
from tao.training.decompositions import Composites, table
from tao.training.optimizers import Optimizer
from tao.training.state import Layout, StepGraph, layout_of
from tao.training.surroundings import undisturbed

Loss = Callable[..., Tensor]
"""(module, *batch) -> scalar."""


def trace_step(
    module: nn.Module,
    loss: Loss,
    optimizer: Optimizer,
    dataset: Sequence[Tensor],
    batch_size: int,
    *,
    log_capacity: int = 16384,
) -> StepGraph:
    """Trace one training step into its canonical graph.

    module: in training mode, its parameters float32. loss: calls the module on a batch, the same rows of each
    tensor of the dataset, and returns a scalar. optimizer: from `tao.training.describe`. dataset: tensors
    whose first dimension is the sample. log_capacity: entries that the step's rounding log holds at most.

    Nothing is computed, so that a module may be large, and nothing is changed. The graph does not depend on
    names nor on what parameters hold.

    Raises UnsupportedOperator, naming operator and module path, for what is neither exact, single, a sum nor
    logged; ModelError for modules, losses and data sets that are no training step.
    """
    _check(module, dataset, batch_size, log_capacity)
    layout = layout_of(module, optimizer, dataset, batch_size, log_capacity)
    attributes = _attributes(module)
    with undisturbed(module, loss):
        traced = _traced(module, loss, optimizer, layout, dataset)
    for node in [node for node in traced.graph.nodes if node.op == "call_function"]:
        _functional(node)
        node.args, node.kwargs = (
            map_aggregate(node.args, _to_float32),
            map_aggregate(node.kwargs, _to_float32),
        )
    traced.graph.eliminate_dead_code()
    step_graph, left = _assembled(traced, layout, dataset), _attributes(module)
    for name, tensor in attributes.items():
        if left.get(name) is not tensor and any(tensor is read for read in step_graph.constants):
            raise _replaced(name)
    return step_graph


def _check(module: nn.Module, dataset: Sequence[Tensor], batch_size: int, log_capacity: int) -> None:
    if not module.training:
        raise ModelError("the module is in evaluation mode; call train() on it first")
    if not dataset or len({len(tensor) for tensor in dataset}) != 1:
        raise ModelError("a data set is one or more tensors with equally many samples")
    if not 0 < batch_size <= len(dataset[0]):
        raise ModelError(f"a batch of {batch_size} cannot be drawn from {len(dataset[0])} samples")
    if not 0 < log_capacity < 2**32:
        raise ModelError(f"a log cannot have {log_capacity} entries")


class _Whole(nn.Module):
    """The loss as a module, so that all that it reads can be replaced."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, *batch: Tensor) -> Tensor:
        try:
            return self.loss(self.module, *batch)
        except TypeError as error:
            reason = str(error).split("\n")[0]
            raise ModelError(
                f"the loss is called as loss(module, *batch) and fails ({reason}); give a function such as "
                "lambda m, x, y: cross_entropy(m(x), y)"
            ) from error


def _traced(
    module: nn.Module, loss: Loss, optimizer: Optimizer, layout: Layout, dataset: Sequence[Tensor]
) -> GraphModule:
    """The step as an fx graph: from the state before the batch, the data set and what is held, to the new
    state with the batch, and the loss."""
    whole = _Whole(module, loss)
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    count = len(layout.state)

    def step(*given: Tensor) -> list[Tensor]:
        state, data = given[:count], given[count : count + len(dataset)]
        held = given[count + len(dataset) :]
        return _step(whole, optimizer, layout, state, data, held)

    with ExitStack() as stack:
        stack.enter_context(fake)
        types = [(t.shape, t.dtype) for t in (*dataset, *layout.held.values())]
        fakes = [torch.empty(shape, dtype=dtype) for shape, dtype in (*layout.state, *types)]
        stack.enter_context(enable_python_dispatcher())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(Composites())
        stack.enter_context(_paths(whole))
        stack.enter_context(_uncompiled())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        try:
            return make_fx(step, table(*fakes[:2]))(*fakes)
        except (ModelError, UnsupportedOperator):
            raise
        except Exception as error:  # torch documents no common base of what a trace raises
            if "use_reentrant=True" in str(error):
                raise ModelError(
                    "the module checkpoints activations with use_reentrant=True, of which a step has no gradient; "
                    "give use_reentrant=False"
                ) from error
            raise UnsupportedOperator(explain(error, module)) from error


def _step(
    whole: _Whole,
    optimizer: Optimizer,
    layout: Layout,
    state: Sequence[Tensor],
    data: Sequence[Tensor],
    held: Sequence[Tensor],
) -> list[Tensor]:
    step, seed = state[:2]
    indices = torch.ops.tao.sample(step, seed, len(data[0]), layout.batch_size)
    batch = [torch.ops.aten.index.Tensor(tensor, [indices]) for tensor in data]
    packed = layout.unpack(state)
    parameters = {name: tensor.detach().requires_grad_() for name, tensor in packed.parameters().items()}
    buffers = {name: tensor.clone() for name, tensor in packed.buffers().items()}
    counts = {name: torch.zeros((), dtype=torch.int64) for name in layout.counts}
    values = {**parameters, **buffers, **counts, **dict(zip(layout.held, held, strict=True))}
    values = {f"module.{name}": tensor for name, tensor in values.items()}
    given = {name: (tensor, memory_of(tensor)) for name, tensor in values.items()}
    with torch.enable_grad():
        loss = functional_call(whole, values, tuple(batch), tie_weights=True)
        _check_left_alone(given, values)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.dtype != torch.float32:
            raise ModelError("the loss must return one float32 number")
        if loss.grad_fn is None:
            raise ModelError("the loss does not depend on any parameter of the optimizer")
        setup_stacktrace_preservation_hooks([loss.grad_fn])
        made = torch.autograd.grad(loss.reshape(()), list(parameters.values()), allow_unused=True)
    gradients = dict(zip(parameters, made, strict=True))
    if missing := [name for name, gradient in gradients.items() if gradient is None]:
        raise ModelError(f"parameter {missing[0]} gets no gradient; leave it out of the optimizer")
    with torch.no_grad():
        new = layout.update(optimizer, packed, step, gradients, buffers)
    return [step + 1, seed, *new, *batch, loss.detach()]


def memory_of(tensor: Tensor) -> int:
    """Names the memory that a tensor lies in, which its views share."""
    return tensor.untyped_storage()._cdata


def _check_left_alone(given: Mapping[str, tuple[Tensor, int]], left: Mapping[str, Tensor]) -> None:
    """Raises ModelError where the forward pass put another tensor, or other memory, in the place of a given one: no
    state would hold it. left: what `functional_call` found in the module afterwards."""
    for name, (tensor, memory) in given.items():
        if left[name] is not tensor or memory_of(tensor) != memory:
            raise _replaced(name.removeprefix("module."))


def _replaced(name: str) -> ModelError:
    return ModelError(
        f"the step gives {name} another tensor, which no state of a recording holds; only weights, by their optimizer, "
        "and the running statistics of batch normalisation may change"
    )


def _attributes(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that parts of a module have as plain attributes."""
    parts = ((f"{path}." if path else "", vars(child)) for path, child in module.named_modules())
    return {path + name: held for path, of in parts for name, held in of.items() if isinstance(held, Tensor)}


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Run what torch.compile was given in the place of what it made."""
    with torch._dynamo.config.patch(error_on_nested_fx_trace=False), warnings.catch_warnings():
        # The hooks that note paths also see the module that torch.compile made, which does no harm.
        warnings.filterwarnings("ignore", message="Using `torch.compile")
        yield


@contextmanager
def _paths(whole: _Whole) -> Iterator[None]:
    """Let traced nodes know the path of the module that they come from."""
    paths = {id(child): path for path, child in whole.module.named_modules()}
    entered = [""]

    def note() -> None:
        fx_traceback.current_meta["nn_module_stack"] = {"module": (entered[-1], nn.Module)}

    def enter(module: nn.Module, args: Any) -> None:
        entered.append(paths.get(id(module), entered[-1]))
        note()

    def leave(module: nn.Module, args: Any, result: Any) -> None:
        entered.pop()
        note()

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with fx_traceback.preserve_node_meta():
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _functional(node: FxNode) -> None:
    """Replace the one writing call that is left, `copy_`, by what it writes.

    Raises UnsupportedOperator where anything else can see what is written: then its order would matter.
    """
    if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
        return
    if torch.Tag.nondeterministic_seeded in node.target.tags:
        raise unsupported(node, DRAWN_IN_A_STEP)
    if node.target is not torch.ops.aten.copy_.default:
        raise unsupported(node, "it writes to its operand; use the form that returns a new tensor")
    written, source = node.args[:2]
    family, order = _family(written), {other: i for i, other in enumerate(node.graph.nodes)}
    late = [user for member in family for user in member.users if order[user] > order[node]]
    if any(member.op != "call_function" for member in family) or late:
        raise unsupported(node, "it writes to a tensor that others see; use the form that returns a new one")
    meta = node.meta["val"]
    with node.graph.inserting_before(node):
        if source.meta["val"].dtype != meta.dtype:
            source = _inserted(node, torch.ops.aten._to_copy.default, (source,), {"dtype": meta.dtype})
        if source.meta["val"].shape != meta.shape:
            source = _inserted(node, torch.ops.aten.expand.default, (source, list(meta.shape)), {})
    node.replace_all_uses_with(source)
    node.graph.erase_node(node)


def _inserted(node: FxNode, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FxNode:
    made = node.graph.call_function(target, args, kwargs)
    made.meta = dict(node.meta)
    with FakeTensorMode(), torch.no_grad():
        like = args[0].meta["val"]
        source = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)
        made.meta["val"] = target(source, *args[1:], **kwargs)
    return made


def _family(node: FxNode) -> set[FxNode]:
    """All nodes that may share memory with a node: what it views, and what views that."""

    def views(user: FxNode) -> bool:
        target = user.target
        return target is operator.getitem or (isinstance(target, torch._ops.OpOverload) and target.is_view)

    while node.op == "call_function" and views(node):
        node = node.args[0]
    family, left = {node}, [node]
    while left:
        for user in left.pop().users:
            if user not in family and views(user):
                family.add(user)
                left.append(user)
    return family


def _to_float32(leaf: Any) -> Any:
    """A number among the arguments, rounded to float32 as kernels and records do."""
    return float32_number(leaf) if isinstance(leaf, float) else leaf


def _assembled(traced: GraphModule, layout: Layout, dataset: Sequence[Tensor]) -> StepGraph:
    graph = traced.graph
    _name_backward(graph)
    walk = Walk(graph, Builder(layout.log_capacity))
    places = [node for node in graph.nodes if node.op == "placeholder"]
    count = len(layout.state)
    for node, name in zip(places[:count], layout.names, strict=False):
        walk.input(node, name)
    for tensor in dataset:
        walk.builder.input(
            torch.empty(layout.batch_size, *tensor.shape[1:], dtype=tensor.dtype, device="meta")
        )
    walk.builder.input(torch.empty(2, layout.log_capacity, dtype=torch.int64, device="meta"))
    tensors = [*((f"dataset.{i}", t) for i, t in enumerate(dataset)), *layout.held.items()]
    for node, (name, tensor) in zip(places[count:], tensors, strict=True):
        walk.parameter(node, tensor, name)
    constants: list[Tensor] = []
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        held = operator.attrgetter(node.target)(traced)
        if isinstance(held, FakeTensor):
            raise ModelError(f"the step makes a tensor, {node.target}, that cannot be read while tracing")
        node.meta["val"] = held
        walk.constant(node, held)
        if node in walk.env:
            constants.append(held)
    walk.calls()
    (results,) = graph.output_node().args
    *outputs, loss = (walk.ref(result) for result in results)
    if loss.value.type.numel != 1:
        loss = walk.builder.copy(loss, loss.strides, "")
    made, parameters, ids = walk.builder.finish([*outputs, walk.builder.log], [loss])
    sample = next(i for i, node in enumerate(made.nodes) if node.target == "tao.sample.default")
    return StepGraph(made, tuple(parameters), layout, ids[loss.value], sample, tuple(constants))


def _name_backward(graph: FxGraph) -> None:
    """Give nodes of the backward pass the path of the forward call that they are the gradient of."""
    forward: dict[int, Any] = {}
    for node in graph.nodes:
        number, stack = node.meta.get("seq_nr"), node.meta.get("nn_module_stack")
        if number is None or stack is None:
            continue
        if node.meta.get("autograd_backward"):
            node.meta["nn_module_stack"] = forward.get(number, stack)
        else:
            forward[number] = stack
