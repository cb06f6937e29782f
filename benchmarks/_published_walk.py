"""Latent Shift as published, one label at a time and one picture at a time, written from the paper: the reference.

Encode, decode, gradient of the probability; then lambda walks to negative values, a decoding and a classification a
step, until a step breaks a rule; then ten frames are decoded and classified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Walked:
    """lam: the first lambda that breaks a rule; places: steps taken; probabilities and pictures of the ten frames."""

    lam: float
    places: int
    probabilities: np.ndarray
    pictures: np.ndarray


def shifted(
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    column: int,
    rules: str = "gif",
) -> Walked:
    """``x [1, 1, h, w]``; decode gives what ``logits`` takes. ``rules``: "gif" or "later"."""
    z = encode(x).detach().requires_grad_()
    p = torch.sigmoid(logits(decode(z))[0, column])
    (g,) = torch.autograd.grad(p, z)
    z = z.detach()

    def at(lam: float) -> tuple[float, Tensor]:
        with torch.no_grad():
            made = decode(z + lam * g)
            return float(torch.sigmoid(logits(made)[0, column])), made

    lam, places = walk(at, rules)
    step = abs(lam) / 10
    lambdas = np.arange(lam, 0, step)[:10] if rules == "gif" else np.linspace(lam, 0, 10)
    found = [at(float(value)) for value in lambdas]
    return Walked(lam, places, np.array([p for p, _ in found]), np.stack([made[0, 0].numpy() for _, made in found]))


def walk(at: Callable[[float], tuple[float, Tensor]], rules: str = "gif") -> tuple[float, int]:
    """(first lambda that breaks a rule, steps taken). ``at``: lambda -> probability and picture in -1 .. 1."""
    first, base = at(0.0)
    last, lam, places = first, 0, 0
    while True:
        lam = lam - (1 if abs(lam) < 10 else 10) if rules == "gif" else lam - 10 + lam // 10
        current, made = at(float(lam))
        places += 1
        if last < current:
            break
        if rules == "gif" and (first - 0.15 > current or lam <= -1000):
            break
        if rules == "later":
            if first - 0.8 > current or current < 0.05 or lam <= -3000:
                break
            if (made - base).abs().sum() > 0.05 * base.abs().sum():
                break
        last = current
    return float(lam), places
