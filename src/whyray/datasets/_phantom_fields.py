"""Geometry of the phantom: the grid in body centimetres, and thickness maps of simple solids.

Every map is float32 of the grid's shape, in centimetres. x grows to the right of the picture (the patient's left), y
down; (0, 0) is the middle of the chest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Map = NDArray[np.float32]
AIR = np.float32(0.75)  # a centimetre of lung lacks this much soft tissue


@dataclass(frozen=True, eq=False)
class Grid:
    """Body coordinates of pixel centres: ``x``, ``y`` ``[n, n]`` in cm, and the affine from body cm to pixels."""

    x: Map
    y: Map
    to_pixels: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Pixels a side."""
        return int(self.x.shape[0])

    @property
    def per_cm(self) -> float:
        """Pixels per body centimetre."""
        return float(np.hypot(self.to_pixels[0, 0], self.to_pixels[1, 0]))

    def zeros(self) -> Map:
        """An empty map."""
        return np.zeros(self.x.shape, np.float32)

    def pixels(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel coordinates (column, row) of body points."""
        a = self.to_pixels
        return a[0, 0] * x + a[0, 1] * y + a[0, 2], a[1, 0] * x + a[1, 1] * y + a[1, 2]

    def window(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
        """Slices of the smallest pixel box that holds a body box."""
        columns, rows = self.pixels(np.array([x0, x1, x0, x1]), np.array([y0, y0, y1, y1]))
        return _span(rows, self.size), _span(columns, self.size)


def make_grid(size: int, field: float, scale: float, angle: float, shift: tuple[float, float]) -> Grid:
    """A detector of ``field`` cm a side seen by a body of ``scale``, turned by ``angle`` radians and shifted (cm)."""
    axis = ((np.arange(size) + 0.5) / size - 0.5) * field
    px, py = axis[None, :] - shift[0], axis[:, None] - shift[1]
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    forward = np.array([[cos, sin], [-sin, cos]])
    back = np.linalg.inv(forward) * size / field
    offset = (np.array(shift) / field + 0.5) * size - 0.5
    affine = np.array([[*back[0], offset[0]], [*back[1], offset[1]], [0, 0, 1]])
    return Grid((cos * px + sin * py).astype(np.float32), (-sin * px + cos * py).astype(np.float32), affine)


def ellipsoid(x: Map, y: Map, centre: tuple[float, float], axes: tuple[float, float, float], angle: float = 0.0) -> Map:
    """Thickness of an ellipsoid with half-axes (x, y, depth), turned by ``angle``."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u, v = (cos * dx + sin * dy) / np.float32(axes[0]), (cos * dy - sin * dx) / np.float32(axes[1])
    return np.float32(2 * axes[2]) * root(1 - u * u - v * v)


def place(out: Map, grid: Grid, box: tuple[float, float, float, float], make: Callable[[Map, Map], Map]) -> None:
    """Add a solid that lies inside a body box (x0, x1, y0, y1) to a map, computing only that box."""
    rows, columns = grid.window(*box)
    if rows.stop > rows.start and columns.stop > columns.start:
        out[rows, columns] += make(grid.x[rows, columns], grid.y[rows, columns])


def add_ellipsoid(
    out: Map, grid: Grid, centre: tuple[float, float], axes: tuple[float, float, float], angle: float = 0.0
) -> None:
    """Add an ellipsoid to a map."""
    reach = max(axes[0], axes[1])
    box = (centre[0] - reach, centre[0] + reach, centre[1] - reach, centre[1] + reach)
    place(out, grid, box, lambda x, y: ellipsoid(x, y, centre, axes, angle))


def root(values: NDArray[Any]) -> Map:
    """Square root, 0 below 0."""
    return np.asarray(np.sqrt(np.maximum(values, np.float32(0))), np.float32)


def step(values: Map, width: float) -> Map:
    """0 to 1 as values rise through 0, over about ``width``."""
    scaled = np.clip(values / np.float32(width) + np.float32(0.5), 0, 1)
    return np.asarray(scaled * scaled * (3 - 2 * scaled), np.float32)


def shell(distance: NDArray[Any], radius: NDArray[Any] | float, hollow: float) -> Map:
    """Thickness of a tube across its axis, marrow (a share ``hollow`` of the radius) taken out in part."""
    squared = distance * distance
    outer = np.asarray(radius, np.float32) ** 2
    marrow = root(outer * np.float32(hollow**2) - squared)
    return np.asarray(2 * root(outer - squared) - np.float32(1.5) * marrow, np.float32)


def cloud(grid: Grid, rng: np.random.Generator, cells: int) -> Map:
    """Smooth random field of about unit variance with ``cells`` bumps across; the same at every picture size."""
    coarse = rng.standard_normal((cells + 3, cells + 3)).astype(np.float32)
    return np.asarray(_spline(coarse, grid.size) * np.float32(2.0), np.float32)


def lines(grid: Grid, x: NDArray[Any], y: NDArray[Any], amounts: NDArray[Any], blur_cm: float) -> Map:
    """Points (body cm) that carry ``amounts`` (cm³), spread to a thickness map by a Gaussian of ``blur_cm``."""
    columns, rows = grid.pixels(x, y)
    keep = (columns > 0) & (rows > 0) & (columns < grid.size - 1) & (rows < grid.size - 1)
    columns, rows, amounts = columns[keep], rows[keep], amounts[keep] * grid.per_cm**2
    left, top = columns.astype(np.int64), rows.astype(np.int64)
    right, low = columns - left, rows - top
    flat = np.concatenate([top * grid.size + left + o for o in (0, 1, grid.size, grid.size + 1)])
    shares = np.concatenate([(1 - right) * (1 - low), right * (1 - low), (1 - right) * low, right * low])
    out = np.bincount(flat, shares * np.tile(amounts, 4), grid.size**2).reshape(grid.x.shape).astype(np.float32)
    return np.asarray(gaussian_filter(out, max(0.45, blur_cm * grid.per_cm), truncate=3.0, mode="constant"), np.float32)


def _span(values: NDArray[np.float64], size: int) -> slice:
    return slice(max(0, int(np.floor(values.min())) - 1), min(size, max(0, int(np.ceil(values.max())) + 2)))


def _spline(coarse: Map, size: int) -> Map:
    """Uniform cubic B-spline through ``[cells + 3, cells + 3]`` at ``[size, size]`` pixels. Sums of four, and no matrix
    product: threads of a BLAS would wait for each other, and another BLAS would round otherwise."""
    where = (np.arange(size) + 0.5) / size * (len(coarse) - 3)
    base = where.astype(np.int64)
    t = where - base
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    taps = [(base + offset, np.asarray(part / 6, np.float32)) for offset, part in enumerate(parts)]
    rows = np.sum([part[:, None] * coarse[at] for at, part in taps], axis=0)
    return np.asarray(np.sum([part * rows[:, at] for at, part in taps], axis=0), np.float32)
