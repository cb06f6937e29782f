"""Pulmonary vessels: two random trees from the hila, as a thickness map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._phantom_factors import Body, stream
from ._phantom_fields import Grid, Map, lines

Array = NDArray[np.float64]
LEVELS = 6


def vessel_map(n: int, body: Body, grid: Grid) -> Map:
    """Thickness of arteries and veins of both lungs, cm."""
    rng = stream(n, "vessels")
    out = grid.zeros()
    count = max(24, int(4.8 * grid.per_cm))  # points along a branch: one a pixel and more
    for starts, ends, bends, radius in _tree(rng):
        x, y, amounts = _points(starts, ends, bends, radius * body.vessels**0.5, count)
        out += lines(grid, x, y, amounts, 0.5 * float(radius.mean()))
    return out


def _tree(rng: np.random.Generator) -> list[tuple[Array, Array, Array, Array]]:
    """Branches level by level: starts, ends ``[k, 2]``, bends ``[k]``, radii ``[k]``."""
    fans = ((-1, -2.9, np.linspace(-1.45, 1.45, 8)), (1, -3.7, np.linspace(-1.45, 1.35, 8)))
    angle = np.concatenate([np.where(s < 0, np.pi - a, a) for s, _, a in fans]) + rng.normal(0, 0.12, 16)
    sign = np.repeat([-1.0, 1.0], 8)
    start = np.stack([sign * 3.0, np.repeat([-2.7, -3.6], 8) + 2.4 * np.sin(angle)], 1)
    radius = rng.uniform(0.36, 0.62, 16)
    levels = []
    for level in range(LEVELS):
        length = rng.uniform(1.3, 2.7, len(start)) * 0.95**level
        end = start + length[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        levels.append((start, end, rng.normal(0, 0.11, len(start)), radius))
        spread = np.stack([rng.uniform(0.0, 0.3, len(start)), -rng.uniform(0.3, 0.85, len(start))], 1)
        spread *= rng.choice([-1.0, 1.0], len(start))[:, None]
        angle = (angle[:, None] + spread + rng.normal(0, 0.08, spread.shape)).ravel()
        start = np.repeat(end, 2, axis=0)
        radius = (radius[:, None] * np.array([0.82, 0.62])).ravel()
        keep = radius > 0.035
        start, angle, radius = start[keep], angle[keep], radius[keep]
    return levels


def _points(starts: Array, ends: Array, bends: Array, radius: Array, count: int) -> tuple[Any, Any, Any]:
    """Dense points of bent branches and the volume that each carries."""
    t = (np.arange(count) + 0.5) / count
    along = ends - starts
    length = np.hypot(along[:, 0], along[:, 1])
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    bow = (bends[:, None] * 4 * t * (1 - t))[:, :, None] * normal[:, None, :]
    where = starts[:, None] + along[:, None] * t[None, :, None] + bow
    taper = (1 - 0.25 * t)[None, :]
    amounts = np.pi * (radius[:, None] * taper) ** 2 * length[:, None] / len(t)
    return where[..., 0].ravel(), where[..., 1].ravel(), amounts.ravel()
