"""Contour lines of a small map as line segments (marching squares), for PNG and SVG alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Corner bits: 1 top left, 2 top right, 4 bottom right, 8 bottom left. Edges: 0 top, 1 right, 2 bottom, 3 left.
# Saddles (5 and 10) are cut so that the two high corners stay apart.
_LINES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 0),),
    2: ((0, 1),),
    3: ((3, 1),),
    4: ((1, 2),),
    5: ((3, 0), (1, 2)),
    6: ((0, 2),),
    7: ((3, 2),),
    8: ((2, 3),),
    9: ((0, 2),),
    10: ((0, 1), (2, 3)),
    11: ((1, 2),),
    12: ((3, 1),),
    13: ((0, 1),),
    14: ((3, 0),),
}


def segments(field: NDArray[np.floating], level: float) -> NDArray[np.float64]:
    """Lines where ``field [h, w]`` crosses ``level``: ``[n, 2, 2]`` of (start, end) x (x, y) in grid coordinates.

    NaN counts as far below the level, so a contour closes at the edge of what the model saw.
    """
    padded = np.pad(np.where(np.isnan(field), -np.inf, field), 1, constant_values=-np.inf)
    floor = level - max(abs(level), 1e-12)  # a finite stand-in for -inf: the line falls close to the last known cell
    values = np.maximum(padded, floor)
    corners = np.stack([values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]])  # clockwise
    case = sum((corners[i] > level).astype(int) << i for i in range(4))
    found = []
    for number, lines in _LINES.items():
        rows, columns = np.nonzero(case == number)
        if len(rows):
            at = np.stack([columns, rows], axis=1) - 1.0  # the padding moved everything by one
            four = corners[:, rows, columns]
            found += [np.stack([_cross(a, four, level) + at, _cross(b, four, level) + at], axis=1) for a, b in lines]
    return np.concatenate(found) if found else np.zeros((0, 2, 2))


def _cross(edge: int, corners: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Where the level is met on one edge of each square: ``[n, 2]`` in 0..1."""
    a, b = corners[edge], corners[(edge + 1) % 4]
    share = np.clip((level - a) / np.where(a == b, 1, b - a), 0, 1)
    zero, one = np.zeros_like(share), np.ones_like(share)
    x = (share, one, 1 - share, zero)[edge]
    y = (zero, share, one, 1 - share)[edge]
    return np.stack([x, y], axis=1)
