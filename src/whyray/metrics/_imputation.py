"""Noisy linear imputation: removed pixels become the weighted mean of their neighbours (Rong et al., ICML 2022: ROAD).

Each removed pixel satisfies ``x = sum(w * neighbours) / sum(w)`` with weights 1/6 beside and 1/12 across, neighbours
outside the picture left out. That is a Poisson problem, and a sparse direct solution takes longer than a forward pass:
here a few multigrid cycles solve it, to far below the noise that is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.float32]

CYCLES, SMOOTHING, COARSEST = 2, 8, 12


@dataclass(frozen=True)
class RoadFill:
    """A fill of the perturbation engine: ``(keep [b, h, w], pixels [c, h, w]) -> [b, c, h, w]``.

    noise  standard deviation of the noise on imputed pixels, as a share of the picture's own: smooth patches would
           give away what was removed.
    seed   of the noise, the same field for every coalition.
    """

    noise: float = 0.05
    seed: int = 0

    def __call__(self, keep: NDArray[np.bool_], pixels: Field) -> Field:
        """Every coalition imputed; kept pixels are as they were."""
        field = np.random.default_rng(self.seed).standard_normal(pixels.shape[1:], dtype=np.float32)
        noise = self.noise * pixels.std(axis=(1, 2))[:, None, None] * field  # [c, h, w]
        return np.stack([np.where(k, pixels, impute(pixels, k) + noise) for k in keep])


def impute(pixels: Field, keep: NDArray[np.bool_]) -> Field:
    """``pixels [c, h, w]`` with those that are not kept ``[h, w]`` solved for; the mean picture where none is kept."""
    pixels = np.asarray(pixels, np.float32)
    if not keep.any():
        return np.broadcast_to(pixels.mean(axis=(1, 2), keepdims=True), pixels.shape).copy()
    out: list[Field] = []
    for channel in pixels:
        scaled = _same_up_to_scale(channel, pixels[0]) if out else None
        out.append(_solved(channel, keep) if scaled is None else scaled[0] * out[0] + scaled[1])
    return np.stack(out)


def _solved(x: Field, keep: NDArray[np.bool_]) -> Field:
    """One channel: a first guess from coarser grids, then corrections from coarser grids until only details change."""
    if keep.all():
        return x
    x = _guess(x, keep)
    free = (~keep).astype(np.float32)
    for _ in range(CYCLES):
        x = x + _correction(-_operator(x) * free, free)
    return x


def _guess(x: Field, keep: NDArray[np.bool_]) -> Field:
    """``x`` with the removed pixels guessed: means of kept pixels on ever coarser grids, enlarged again."""
    if keep.all():
        return x
    if min(x.shape) <= COARSEST:
        return np.where(keep, x, x[keep].mean()).astype(np.float32)
    kept = np.maximum(_sums(keep.astype(np.float32)), 1e-9)
    means = np.asarray(_sums(np.where(keep, x, 0)) / kept, np.float32)
    return np.where(keep, x, _doubled(_guess(means, kept > 0.5), x.shape))


def _correction(residual: Field, free: Field) -> Field:
    """``e`` with ``(D - W) e = residual`` on the free pixels, 0 elsewhere, roughly: coarse part first, then details."""
    if min(residual.shape) <= COARSEST:
        return _conjugate_gradients(np.zeros_like(residual), residual, free, 4 * COARSEST)
    coarse = _correction(_sums(residual), (_sums(1 - free) == 0).astype(np.float32))
    e = _doubled(coarse, residual.shape) * free
    energy = float(np.vdot(e, _operator(e)))
    e = e * (float(np.vdot(e, residual)) / energy if energy else 0.0)  # the step that brings the most
    return _conjugate_gradients(np.asarray(e, np.float32), residual, free, SMOOTHING)


def _conjugate_gradients(e: Field, right: Field, free: Field, steps: int) -> Field:
    """``steps`` of conjugate gradients on ``(D - W) e = right`` over the free pixels."""
    e, residual = e.copy(), (right - _operator(e)) * free
    direction, power = residual.copy(), float(np.vdot(residual, residual))
    for _ in range(steps):
        if power < 1e-12:
            break
        moved = _operator(direction)
        moved *= free
        length = power / float(np.vdot(direction, moved))
        e += length * direction
        residual -= length * moved
        before, power = power, float(np.vdot(residual, residual))
        direction *= power / before
        direction += residual
    return e


def _operator(x: Field) -> Field:
    """``(D - W) x``: D holds each pixel's sum of weights inside the picture."""
    out: Field = _degree(x.shape) * x
    out -= _neighbours(x)
    return out


@lru_cache(maxsize=32)
def _degree(shape: tuple[int, ...]) -> Field:
    return _neighbours(np.ones(shape, np.float32))


def _neighbours(x: Field) -> Field:
    """Weighted sum of the eight neighbours, 1/6 beside and 1/12 across; nothing comes from outside."""
    padded = np.zeros((x.shape[0] + 2, x.shape[1] + 2), np.float32)
    padded[1:-1, 1:-1] = x
    rows = padded[:-2] + padded[2:]  # in place from here on: each new array costs as much as the sum
    rows += padded[1:-1]
    rows += padded[1:-1]
    out: Field = rows[:, :-2] + rows[:, 2:]
    out += rows[:, 1:-1]
    out += rows[:, 1:-1]
    out -= np.float32(4) * x
    out *= np.float32(1 / 12)
    return out


def _sums(x: Field) -> Field:
    """Sums of 2 x 2 pixels, odd sides padded with 0."""
    h, w = (side + side % 2 for side in x.shape)
    padded = x if x.shape == (h, w) else np.pad(x, ((0, h - x.shape[0]), (0, w - x.shape[1])))
    rows = padded[::2] + padded[1::2]
    return np.asarray(rows[:, ::2] + rows[:, 1::2], np.float32)


def _doubled(x: Field, shape: tuple[int, ...]) -> Field:
    """Bilinear to twice the sides, cut to ``shape``."""
    tall = np.empty((2 * x.shape[0], x.shape[1]), np.float32)
    _halfway(tall, x)
    wide = np.empty((2 * x.shape[1], tall.shape[0]), np.float32)
    _halfway(wide, tall.T)
    return np.ascontiguousarray(wide.T[: shape[0], : shape[1]])


def _halfway(out: Field, x: Field) -> None:
    """Into rows 2 i and 2 i + 1: row i of ``x``, a quarter of the way to the row before, and to the one after."""
    near, far = np.float32(0.75) * x, np.float32(0.25) * x
    out[::2] = near
    out[1::2] = near
    out[2::2] += far[:-1]
    out[1:-1:2] += far[1:]
    out[0] += far[0]
    out[-1] += far[-1]


def _same_up_to_scale(x: Field, first: Field) -> tuple[np.float32, np.float32] | None:
    """(a, b) with ``x = a * first + b``: grey pictures in three channels are solved once. None where it is not so."""
    spread = float(first.std())
    if not spread:
        return None
    a = float(((first - first.mean()) * (x - x.mean())).mean()) / spread**2
    b = float(x.mean()) - a * float(first.mean())
    return (np.float32(a), np.float32(b)) if np.abs(a * first + b - x).max() <= 1e-4 * x.std() else None
