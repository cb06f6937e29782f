"""Is one method better than another on the same pictures: paired differences by patient, p-values, Holm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ._intervals import REPLICATES, Means, interval_of, weighted_mean_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Difference:
    """Mean of ``first - second`` over the pictures that both scored.

    low, high  95 % interval by patient.
    p          two-sided, from the same replicates; not below 2 / (replicates + 1).
    adjusted   p after Holm's correction over the comparisons it was made with.
    n          pictures; ``patients``: of how many patients.
    wilcoxon   p of Wilcoxon's signed-rank test on the patients' mean differences, or NaN where not asked.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    n: int
    patients: int
    adjusted: float = float("nan")
    wilcoxon: float = float("nan")


def paired_difference(
    first: Values, second: Values, patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float, float, float, int]:
    """(mean difference, low, high, p, n) of two columns ``[n]`` on the same pictures; NaN in either leaves one out.

    p is twice the share of replicates on the far side of 0, each side counted with its ties and one more: at most 0.05
    where the interval leaves 0 out, up to the rounding of a replicate.
    """
    gap = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    kept = ~np.isnan(gap)
    names = [p for p, k in zip(patients, kept, strict=True) if k]
    found = weighted_mean_intervals(gap[kept], names, replicates, seed)
    return (
        float(found.mean[0]),
        float(found.low[0]),
        float(found.high[0]),
        two_sided(found.replicates[:, 0]),
        len(names),
    )


def two_sided(replicates: NDArray[np.float64]) -> float:
    """p of "the mean is 0" from its bootstrap replicates ``[r]``: at most 1; NaN without any."""
    values = replicates[np.isfinite(replicates)]
    if not len(values):
        return float("nan")
    tail = min(np.count_nonzero(values <= 0), np.count_nonzero(values >= 0))
    return min(1.0, 2 * (tail + 1) / (len(values) + 1))


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values adjusted so that the chance of *any* false alarm among them stays at the level (Holm, 1979).

    The i-th smallest of m is multiplied by m - i + 1, never falls below the one before, and is at most 1. NaN (a
    comparison that could not be made) stays NaN and does not count.
    """
    values = np.asarray(p, np.float64)
    out = np.full(values.shape, np.nan)
    asked = np.flatnonzero(~np.isnan(values))
    order = asked[np.argsort(values[asked], kind="stable")]
    stepped = values[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return out


def compare(
    methods: Mapping[str, Values],
    patients: Sequence[str],
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    wilcoxon: bool = False,
) -> list[Difference]:
    """Every pair of methods (or ``pairs``) on one metric ``[n]`` of the same pictures, Holm-corrected together."""
    wanted = list(pairs) if pairs is not None else list(combinations(methods, 2))
    found = []
    for a, b in wanted:
        first, second = (np.asarray(methods[m], np.float64) for m in (a, b))
        mean, low, high, p, n = paired_difference(first, second, patients, replicates, seed)
        kept = [str(q) for q, d in zip(patients, first - second, strict=True) if not np.isnan(d)]
        signed = signed_rank(first, second, patients) if wilcoxon else float("nan")
        found.append(Difference(a, b, mean, low, high, p, n, len(set(kept)), wilcoxon=signed))
    adjusted = holm([d.p for d in found])
    return [replace(d, adjusted=float(q)) for d, q in zip(found, adjusted)]


def signed_rank(first: Values, second: Values, patients: Sequence[str]) -> float:
    """p of Wilcoxon's signed-rank test on each patient's mean difference, two-sided; 1 where no patient differs."""
    from scipy.stats import wilcoxon

    gap = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    kept = ~np.isnan(gap)
    _names, index = np.unique(np.asarray(patients, dtype=str)[kept], return_inverse=True)
    if not len(index):
        return float("nan")
    means = np.bincount(index, gap[kept]) / np.bincount(index)
    return float(wilcoxon(means).pvalue) if np.any(means) else 1.0


def degradation(
    values: Values, several: NDArray[np.bool_], patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0
) -> Difference:
    """How much worse a method is where several findings are present: mean over the pictures with one less mean over
    those with ``several [n]``, by patient. Different pictures, so nothing is paired but the draws."""
    values = np.asarray(values, np.float64)
    parts = np.where(np.stack([~several, several], axis=1), values[:, None], np.nan)
    found = weighted_mean_intervals(parts, patients, replicates, seed)
    gap = found.replicates[:, :1] - found.replicates[:, 1:]
    low, high = interval_of(gap, "patient")
    known = {str(p) for p, v in zip(patients, values, strict=True) if not np.isnan(v)}
    return Difference(
        "one finding",
        "several findings",
        float(found.mean[0] - found.mean[1]),
        float(low[0]),
        float(high[0]),
        two_sided(gap[:, 0]),
        int(found.n.sum()),
        len(known),
    )


def percentage_decrease(human: Means, method: Means) -> Means:
    """(human - method) / human, in each replicate, with the interval of its own scheme (CheXlocalize, Table 1).

    Both must come from the same draws: the same patients, replicates and seed. NaN in a replicate where the human
    benchmark is 0.
    """
    if human.replicates.shape != method.replicates.shape or human.scheme != method.scheme:
        raise DataError(
            f"bootstraps of {human.replicates.shape} ({human.scheme}) and {method.replicates.shape} ({method.scheme}) "
            "came; draw both with the same patients, replicates, seed and scheme"
        )
    replicates = _decrease(human.replicates, method.replicates)
    low, high = interval_of(replicates, human.scheme)
    n = np.minimum(human.n, method.n)
    return Means(_decrease(human.mean, method.mean), low, high, n, replicates, human.scheme)


def _decrease(human: NDArray[np.float64], method: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(human - method, human, out=np.full_like(human, np.nan), where=human > 0)
