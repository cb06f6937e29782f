"""From cells to the table of counterfactuals: measures, 2-D maps against other methods, company, noise and blur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics._intervals import weighted_mean_intervals
from ..metrics.significance import REPLICATES_A_COMPARISON, Difference, compare
from ..types import Score
from ._changes import MEASURES
from ._tables import Found, picture_means, score_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._counterfactual_bench import Pictured
    from ._disturbed import Level
    from .plan import EvaluationPlan
    from .store import Store

    Array = NDArray[np.float64]

PRESENT, TRUE_POSITIVE = SLICES = ("present", "true-positive")
POOLED = "pooled"
FAILED = {"removed": 0.0, "exaggerated": 0.0}  # what a counterfactual that could not be made counts as


@dataclass(frozen=True, eq=False)
class Labels:
    """Names in the tables: ``paths`` of counterfactual explainers, ``maps`` (theirs first) that are located, controls;
    ``first`` maps are compared with every other."""

    paths: tuple[str, ...]
    maps: tuple[str, ...]
    first: tuple[str, ...]
    controls: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Tables:
    """Everything that is printed.

    scores       explainer x slice x metric x finding; "mean" over findings, "pooled" over pairs of picture and finding.
    differences  metric -> comparisons on each picture's mean over its findings, Holm within it.
    alignment    explained finding -> other finding -> how far it moves along (1 = alike), findings present.
    robustness   rows of "mean" whose slice is "noise 0.03" or "blur 2", "none" = the picture as it is.
    seconds      explainer -> mean of a picture.
    """

    findings: tuple[str, ...]
    scores: tuple[Score, ...]
    differences: Mapping[str, Sequence[Difference]]
    alignment: Mapping[str, Mapping[str, Score]] = field(repr=False)
    robustness: tuple[Score, ...]
    seconds: Mapping[str, float]

    def rows(self) -> list[Score]:
        """All scores; company has the metric "alignment:FINDING"."""
        return [*self.scores, *(s for by in self.alignment.values() for s in by.values()), *self.robustness]


def located_metrics(plan: EvaluationPlan) -> tuple[str, ...]:
    """What is said of where a map lies; the first three are compared."""
    first, *more = plan.localisation.modes
    overlaps = (f"iou_true_positive:{m}" for m in more)
    return (f"iou_true_positive:{first}", "hit", "mass_in", f"iou:{first}", *overlaps)


def tables(
    pictures: Sequence[Pictured],
    disturbed: Mapping[Level, Mapping[str, Sequence[str]]],
    labels: Labels,
    columns: Sequence[str],
    plan: EvaluationPlan,
    store: Store,
) -> Tables:
    """All tables of some pictures. ``disturbed``: level -> map -> key of its cell on each of the first pictures;
    ``columns``: the classifier's findings."""
    findings = tuple(f for f in columns if any(f in p.findings for p in pictures))
    patients = [p.patient for p in pictures]
    positive = np.array([[f in p.positive for f in findings] for p in pictures])
    paths = {label: _measures(pictures, findings, label, store) for label in labels.paths}
    found = {label: Found([p.located for p in pictures], findings, label, store) for label in labels.maps}
    wanted = located_metrics(plan)
    maps = {label: {m: v for m, v in f.values(plan, None).items() if m in wanted} for label, f in found.items()}
    scores: list[Score] = []
    differences: dict[str, Sequence[Difference]] = {}
    for name, mask in ((PRESENT, np.ones_like(positive)), (TRUE_POSITIVE, positive)):
        for label, values in (*paths.items(), *maps.items()):
            kept = {metric: np.where(mask, array, np.nan) for metric, array in values.items()}
            scores += _scores(kept, findings, patients, label, name, plan)
        for metric in wanted[:3]:
            told = metric if name == PRESENT else f"{metric}, {name}"
            means = {label: picture_means(np.where(mask, v[metric], np.nan)) for label, v in maps.items()}
            differences[told] = _compared(means, labels, patients, plan)
    return Tables(
        findings,
        tuple(scores),
        differences,
        _alignment(pictures, findings, columns, labels.paths[0], plan, store),
        _robustness(pictures, disturbed, plan, store),
        {label: f.seconds for label, f in found.items()},
    )


def _measures(pictures: Sequence[Pictured], findings: Sequence[str], label: str, store: Store) -> dict[str, Array]:
    """measure -> ``[n, k]``; NaN where a picture does not show the finding, or nothing can be measured."""
    out = {name: np.full((len(pictures), len(findings)), np.nan) for name in MEASURES}
    for i, picture in enumerate(pictures):
        cell = store.get(picture.measures[label])
        at = [findings.index(f) for f in picture.findings]
        for name, array in out.items():
            array[i, at] = cell[name] if cell is not None else FAILED.get(name, np.nan)
    return out


def _scores(
    values: Mapping[str, Array],
    findings: Sequence[str],
    patients: Sequence[str],
    label: str,
    slice_: str,
    plan: EvaluationPlan,
) -> list[Score]:
    """Rows of one explainer and slice; of measures also "pooled", where every pair of picture and finding counts."""
    rows = score_rows(values, findings, patients, np.ones(len(patients), bool), label, plan)
    out = [replace(r, slice=slice_) for r in rows if r.n]
    pairs = [p for p in patients for _ in findings]
    for metric, array in values.items():
        if not np.isnan(array).all():
            out.append(_score(POOLED, metric, array.ravel(), pairs, label, slice_, plan))
    return out


def _score(
    finding: str, metric: str, values: Array, patients: Sequence[str], label: str, slice_: str, plan: EvaluationPlan
) -> Score:
    made = weighted_mean_intervals(values, patients, plan.replicates, plan.seed)
    figures = float(made.mean[0]), float(made.low[0]), float(made.high[0]), int(made.n[0])
    return Score(finding, metric, *figures, explainer=label, slice=slice_)


def _compared(
    means: Mapping[str, Array], labels: Labels, patients: Sequence[str], plan: EvaluationPlan
) -> list[Difference]:
    """Each first map with every other one and with each control."""
    pairs = [(a, b) for a in labels.first for b in labels.maps if b not in labels.first]
    replicates = max(plan.replicates, REPLICATES_A_COMPARISON * len(pairs)) if plan.replicates else 0
    return compare(means, patients, pairs=pairs, replicates=replicates, seed=plan.seed)


def _alignment(
    pictures: Sequence[Pictured],
    findings: Sequence[str],
    columns: Sequence[str],
    label: str,
    plan: EvaluationPlan,
    store: Store,
) -> dict[str, dict[str, Score]]:
    """explained -> other -> mean of the other's change of logit over that of the explained one."""
    cells = [store.get(p.measures[label]) for p in pictures]
    out: dict[str, dict[str, Score]] = {}
    for finding in findings:
        known = [(p, c) for p, c in zip(pictures, cells, strict=True) if c is not None and finding in p.findings]
        if not known:
            continue
        values = np.array([c["alignment"][p.findings.index(finding)] for p, c in known])
        made = weighted_mean_intervals(values, [p.patient for p, _ in known], plan.replicates, plan.seed)
        out[finding] = {
            other: Score(
                finding,
                f"alignment:{other}",
                float(made.mean[j]),
                float(made.low[j]),
                float(made.high[j]),
                int(made.n[j]),
                explainer=label,
                slice=PRESENT,
            )
            for j, other in enumerate(columns)
            if other != finding
        }
    return out


def _robustness(
    pictures: Sequence[Pictured],
    disturbed: Mapping[Level, Mapping[str, Sequence[str]]],
    plan: EvaluationPlan,
    store: Store,
) -> tuple[Score, ...]:
    """Area-matched IoU and likeness to the undisturbed map, each picture's mean over its findings, at every level."""
    few = [p for p in pictures if p.located.truth]
    out = []
    for level, by in disturbed.items():
        for label, keys in by.items():
            cells = [store.get(key) for key in keys]
            patients = [p.patient for p in few[: len(keys)]]
            for metric in ("iou", "similarity"):
                means = np.array([_mean(c[metric]) if c is not None else np.nan for c in cells])
                row = _score("mean", f"robust_{metric}", means, patients, label, level.name, plan)
                out += [row] if row.n else []
    return tuple(out)


def _mean(values: NDArray[Any]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
