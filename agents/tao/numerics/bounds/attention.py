"""Fused attention as the composition of its parts: scores, softmax, weighted sum.

For scores s_j = c q.k_j + mask_j over d lanes and S keys, T_j = c sum |q| |k_j|, weights p = softmax(s):

    score     ds_j = gamma_(d+6) (T_j + |mask_j|) + 2 D_j + (2 d + 5 + 2 sum |q| + 2 sum |k_j|) MIN
    exponent  eta_j = ds_j + 3 u (d_j + 2 max ds) + 6 u + 8 u (ceil(S / 8) + 1),  E_j = exp(eta_j) - 1, E =
    sum p_j E_j output    tau = (1 + g) / (1 - E) sum p_j (E_j + E) |v_j| + g sum p_j |v_j|
                    + MIN (2 sum |v_j| + 2 S + 4) + 2 sum p_j |v_j| over subnormal v_j,    g = 2 gamma_(S+8)

Proof. With weights w_j (1 + e_j), |e_j| <= E_j, the normalised ones differ by p_j (e_j - e) / (1 + e), |e|
<= E. Both sums take any order (gamma_S each), division 7 u. An online softmax, which moves its maximum
block by block, multiplies a lane by exp of every later move: those shifts add up to d_j, and each costs exp
(6 u) and a product; blocks hold 8 keys or more. The scale may be split into its rounded square root on q
and on k. Where E >= 1/2, or a row is masked throughout, nothing is refuted. A mask of -inf excludes its key.
"""

import math

import torch
from torch import Tensor

from tao.errors import UnsupportedOperator
from tao.numerics.bounds.rule import (
    DETERMINISTIC,
    OVERFLOW,
    SMALLEST_NORMAL,
    UNIT_ROUNDOFF,
    Bound,
    Rule,
    as_float32,
    subnormal_part,
)
from tao.numerics.bounds.softmax import EXP, SHIFT

_BLOCK = 8


def _subnormal_lanes(q: Tensor, k: Tensor) -> Tensor | float:
    parts = subnormal_part(q), subnormal_part(k)
    if parts[0] is None and parts[1] is None:
        return 0.0
    small_q, small_k = (torch.zeros(()).double() if p is None else p for p in parts)
    small_q, small_k = small_q.expand_as(q), small_k.expand_as(k)
    return small_q @ k.abs().double().mT + q.abs().double() @ small_k.mT


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    rule: Rule = DETERMINISTIC,
) -> Bound:
    """softmax(scale query key^T + mask) value, tau as in the module's description, for every order, blocks of 8 keys or
    more, and a fused or online softmax.

    query [..., L, d], key [..., S, d], value [..., S, e]: FP32; attn_mask broadcastable to [..., L, S],
    boolean (True takes part) or FP32. Raises UnsupportedOperator with dropout.
    """
    if dropout_p:
        raise UnsupportedOperator(
            "attention that drops weights at random has no bound; set its dropout_p to 0"
        )
    if enable_gqa:
        repeats = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(repeats, -3) for x in (key, value))
    lanes, keys = query.shape[-1], key.shape[-2]
    factor = as_float32(1 / math.sqrt(lanes) if scale is None else scale)
    q, k, v = query.double(), key.double(), value.double()
    scores = factor * (q @ k.mT)
    total = abs(factor) * (q.abs() @ k.abs().mT)
    taking = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device)
    if is_causal:
        taking = taking.tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            taking = taking & attn_mask
        else:
            taking = taking & (attn_mask != -math.inf)
            mask = attn_mask.double().masked_fill(attn_mask == -math.inf, 0.0)
            scores, total = scores + mask, total + mask.abs()
    scores = torch.where(taking, scores, -math.inf)
    # The scale may be applied to q or k first, and the product be flushed.
    flushed = 2 * lanes + 5 + 2 * q.abs().sum(-1, keepdim=True) + 2 * k.abs().sum(-1)[..., None, :]
    lost = flushed * SMALLEST_NORMAL + 2 * max(abs(factor), 1.0) * _subnormal_lanes(query, key)
    off = rule.gamma(lanes + 6) * total + lost
    shift = scores.amax(-1, keepdim=True) - scores
    weight = torch.softmax(scores, -1)
    rescaled = 8 * UNIT_ROUNDOFF * (math.ceil(keys / _BLOCK) + 1)
    largest = torch.where(taking, off, 0.0).amax(-1, keepdim=True)
    # The computed maximum cancels between numerator and denominator, so each lane has its own score's error.
    # The computed shift, which is rounded, may exceed d_j by 2 max ds.
    exponent = off + SHIFT * (shift + 2 * largest) + EXP + rescaled
    gain = torch.where(weight > 0, torch.expm1(exponent), 0.0)
    average = (weight * gain).sum(-1, keepdim=True)
    g = 2 * rule.gamma(keys + 8)
    weighted = (weight * (gain + average)) @ v.abs()
    plain = weight @ v.abs()
    tolerance = (1 + g) / (1 - average) * weighted + g * plain
    tolerance = tolerance + SMALLEST_NORMAL * (2 * v.abs().sum(-2, keepdim=True) + 2 * keys + 4)
    small = subnormal_part(value)
    if small is not None:
        tolerance = tolerance + 2 * (weight @ small)
    # A lane whose weight vanished in FP64 stays below MIN while its score is off by less than this.
    decided = (average < 0.5) & (largest < 16) & (total.amax(-1, keepdim=True) < OVERFLOW)
    # Unnormalised weights are at most 1, so that their sum with values is at most sum |v|.
    decided = decided & (v.abs().sum(-2, keepdim=True) < OVERFLOW)
    return rule.bound(torch.where(decided, tolerance, math.inf), lambda: weight @ v)
