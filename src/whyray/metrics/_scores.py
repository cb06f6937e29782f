"""Rows of a table: one score a finding and their mean, each with its interval and n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import Score
from ._intervals import (
    REPLICATES,
    Means,
    Scheme,
    chexlocalize_intervals,
    interval_of,
    known_mean,
    weighted_mean_intervals,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_scores(
    metric: str,
    findings: Sequence[str],
    values: NDArray[np.floating[Any]],
    patients: Sequence[str],
    *,
    explainer: str | None = None,
    slice_: str | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
    scheme: Scheme = "patient",
) -> list[Score]:
    """The mean of each column of ``values [n, k]`` over what is not NaN, by patient, then the row "mean" over findings.

    ``n`` of a finding is its pictures; of "mean", all values in it. A finding without a value is NaN with a note, and
    not in the mean. The scheme "chexlocalize" draws 1000 replicates of pictures, whatever the patients.
    """
    if scheme == "chexlocalize":
        found = chexlocalize_intervals(values, seed=seed)
    else:
        found = weighted_mean_intervals(values, patients, replicates, seed)
    columns = zip(findings, found.mean, found.low, found.high, found.n, strict=True)
    rows = [
        (name, float(mean), float(low), float(high), int(n), None if n else "no picture to score")
        for name, mean, low, high, n in columns
    ]
    counted = f"over {int(np.count_nonzero(found.n))} findings"
    rows.append(("mean", *over_findings(found), int(found.n.sum()), counted))
    return [Score(name, metric, v, lo, hi, n, explainer, slice_, note=note) for name, v, lo, hi, n, note in rows]


def over_findings(found: Means) -> tuple[float, float, float]:
    """(mean, low, high) of the unweighted mean over the columns that have one, taken within each replicate.

    A finding that no picture of a replicate has is left out of that replicate.
    """
    low, high = interval_of(known_mean(found.replicates, axis=1)[:, None], found.scheme)
    return float(known_mean(found.mean, axis=0)), float(low[0]), float(high[0])
