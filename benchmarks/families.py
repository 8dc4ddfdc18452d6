"""Gas of one element's proof in the common families of operators, and of one record of a long sum by every contract
that keeps such records.

Each is a transaction that goes straight to the adjudicator, about a model of that operator alone, or about a training
step, on random values of which one output is wrong. A name that ends in a number says how many values the element is
made of.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.world import World
from tao.graph.rounding import ROUNDED_CONTRACTION, ROUNDED_SUM
from tao.model import ModelBundle, trace
from tao.proofs import Plan, element_proof, leaf_claim, proof_plan
from tao.proofs.pieces import Piece, postings
from tao.tensors import commit
from tao.tensors.codec import DType, TensorType
from tao.training import prepare
from tao.training.proofs import rounded_plan, rounded_proof

POSTED = 2_048
"""Numbers of a record, or products where the sum is of products."""
LONG = 32_768
"""Numbers that no transaction opens, so that they are posted."""
LENGTH, CHANNELS = 384, 64
WRONG = 1_000.0

Case = tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]
"""What is computed, and the shapes of its float32 operands."""
Given = tuple[ModelBundle, int, tuple[Tensor, ...], tuple[Tensor, ...]]
"""The first arguments of the builders of proofs."""

_ROWS, _IMAGE = (4, LENGTH), (1, CHANNELS, 9, 9)

PROOFS: dict[str, Case] = {
    "add": (torch.add, (_ROWS, _ROWS)),
    "mul": (torch.mul, (_ROWS, _ROWS)),
    "div": (torch.div, (_ROWS, _ROWS)),
    "exp": (torch.exp, (_ROWS,)),
    "erf": (torch.erf, (_ROWS,)),
    "gelu": (functional.gelu, (_ROWS,)),
    "tanh": (torch.tanh, (_ROWS,)),
    "sqrt": (torch.sqrt, (_ROWS,)),
    "rsqrt": (torch.rsqrt, (_ROWS,)),
    "cos": (torch.cos, (_ROWS,)),
    "relu": (torch.relu, (_ROWS,)),
    "softmax_128": (lambda x: x.softmax(-1), ((4, 128),)),
    "layer_norm_384": (lambda x: functional.layer_norm(x, (LENGTH,)), (_ROWS,)),
    "mean_384": (lambda x: x.mean(-1), (_ROWS,)),
    "conv2d_576": (functional.conv2d, (_IMAGE, (CHANNELS, CHANNELS, 3, 3))),
    "max_pool2d_9": (lambda x: functional.max_pool2d(x, 3), (_IMAGE,)),
    "avg_pool2d_9": (lambda x: functional.avg_pool2d(x, 3), (_IMAGE,)),
    "embedding": (lambda table: functional.embedding(torch.tensor([0, 7]), table), ((1_000, LENGTH),)),
    "cat": (lambda x, y: torch.cat([x, y]), (_ROWS, _ROWS)),
}
ROUNDED_PROOFS = {
    "rounded_contraction_384": ROUNDED_CONTRACTION,
    "rounded_sum_384": ROUNDED_SUM,
    "rounded_mul": "rounded.aten.mul.Scalar",
    "rounded_exp": "rounded.aten.exp.default",
}
"""Operators of a training step over a batch of LENGTH."""

POSTS: dict[str, Case] = {
    "ContractionAdjudicator": (functional.linear, ((1, LONG), (1, LONG))),
    "ConvolutionAdjudicator": (functional.conv1d, ((1, 1, LONG), (1, 1, LONG))),
    "NormalisationAdjudicator": (lambda x: functional.layer_norm(x, (LONG,)), ((1, LONG),)),
    "ReductionAdjudicator": (lambda x: x.sum(-1), ((1, LONG),)),
    "SoftmaxAdjudicator": (lambda x: x.softmax(-1), ((1, LONG),)),
}
ROUNDED_POSTS = {
    "RoundedContractionAdjudicator": ROUNDED_CONTRACTION,
    "RoundedReductionAdjudicator": ROUNDED_SUM,
}
"""Operators of a training step over a batch of LONG."""


class Only(nn.Module):
    """One function."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *operands: Tensor) -> Tensor:
        return self.function(*operands)


def measure_families(here: World) -> dict[str, int]:
    """The transaction that refutes one element, by the name of what is computed."""
    found = {}
    for name, case in PROOFS.items():
        given = _alone(*case)
        found[name] = _refutation(here, given, element_proof(*given, 0))
    step = _step(LENGTH)
    for name, operator in ROUNDED_PROOFS.items():
        given = _around(step, _last(step, operator))
        found[name] = _refutation(here, given, rounded_proof(*given, 0))
    return found


def measure_posts(here: World) -> dict[str, int]:
    """The transaction that records one piece of POSTED lanes, by contract and function."""
    found = {}
    for name, case in POSTS.items():
        found[f"{name}.post"] = _posting(here, name, proof_plan(*_alone(*case), 0))
    step = _step(LONG)
    for name, operator in ROUNDED_POSTS.items():
        plan = rounded_plan(*_around(step, _last(step, operator)), 0)
        found[f"{name}.post"] = _posting(here, name, plan)
    return found


def _refutation(here: World, given: Given, proof: bytes) -> int:
    bundle, node, before, outputs = given
    claim = leaf_claim(bundle, node, list(map(commit, before)), list(map(commit, outputs)))
    return here.adjudicator_gas(bundle, node, claim, proof)


def _posting(here: World, name: str, plan: Plan) -> int:
    first = plan.pieces[0]
    (posting,) = postings(plan.leaf, [Piece.of(plan.leaf, first.hint, POSTED, first.runs)])
    return here.owner.send(here.contract(name).functions.post(posting.pieces)).gas_used


def _alone(function: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...]) -> Given:
    """A model of one operator, and the tensors around it."""
    bundle = trace(Only(function), tuple(map(torch.rand, shapes)))
    return _around(bundle, len(bundle.graph) - 1)


def _step(batch: int) -> ModelBundle:
    """A training step whose gradients are sums over the batch."""
    module = nn.Linear(4, 2)
    data = torch.randn(batch, 4), torch.randint(2, (batch,))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(module(x), y)

    return prepare(module, optimizer, data, loss, steps=2, batch_size=batch, log_capacity=64).bundle


def _last(bundle: ModelBundle, operator: str) -> int:
    return max(i for i, node in enumerate(bundle.graph.nodes) if node.operator == operator)


def _around(bundle: ModelBundle, node: int) -> Given:
    """Values that may stand before a node, and an output that does not follow from them."""
    graph, generator = bundle.graph, torch.Generator().manual_seed(node)
    before = tuple(_value(graph.types[value], generator) for value in graph.live(node))
    (output,) = graph.nodes[node].outputs
    return bundle, node, before, (torch.full(graph.types[output].shape, WRONG),)


def _value(wanted: TensorType, generator: torch.Generator) -> Tensor:
    """Positive float32 numbers below 1, zeros of other types."""
    if wanted.dtype is DType.FLOAT32:
        return torch.rand(wanted.shape, generator=generator)
    return torch.zeros(wanted.shape, dtype=wanted.dtype.torch)
