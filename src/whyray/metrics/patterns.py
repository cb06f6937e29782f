"""Are patterns faithful, of one kind, and in the right place? Pure functions on arrays.

n images, u units (patterns, components, channels), f findings; labels 1, 0, NaN = not labelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FLAT = 1e-14  # variance below this share of the largest square is rounding: logits are float32


def recovered(logits: Array, rebuilt: Array) -> float:
    """Share of the variance of logits ``[n]`` over images that is rebuilt: 1 - mean squared error / variance.

    1 = all of it, 0 = no better than their mean, below 0 = worse; NaN where the logits do not vary.
    """
    return float(weighted_recovered(logits, rebuilt, np.ones((1, len(logits))))[0])


def weighted_recovered(logits: Array, rebuilt: Array, weights: Array) -> Array:
    """``recovered`` of each row of weights ``[r, n]``."""
    logits, rebuilt = np.asarray(logits, np.float64), np.asarray(rebuilt, np.float64)
    total = weights.sum(axis=1)
    centred = logits - logits.mean()  # of small numbers the variance is exact
    spread = weights @ centred**2 / total - (weights @ centred / total) ** 2
    error = weights @ (logits - rebuilt) ** 2 / total
    varies = spread > FLAT * np.square(logits).max()
    return np.asarray(1 - np.divide(error, spread, out=np.full_like(error, np.nan), where=varies))


def unit_aucs(strengths: NDArray[np.floating[Any]], labels: Array) -> Array:
    """AUC ``[u]`` of each unit's strength ``[n, u]`` for the presence of one finding; NaN where it is undefined."""
    from scipy.stats import rankdata

    known = ~np.isnan(labels)
    positive = labels[known] == 1
    p, n = int(positive.sum()), int((~positive).sum())
    if not p or not n:
        return np.full(strengths.shape[1], np.nan)
    ranks = rankdata(strengths[known], axis=0)
    return np.asarray((ranks[positive].sum(axis=0) - p * (p + 1) / 2) / (p * n))


def mass_ratio(values: NDArray[np.floating[Any]], inside: NDArray[np.floating[Any]]) -> float:
    """Share of a map's positive mass ``[cells]`` inside a region, over the share of the picture that the region takes.

    ``inside [cells]``: how much of each cell the region covers. 1 = chance; NaN without region; 0 for an empty map.
    """
    area = float(np.mean(inside))
    if area <= 0:
        return float("nan")
    mass = np.maximum(values, 0)
    whole = float(mass.sum())
    return float((mass * inside).sum() / whole / area) if whole > 0 else 0.0


def mass_ratios(maps: NDArray[np.floating[Any]], inside: NDArray[np.floating[Any]]) -> Array:
    """``mass_ratio`` of each map ``[u, cells]``."""
    mass = np.maximum(maps, 0).astype(np.float64)
    whole, area = mass.sum(axis=1), float(np.mean(inside))
    if area <= 0:
        return np.full(len(maps), np.nan)
    return np.asarray(np.divide(mass @ inside, whole, out=np.zeros(len(maps)), where=whole > 0) / area)


def purity(strengths: NDArray[np.floating[Any]], labels: Array, top: int = 20) -> Array:
    """Of each unit ``[u]``: among its ``top`` strongest images, the largest gain in the share of one label.

    ``strengths [n, u]``, ``labels [n, f]``; the gain is over that label's share among all images; NaN where unknown.
    """
    order = np.argsort(-strengths, axis=0, kind="stable")[:top]
    known = ~np.isnan(labels)
    base = np.divide(
        np.nansum(labels, axis=0), known.sum(axis=0), where=known.any(axis=0), out=np.full(labels.shape[1], np.nan)
    )
    shown = np.where(known, labels, 0)[order]  # [top, u, f]
    count = known[order].sum(axis=0)
    share = np.divide(shown.sum(axis=0), count, where=count > 0, out=np.full(count.shape, np.nan))
    gain = np.where(np.isnan(share - base), -np.inf, share - base)
    best = gain.max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)


METRICS: tuple[Metric, ...] = (
    Metric("recovered", recovered, "higher", (-np.inf, 1.0), frozenset({"logits"})),
    Metric("mass_ratio", mass_ratio, "higher", (0.0, np.inf), frozenset({"mask"})),
)
