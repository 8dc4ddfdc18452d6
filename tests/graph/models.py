"""Small models with random weights: one per family of networks, and some that collect odd cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from tao.graph import Graph, export


@dataclass(frozen=True)
class Case:
    module: nn.Module
    args: tuple[Tensor, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def eager(self) -> list[Tensor]:
        """The tensors that the module returns, in order."""
        with torch.no_grad():
            returned = tree_leaves(self.module(*self.args, **self.kwargs))
        return [leaf for leaf in returned if isinstance(leaf, Tensor)]


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.first(x))
        return self.head(hidden + torch.tanh(self.second(hidden)))


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 4, 1)
        self.norm, self.group = nn.BatchNorm2d(8), nn.GroupNorm(2, 4)
        self.head = nn.Linear(64, 5)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.group(self.second(functional.silu(self.norm(self.first(image)))))
        return self.head(hidden.flatten(1))


class Shapes(nn.Module):
    """Views, ranks, broadcasts, several outputs of one operator, and outputs that are inputs or equal."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 5))

    def forward(self, x: Tensor, image: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
        w = self.weight
        product = torch.einsum("bij,jk->bik", x, w)
        values, places = torch.topk(product, 2, -1)
        left, right = x.chunk(2, -1)
        return (
            x,
            product,
            values,
            places,
            x.max(1).values,
            left * right,
            image.unfold(2, 2, 1)[..., 0] + 1,
            torch.baddbmm(product, x, w.expand(x.shape[0], 6, 5)),
            x[0] @ w[:, 0],
            w[:, 0] @ w[:, 1],
            x[0, 0] @ w,
            torch.addmm(w[0], x[0], w),
            torch.addmm(w[0], x[0], w, beta=2.0),
            torch.matmul(x[:, None], x.transpose(1, 2)[None]),
            functional.pixel_shuffle(image.repeat(1, 4, 1, 1), 2).flatten(1).sum(1),
            functional.pad(image, (1, 1)),
            torch.stack([left, right], 1),
            torch.diagonal(x, dim1=1, dim2=2) * 2,
            functional.embedding(ids, w),
            functional.linear(x[:, :, ::2], w[:3, 1:4].t()),
            x.expand(3, *x.shape).reshape(-1, 4, 6).neg(),
            torch.where(ids > 2, ids, torch.arange(3)),
            x,
            x.transpose(1, 2),
            w,
        )


class TiedHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 6), nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids))


def _transformer(name: str, attention: str, head: str = "ForCausalLM", **settings: Any) -> nn.Module:
    import transformers

    config = getattr(transformers, f"{name}Config")(**settings)
    config._attn_implementation = attention
    return getattr(transformers, f"{name}{head}")(config).eval()


TINY = dict(vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)


def _bert(attention: str) -> Case:
    module = _transformer("Bert", attention, "Model", **TINY, max_position_embeddings=24)
    mask = torch.ones(2, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    return Case(module, (torch.randint(61, (2, 7)), mask))


def _gpt2(attention: str) -> Case:
    settings = dict(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=24)
    module = _transformer("GPT2", attention, "LMHeadModel", **settings)
    return Case(module, (torch.randint(61, (1, 7)),), dict(use_cache=False))


def _llama(name: str, attention: str, **settings: Any) -> Case:
    settings |= dict(num_key_value_heads=2, max_position_embeddings=24)
    module = _transformer(name, attention, **TINY, **settings)
    return Case(module, (torch.randint(61, (1, 7)),), dict(use_cache=False))


def _vit(attention: str) -> Case:
    settings = TINY | dict(image_size=32, patch_size=16)
    del settings["vocab_size"]
    module = _transformer("ViT", attention, "ForImageClassification", **settings)
    return Case(module, (torch.randn(2, 3, 32, 32),))


def _resnet() -> Case:
    settings = dict(embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], num_labels=5)
    module = _transformer("ResNet", "eager", "ForImageClassification", **settings)
    return Case(module, (torch.randn(2, 3, 48, 48),))


def _channels_last() -> Case:
    case = _resnet()
    return Case(case.module.to(memory_format=torch.channels_last), case.args)


def _shapes() -> Case:
    return Case(Shapes(), (torch.randn(2, 4, 6), torch.randn(2, 3, 4, 4), torch.tensor([0, 3, 5])))


CASES: dict[str, Callable[[], Case]] = {
    "mlp": lambda: Case(Mlp(), (torch.randn(4, 6),)),
    "convolutions": lambda: Case(Convolutions(), (torch.randn(2, 3, 8, 8),)),
    "shapes": _shapes,
    "tied": lambda: Case(TiedHead(), (torch.randint(11, (2, 3)),)),
    "resnet": _resnet,
    "resnet_channels_last": _channels_last,
    "bert_eager": lambda: _bert("eager"),
    "bert_sdpa": lambda: _bert("sdpa"),
    "gpt2_eager": lambda: _gpt2("eager"),
    "gpt2_sdpa": lambda: _gpt2("sdpa"),
    "llama_eager": lambda: _llama("Llama", "eager"),
    "llama_sdpa": lambda: _llama("Llama", "sdpa"),
    "qwen3_eager": lambda: _llama("Qwen3", "eager", head_dim=8),
    "qwen3_sdpa": lambda: _llama("Qwen3", "sdpa", head_dim=8),
    "vit_eager": lambda: _vit("eager"),
    "vit_sdpa": lambda: _vit("sdpa"),
}


def build(name: str, seed: int = 0) -> Case:
    torch.manual_seed(seed)
    case = CASES[name]()
    case.module.eval()
    return case


@cache
def case(name: str) -> Case:
    return build(name)


@cache
def exported(name: str) -> tuple[Graph, tuple[Tensor, ...]]:
    """The graph and the parameters of a case, in order."""
    graph, parameters = export(case(name).module, case(name).args, case(name).kwargs)
    return graph, tuple(parameters[i] for i in range(len(parameters)))
