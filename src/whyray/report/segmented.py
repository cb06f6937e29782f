"""Outlines of a map whose pixels hold the value of their segment (LIME, Shapley values), in source pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..explanations import Attribution

    Lines = NDArray[np.float64]

SEGMENTED = "logit/segment"
STRONGEST = 3  # segments outlined on each side


def borders(attribution: Attribution) -> Lines:
    """Lines ``[n, 2, 2]`` of (start, end) x (x, y) between all segments, in source pixels."""
    return _in_source(edges(attribution.values), attribution)


def outlines(attribution: Attribution, least: float, most: int = STRONGEST) -> list[tuple[int, Lines]]:
    """(+1 or -1, outline) of the strongest segments for and against: at most ``most`` on each side, of magnitude
    ``least`` or more. The outline of neighbours runs around them together."""
    found = []
    for sign in (1, -1):
        values = sign * attribution.values
        strong = np.unique(values[values > 0])[::-1][:most]
        inside = np.isin(values, strong[strong >= least])
        if inside.any():
            found.append((sign, _in_source(edges(np.pad(inside, 1)) - 1, attribution)))
    return found


def edges(values: NDArray[np.generic]) -> Lines:
    """Lines ``[n, 2, 2]`` along which neighbouring cells of ``[h, w]`` differ, straight runs as one line each; cell
    (x, y) reaches half a cell to each side of (x, y)."""
    upright = _runs((values[:, :-1] != values[:, 1:]).T)  # [n, 3]: column, first row, last row + 1
    level = _runs(values[:-1] != values[1:])  # [n, 3]: row, first column, last column + 1
    down = np.stack([upright[:, [0, 1]], upright[:, [0, 2]]], 1) + np.array((0.5, -0.5))
    across = np.stack([level[:, [1, 0]], level[:, [2, 0]]], 1) + np.array((-0.5, 0.5))
    return np.concatenate([down, across])


def _runs(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(row, start, stop) of each run of True along the rows of ``[n, m]``."""
    step = np.diff(np.pad(marked.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(step == 1)
    stop = np.nonzero(step == -1)[1]
    return np.stack([row, start, stop], 1)


def _in_source(lines: Lines, attribution: Attribution) -> Lines:
    """Lines in cells, as lines in source pixels."""
    return np.asarray(lines @ attribution.to_source[:2, :2].T + attribution.to_source[:2, 2])
