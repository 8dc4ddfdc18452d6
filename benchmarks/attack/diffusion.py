"""A small diffusion model under attack: what a generated image shows must not change."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from benchmarks.attack.subjects import BATCH, SEED, DigitNet, Subject, digit_images, fit
from tao.execution import Executor
from tao.model import trace

LEVELS = 64
"""Noise levels of training."""
STEPS = 4
"""Of generation: each is one run of the denoiser within the graph."""


def signal(level: Tensor) -> Tensor:
    """Share of the image left at a noise level, between 0 and 1: the cosine schedule (Nichol and Dhariwal 2021)."""
    return torch.cos((level / LEVELS + 0.008) / 1.008 * torch.pi / 2) ** 2


class Denoiser(nn.Module):
    """A noisy image, float32 [N, 1, 8, 8], and the embedding of its level, float32 [N or 1, 32], to its noise."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.level = nn.Linear(32, 2 * width)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, 2 * width)
        self.inner = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.Conv2d(2 * width, width, 3, padding=1)
        self.out = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        wide = F.silu(self.stem(x))
        deep = self.down(wide) + self.level(level)[:, :, None, None]
        deep = deep + self.inner(F.silu(self.norm(deep)))
        back = self.up(F.interpolate(F.silu(deep), scale_factor=2.0, mode="nearest"))
        return self.out(torch.cat([wide, F.silu(back)], 1))


class Generator(nn.Module):
    """Noise, float32 [N, 1, 8, 8], to images by deterministic steps (DDIM, Song et al. 2021)."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser
        levels = torch.linspace(LEVELS - 1, 0, STEPS + 1)
        self.register_buffer("embeddings", embedding(levels))
        self.shares = signal(levels).tolist()

    def forward(self, x: Tensor) -> Tensor:
        for step, (now, then) in enumerate(zip(self.shares, self.shares[1:], strict=False)):
            noise = self.denoiser(x, self.embeddings[step : step + 1])
            image = (x - noise * (1 - now) ** 0.5) * now**-0.5
            x = image.clamp(-1.5, 1.5) * then**0.5 + noise * (1 - then) ** 0.5
        return x


def embedding(level: Tensor) -> Tensor:
    """Sines and cosines of noise levels [N], float32 [N, 32]."""
    angles = level[:, None] * torch.logspace(0, -2, 16)
    return torch.cat([angles.sin(), angles.cos()], 1)


def diffusion(steps: int = 400) -> Subject:
    """A diffusion model trained here on scikit-learn's digits; a classifier of the client's reads its images."""
    x, y, held_out = digit_images()

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(held_out, len(x), (64,), generator=generator)
        return x[chosen], y[chosen]

    def noisy(generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
        clean = batch(generator)[0] * 2 - 1
        level = torch.randint(1, LEVELS, (len(clean),), generator=generator).float()
        noise, share = torch.randn(clean.shape, generator=generator), signal(level).view(-1, 1, 1, 1)
        return (clean * share.sqrt() + noise * (1 - share).sqrt(), embedding(level)), noise

    torch.manual_seed(SEED)
    reader, denoiser = DigitNet(), Denoiser()
    fit(reader, batch, 250)
    fit(denoiser, noisy, steps, F.mse_loss)
    reader = reader.double()

    def logits(outputs: Sequence[Tensor]) -> Tensor:
        return reader((outputs[0].double() + 1) / 2)

    starts = torch.randn(8 * BATCH, 1, 8, 8, generator=torch.Generator().manual_seed(SEED)).split(BATCH)
    claims = [(start,) for start in starts]
    subject = Subject(
        "digits-diffusion", trace(Generator(denoiser).eval(), claims[0]), logits, claims[:2], claims[2:6], claims[6:],
        [["denoiser.inner"]],
    )  # fmt: skip
    run = Executor(subject.bundle.graph, subject.bundle.parameters)
    shown = torch.cat([logits(run.run(claim)).argmax(1) for claim in claims[:2]])
    return replace(subject, facts={"digits_generated": len(shown.unique())})
