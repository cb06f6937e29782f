"""Random changes of training pictures: drawn from (seed, epoch, example) only, never from workers or order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nf

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 13


@dataclass(frozen=True)
class Augment:
    """Largest change of each kind, drawn uniformly; 0 = none.

    rotate      degrees.
    zoom, aspect  log of the factor.
    shift       share of the side.
    gamma, contrast  log of the factor; brightness is added.
    noise       standard deviation of Gaussian noise.
    flip, erase  chance of a mirror image, of one grey rectangle.
    """

    rotate: float = 10.0
    zoom: float = 0.15
    aspect: float = 0.07
    shift: float = 0.05
    gamma: float = 0.35
    contrast: float = 0.25
    brightness: float = 0.12
    noise: float = 0.0
    flip: float = 0.0
    erase: float = 0.0


def draws(seed: int, epoch: int, examples: Sequence[int]) -> NDArray[np.float32]:
    """Uniform numbers in -1..1, ``[b, DRAWS]``."""
    rows = [np.random.default_rng([seed, 2, epoch, i]).uniform(-1, 1, DRAWS) for i in examples]
    return np.asarray(rows, np.float32).reshape(-1, DRAWS)


def augmented(pixels: Tensor, drawn: NDArray[np.float32], size: int, by: Augment) -> Tensor:
    """Pictures in 0..1 ``[b, 1, s, s]`` -> changed ones ``[b, 1, size, size]``, still in 0..1."""
    d = torch.from_numpy(drawn)
    grid = nf.affine_grid(_affine(d, by), [len(pixels), 1, size, size], align_corners=False)
    x = nf.grid_sample(pixels, grid, align_corners=False, padding_mode="zeros")
    gamma, contrast, brightness = (
        v[:, None, None, None]
        for v in (torch.exp(d[:, 5] * by.gamma), torch.exp(d[:, 6] * by.contrast), d[:, 7] * by.brightness)
    )
    x = x.clamp(1e-4, 1) ** gamma
    mean = x.mean((1, 2, 3), keepdim=True)
    x = ((x - mean) * contrast + mean + brightness).clamp(0, 1)
    if by.noise:
        x = _noisy(x, d[:, 8], by.noise)
    return _erased(x, drawn, by.erase) if by.erase else x


def _affine(d: Tensor, by: Augment) -> Tensor:
    angle = d[:, 0] * by.rotate * np.pi / 180
    zoom, aspect = torch.exp(d[:, 1] * by.zoom), torch.exp(d[:, 2] * by.aspect)
    mirror = torch.where((d[:, 9] + 1) / 2 < by.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    top = torch.stack([cos * zoom * aspect * mirror, -sin * zoom, 2 * d[:, 3] * by.shift], 1)
    return torch.stack([top, torch.stack([sin * zoom * mirror, cos * zoom / aspect, 2 * d[:, 4] * by.shift], 1)], 1)


def _noisy(x: Tensor, drawn: Tensor, most: float) -> Tensor:
    """Noise from a generator of its own, seeded by what was drawn for the picture."""
    out = x.clone()
    for i, value in enumerate(drawn.tolist()):
        own = torch.Generator().manual_seed(int(abs(value) * 2**40))
        out[i] += torch.randn(x.shape[1:], generator=own) * (value + 1) / 2 * most
    return out.clamp(0, 1)


def _erased(x: Tensor, drawn: NDArray[np.float32], chance: float) -> Tensor:
    """One rectangle of 10 to 35 % of each side, in one grey."""
    out, side = x.clone(), x.shape[-1]
    for i, row in enumerate((drawn[:, 8:13] + 1) / 2):
        if row[2] < chance:
            h, w = (int(side * (0.1 + 0.25 * v)) for v in (row[0], row[4]))
            top, left = int(row[3] * (side - h)), int((row[2] / chance) * (side - w))
            out[i, :, top : top + h, left : left + w] = float(row[0] * 0.7 + row[4] * 0.3)
    return out
