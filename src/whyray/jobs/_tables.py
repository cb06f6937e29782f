"""From cells of scores to the table: rows with intervals by patient, thresholds, comparisons of methods, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics._intervals import Means, Scheme, chexlocalize_intervals, known_mean, weighted_mean_intervals
from ..metrics._scores import over_findings
from ..metrics._tuning import best
from ..metrics.localisation import THRESHOLDS
from ..metrics.significance import REPLICATES_A_COMPARISON, Difference, compare, degradation, holm
from ..types import Score
from ._located import FIXED, overlap
from .plan import EvaluationPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .localisation import Subject
    from .store import Store

    Array = NDArray[np.float64]

SLICES = ("all", "single-label", "multi-label")
OVERLAPS = ("iou_true_positive", "iou", "precision", "recall")
POINTS = ("hit", "hit_tolerance", "mass_in", "energy")


@dataclass(frozen=True, eq=False)
class Tables:
    """Everything that is printed.

    findings     columns of the arrays.
    scores       explainer x slice x metric x finding, and "mean" over findings.
    differences  metric -> comparisons on each picture's mean over its findings; Holm within the metric.
    degradation  metric -> explainer -> single-label less multi-label; Holm over explainers.
    thresholds   explainer -> finding -> tuned threshold; ``curves``: explainer -> mean IoU at each of ``THRESHOLDS``.
    values       explainer -> metric -> ``[n, k]``, one row a picture; ``seconds``: explainer -> mean of a picture.
    lost         explainer -> maps that could not be made, and count as empty.
    """

    findings: tuple[str, ...]
    scores: tuple[Score, ...]
    differences: Mapping[str, Sequence[Difference]]
    degradation: Mapping[str, Mapping[str, Difference]]
    thresholds: Mapping[str, Mapping[str, float]]
    curves: Mapping[str, Means] = field(repr=False)
    values: Mapping[str, Mapping[str, Array]] = field(repr=False)
    seconds: Mapping[str, float]
    lost: Mapping[str, int]


def tables(
    subjects: Sequence[Subject],
    tuning: Sequence[Subject],
    labels: Sequence[str],
    controls: Sequence[str],
    plan: EvaluationPlan,
    store: Store,
) -> Tables:
    """All tables of the pictures ``subjects``; thresholds are chosen on ``tuning`` and nowhere else."""
    findings = tuple(f for f in dict.fromkeys(f for s in subjects for f in s.truth))
    thresholds = {label: _thresholds(tuning, findings, label, store) for label in labels} if tuning else {}
    found = {label: Found(subjects, findings, label, store) for label in labels}
    values = {label: f.values(plan, thresholds.get(label)) for label, f in found.items()}
    patients = [s.patient for s in subjects]
    several, one = (np.array([test(len(s.present)) for s in subjects]) for test in ((1).__lt__, (1).__eq__))
    scores: list[Score] = []
    for name, members in zip(SLICES, (np.ones_like(several), one, several), strict=True):
        for label in labels:
            baseline = label if label in controls else None
            rows = score_rows(values[label], findings, patients, members, label, plan)
            scores += [_with(r, name, baseline, found[label].lost) for r in rows if r.n or name == "all"]
    headline = [m for m in headlines(plan) if m in values[labels[0]]]
    means = {m: {label: picture_means(values[label][m]) for label in labels} for m in headline}
    return Tables(
        findings,
        tuple(scores),
        {m: _compared(means[m], controls, patients, plan) for m in headline},
        {m: _degraded(means[m], several, patients, plan) for m in headline},
        thresholds,
        {
            label: weighted_mean_intervals(found[label].curve(), patients, plan.replicates, plan.seed)
            for label in labels
        },
        values,
        {label: f.seconds for label, f in found.items()},
        {label: f.lost for label, f in found.items() if f.lost},
    )


def headlines(plan: EvaluationPlan) -> tuple[str, ...]:
    """Metrics on which methods are compared: few, and chosen before looking."""
    modes = dict.fromkeys((plan.localisation.modes[0], *(m for m in plan.localisation.modes if m == "area_matched")))
    return ("hit", "mass_in", *(f"iou_true_positive:{m}" for m in modes), f"iou:{plan.localisation.modes[0]}")


class Found:
    """The cells of one explainer, gathered into arrays ``[n, k, ...]``; NaN where a picture has no region."""

    def __init__(self, subjects: Sequence[Subject], findings: Sequence[str], label: str, store: Store) -> None:
        self.findings = tuple(findings)
        n, k, t = len(subjects), len(findings), len(THRESHOLDS)
        self.pixels = {mode: np.full((n, k, 2), np.nan) for mode in FIXED} | {"tuned": np.full((n, k, t, 2), np.nan)}
        self.size = np.full((n, k), np.nan)
        self.points = {name: np.full((n, k), np.nan) for name in POINTS}
        self.called, self.false = np.zeros((n, k), bool), np.zeros((n, k), bool)
        self.lost, spent = 0, []
        for i, subject in enumerate(subjects):
            columns = [findings.index(f) for f in subject.truth]
            self.called[i, columns] = [subject.called[f] for f in subject.truth]
            self.false[i, [findings.index(f) for f in subject.false_calls if f in findings]] = True
            if not columns:
                continue
            cell = store.get(subject.scores[label])
            if cell is None:  # its map could not be made: it points nowhere
                self.lost += 1
                self.size[i, columns] = 1.0
                for array in (*self.pixels.values(), *self.points.values()):
                    array[i, columns] = 0.0
                continue
            self.size[i, columns] = cell["truth"]
            for name, array in {**self.pixels, **self.points}.items():
                array[i, columns] = cell[name]
            maps = store.get(subject.maps[label].key)
            spent += [float(maps["seconds"])] if maps is not None else []
        self.seconds = float(np.mean(spent)) if spent else float("nan")

    def values(self, plan: EvaluationPlan, thresholds: Mapping[str, float] | None) -> dict[str, Array]:
        """metric -> ``[n, k]``. Full IoU: 0 where the model does not call what is there, or calls what is not."""
        out = {n: a for n, a in self.points.items() if n != "hit_tolerance" or not np.isnan(a).all()}
        for mode in plan.localisation.modes:
            if mode == "tuned" and thresholds is None:
                continue
            pixels = self.pixels[mode] if mode != "tuned" else self._at(list((thresholds or {}).values()))
            found = overlap(pixels, self.size)
            known = ~np.isnan(pixels[..., 0])
            found["iou"] = np.where(known & ~self.called, 0.0, found["iou"])
            tuned = thresholds if mode == "tuned" and thresholds else {}
            false = self.false & ~np.isnan([tuned.get(f, 0.0) for f in self.findings])
            found["iou"] = np.where(false, 0.0, found["iou"])
            out |= {f"{name}:{mode}": found[name] for name in OVERLAPS}
        return out

    def curve(self) -> Array:
        """``[n, t]``: each picture's mean true-positive IoU over its findings, at each threshold."""
        ious = overlap(self.pixels["tuned"], self.size[..., None])["iou_true_positive"]
        return np.stack([picture_means(ious[:, :, t]) for t in range(ious.shape[2])], axis=1)

    def _at(self, thresholds: Sequence[float]) -> Array:
        """Counts ``[n, k, 2]`` at each finding's own threshold; NaN where none could be chosen."""
        out = np.full((*self.size.shape, 2), np.nan)
        for j, threshold in enumerate(thresholds):
            if not np.isnan(threshold):
                out[:, j] = self.pixels["tuned"][:, j, THRESHOLDS.index(threshold)]
        return out


def _thresholds(tuning: Sequence[Subject], findings: Sequence[str], label: str, store: Store) -> dict[str, float]:
    found = Found([_only(s, findings) for s in tuning], findings, label, store)
    ious = overlap(found.pixels["tuned"], found.size[..., None])["iou_true_positive"]
    return {f: best(ious[:, j], THRESHOLDS).value for j, f in enumerate(findings)}


def _only(subject: Subject, findings: Sequence[str]) -> Subject:
    """Without truth of findings that the table does not have, whose cells stay as they are."""
    if all(f in findings for f in subject.truth):
        return subject
    return replace(subject, truth=(), false_calls=())


def score_rows(
    values: Mapping[str, Array],
    findings: Sequence[str],
    patients: Sequence[str],
    members: NDArray[np.bool_],
    label: str,
    plan: EvaluationPlan,
) -> list[Score]:
    """One explainer's rows of one slice; all metrics share the draws."""
    k = len(findings)
    stacked = np.concatenate([v[members] for v in values.values()], axis=1)
    chosen = [p for p, m in zip(patients, members, strict=True) if m]
    every = _intervals(stacked, chosen, plan)
    out = []
    for i, metric in enumerate(values):
        part = slice(i * k, (i + 1) * k)
        found = Means(
            every.mean[part], every.low[part], every.high[part], every.n[part], every.replicates[:, part], every.scheme
        )
        for j, finding in enumerate(findings):
            note = None if found.n[j] else "no picture to score"
            figures = float(found.mean[j]), float(found.low[j]), float(found.high[j]), int(found.n[j])
            out.append(Score(finding, metric, *figures, explainer=label, note=note))
        if k > 1:
            count = int(np.count_nonzero(found.n))
            note = f"over {count} findings"
            out.append(Score("mean", metric, *over_findings(found), int(found.n.sum()), explainer=label, note=note))
    return out


def _intervals(values: Array, patients: Sequence[str], plan: EvaluationPlan) -> Means:
    scheme: Scheme = plan.localisation.scheme
    if not len(values):
        nothing = np.full(values.shape[1], np.nan)
        none = np.zeros(values.shape[1], np.int64)
        return Means(nothing, nothing, nothing, none, np.empty((0, values.shape[1])), scheme)
    if scheme == "chexlocalize":
        return chexlocalize_intervals(values)
    return weighted_mean_intervals(values, patients, plan.replicates, plan.seed)


def _with(row: Score, slice_: str, baseline: str | None, lost: int) -> Score:
    told = f"{lost} pictures whose map could not be made count as empty maps" if lost else None
    return replace(row, slice=slice_, baseline=baseline, note="; ".join(filter(None, (row.note, told))) or None)


def picture_means(values: Array) -> Array:
    """``[n]``: mean over the findings of a picture that have a value; NaN where none has."""
    return known_mean(values, axis=1)


def _compared(
    methods: Mapping[str, Array], controls: Sequence[str], patients: Sequence[str], plan: EvaluationPlan
) -> list[Difference]:
    """Between methods, and of each method with each control."""
    own = [m for m in methods if m not in controls]
    pairs = [*combinations(own, 2), *((a, b) for a in own for b in methods if b in controls)]
    replicates = max(plan.replicates, REPLICATES_A_COMPARISON * len(pairs)) if plan.replicates else 0
    return compare(methods, patients, pairs=pairs, replicates=replicates, seed=plan.seed)


def _degraded(
    methods: Mapping[str, Array], several: NDArray[np.bool_], patients: Sequence[str], plan: EvaluationPlan
) -> dict[str, Difference]:
    known: dict[str, Difference] = {}
    for label, values in methods.items():
        if not np.isnan(values[several]).all() and not np.isnan(values[~several]).all():
            known[label] = degradation(values, several, patients, plan.replicates, plan.seed)
    adjusted: Sequence[Any] = list(holm([d.p for d in known.values()]))
    return {label: replace(d, adjusted=float(q)) for (label, d), q in zip(known.items(), adjusted, strict=True)}
