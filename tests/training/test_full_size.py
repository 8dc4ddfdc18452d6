"""Networks of full size trace into graphs whose nodes and states stay small enough to be disputed."""

from __future__ import annotations

from statistics import median

import pytest
import torch
from torch.nn import functional

from tao.training import StepGraph, describe, schedules, trace_step


def resnet50() -> StepGraph:
    import transformers

    with torch.device("meta"):
        module = transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=10)).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    data = (torch.zeros(64, 3, 32, 32), torch.zeros(64, dtype=torch.int64))
    return trace_step(
        module, lambda m, x, y: functional.cross_entropy(m(x).logits, y), describe(optimizer), data, 64
    )


def gpt2() -> StepGraph:
    import transformers

    with torch.device("meta"):
        module = transformers.GPT2LMHeadModel(transformers.GPT2Config()).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-4, weight_decay=0.1)
    description = describe(optimizer, clip_norm=1.0, schedule=schedules.cosine(100, 1000))

    def loss(module, tokens):
        logits = module(tokens, use_cache=False).logits[:, :-1]
        return functional.cross_entropy(logits.reshape(-1, 50257), tokens[:, 1:].reshape(-1))

    return trace_step(module, loss, description, (torch.zeros(16, 64, dtype=torch.int64),), 8)


@pytest.mark.parametrize(
    "build, nodes, parameters", [(resnet50, 2900, 23_528_522), (gpt2, 2300, 124_439_808)]
)
def test_a_step_has_few_nodes_and_short_records(build, nodes: int, parameters: int) -> None:
    step_graph = build()
    graph = step_graph.graph
    named = zip(step_graph.names, graph.types, strict=False)
    assert sum(t.numel for name, t in named if ".parameters." in name) == parameters
    assert 0.8 * nodes < len(graph) < nodes
    cuts = [len(graph.live(cut)) for cut in range(len(graph) + 1)]
    assert median(cuts) < 320 and max(cuts) < 360
    assert max(map(len, graph.records)) < 4096
    assert max(node.reduction for node in graph.nodes) <= 50257
