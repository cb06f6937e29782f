"""Patient-level bootstrap: whole patients are drawn again, with all their pictures (Efron and Tibshirani, 1993)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPLICATES = 2000
Scheme = Literal["patient", "chexlocalize"]
Weighted = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""weights ``[r, n]`` -> one value a replicate ``[r]``; NaN where it is undefined"""


def patient_weights(
    patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0, most: int = 4_000_000
) -> Iterator[NDArray[np.float64]]:
    """How often each picture is drawn, ``[r, n]`` a piece of at most ``most`` numbers; ``replicates`` rows in all."""
    names, index = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    rows = max(1, most // max(1, len(index)))
    share = np.full(len(names), 1 / max(1, len(names)))
    for start in range(0, replicates if len(names) else 0, rows):
        counts = rng.multinomial(len(names), share, size=min(rows, replicates - start))
        yield counts[:, index].astype(np.float64)


def interval(
    measure: Weighted, patients: Sequence[str], *, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of ``measure``; replicates in which it is undefined are left out. NaN where all are."""
    pieces = [measure(weights) for weights in patient_weights(patients, replicates, seed)]
    values = np.concatenate(pieces) if pieces else np.empty(0)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Means:
    """Column means with their 95 % intervals.

    mean, low, high  float64 ``[k]``; NaN where a column has no value.
    n                int64 ``[k]``: values that are not NaN.
    replicates       float64 ``[r, k]``: the mean of each column in each replicate; NaN where none was drawn.
    scheme           "patient" (ours), or "chexlocalize".
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    replicates: NDArray[np.float64] = field(repr=False)
    scheme: Scheme = "patient"


def weighted_mean_intervals(
    values: NDArray[np.floating[Any]], patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0
) -> Means:
    """Mean of each column of ``values [n, k]``, over what is not NaN, with its 95 % percentile interval by patient.

    All columns share the draws, so that replicates of two columns, or of two calls with the same patients, are paired.
    Pictures as their own patients (``patients=range(n)``) give the bootstrap by picture.
    """
    values, known = _known(values)
    drawn = [column_means(weights, values, known) for weights in patient_weights(patients, replicates, seed)]
    means = np.concatenate(drawn) if drawn else np.empty((0, values.shape[1]))
    low, high = interval_of(means, "patient")
    mean = column_means(np.ones((1, len(values))), values, known)[0]
    return Means(mean, low, high, known.sum(axis=0).astype(np.int64), means)


def chexlocalize_intervals(values: NDArray[np.floating[Any]], replicates: int = 1000, seed: int = 0) -> Means:
    """The published scheme, number for number (Saporta et al., 2022): pictures are drawn, not patients; the reported
    value is the mean of the replicates, the interval the ``int(.025 r) - 1``-th and ``int(.975 r) - 1``-th of them.

    For comparison with published tables only: pictures of one patient are not independent, so it is too narrow.
    """
    values, known = _known(values)
    pictures = len(values)
    rng = np.random.RandomState(seed)  # the published numbers are of this generator
    if not pictures:
        nothing = np.full(values.shape[1], np.nan)
        return Means(
            nothing,
            nothing,
            nothing,
            known.sum(axis=0).astype(np.int64),
            np.empty((0, values.shape[1])),
            "chexlocalize",
        )
    drawn = rng.randint(0, pictures, size=(replicates, pictures))
    drawn += pictures * np.arange(replicates)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=replicates * pictures).reshape(replicates, pictures)
    means = column_means(weights.astype(np.float64), values, known)
    low, high = interval_of(means, "chexlocalize")
    return Means(_mean(means), low, high, known.sum(axis=0).astype(np.int64), means, "chexlocalize")


def column_means(
    weights: NDArray[np.float64], values: NDArray[np.float64], known: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighted means ``[r, k]`` of ``values [n, k]`` (0 where not known), weights ``[r, n]``; NaN without weight."""
    columns = values.shape[1]
    both = weights @ np.concatenate([values, known], axis=1)
    whole = both[:, columns:]
    return np.asarray(np.divide(both[:, :columns], whole, out=np.full_like(whole, np.nan), where=whole > 0))


def _known(values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values with 0 for NaN, and 1 where there is one, both ``[n, k]``."""
    values = np.asarray(values, np.float64)
    values = values[:, None] if values.ndim == 1 else values
    known = ~np.isnan(values)
    return np.where(known, values, 0.0), known.astype(np.float64)


def interval_of(means: NDArray[np.float64], scheme: Scheme) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval (low, high) of each column of replicates ``[r, k]``; what is NaN is left out, NaN where all is.

    "chexlocalize" takes two of the replicates, counted as published, and ranks NaN last instead.
    """
    if scheme == "chexlocalize":
        ranked = np.sort(means, axis=0)
        low, high = (ranked[max(0, int(share * len(ranked)) - 1)] for share in (0.025, 0.975))
        return low, high
    if not np.isnan(means).any() and len(means):
        low, high = np.percentile(means, (2.5, 97.5), axis=0)
        return low, high
    out = np.full((2, means.shape[1]), np.nan)
    for j, column in enumerate(means.T):
        finite = column[np.isfinite(column)]
        if len(finite):
            out[:, j] = np.percentile(finite, (2.5, 97.5))
    return out[0], out[1]


def _mean(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each column over what is not NaN."""
    values, known = _known(means)
    return np.asarray(column_means(np.ones((1, len(means))), values, known)[0])
