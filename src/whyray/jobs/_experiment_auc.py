"""What becomes of a classifier that learned beside its sentences: the change of its AUC, on the same pictures.

Patients are drawn again, the same for both classifiers; so are the seeds of the runs, for the mean over them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..metrics._intervals import known_mean, patient_weights, value_and_interval
from ..metrics.classification import Graded, weighted_auc
from ..types import Score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LEAST = 5  # pictures with a label, and without it, below which a finding is in no mean
BEFORE, MEAN = "before", "mean of the seeds"


def auc_changes(
    before: Sequence[Graded], after: Mapping[str, Sequence[Graded]], replicates: int, seed: int, slice_: str
) -> list[Score]:
    """Macro AUC before and after, their difference for each run, and its mean over the runs.

    before, after  the findings of one data set, all on the same pictures; ``after``: name of a run (its seed) -> them.
    Rows "auc" and "auc_change"; n = pictures. Empty where no finding has labels enough.
    """
    columns = [i for i, graded in enumerate(before) if _enough(graded)]
    if not columns:
        return []
    patients = before[0].patients
    weights = np.concatenate([np.ones((1, len(patients))), *patient_weights(patients, replicates, seed)])
    base = macro_auc([before[i] for i in columns], weights)
    found = {name: macro_auc([graded[i] for i in columns], weights) for name, graded in after.items()}
    n, note = len(patients), f"{len(columns)} findings"
    rows = [Score("macro", "auc", *value_and_interval(base), n, BEFORE, slice_, note=note)]
    for name, values in found.items():
        rows.append(Score("macro", "auc", *value_and_interval(values), n, name, slice_, note=note))
        rows.append(Score("macro", "auc_change", *value_and_interval(values - base), n, name, slice_, BEFORE, note))
    if len(found) > 1:
        gaps = np.stack([values - base for values in found.values()])
        told = f"{note}, {len(found)} seeds drawn again with the patients"
        rows.append(
            Score("macro", "auc_change", *value_and_interval(drawn_mean(gaps, seed)), n, MEAN, slice_, BEFORE, told)
        )
    return rows


def macro_auc(findings: Sequence[Graded], weights: Array) -> Array:
    """Mean AUC ``[r]`` over findings for each row of weights ``[r, n]``; a finding that a draw leaves undefined is left
    out of its mean."""
    each = []
    for graded in findings:
        known = np.isfinite(graded.labels)
        each.append(weighted_auc(graded.logits[known], graded.labels[known], weights[:, known]))
    return known_mean(np.stack(each), axis=0)


def drawn_mean(values: Array, seed: int) -> Array:
    """Mean ``[r]`` over runs of ``[k, r]``: of all in the first column, of k drawn again in the others."""
    count, replicates = values.shape
    picks = np.random.default_rng([seed, 1]).integers(count, size=(count, replicates))
    picks[:, 0] = np.arange(count)
    return np.asarray(np.take_along_axis(values, picks, axis=0).mean(0))


def _enough(graded: Graded) -> bool:
    positive, known = float(np.nansum(graded.labels)), float(np.isfinite(graded.labels).sum())
    return positive >= LEAST and known - positive >= LEAST
