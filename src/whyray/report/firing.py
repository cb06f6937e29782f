"""The region where a pattern fires, outlined along its cells: as lines, as an SVG path, on a picture."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from .figures import grey, png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Radiograph


def outline(region: Collection[int], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Edges between cells of the region and the others: ``[n, 2, 2]`` of (start, end) x (x, y) in cell coordinates,
    cell (row, column) reaching from column - 0.5 to column + 0.5. Edges in a line are one."""
    inside = np.zeros((grid[0] + 2, grid[1] + 2), bool)
    for cell in region:
        inside[cell // grid[1] + 1, cell % grid[1] + 1] = True
    flat = _runs(inside[1:] != inside[:-1])  # between rows: horizontal lines
    upright = _runs((inside[:, 1:] != inside[:, :-1]).T)
    lines = [((a - 1.5, at - 0.5), (b - 1.5, at - 0.5)) for at, a, b in flat]
    lines += [((at - 0.5, a - 1.5), (at - 0.5, b - 1.5)) for at, a, b in upright]
    return np.array(lines, np.float64).reshape(-1, 2, 2)


def moved(lines: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lines through an affine ``[3, 3]``."""
    return np.asarray(lines @ affine[:2, :2].T + affine[:2, 2])


def path(lines: NDArray[np.float64]) -> str:
    """An SVG path, one decimal; SVG counts from pixel edges, half a pixel before their centres."""
    return "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in (lines + 0.5).tolist())


def outlined_png(radiograph: Radiograph, lines: NDArray[np.float64], side: int) -> bytes:
    """The picture, its long side at most ``side`` pixels, with lines in source pixels drawn on it; no text."""
    picture = grey(radiograph)
    whole = picture.size
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    scale = np.array(picture.size) / whole
    drawn = picture.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    for ink, width in (((0, 0, 0), 4), ((255, 200, 0), 2)):
        for start, end in ((lines + 0.5) * scale - 0.5).tolist():
            draw.line((*start, *end), fill=ink, width=width)
    return png(drawn)


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(row, first, last + 1) of each unbroken run of True."""
    steps = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
    return [(int(r), int(a), int(b)) for (r, a), (_, b) in zip(starts, ends, strict=True)]
