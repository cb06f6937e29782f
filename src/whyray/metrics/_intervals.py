"""Patient-level bootstrap: whole patients are drawn again, with all their pictures (Efron and Tibshirani, 1993)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import DataError

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
    values: NDArray[np.floating[Any]],
    patients: Sequence[str] | Sequence[int],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Means:
    """Mean of each column of ``values [n, k]``, over what is not NaN, with its 95 % percentile interval by patient.

    All columns share the draws, so that replicates of two columns, or of two calls with the same patients, are paired.
    Pictures as their own patients (``patients=range(n)``) give the bootstrap by picture.
    """
    sums = _sums_and_counts(values)
    names, index = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(index) != len(sums):
        raise DataError(f"{len(sums)} rows and {len(index)} patients came; name the patient of each row")
    by_patient = np.zeros((len(names), sums.shape[1]))
    np.add.at(by_patient, index, sums)
    rng = np.random.default_rng(seed)
    means = _replicated(by_patient, lambda rows: rng.integers(0, len(names), size=(rows, len(names))), replicates)
    return Means(_ratios(sums.sum(axis=0)), *interval_of(means, "patient"), _counts(sums), means)


def chexlocalize_intervals(values: NDArray[np.floating[Any]], replicates: int = 1000, seed: int = 0) -> Means:
    """The published scheme, number for number (Saporta et al., 2022): pictures are drawn, not patients; the reported
    value is the mean of the replicates, the interval the ``int(.025 r) - 1``-th and ``int(.975 r) - 1``-th of them.

    Rows in the order of the pictures' ids. For comparison with published tables only: pictures of one patient are not
    independent, so it is too narrow.
    """
    sums = _sums_and_counts(values)
    rng = np.random.RandomState(seed)  # the published numbers are of this generator
    means = _replicated(sums, lambda rows: rng.randint(0, len(sums), size=(rows, len(sums))), replicates)
    middle = _ratios(_sums_and_counts(means).sum(axis=0))
    return Means(middle, *interval_of(means, "chexlocalize"), _counts(sums), means, "chexlocalize")


def interval_of(means: NDArray[np.float64], scheme: Scheme) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval (low, high) of each column of replicates ``[r, k]``, without what is not finite; NaN where all is.

    "chexlocalize" takes two of the replicates, counted as published, and ranks NaN last instead.
    """
    if not len(means):
        nothing = np.full(means.shape[1], np.nan)
        return nothing, nothing
    if scheme == "chexlocalize":
        ranked = np.sort(means, axis=0)
        low, high = (ranked[max(0, int(share * len(ranked)) - 1)] for share in (0.025, 0.975))
        return low, high
    if np.isfinite(means).all():
        low, high = np.percentile(means, (2.5, 97.5), axis=0)
        return low, high
    out = np.full((2, means.shape[1]), np.nan)
    for j, column in enumerate(means.T):
        finite = column[np.isfinite(column)]
        if len(finite):
            out[:, j] = np.percentile(finite, (2.5, 97.5))
    return out[0], out[1]


def value_and_interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """(value, low, high) of ``[1 + r]``: the value, then those of the draws of which the 95 % interval is taken."""
    low, high = interval_of(values[1:, None], "patient")
    return float(values[0]), float(low[0]), float(high[0])


def known_mean(values: NDArray[np.floating[Any]], axis: int) -> NDArray[np.float64]:
    """Mean along ``axis`` of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    count = np.asarray(known.sum(axis=axis))
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))


def _replicated(
    sums: NDArray[np.float64], draw: Callable[[int], NDArray[np.int64]], replicates: int, most: int = 4_000_000
) -> NDArray[np.float64]:
    """Column means ``[r, k]`` when rows of ``sums [p, 2 k]`` are drawn again: ``draw(rows)`` gives numbers
    ``[rows, p]``, in pieces of at most ``most``."""
    units = len(sums)
    rows = max(1, most // max(1, units))
    pieces = [np.empty((0, sums.shape[1] // 2))]
    for start in range(0, replicates if units else 0, rows):
        drawn = draw(min(rows, replicates - start))
        drawn += units * np.arange(len(drawn))[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        pieces.append(_ratios(times.astype(np.float64) @ sums))
    return np.concatenate(pieces)


def _sums_and_counts(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """``[n, 2 k]``: values with 0 for NaN, then 1 where there is one. One column may come as ``[n]``."""
    columns = np.asarray(values, np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    known = ~np.isnan(columns)
    return np.concatenate([np.where(known, columns, 0.0), known], axis=1)


def _ratios(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums by counts, ``[..., 2 k]`` -> ``[..., k]``; NaN where nothing was counted."""
    total, count = np.split(sums, 2, axis=-1)
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def _counts(sums: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(sums[:, sums.shape[1] // 2 :].sum(axis=0), np.int64)
