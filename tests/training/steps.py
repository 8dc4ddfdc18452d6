"""Training steps written by hand: graphs with a log, small enough to follow on paper."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tao.graph import Graph
from tao.graph.builder import Builder, Ref
from tao.graph.log_format import empty
from tao.graph.operators import resolve

CAPACITY = 4096


class Traced(NamedTuple):
    ref: Ref
    tensor: Tensor


class Tape:
    """Calls operators on example tensors, and notes them in a graph."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.builder = Builder(capacity)

    def input(self, tensor: Tensor) -> Traced:
        return Traced(self.builder.input(tensor), tensor)

    def parameter(self, tensor: Tensor) -> Traced:
        return Traced(self.builder.parameter(tensor), tensor)

    def __call__(self, target: str, *args: Any, **kwargs: Any) -> Traced:
        """An operator such as `add.Tensor` or `tao.keep.default`, on values of the tape and literals."""
        target = target if target.startswith("tao.") else f"aten.{target}"

        def deep(value: Any, field: str) -> Any:
            if isinstance(value, Traced):
                return getattr(value, field)
            return [deep(v, field) for v in value] if isinstance(value, list) else value

        result = resolve(target)(*(deep(a, "tensor") for a in args), **kwargs)
        refs = self.builder.call(target, [deep(a, "ref") for a in args], kwargs, {0: result}, "step")
        return Traced(refs[0], result)

    def view(self, x: Traced, call: Any) -> Traced:
        result = call(x.tensor)
        (ref,) = self.builder.view(x.ref, call, [result.stride()])
        return Traced(ref, result)

    def t(self, x: Traced) -> Traced:
        return self.view(x, lambda t: t.transpose(-1, -2))

    def finish(self, *outputs: Traced) -> Graph:
        """The graph with these outputs and the log."""
        graph, parameters, _ = self.builder.finish([o.ref for o in outputs] + [self.builder.log])
        self.parameters = parameters
        return graph


def perceptron(
    batch: int = 16, inputs: int = 32, hidden: int = 48, classes: int = 10, seed: int = 0
) -> tuple[Graph, list[Tensor], tuple[Tensor, ...]]:
    """A step of AdamW on a perceptron with softmax cross-entropy, dropout and tanh: graph, parameters,
    inputs.

    State: step, seed, weights [hidden, inputs] and [classes, hidden], two moments of each, previous log.
    """
    torch.manual_seed(seed)
    tape = Tape()
    step, key = tape.input(torch.zeros(1, dtype=torch.int64)), tape.input(torch.tensor([7, 11]))
    weights = [torch.randn(hidden, inputs) / inputs**0.5, torch.randn(classes, hidden) / hidden**0.5]
    states = [
        [tape.input(w), tape.input(torch.zeros_like(w)), tape.input(torch.zeros_like(w))] for w in weights
    ]
    log = tape.input(empty(CAPACITY))
    images, labels = torch.randn(256, inputs), torch.randint(0, classes, (256,))
    data = tape.parameter(images)
    targets = tape.parameter(torch.nn.functional.one_hot(labels, classes).float())
    indices = tape("tao.sample.default", step, key, 256, batch)
    x, y = tape("index_select.default", data, 0, indices), tape("index_select.default", targets, 0, indices)
    (w1, *_), (w2, *_) = states
    # forward
    h = tape("tanh.default", tape("mm.default", x, tape.t(w1)))
    mask = tape("tao.keep.default", step, key, [batch, hidden], 0x80000000, 2**30)
    kept = tape("mul.Scalar", tape("where.ScalarOther", mask, h, 0.0), 4 / 3)
    scores = tape("mm.default", kept, tape.t(w2))
    shifted = tape("sub.Tensor", scores, tape("amax.default", scores, [1], True))
    e = tape("exp.default", shifted)
    total = tape("sum.dim_IntList", e, [1], True)
    p = tape("div.Tensor", e, total)
    # backward
    g = tape("div.Scalar", tape("sub.Tensor", p, y), float(batch))
    g2 = tape("mm.default", tape.t(g), kept)
    gk = tape("mm.default", g, w2)
    gh = tape("where.ScalarOther", mask, tape("mul.Scalar", gk, 4 / 3), 0.0)
    slope = tape("add.Scalar", tape("neg.default", tape("mul.Tensor", h, h)), 1.0)
    g1 = tape("mm.default", tape.t(tape("mul.Tensor", gh, slope)), x)
    # optimizer
    outputs = []
    for (w, m, v), grad in zip(states, (g1, g2), strict=True):
        m = tape("add.Tensor", tape("mul.Scalar", m, 0.9), tape("mul.Scalar", grad, 0.1))
        v = tape(
            "add.Tensor",
            tape("mul.Scalar", v, 0.99),
            tape("mul.Scalar", tape("mul.Tensor", grad, grad), 0.01),
        )
        root = tape("add.Scalar", tape("sqrt.default", v), 1e-6)
        update = tape("mul.Scalar", tape("div.Tensor", m, root), 1e-2)
        outputs += [tape("sub.Tensor", tape("mul.Scalar", w, 0.999), update), m, v]
    nexts = tape("add.Scalar", step, 1)
    graph = tape.finish(nexts, key, *outputs)
    given = [step, key, *(s for state in states for s in state), log]
    return graph, tape.parameters, tuple(t.tensor.clone() for t in given)


def cancelling(
    rows: int = 24, lanes: int = 256, rest: float = 2.0**-22
) -> tuple[Graph, list[Tensor], tuple[Tensor, ...]]:
    """Products whose halves take each other back, of which devices keep little: state x, batched products, a
    lookup's gradient, sums and functions of them."""
    torch.manual_seed(1)
    tape = Tape()
    half = torch.randn(2, rows, lanes // 2)
    x = tape.input(torch.cat([half, -half * (1 + rest * torch.randn_like(half))], -1))
    weight = torch.randn(2, rows, lanes // 2).repeat(1, 1, 2)
    y = tape("bmm.default", x, tape.t(tape.parameter(weight)))
    flat = tape.view(y, lambda t: t.reshape(2 * rows, rows))
    places = tape.parameter(torch.randint(0, 5, (2 * rows,)))
    table = tape("tao.embedding_gradient.default", flat, places, 7)
    values = tape("sum.dim_IntList", table, [1], True)
    angle = tape("sin.default", values)
    size = tape("add.Scalar", tape("sum.dim_IntList", tape("mul.Tensor", y, y), [0, 1, 2]), 2.0)
    root = tape("sqrt.default", size)
    for name in ("exp", "tanh", "erf", "sigmoid", "cos"):
        angle = tape(f"{name}.default", angle)
    angle = tape("add.Tensor", angle, tape("log.default", root))
    graph = tape.finish(tape("mul.Scalar", x, 0.5), y, table, angle)
    return graph, tape.parameters, (x.tensor,)
