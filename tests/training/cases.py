"""Small networks that are trained, and the eager loop that their graphs must agree with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tao.execution import Executor
from tao.training import Optimizer, StepGraph, describe, schedules, trace_step

SEED = (0x12345678, 0x9ABCDEF0)
BATCH = 4


@dataclass(frozen=True)
class Case:
    """schedule: the factor of the learning rate at a step, as the graph computes it."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[..., Tensor]
    dataset: tuple[Tensor, ...]
    clip_norm: float | None = None
    schedule: Any = None

    @property
    def description(self) -> Optimizer:
        return describe(self.optimizer, self.clip_norm, self.schedule)

    def trace(self) -> StepGraph:
        """The step's graph."""
        batch = min(BATCH, len(self.dataset[0]))
        return trace_step(self.module, self.loss, self.description, self.dataset, batch, log_capacity=32)

    def double(self) -> Case:
        """The same in double precision: the eager loop's reference."""
        return copy.deepcopy(self).widened()

    def widened(self) -> Case:
        self.module.double()
        dataset = tuple(t.double() if t.is_floating_point() else t for t in self.dataset)
        return Case(self.module, self.optimizer, self.loss, dataset, self.clip_norm, self.schedule)


class Residual(nn.Module):
    """Convolutions with and without stride, batch normalisation, max pooling, a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.norm, self.pool = nn.BatchNorm2d(6), nn.MaxPool2d(3, 2, 1)
        self.left, self.right = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Conv2d(6, 8, 1, stride=2)
        self.last, self.relu = nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.stem(x))))
        x = self.relu(self.last(self.left(x)) + self.right(x))
        return self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))


def classified(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(module(x), y)


def mlp(seed: int = 0) -> Case:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    return Case(module, optimizer, classified, (torch.randn(10, 6), torch.randint(3, (10,))))


def cnn(seed: int = 0) -> Case:
    torch.manual_seed(seed)
    module = Residual()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    return Case(module, optimizer, classified, (torch.randn(8, 3, 16, 16), torch.randint(5, (8,))))


def gpt2(seed: int = 0, dropout: float = 0.1, attention: str = "eager") -> Case:
    import transformers

    torch.manual_seed(seed)
    rates = dict(resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout)
    sizes = dict(vocab_size=31, n_embd=16, n_layer=2, n_head=2, n_positions=8)
    special = dict(bos_token_id=0, eos_token_id=0)
    config = transformers.GPT2Config(**sizes, **rates, **special)
    config._attn_implementation = attention
    module = transformers.GPT2LMHeadModel(config).train()
    decayed = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() < 2]
    groups = [dict(params=decayed), dict(params=others, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, eps=1e-6, weight_decay=0.1)

    def loss(module: nn.Module, tokens: Tensor) -> Tensor:
        logits = module(tokens, use_cache=False).logits[:, :-1]
        return functional.cross_entropy(logits.reshape(-1, 31), tokens[:, 1:].reshape(-1))

    tokens = torch.randint(31, (6, 8))
    return Case(module, optimizer, loss, (tokens,), 0.5, schedules.cosine(2, 10, 0.1))


def positions(seed: int = 0) -> Case:
    """A network to whose input a step adds what it computes from its length alone."""
    module = nn.Linear(6, 1)
    with torch.no_grad():
        module.weight.fill_(0.5)

    def loss(module: nn.Module, x: Tensor) -> Tensor:
        places = torch.arange(0.0, 0.55, 0.1) * 7 + torch.linspace(0, 1, 6) / 3
        table = torch.sin(places / 10000.0 ** (places / 6)) + torch.exp(-places).sum()
        return module(x + table @ (torch.ones(6, 6) / 7)).sum()

    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    return Case(module, optimizer, loss, (torch.arange(60.0).reshape(10, 6),))


CASES = {"mlp": mlp, "cnn": cnn, "gpt2": gpt2}


@cache
def traced(name: str) -> StepGraph:
    return CASES[name]().trace()


@contextmanager
def counted_dropout(step: int, seed: tuple[int, int]) -> Iterator[None]:
    """Dropout of an eager loop by the masks that the graph's step draws."""
    calls = 0

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        nonlocal calls
        if not training or p == 0:
            return x
        stream = 0x80000000 + calls
        calls += 1
        given = torch.tensor([step]), torch.tensor(seed)
        mask = torch.ops.tao.keep(*given, list(x.shape), stream, round(p * 2**32))
        return torch.where(mask, x / (1 - p), 0.0)

    original = functional.dropout
    functional.dropout = dropout
    try:
        yield
    finally:
        functional.dropout = original


def eager_steps(case: Case, count: int) -> list[float]:
    """Train eagerly in place, on the batches and with the masks of the graph. Returns the losses."""
    losses, rates = [], [group["lr"] for group in case.optimizer.param_groups]
    size = len(case.dataset[0])
    for step in range(count):
        indices = torch.ops.tao.sample(torch.tensor([step]), torch.tensor(SEED), size, min(BATCH, size))
        case.optimizer.zero_grad()
        with counted_dropout(step, SEED):
            loss = case.loss(case.module, *(tensor[indices] for tensor in case.dataset))
        loss.backward()
        if case.clip_norm is not None:
            nn.utils.clip_grad_norm_(case.module.parameters(), case.clip_norm)
        if case.schedule is not None:
            factor = float(case.schedule(torch.tensor([step])))
            for group, rate in zip(case.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        case.optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def graph_steps(
    step_graph: StepGraph, state: tuple[Tensor, ...], count: int, dtype: torch.dtype | None = None
) -> tuple[tuple[Tensor, ...], list[float]]:
    """The state after some steps of the graph, and the losses."""
    executor = Executor(step_graph.graph, step_graph.parameters, dtype)
    losses: list[float] = []

    def note(index: int, node: Any, operands: Any, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if step_graph.loss in node.outputs:
            losses.append(float(outputs[0]))
        return outputs

    for _ in range(count):
        state = executor.advance(0, state, len(step_graph.graph), note)
    return state, losses
