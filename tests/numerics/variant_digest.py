"""Prints the SHA-256 of four operators' outputs under the kernel variant named on the command line."""

import hashlib
import sys

from tao.numerics import variants

variants.apply(sys.argv[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812

variants.configure_torch(sys.argv[1])
generator = np.random.default_rng(1)
x, weight, bias = (
    torch.from_numpy(generator.standard_normal(shape).astype(np.float32))
    for shape in ((128, 384), (384, 384), (384,))
)
outputs = (
    F.linear(x, weight, bias),
    torch.softmax(x, -1),
    F.layer_norm(x, (384,), weight[0], bias),
    F.gelu(x),
)
print(hashlib.sha256(b"".join(y.numpy().tobytes() for y in outputs)).hexdigest())
