"""Calibration and operating point of a trained classifier, from its validation split. Pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..cards import Operation
from ..metrics._intervals import interval
from ..metrics.classification import weighted_auc, youden

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SPREAD = 0.5  # of the prior on the slope: few positives must not invent a steep one


def operation(
    logits: Array, labels: Array, prevalence: float | None, patients: Sequence[str] | None = None
) -> Operation:
    """Calibration and operating point of one finding from validation ``logits [n]``, ``labels [n]`` (NaN = left out).

    With a reference prevalence the log-odds are shifted from the share of positives seen here to it, as Bayes' rule
    says where a prevalence changes and what a positive looks like does not (Saerens et al., Neural Computation 2002).
    The threshold is Youden's, moved with them. A finding with positives or negatives alone keeps the plain sigmoid.
    With ``patients [n]``, a finding whose AUC is not surely above 0.5 here gets no operating point.
    """
    kept = ~np.isnan(labels)
    x, y = logits[kept].astype(np.float64), labels[kept].astype(np.float64)
    if not 0 < y.sum() < len(y):
        return Operation()
    slope, intercept = platt(x, y)
    if prevalence is not None:
        intercept += log_odds(prevalence) - log_odds(float(y.mean()))
    if patients is not None:
        names = [p for p, k in zip(patients, kept, strict=True) if k]
        if interval(partial(weighted_auc, x, y), names)[0] <= 0.5:
            return Operation(slope=slope, intercept=intercept, prevalence=prevalence)
    cut = 1 / (1 + np.exp(-(slope * youden(x, y) + intercept)))
    return Operation(slope=slope, intercept=intercept, prevalence=prevalence, threshold=float(cut))


def platt(logits: Array, labels: Array, steps: int = 50) -> tuple[float, float]:
    """(slope, intercept) of the logistic regression of labels on logits (Platt, 1999), with a normal prior around 1 on
    the slope; the slope stays above 0.05, so that a higher logit never means a lower probability."""
    a, b = 0.0, 1.0
    for _ in range(steps):
        p = 1 / (1 + np.exp(-np.clip(a + b * logits, -40, 40)))
        w = np.maximum(p * (1 - p), 1e-9)
        gradient = np.array([(labels - p).sum(), ((labels - p) * logits).sum() - (b - 1) / SPREAD**2])
        hessian = np.array([[w.sum(), (w * logits).sum()], [(w * logits).sum(), (w * logits**2).sum() + SPREAD**-2]])
        step = np.linalg.solve(hessian, gradient)
        a, b = a + float(np.clip(step[0], -2, 2)), b + float(np.clip(step[1], -2, 2))
    if b < 0.05:
        return 0.05, log_odds(float(np.clip(labels.mean(), 1e-6, 1 - 1e-6))) - 0.05 * float(logits.mean())
    return b, a


def log_odds(share: float) -> float:
    """log(p / (1 - p))."""
    return float(np.log(share / (1 - share)))
