"""Is one method better than another on the same pictures: paired differences by patient, p-values, Holm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ._intervals import REPLICATES, Means, interval_of, weighted_mean_intervals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.floating[Any]]

REPLICATES_A_COMPARISON = 80  # so that the least p survives Holm over all comparisons of a metric


@dataclass(frozen=True)
class Difference:
    """Mean of ``first - second`` over the pictures that both scored.

    low, high  95 % interval by patient.
    p          two-sided, from the same replicates; not below 2 / (replicates + 1), nor below ``least_p``.
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


def two_sided(replicates: NDArray[np.float64], least: float) -> float:
    """p of "the mean is 0" from its bootstrap replicates ``[r]``, at most 1; NaN without any.

    least  what the patients behind them can give (``least_p``): a bootstrap of a handful knows no doubt.
    """
    values = replicates[np.isfinite(replicates)]
    if not len(values):
        return float("nan")
    tail = min(np.count_nonzero(values <= 0), np.count_nonzero(values >= 0))
    return max(least, min(1.0, 2 * (tail + 1) / (len(values) + 1)))


def least_p(paired: int, first: int = 0, second: int = 0) -> float:
    """No two-sided test of so few patients can give less: 2 over the number of ways in which luck can deal them.

    paired         patients with both sides of the comparison: each could have come out the other way round.
    first, second  patients with one side only: any ``first`` of them could have been the first group.
    """
    return min(1.0, 2 / ((1 << paired) * comb(first + second, first)))


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
    """Every pair of methods (or ``pairs``) on one metric ``[n]`` of the same pictures, Holm-corrected together.

    NaN in either leaves a picture out of that pair. p is twice the share of replicates on the far side of 0, each side
    counted with its ties and one more: below 0.05 where the interval leaves 0 out, up to the rounding of a replicate;
    but never below ``least_p`` of the patients, as a bootstrap of a handful would have it. All pairs share the draws.
    """
    wanted = list(pairs) if pairs is not None else list(combinations(methods, 2))
    columns = {name: np.asarray(values, np.float64) for name, values in methods.items()}
    names = np.asarray(patients, dtype=str)
    gaps = np.stack([columns[a] - columns[b] for a, b in wanted], axis=1) if wanted else np.empty((len(names), 0))
    found = weighted_mean_intervals(gaps, patients, replicates, seed)
    counted = [len(np.unique(names[~np.isnan(gap)])) for gap in gaps.T]
    p = [two_sided(column, least_p(k)) for column, k in zip(found.replicates.T, counted, strict=True)]
    return [
        Difference(
            first=first,
            second=second,
            difference=float(found.mean[j]),
            low=float(found.low[j]),
            high=float(found.high[j]),
            p=p[j],
            n=int(found.n[j]),
            patients=counted[j],
            adjusted=float(adjusted),
            wilcoxon=signed_rank(gaps[:, j], patients) if wilcoxon else float("nan"),
        )
        for j, ((first, second), adjusted) in enumerate(zip(wanted, holm(p), strict=True))
    ]


def signed_rank(gaps: Values, patients: Sequence[str]) -> float:
    """p of Wilcoxon's signed-rank test, two-sided, on each patient's mean of the paired differences ``[n]`` (NaN = left
    out); 1 where no patient differs, and never below ``least_p`` of those that do."""
    from scipy.stats import wilcoxon

    gaps = np.asarray(gaps, np.float64)
    kept = ~np.isnan(gaps)
    _names, index = np.unique(np.asarray(patients, dtype=str)[kept], return_inverse=True)
    if not len(index):
        return float("nan")
    means = np.bincount(index, gaps[kept]) / np.bincount(index)
    moved = int(np.count_nonzero(means))
    return max(least_p(moved), float(wilcoxon(means).pvalue)) if moved else 1.0


def degradation(
    values: Values, several: NDArray[np.bool_], patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0
) -> Difference:
    """How much worse a method is where several findings are present: mean over the pictures with one less mean over
    those with ``several [n]``, by patient. Different pictures, so nothing is paired but the draws, and the patients who
    have pictures of both kinds."""
    values, names = np.asarray(values, np.float64), np.asarray(patients, dtype=str)
    parts = np.where(np.stack([~several, several], axis=1), values[:, None], np.nan)
    found = weighted_mean_intervals(parts, patients, replicates, seed)
    gap = found.replicates[:, :1] - found.replicates[:, 1:]
    low, high = interval_of(gap, "patient")
    with_one, with_several = (set(names[~np.isnan(part)].tolist()) for part in parts.T)
    both, either = with_one & with_several, with_one | with_several
    least = least_p(len(both), len(with_one - both), len(with_several - both))
    return Difference(
        "one finding",
        "several findings",
        float(found.mean[0] - found.mean[1]),
        float(low[0]),
        float(high[0]),
        two_sided(gap[:, 0], least),
        int(found.n.sum()),
        len(either),
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
