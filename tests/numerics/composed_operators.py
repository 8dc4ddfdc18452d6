"""Prints the largest deviation of the composed variant from the vendor's kernels, in float64."""

import torch
import torch.nn.functional as F  # noqa: N812

from tao.numerics import variants


def results() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 7, 33, generator=generator, dtype=torch.float64)
    mask = torch.randint(0, 2, (5, 7), generator=generator)
    return [
        *(x.sum(1), x.sum(), x.sum((0, 2), keepdim=True), x.sum([]), x.float().sum(1, dtype=torch.float64)),
        *(mask.sum(1), (mask > 0).sum(1)),
        *(x.mean(-1), x.mean((0, 1)), x.mean()),
        *(
            torch.linalg.vector_norm(x, 2, -1),
            torch.linalg.vector_norm(x),
            torch.linalg.vector_norm(x, 1, -1),
        ),
        *(torch.softmax(x, -1), F.layer_norm(x, (33,)), F.layer_norm(x, (33,), x[0, 0], x[0, 1])),
        *(F.layer_norm(x, (7, 33)), F.gelu(x), F.gelu(x, approximate="tanh")),
        *(x[0] @ x[1].T, x @ x.mT, torch.addmm(x[0, 0, :7], x[0], x[1].T, alpha=2, beta=3)),
    ]


vendor = results()
variants.configure_torch("composed")
composed = results()
assert [(y.dtype, y.shape) for y in vendor] == [(y.dtype, y.shape) for y in composed]
print(max(float((a - b).abs().max()) for a, b in zip(vendor, composed, strict=True)))
