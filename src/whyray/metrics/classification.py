"""How well a classifier separates, and how far its probabilities can be believed: AUC, AUPRC, sensitivity, calibration.

Pure functions on arrays: ``scores [n]`` (higher = more likely), ``labels [n]`` (1, 0, NaN = not labelled: left out).
Undefined is NaN: an AUC without positives is not 0.5, and a score that is NaN has no rank. Each function has a twin on
weights ``[r, n]``, one row a bootstrap replicate, from which the intervals come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Metric
from ..errors import DataError
from ..types import Score
from ._intervals import REPLICATES, interval, known_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BINS = 10


def auc(scores: Array, labels: Array) -> float:
    """Chance that a positive scores above a negative, ties half (Hanley and McNeil, Radiology 1982). 0..1."""
    return _plain(weighted_auc, scores, labels)


def auprc(scores: Array, labels: Array) -> float:
    """Average precision: the step-wise area under precision over recall. 0..1; chance level = share of positives."""
    return _plain(weighted_auprc, scores, labels)


def sensitivity(probabilities: Array, labels: Array, threshold: float) -> float:
    """Share of the positives at or above the threshold."""
    return _plain(partial(weighted_sensitivity, threshold=threshold), probabilities, labels)


def specificity(probabilities: Array, labels: Array, threshold: float) -> float:
    """Share of the negatives below the threshold."""
    return _plain(partial(weighted_specificity, threshold=threshold), probabilities, labels)


def f1(probabilities: Array, labels: Array, threshold: float) -> float:
    """Harmonic mean of precision and sensitivity at the threshold (van Rijsbergen, 1979). 0..1; NaN without positives.

    It depends on the share of positives: compare it on the same pictures only.
    """
    return _plain(partial(weighted_f1, threshold=threshold), probabilities, labels)


def brier(probabilities: Array, labels: Array) -> float:
    """Mean squared error of the probability (Brier, 1950). 0..1, lower is better."""
    return _plain(weighted_brier, probabilities, labels)


def calibration_error(probabilities: Array, labels: Array) -> float:
    """Expected calibration error: ten equal bins, |mean probability - share of positives|, weighted by count. 0..1."""
    return _plain(weighted_calibration_error, probabilities, labels)


def calibration_slope(probabilities: Array, labels: Array) -> float:
    """Slope of the logistic regression of labels on log-odds; 1 = right spread, below 1 = too sure (Cox, 1958)."""
    return _plain(weighted_slope, probabilities, labels)


def youden(scores: Array, labels: Array) -> float:
    """The score at or above which sensitivity + specificity - 1 is largest (Youden, Cancer 1950); NaN where undefined.

    Halfway between two observed scores, so that a rounding error moves no picture across.
    """
    scores, labels = _labelled(scores, labels)
    if not 0 < labels.sum() < len(labels) or np.isnan(scores).any():
        return float("nan")
    values = np.unique(scores)
    cuts = np.r_[values[0], (values[1:] + values[:-1]) / 2]
    sens, spec = (np.array([f(scores, labels, c) for c in cuts]) for f in (sensitivity, specificity))
    return float(cuts[np.argmax(sens + spec)])


def weighted_auc(scores: Array, labels: Array, weights: Array) -> Array:
    """``auc`` of each row of weights ``[r, n]``."""
    positives, negatives = _by_score(scores, labels, weights)
    below = np.cumsum(negatives, axis=1) - negatives
    return _share((positives * (below + negatives / 2)).sum(1), positives.sum(1) * negatives.sum(1))


def weighted_auprc(scores: Array, labels: Array, weights: Array) -> Array:
    """``auprc`` of each row of weights ``[r, n]``."""
    positives, negatives = (part[:, ::-1] for part in _by_score(scores, labels, weights))
    found = np.cumsum(positives, axis=1)
    called = found + np.cumsum(negatives, axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return _share((positives * precision).sum(1), positives.sum(1))


def weighted_sensitivity(probabilities: Array, labels: Array, weights: Array, threshold: float) -> Array:
    """``sensitivity`` of each row of weights ``[r, n]``."""
    return _share(weights @ (labels * _called(probabilities, threshold)), weights @ labels)


def weighted_specificity(probabilities: Array, labels: Array, weights: Array, threshold: float) -> Array:
    """``specificity`` of each row of weights ``[r, n]``."""
    return _share(weights @ ((1 - labels) * (1 - _called(probabilities, threshold))), weights @ (1 - labels))


def weighted_f1(probabilities: Array, labels: Array, weights: Array, threshold: float) -> Array:
    """``f1`` of each row of weights ``[r, n]``."""
    called = _called(probabilities, threshold)
    positives = weights @ labels
    return np.where(positives > 0, _share(2 * (weights @ (labels * called)), positives + weights @ called), np.nan)


def weighted_brier(probabilities: Array, labels: Array, weights: Array) -> Array:
    """``brier`` of each row of weights ``[r, n]``."""
    return _share(weights @ (probabilities - labels) ** 2, weights.sum(1))


def weighted_calibration_error(probabilities: Array, labels: Array, weights: Array) -> Array:
    """``calibration_error`` of each row of weights ``[r, n]``."""
    bins = np.clip((np.nan_to_num(probabilities) * BINS).astype(int), 0, BINS - 1)
    inside = (bins[:, None] == np.arange(BINS)).astype(np.float64)
    gaps = np.abs(weights @ (inside * (probabilities - labels)[:, None]))
    return _share(gaps.sum(1), weights.sum(1))


def weighted_slope(probabilities: Array, labels: Array, weights: Array, steps: int = 25) -> Array:
    """``calibration_slope`` of each row of weights ``[r, n]``, by Newton's method; NaN where it does not converge."""
    clipped = np.clip(probabilities, 1e-9, 1 - 1e-9)
    x = np.log(clipped / (1 - clipped))
    bad = (weights @ labels <= 0) | (weights @ (1 - labels) <= 0)
    a, b, last = np.zeros(len(weights)), np.ones(len(weights)), np.full(len(weights), np.inf)
    with np.errstate(all="ignore"):
        for _ in range(steps):
            p = 1 / (1 + np.exp(-np.clip(a[:, None] + b[:, None] * x, -40, 40)))
            wp, r = weights * p * (1 - p), weights * (labels - p)
            h00, h01, h11 = wp.sum(1), wp @ x, wp @ x**2
            g0, g1 = r.sum(1), r @ x
            det = h00 * h11 - h01**2
            da, db = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
            size = np.maximum(1.0, np.hypot(da, db) / 2)  # a step of at most 2: far starts do not overshoot
            a, b, last = a + da / size, b + db / size, np.abs(db)
    return np.where(bad | ~(last < 1e-6) | (np.abs(b) > 50), np.nan, b)


_LABELS = frozenset({"labels"})
METRICS: tuple[Metric, ...] = (
    Metric("auc", auc, "higher", (0.0, 1.0), frozenset({"labels"}), "Hanley and McNeil, Radiology 1982"),
    Metric("auprc", auprc, "higher", (0.0, 1.0), frozenset({"labels"}), "Davis and Goadrich, ICML 2006"),
    Metric("sensitivity", sensitivity, "higher", (0.0, 1.0), frozenset({"labels", "threshold"})),
    Metric("specificity", specificity, "higher", (0.0, 1.0), frozenset({"labels", "threshold"})),
    Metric("f1", f1, "higher", (0.0, 1.0), frozenset({"labels", "threshold"}), "van Rijsbergen, 1979"),
    Metric("brier", brier, "lower", (0.0, 1.0), frozenset({"labels"}), "Brier, Monthly Weather Review 1950"),
    Metric("calibration_error", calibration_error, "lower", (0.0, 1.0), frozenset({"labels"}), "Naeini, AAAI 2015"),
    Metric("calibration_slope", calibration_slope, "none", (-50.0, 50.0), _LABELS, "Cox, Biometrika 1958"),
)


@dataclass(frozen=True)
class Graded:
    """One finding of a set of pictures: labels ``[n]``, logits ``[n]``, probabilities ``[n]``, patients, threshold."""

    finding: str
    labels: Array
    logits: Array
    probabilities: Array
    patients: Sequence[str]
    threshold: float | None = None


def classification_scores(
    graded: Graded,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    slice_: str | None = None,
    only: Sequence[str] | None = None,
) -> list[Score]:
    """Every metric of one finding with its patient-bootstrap 95 % interval; undefined values are NaN with a note.

    Sensitivity, specificity and F1 only where there is a threshold; ``only`` = names of the metrics wanted.
    """
    kept = ~np.isnan(graded.labels)
    labels, patients = graded.labels[kept], [p for p, k in zip(graded.patients, kept, strict=True) if k]
    counts = int(labels.sum()), int((1 - labels).sum())
    rows = []
    for name, measure in _measures(graded, kept).items():
        if only is not None and name not in only:
            continue
        value = float(measure(np.ones((1, len(labels))))[0]) if len(labels) else float("nan")
        low, high = (float("nan"),) * 2
        if np.isfinite(value):
            low, high = interval(measure, patients, replicates=replicates, seed=seed)
        rows.append(
            Score(
                graded.finding,
                name,
                value,
                low,
                high,
                len(labels),
                slice=slice_,
                note=small_sample_note(*counts, value),
            )
        )
    return rows


def mean_auc(graded: Sequence[Graded], *, seed: int = 0, replicates: int = REPLICATES) -> Score:
    """Mean AUC over findings of the same pictures, its interval from patients drawn once for all findings.

    A finding without positives or negatives is left out, of a replicate too; NaN where none is left. Raises DataError
    for findings of different pictures.
    """
    if len({tuple(g.patients) for g in graded}) != 1:
        raise DataError(f"{len(graded)} findings of different pictures came; give findings of one set of pictures")
    parts = [(~np.isnan(g.labels), g) for g in graded]

    def measure(weights: Array) -> Array:
        rows = [weighted_auc(g.logits[kept], g.labels[kept], weights[:, kept]) for kept, g in parts if kept.any()]
        return known_mean(np.reshape(rows, (len(rows), len(weights))), axis=0)

    pictures = len(graded[0].labels)
    value = float(measure(np.ones((1, pictures)))[0])
    low, high = interval(measure, graded[0].patients, replicates=replicates, seed=seed)
    return Score("mean", "auc", value, low, high, pictures, note=f"over {len(graded)} findings")


def small_sample_note(positives: int, negatives: int, value: float) -> str | None:
    """What to know of a value and its interval on few positives or negatives; the shares were simulated (see the
    tests)."""
    few = min(positives, negatives)
    if few == 0:
        return f"{'' if np.isfinite(value) else 'undefined: '}{positives} positives, {negatives} negatives"
    for below, covers in COVERAGE:
        if few < below:
            return f"{positives} positives, {negatives} negatives: on so few, a 95 % interval of AUC covers {covers} %"
    return f"{positives} positives"


COVERAGE: tuple[tuple[int, int], ...] = ((2, 30), (3, 65), (4, 78), (6, 85), (10, 90), (20, 92))


def _measures(graded: Graded, kept: NDArray[np.bool_]) -> Mapping[str, Callable[[Array], Array]]:
    labels, logits, chances = graded.labels[kept], graded.logits[kept], graded.probabilities[kept]
    out: dict[str, Callable[[Array], Array]] = {
        "auc": partial(weighted_auc, logits, labels),
        "auprc": partial(weighted_auprc, logits, labels),
    }
    if graded.threshold is not None:
        out["sensitivity"] = partial(weighted_sensitivity, chances, labels, threshold=graded.threshold)
        out["specificity"] = partial(weighted_specificity, chances, labels, threshold=graded.threshold)
        out["f1"] = partial(weighted_f1, chances, labels, threshold=graded.threshold)
    out["brier"] = partial(weighted_brier, chances, labels)
    out["calibration_error"] = partial(weighted_calibration_error, chances, labels)
    out["calibration_slope"] = partial(weighted_slope, chances, labels)
    return out


def _plain(measure: Callable[[Array, Array, Array], Array], scores: Array, labels: Array) -> float:
    scores, labels = _labelled(scores, labels)
    return float(measure(scores, labels, np.ones((1, len(labels))))[0]) if len(labels) else float("nan")


def _labelled(scores: Array, labels: Array) -> tuple[Array, Array]:
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    kept = ~np.isnan(labels)
    return scores[kept], labels[kept]


def _by_score(scores: Array, labels: Array, weights: Array) -> tuple[Array, Array]:
    """Weight of positives and of negatives at each distinct score, rising ``[r, g]``; NaN where a score is."""
    if np.isnan(scores).any():
        unknown = np.full((len(weights), 1), np.nan)
        return unknown, unknown
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    ranked, truth = weights[:, order], labels[order]
    return np.add.reduceat(ranked * truth, starts, axis=1), np.add.reduceat(ranked * (1 - truth), starts, axis=1)


def _called(probabilities: Array, threshold: float) -> Array:
    """1 at or above the threshold, 0 below, NaN where the probability is."""
    return np.where(np.isnan(probabilities), np.nan, probabilities >= threshold)


def _share(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full_like(whole, np.nan, dtype=np.float64), where=whole > 0)
