"""Thresholds and probability cut-offs chosen on the validation split, as CheXlocalize chooses them.

Each picture gives one row of numbers; the choice is made from the rows, so no map is kept. Never tune on the split that
is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._masks import THRESHOLDS, Sign, saliency, smoothed, unit_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.floating[Any]]
    Bits = NDArray[np.bool_]

CUTOFFS: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Probabilities tried as cut-off (CheXlocalize: ``arange(0, .9, .1)``)."""


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and from what.

    value   the choice with the highest mean; of equals, the lowest.
    tried   every candidate; ``means``: mean IoU of each; ``n``: pictures in each mean.
    """

    value: float
    tried: tuple[float, ...]
    means: tuple[float, ...]
    n: tuple[int, ...]


def tune(
    pairs: Iterable[tuple[Map, Bits]], sign: Sign, *, thresholds: Sequence[float] = THRESHOLDS, smooth_px: int = 0
) -> Tuned:
    """The threshold of mode "tuned" for one finding: highest mean true-positive IoU over (map, truth) of the validation
    split, at source pixels. Maps are read one at a time."""
    rows = [threshold_ious(values, truth, sign, thresholds, smooth_px) for values, truth in pairs]
    return best(np.array(rows).reshape(-1, len(thresholds)), thresholds)


def threshold_ious(
    values: Map, truth: Bits, sign: Sign, thresholds: Sequence[float] = THRESHOLDS, smooth_px: int = 0
) -> NDArray[np.float64]:
    """``iou_true_positive`` of one map at each threshold ``[t]``; NaN where the mask or the truth is empty."""
    scaled = unit_range(smoothed(saliency(values, sign), smooth_px))
    size = int(np.count_nonzero(truth))
    out = np.full(len(thresholds), np.nan)
    if scaled is None or not size:
        return out
    inside = scaled[truth]
    for i, threshold in enumerate(thresholds):
        area, both = (int(np.count_nonzero(part > threshold)) for part in (scaled, inside))
        if area:
            out[i] = both / (area + size - both)
    return out


def best(ious: NDArray[np.floating[Any]], tried: Sequence[float]) -> Tuned:
    """The candidate whose column of ``[n, t]`` has the highest mean over what is not NaN; NaN where none has any."""
    known = ~np.isnan(ious)
    n = known.sum(axis=0)
    means = np.divide(np.where(known, ious, 0).sum(axis=0), n, out=np.full(len(tried), np.nan), where=n > 0)
    value = float(tried[int(np.nanargmax(means))]) if n.any() else float("nan")
    return Tuned(value, tuple(map(float, tried)), tuple(map(float, means)), tuple(map(int, n)))


def tune_cutoff(
    ious: NDArray[np.floating[Any]],
    probabilities: NDArray[np.floating[Any]],
    with_truth: NDArray[np.bool_],
    cutoffs: Sequence[float] = CUTOFFS,
) -> Tuned:
    """The probability below which a mask is better left empty, for one finding: highest mean IoU over *all* pictures.

    ``ious [n]`` are those of ``iou`` without a cut-off, ``with_truth [n]`` says where experts saw the finding. An
    emptied mask scores 0 where there is a truth, and no longer counts (NaN) where there is none.
    """
    emptied = np.where(with_truth, 0.0, np.nan)
    columns = [np.where(np.asarray(probabilities) < cutoff, emptied, ious) for cutoff in cutoffs]
    return best(np.stack(columns, axis=1), cutoffs)
