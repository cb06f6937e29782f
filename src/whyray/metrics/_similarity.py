"""How alike two maps of one shape are: rank correlation, signed and absolute, and structural similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.floating[Any]]


def spearman(first: Map, second: Map) -> float:
    """Rank correlation of two maps, ties sharing their mean rank (Spearman, 1904). -1..1.

    Equal maps give 1; a constant map ranks nothing, and gives 0 against any other. Cells that are NaN in either are
    left out; NaN where none is left.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    first, second = first[known], second[known]
    if not len(first):
        return float("nan")
    if np.array_equal(first, second):
        return 1.0
    return _pearson(ranks(first), ranks(second))


def spearman_absolute(first: Map, second: Map) -> float:
    """``spearman`` of magnitudes: blind to a change of sign."""
    return spearman(np.abs(first), np.abs(second))


def ssim(first: Map, second: Map) -> float:
    """Structural similarity of two maps, each divided by its largest magnitude (Wang et al., IEEE TIP 2004). -1..1.

    Windows of 7 x 7 cells, fewer where the map is smaller (3 x 3 at least).
    """
    from skimage.metrics import structural_similarity

    if np.array_equal(first, second):
        return 1.0
    a, b = (np.asarray(m, np.float64) / (np.abs(m).max() or 1.0) for m in (first, second))
    window = min(7, *(side - 1 + side % 2 for side in a.shape))
    found: Any = structural_similarity(a, b, win_size=window, data_range=2.0)  # type: ignore[no-untyped-call]
    return float(found)


def ranks(values: Map) -> NDArray[np.float64]:
    """Ranks ``[n]`` of all values of a map, ties sharing their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(np.asarray(values, np.float64).ravel()))


def pairwise_spearman(maps: Sequence[Map]) -> float:
    """Mean ``spearman`` over all pairs of maps; NaN for fewer than two."""
    pairs = [spearman(a, b) for i, a in enumerate(maps) for b in maps[i + 1 :]]
    return float(np.mean(pairs)) if pairs else float("nan")


def _pearson(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    a, b = first - first.mean(), second - second.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0
