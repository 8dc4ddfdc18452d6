"""Small steps of rounded operators with an element in doubt, and proofs with other fields."""

from __future__ import annotations

import numpy as np
import torch
from eth_abi import decode, encode

from support import steps
from support.floats import bits_of
from support.rounded_cases import midpoint, split
from tao.numerics import float32

_OPENING = "(bytes,bytes32[],bytes32[])"
PROOF = f"(uint256,uint256,{_OPENING}[],(bytes,bytes32[]),(uint256,uint256,{_OPENING}[]))"


def floats(bits) -> torch.Tensor:
    return torch.from_numpy(np.asarray(bits, np.uint32).view(np.float32).copy())


def encoding(step, element: int) -> int:
    return int(step.output.view(-1)[element].view(torch.int32)) & 0xFFFFFFFF


def neighbour(x: torch.Tensor) -> torch.Tensor:
    return torch.nextafter(x, torch.tensor(torch.inf))


def doubtful_terms(lanes: int, seed: int) -> list[int]:
    """Lanes whose exact sum is a midpoint."""
    terms = np.random.default_rng(seed).normal(0, 1, lanes - 4).astype(np.float32)
    total = sum(map(float32.value, bits_of(terms)))
    return bits_of(terms) + split(midpoint(float32.nearest(total)) - total, 4)


def doubtful(kind: str, kept: torch.Tensor | None = None):
    """A step of six elements with element 2 in doubt, for a sum a tie, and its results: rounded ones of a sum, else
    float64. kept: the log of a logged one."""
    generator = torch.Generator().manual_seed(3)
    if kind == "contraction":
        a, b = torch.randn(2, 40, generator=generator), torch.randn(3, 40, generator=generator)
        a[0], b[2] = floats(doubtful_terms(40, 1)), 1.0
        step = steps.contraction(a, b)
        return step, step.output.double()
    if kind == "sum":
        x = torch.randn(6, 70, generator=generator)
        x[2] = floats(doubtful_terms(70, 2))
        step = steps.row_sum(x)
        return step, step.output.double()
    if kind == "sigmoid":
        x = torch.randn(6, generator=generator)
        x[2] = 2.0**-23  # 1/2 + 2^-25 - 2^-69 / 48
        results = x.double().sigmoid()
        kept = steps.log({}) if kept is None else kept
        return steps.elementwise("sigmoid.default", [x], results, kept=kept), results
    grad = torch.randn(2 * 40, 2, generator=generator)
    indices = torch.randint(2, 3, (2, 40), generator=generator)
    indices[:, 5:17] = 1
    grad[:, 1] = grad[
        :, 1
    ].round()  # sums of FP32 numbers often are midpoints, those of small integers are not
    grad[indices.flatten() == 1, 0] = floats(doubtful_terms(24, 4))
    step = steps.embedding_gradient(grad, indices, 3)
    return step, step.output.double()


SUMS = ("contraction", "sum", "embedding_gradient")
KINDS = (*SUMS, "sigmoid")


def changed(proof: bytes, **fields) -> bytes:
    """A proof with other evidence or other fields."""
    element, hint, operands, output, (rule, slot, openings) = decode([PROOF], proof)[0]
    values = dict(element=element, hint=hint, operands=operands, output=output)
    values |= dict(rule=rule, slot=slot, openings=openings) | fields
    evidence = (values["rule"], values["slot"], values["openings"])
    return encode(
        [PROOF], [(values["element"], values["hint"], values["operands"], values["output"], evidence)]
    )
