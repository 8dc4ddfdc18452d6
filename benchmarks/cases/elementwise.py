"""Operators whose output element reads one element of each operand."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.cases.case import ONE, THREE, TWO, Case
from benchmarks.kernels import anything, flush
from tao.graph.literals import Slot

UNARY = (
    "exp exp2 expm1 tanh erf erfc sin cos tan log log2 log10 log1p sqrt rsqrt reciprocal sigmoid silu gelu"
    " hardsigmoid hardswish square leaky_relu"
).split()
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
NUMBERS = (0.1, -3.0, 1e-40, 1e30)
"""Numbers of a call, most of which FP32 rounds."""


def _alike(count: int, operands: int) -> list[Tensor]:
    """Operands of one shape, each with floats of every exponent and around zero."""
    drawn = [anything(count) for _ in range(operands)]
    shortest = min(map(len, drawn))
    return [x[torch.randperm(len(x))[:shortest]] for x in drawn]


def elementwise() -> Iterator[Case]:
    yield from unary()
    yield from binary()
    yield from with_a_number()
    yield from powers()
    yield from multiplied_and_added()


def unary() -> Iterator[Case]:
    for name in UNARY:
        x = anything(1000)
        function = getattr(torch.ops.aten, name)
        yield f"aten.{name}.default", ONE, {}, (x,), [function(x), flush(function(flush(x)))]
    x = anything(500)
    results = [torch.ops.aten.gelu(x, approximate="tanh")]
    yield "aten.gelu.default", ONE, {"approximate": "tanh"}, (x,), results


def binary() -> Iterator[Case]:
    for name, function in BINARY.items():
        a, b = _alike(1000, 2)
        results = [function(a, b), flush(function(flush(a), flush(b)))]
        if name == "div":
            results.append(a * (1 / b))
        yield f"aten.{name}.Tensor", TWO, {}, (a, b), results


def with_a_number() -> Iterator[Case]:
    """The number as it is, or rounded to FP32 first."""
    for number in NUMBERS:
        x = anything(200)
        rounded = torch.tensor(number)
        for name, function in BINARY.items():
            results = [getattr(torch.ops.aten, name).Scalar(x, number), function(x, rounded)]
            results += [function(x.double(), number).float(), flush(function(flush(x), flush(rounded)))]
            yield f"aten.{name}.Scalar", [Slot(0), number], {}, (x,), results
        results = [torch.rsub(x, number), rounded - x, (number - x.double()).float()]
        yield "aten.rsub.Scalar", [Slot(0), number], {}, (x,), results


def powers() -> Iterator[Case]:
    for exponent in (0.5, -0.5, -1.0, 2.0, 3.0, 5.0, 1.7, -2.3):
        x = anything(500)
        call = [Slot(0), exponent]
        yield "aten.pow.Tensor_Scalar", call, {}, (x,), [x**exponent, flush(flush(x) ** exponent)]
    for size in (1.0, 20.0):
        base, exponent = anything(500).abs(), anything(500)
        shorter = min(len(base), len(exponent))
        base, exponent = base[:shorter], exponent[-shorter:].clamp(-size, size)
        for x in (base, torch.rand(shorter) + 0.5):
            double = (x.double() ** exponent.double()).float()
            strided = torch.stack([x, x], -1)[:, 0] ** exponent
            yield "aten.pow.Tensor_Tensor", TWO, {}, (x, exponent), [x**exponent, double, strided]
        for number in (0.3, 2.0, math.pi, 1e-30):
            results = [number**exponent, (torch.tensor(number).double() ** exponent.double()).float()]
            yield "aten.pow.Scalar", [number, Slot(0)], {}, (exponent,), results


def multiplied_and_added() -> Iterator[Case]:
    for factor in (1.0, -0.3, 1e-20):
        a, b, c = _alike(500, 3)
        scale = torch.tensor(factor)
        product = scale.double() * b.double() * c.double()
        results = [
            torch.addcmul(a, b, c, value=factor),
            a + scale * (b * c),
            a + (scale * b) * c,
            (a.double() + (scale * b).double() * c.double()).float(),
            (a.double() + product).float(),
            flush(flush(a) + flush(scale * flush(flush(b) * flush(c)))),
        ]
        yield "aten.addcmul.default", THREE, {"value": factor}, (a, b, c), results
