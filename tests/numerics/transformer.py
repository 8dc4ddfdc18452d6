"""A transformer of two layers, and a process that runs it under a kernel variant.

`python transformer.py VARIANT FILE` saves its output for `example()` to FILE.
"""

import sys

if __name__ == "__main__":
    from tao.numerics import variants

    variants.apply(sys.argv[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor  # noqa: E402

WIDTH, HEADS, LENGTH, BATCH, LAYERS = 128, 4, 24, 8, 2


def example() -> tuple[Tensor, dict[str, Tensor]]:
    """Input and weights; numpy's generator gives the same bits whatever the kernels."""
    generator = np.random.default_rng(3)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(generator.standard_normal(shape).astype(np.float32))

    shapes = {
        "qkv": (3 * WIDTH, WIDTH),
        "out": (WIDTH, WIDTH),
        "up": (4 * WIDTH, WIDTH),
        "down": (WIDTH, 4 * WIDTH),
    }
    weights = {
        f"{layer}.{name}": normal(*shape) / shape[1] ** 0.5
        for layer in range(LAYERS)
        for name, shape in shapes.items()
    }
    return normal(BATCH, LENGTH, WIDTH), weights


def forward(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Pre-norm attention and feed-forward blocks, in the dtype of the arguments."""
    for layer in range(LAYERS):
        normed = F.layer_norm(x, (WIDTH,))
        q, k, v = (
            part.view(BATCH, LENGTH, HEADS, -1).transpose(1, 2)
            for part in F.linear(normed, weights[f"{layer}.qkv"]).chunk(3, -1)
        )
        attention = torch.softmax(q @ k.mT / (WIDTH / HEADS) ** 0.5, -1) @ v
        x = x + F.linear(attention.transpose(1, 2).reshape(x.shape), weights[f"{layer}.out"])
        hidden = F.gelu(F.linear(F.layer_norm(x, (WIDTH,)), weights[f"{layer}.up"]))
        x = x + F.linear(hidden, weights[f"{layer}.down"])
    return F.layer_norm(x, (WIDTH,))


if __name__ == "__main__":
    variants.configure_torch(sys.argv[1])
    with torch.no_grad():
        np.save(sys.argv[2], forward(*example()).numpy())
