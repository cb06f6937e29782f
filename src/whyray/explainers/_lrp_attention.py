"""Relevance through attention: AttnLRP's rules (Achtibat et al., ICML 2024) and normalisation with its deviation held.

A softmax is not linear and hands on less or more than it got: the difference is booked as "attention". A product of two
values that both depend on the picture hands half to each. Normalisation counts as linear, its deviation as a constant
(Ali et al., ICML 2022).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ._lrp_graph import Ref
from ._lrp_ops import Handed, Moment, pulled
from ._lrp_rules import inner

if TYPE_CHECKING:
    from torch import Tensor


def softmaxed(at: Moment, r: Tensor) -> Handed:
    """``x_i (R_i - s_i sum_j R_j)``."""
    dim = int(at.step.arg(1, "dim", -1)) % at.out.ndim
    x = torch.where(at.inputs[0].isinf(), 0.0, at.inputs[0])  # a masked score has no relevance
    slope = r - at.out * r.sum(dim + 1, keepdim=True)
    at.ledger.add("attention", r.flatten(1).sum(1) - inner(slope.flatten(2), x.flatten(1)))
    return (slope * x,)


def multiplied(at: Moment, r: Tensor) -> Handed:
    """A matrix product: as a linear layer where one side is constant, half to each side where both depend on x."""
    s = r / at.stabiliser(at.out)
    at.ledger.add("stabiliser", at.stabiliser.lost(s, at.out))
    share = 1.0 / len(at.inputs)
    return [share * g * x for g, x in zip(pulled(at.again, at.inputs, s), at.inputs, strict=True)]


def attended(at: Moment, r: Tensor) -> Handed:
    """``softmax(q k' scale + mask) v`` with ``q, k, v [b, heads, n, d]``: the three rules in one step."""
    names = [a for a in at.step.args[:3]]
    given = iter(at.inputs)
    q, k, v = (next(given) if isinstance(n, Ref) else n for n in names)
    scale = at.step.kwargs.get("scale") or 1 / math.sqrt(q.shape[-1])
    scores = scale * (q @ k.transpose(-1, -2))
    mask = at.step.arg(3, "attn_mask")
    weights = (scores if mask is None else scores + biased(mask, scores)).softmax(-1)
    out = weights @ v
    s = r / at.stabiliser(out)
    at.ledger.add("stabiliser", at.stabiliser.lost(s, out))
    for_weights = weights * (s @ v.transpose(-1, -2)) / 2  # [f, b, heads, n, n]
    slope = for_weights - weights * for_weights.sum(-1, keepdim=True)
    handed = inner(slope.flatten(2), scores.flatten(1))
    at.ledger.add("attention", for_weights.flatten(1).sum(1) - handed)
    to_q, to_k = q * (slope @ k) * scale / 2, k * (slope.transpose(-1, -2) @ q) * scale / 2
    to_v = v * (weights.transpose(-1, -2) @ s) / 2
    return [t for t, n in zip((to_q, to_k, to_v), names, strict=True) if isinstance(n, Ref)]


def biased(mask: Tensor, scores: Tensor) -> Tensor:
    """What a mask adds to the scores."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, float("-inf"))


def normalised(at: Moment, r: Tensor) -> Handed:
    """Layer normalisation: the deviation counts as a constant, the rest is linear; its shift is a bias."""
    x, shape = at.inputs[0], at.step.args[1]
    weight, bias, small = at.step.arg(2, "weight"), at.step.arg(3, "bias"), at.step.arg(4, "eps", 1e-5)
    dims = list(range(-len(shape), 0))
    s = r / at.stabiliser(at.out)
    at.ledger.add("stabiliser", at.stabiliser.lost(s, at.out))
    if bias is not None:
        at.ledger.add("bias", inner(s.flatten(2), bias.expand_as(x).flatten(1)))
    g = s * torch.rsqrt(x.var(dims, unbiased=False, keepdim=True) + small)
    g = g if weight is None else g * weight
    return (x * (g - g.mean(dims, keepdim=True)),)


ATTENTION = {
    "softmax": softmaxed,
    "_softmax": softmaxed,
    "matmul": multiplied,
    "bmm": multiplied,
    "scaled_dot_product_attention": attended,
    "layer_norm": normalised,
}
