"""The models under attack: a small network on digits, a small character GPT, and the sentence encoder.
The diffusion model has a room of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.attack.search import Logits
from models.minilm import model as minilm
from models.minilm.calibrate import SENTENCES
from tao.model import ModelBundle, trace

BATCH = 32
SEED = 11


@dataclass(frozen=True)
class Subject:
    """A model with what is done to it.

    logits: the graph's outputs to float64 [samples, classes]. attacked: claims under attack. calibration:
    claims to calibrate on if the bundle has no profile. honest: claims to measure honesty on. branches: for
    each layer, the modules whose result is added to its input. heads: the module that joins the heads of one
    attention, and their number. steps, restarts: of the search. thorough: whether to try all sizes of cheats and
    other safety factors, too, and to restart the search in regions other than the deployed one.
    """

    name: str
    bundle: ModelBundle
    logits: Logits
    attacked: list[tuple[Tensor, ...]]
    calibration: list[tuple[Tensor, ...]]
    honest: list[tuple[Tensor, ...]]
    branches: list[list[str]]
    heads: tuple[str, int] | None = None
    steps: int = 3
    restarts: int = 2
    thorough: bool = True
    facts: dict = field(default_factory=dict)


def as_logits(outputs: Sequence[Tensor]) -> Tensor:
    """Outputs that are logits already."""
    return outputs[0].double()


def fit(
    module: nn.Module,
    batch: Callable[[torch.Generator], tuple[Tensor | tuple[Tensor, ...], Tensor]],
    steps: int,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
) -> None:
    """Train on batches of (inputs, target) and leave the module in evaluation mode."""
    generator = torch.Generator().manual_seed(SEED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these are too small to share
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.01)
    for _ in range(steps):
        x, y = batch(generator)
        optimiser.zero_grad()
        loss(module(*x) if isinstance(x, tuple) else module(x), y).backward()
        optimiser.step()
    torch.set_num_threads(threads)
    module.eval()


# ---- digits ----


class DigitNet(nn.Module):
    """Images, float32 [N, 1, 8, 8], to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 24, 3, padding=1)
        self.inner = nn.Conv2d(24, 24, 3, padding=1)
        self.outer = nn.Conv2d(24, 24, 3, padding=1)
        self.narrow = nn.Conv2d(24, 32, 3, stride=2, padding=1)
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.outer(F.relu(self.inner(x))))
        return self.head(F.relu(self.narrow(x)).flatten(1))


def digit_images() -> tuple[Tensor, Tensor, int]:
    """Shuffled images between 0 and 1, float32 [N, 1, 8, 8], their digits, int64 [N], and how many to hold out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    x = torch.from_numpy(images).float().view(-1, 1, 8, 8)[order] / 16
    return x, torch.from_numpy(labels).long()[order], 400


def digits(steps: int = 250) -> Subject:
    """A residual convolutional network, trained here on scikit-learn's digits."""
    x, y, held_out = digit_images()

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(held_out, len(x), (64,), generator=generator)
        return x[chosen], y[chosen]

    torch.manual_seed(SEED)
    module = DigitNet()
    fit(module, batch, steps)
    with torch.no_grad():
        accuracy = float((module(x[:held_out]).argmax(1) == y[:held_out]).float().mean())
    claims = [(part,) for part in x[: held_out - held_out % BATCH].split(BATCH)]
    seen = [(part,) for part in x[held_out : held_out + 4 * BATCH].split(BATCH)]
    bundle = trace(module, claims[0])
    return Subject(
        "digits-cnn", bundle, as_logits, claims[:2], seen, claims[4:6], [["outer"]],
        facts={"test_accuracy": accuracy},
    )  # fmt: skip


# ---- characters ----


class Attention(nn.Module):
    """Causal attention as plain matmul, softmax, matmul."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.join = (nn.Linear(width, width) for _ in range(4))
        hidden = torch.full((length, length), -1e9).triu(1)
        self.register_buffer("hidden", hidden, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            layer(x).view(batch, length, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(2, 3) * (width / self.heads) ** -0.5 + self.hidden
        return self.join((torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(x.shape))


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, length)
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        return x + self.down(F.gelu(self.up(self.before_mlp(x))))


class CharacterGpt(nn.Module):
    """Characters, int64 [N, length], to the logits of the next one, float32 [N, characters]."""

    def __init__(self, characters: int, width: int = 64, heads: int = 4, length: int = 24, layers: int = 2):
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, width), nn.Embedding(length, width)
        self.layers = nn.ModuleList(Layer(width, heads, length) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        h = self.characters(x) + self.places.weight
        for layer in self.layers:
            h = layer(h)
        return self.head(self.norm(h)[:, -1])


def characters(steps: int = 300, length: int = 24) -> Subject:
    """A GPT of two layers, trained here on the repository's sentences."""
    text = "\n".join(minilm.load_sentences())
    alphabet = sorted(set(text))
    codes = torch.tensor([alphabet.index(character) for character in text])
    windows = codes.unfold(0, length + 1, 1)
    split = int(0.8 * len(windows))

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = windows[torch.randint(split - length, (64,), generator=generator)]
        return chosen[:, :-1], chosen[:, -1]

    torch.manual_seed(SEED)
    module = CharacterGpt(len(alphabet), length=length)
    fit(module, batch, steps)
    order = torch.randperm(len(windows) - split, generator=torch.Generator().manual_seed(SEED)) + split
    unseen = windows[order]
    with torch.no_grad():
        some = unseen[:1024]
        accuracy = float((module(some[:, :-1]).argmax(1) == some[:, -1]).float().mean())
    claims = [(part[:, :-1].contiguous(),) for part in unseen[: 8 * BATCH].split(BATCH)]
    chosen = torch.randint(split - length, (4 * BATCH,), generator=torch.Generator().manual_seed(SEED))
    seen = [(part[:, :-1].contiguous(),) for part in windows[chosen].split(BATCH)]
    return Subject(
        "character-gpt", trace(module, claims[0]), as_logits, claims[:2], seen, claims[6:],
        [[f"layers.{i}.attention.join", f"layers.{i}.down"] for i in range(2)],
        ("layers.0.attention.join", 4), facts={"test_accuracy": accuracy},
    )  # fmt: skip


# ---- sentences ----


def _sources() -> list[int]:
    """For every sentence the number of the work it stands under."""
    found, source = [], 0
    for line in (minilm.HERE / "sentences.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            source += 1
        elif line:
            found.append(source)
    return found


class Answering(nn.Module):
    """Token ids and attention mask, int64 [N, length] each, to a linear layer of the embeddings."""

    def __init__(self, encoder: minilm.SentenceEncoder, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        with torch.no_grad():
            self.head.weight.copy_(weight)
            if bias is not None:
                self.head.bias.copy_(bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.encoder(input_ids, attention_mask))


def _embed(texts: list[str]) -> Tensor:
    """Unit vectors of all texts, float32 [len(texts), 384]."""
    order = torch.arange(-(-len(texts) // BATCH) * BATCH) % len(texts)
    module = minilm.load_module()
    with torch.no_grad():
        parts = [module(*minilm.tokenise([texts[i] for i in part])) for part in order.split(BATCH)]
    return torch.cat(parts)[: len(texts)]


def _of_sentences(
    name: str, bundle: ModelBundle, logits: Logits, seen: list[tuple[Tensor, ...]], facts: dict
) -> Subject:
    unseen = minilm.batches(2, SEED, minilm.load_sentences()[SENTENCES:])
    return Subject(
        name, bundle, logits, unseen[:1], seen, unseen[1:],
        [["layer.5.attention.output.dense", "layer.5.output.dense"]], ("layer.0.attention.output.dense", 12),
        steps=2, thorough=False, facts=facts,
    )  # fmt: skip


def _answering(name: str, weight: Tensor, bias: Tensor | None, facts: dict) -> Subject:
    """With the linear layer in the graph."""
    seen = minilm.batches(4, SEED, minilm.load_sentences()[:SENTENCES])
    bundle = trace(Answering(minilm.load_module(), weight, bias).eval(), seen[0])
    return _of_sentences(name, bundle, as_logits, seen, facts)


def sentences() -> Subject:
    """The sentence encoder with a linear head, fitted here, that names the work a sentence is from."""
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(C=10.0, max_iter=1000).fit(_embed(minilm.load_sentences()).numpy(), _sources())
    weight, bias = (torch.from_numpy(x).float() for x in (head.coef_, head.intercept_))
    return _answering("minilm", weight, bias, {"classes": len(weight)})


def neighbours() -> Subject:
    """The sentence encoder with an index: which of 64 other sentences is the nearest."""
    others = _embed(minilm.load_sentences()[:SENTENCES])
    return _answering("minilm-neighbours", others, None, {"neighbours": len(others)})


def embeddings() -> Subject:
    """The sentence encoder alone with its committed profile: the client looks for the nearest of 64 sentences."""
    others = _embed(minilm.load_sentences()[:SENTENCES]).double()

    def similarities(outputs: Sequence[Tensor]) -> Tensor:
        return outputs[0].double() @ others.T

    return _of_sentences("minilm-embeddings", minilm.build(), similarities, [], {"neighbours": len(others)})
