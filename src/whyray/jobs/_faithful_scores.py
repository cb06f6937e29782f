"""From the curves of many pictures to a table: one number a picture, means with intervals by patient, comparisons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics import faithfulness as metric
from ..metrics._intervals import REPLICATES, Means, weighted_mean_intervals
from ..metrics.significance import REPLICATES_A_COMPARISON, Difference, compare, degradation, holm
from ..types import Score
from ._faithful import Trial
from ._faithful_tasks import Task
from ._randomised import SIMILARITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Arrays = Mapping[str, "NDArray[Any]"]
MEAN = "mean"
SLICES = ("single-label", "multi-label")


@dataclass(frozen=True, eq=False)
class Row:
    """What was measured of one picture with one explainer: name -> array with one row a finding of ``findings``.

    several  the picture shows more than one finding.
    """

    case: str
    patient: str
    findings: tuple[str, ...]
    arrays: Arrays = field(repr=False)
    several: bool = False


def picture_values(arrays: Arrays, trial: Trial) -> dict[str, Array]:
    """metric -> ``[f]``, from the raw logits of one picture (or from what was measured by explaining again)."""
    out: dict[str, Array] = {}
    if "deletion" in arrays:
        curves = oriented(arrays, trial)
        span = curves["full"], curves["baseline"]
        for name in ("deletion", "insertion"):
            out[name] = np.array([getattr(metric, name)(c, f, b) for c, f, b in zip(curves[name], *span, strict=True)])
            out[f"{name}_probability"] = np.array([metric.probability_area(c) for c in arrays[name]])
        out["gap"] = metric.area(curves["insertion"]) - metric.area(curves["deletion"])
        out["road"] = metric.area(curves["road_least"]) - metric.area(curves["road_most"])
    return out | {n: np.asarray(arrays[n], np.float64) for n in metric.METRICS if n in arrays and n not in out}


def oriented(arrays: Arrays, trial: Trial) -> dict[str, Array]:
    """Logits turned round where the maps are of evidence against, so that every direction holds."""
    turn = -1.0 if trial.sign == "negative" else 1.0
    kept = ("deletion", "insertion", "road_most", "road_least", "full", "baseline")
    return {name: turn * np.asarray(arrays[name], np.float64) for name in kept}


def table(
    rows: Mapping[str, Sequence[Row]],
    trial: Trial,
    controls: Collection[str] = (),
    *,
    notes: Mapping[tuple[str, str], str] = MappingProxyType({}),
    seed: int = 0,
    replicates: int = REPLICATES,
) -> tuple[list[Score], dict[str, list[Difference]]]:
    """Scores of each finding x metric x explainer, and of the mean over findings, with comparisons of explainers.

    ``rows`` is explainer -> its pictures; ``notes`` is (explainer, metric) -> what to say beside it. "mean" is each
    picture's mean over its findings, then over pictures. Comparisons are made on that mean: between methods, and of
    each method with each control; Holm within a metric.
    """
    scores: list[Score] = []
    columns: dict[str, dict[str, dict[str, float]]] = {}  # metric -> explainer -> case -> mean over findings
    patients = {r.case: r.patient for members in rows.values() for r in members}
    for label, members in rows.items():
        values = [picture_values(r.arrays, trial) for r in members]
        for name in dict.fromkeys(n for v in values for n in v):
            found = [(r, v[name]) for r, v in zip(members, values, strict=True) if name in v]
            scores += _scores(label, name, found, notes.get((label, name)), seed, replicates)
            columns.setdefault(name, {})[label] = {r.case: _mean(v) for r, v in found}
    return scores, {n: _compared(by, patients, controls, seed, replicates) for n, by in columns.items()}


def _scores(
    label: str, name: str, found: Sequence[tuple[Row, Array]], note: str | None, seed: int, replicates: int
) -> list[Score]:
    """One row a finding, and "mean"."""
    findings = list(dict.fromkeys(f for r, _ in found for f in r.findings))
    values = np.full((len(found), len(findings) + 1), np.nan)
    for i, (row, per_finding) in enumerate(found):
        values[i, [findings.index(f) for f in row.findings]] = per_finding
        values[i, -1] = _mean(per_finding)
    means = weighted_mean_intervals(values, [r.patient for r, _ in found], replicates, seed)
    asked = [sum(f in r.findings for r, _ in found) for f in findings] + [len(found)]
    return [
        Score(
            finding=finding,
            metric=name,
            value=float(means.mean[k]),
            low=float(means.low[k]),
            high=float(means.high[k]),
            n=int(means.n[k]),
            explainer=label,
            note="; ".join(filter(None, (note, _left_out(asked[k] - int(means.n[k]), name)))) or None,
        )
        for k, finding in enumerate([*findings, MEAN])
    ]


def _left_out(count: int, name: str) -> str | None:
    """Why pictures are missing from a mean."""
    if not count:
        return None
    if name in ("deletion", "insertion"):
        return f"{count} left out: whole and filled picture are less than {metric.LEAST_SPAN:g} logits apart"
    return f"{count} left out: the map is empty"


def _compared(
    columns: Mapping[str, Mapping[str, float]],
    patients: Mapping[str, str],
    controls: Collection[str],
    seed: int,
    replicates: int,
) -> list[Difference]:
    """Between methods, and of each method with each control; enough draws that Holm's correction can reach 0.05."""
    cases = list(dict.fromkeys(c for by_case in columns.values() for c in by_case))
    methods = {label: np.array([by.get(c, np.nan) for c in cases]) for label, by in columns.items()}
    own = [m for m in methods if m not in controls]
    pairs = [(a, b) for i, a in enumerate(own) for b in own[i + 1 :]]
    pairs += [(a, b) for a in own for b in methods if b in controls]
    draws = max(replicates, REPLICATES_A_COMPARISON * len(pairs)) if replicates else 0
    return compare(methods, [patients[c] for c in cases], pairs=pairs, seed=seed, replicates=draws)


def by_label_count(
    rows: Mapping[str, Sequence[Row]], trial: Trial, *, seed: int = 0, replicates: int = REPLICATES
) -> tuple[list[Score], dict[str, dict[str, Difference]]]:
    """How each method does where one finding is present and where several are: scores of both slices, and
    metric -> explainer -> single-label less multi-label (Holm over explainers). Empty where a slice is."""
    scores: list[Score] = []
    found: dict[str, dict[str, Difference]] = {}
    for label, members in rows.items():
        curves = [r for r in members if "deletion" in r.arrays]
        several = np.array([r.several for r in curves], bool)
        if not several.any() or several.all():
            continue
        patients = [r.patient for r in curves]
        values = [picture_values(r.arrays, trial) for r in curves]
        for name in values[0]:
            means = np.array([_mean(v[name]) for v in values])
            scores += [
                _slice(label, name, s, means, several == (s == SLICES[1]), patients, seed, replicates) for s in SLICES
            ]
            if not np.isnan(means[several]).all() and not np.isnan(means[~several]).all():
                found.setdefault(name, {})[label] = degradation(means, several, patients, replicates, seed)
    for by in found.values():
        adjusted = holm([d.p for d in by.values()])
        by |= {label: replace(d, adjusted=float(q)) for (label, d), q in zip(by.items(), adjusted, strict=True)}
    return scores, found


def _slice(
    label: str,
    name: str,
    slice_: str,
    means: Array,
    members: NDArray[np.bool_],
    patients: Sequence[str],
    seed: int,
    replicates: int,
) -> Score:
    chosen = [p for p, m in zip(patients, members, strict=True) if m]
    made = weighted_mean_intervals(means[members], chosen, replicates, seed)
    n = int(made.n[0])
    return Score(MEAN, name, float(made.mean[0]), float(made.low[0]), float(made.high[0]), n, label, slice_)


def mean_curves(rows: Mapping[str, Sequence[Row]], trial: Trial, name: str, *, seed: int = 0) -> dict[str, Means]:
    """explainer -> mean of the curve ``name`` over pictures, with its interval at each step.

    Each picture's curves are put on the scale 0 = filled, 1 = whole, averaged over its findings; imputed curves are
    shown as the share of the same span that they lose.
    """
    out = {}
    for label, members in rows.items():
        per_picture = []
        for row in members:
            curves = oriented(row.arrays, trial)
            scaled = metric.normalised(curves[name], curves["full"], curves["baseline"])
            per_picture.append(_nanmean(scaled))
        out[label] = weighted_mean_intervals(np.array(per_picture), [r.patient for r in members], seed=seed)
    return out


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _nanmean(values: Array) -> Array:
    """Mean over rows without NaN; all NaN where there is none."""
    known = values[~np.isnan(values).any(axis=1)]
    return np.asarray(known.mean(axis=0) if len(known) else np.full(values.shape[1], np.nan))


def rows_of(done: Mapping[Task, Arrays | str]) -> dict[str, list[Row]]:
    """explainer -> what was measured, picture by picture; of random layers the last stage."""
    rows: dict[str, list[Row]] = {}
    for task, made in done.items():
        if isinstance(made, str):
            continue
        for i, c in enumerate(task.chosen):
            arrays = _at_stage(task, made, i, -1) if task.kind == "weights" else made
            rows.setdefault(task.label, []).append(Row(c.case.id, c.patient, c.findings, arrays, c.several))
    return rows


def notes_of(done: Mapping[Task, Arrays | str]) -> dict[tuple[str, str], str]:
    """(explainer, metric) -> whether its maps depend on the weights, judged as in docs/metrics-faithfulness.md."""
    notes = {}
    for task, made in done.items():
        if task.kind != "weights" or isinstance(made, str) or not len(made["others"]):
            continue
        for k, name in enumerate(SIMILARITIES):
            found = np.mean([_mean(_at_stage(task, made, i, -1)[name]) for i in range(len(task.chosen))])
            limit = float(np.percentile(made["others"][:, k], 95))
            verdict = "depends" if found < limit else "does not depend"
            notes[task.label, name] = f"{verdict} on the weights (maps of different pictures: 95 % below {limit:.2f})"
    return notes


def cascades_of(done: Mapping[Task, Arrays | str], seed: int = 0) -> dict[str, tuple[NDArray[np.int64], Means]]:
    """explainer -> (random layers at each stage ``[s]``, mean Spearman to the untouched map there)."""
    out = {}
    for task, made in done.items():
        if task.kind != "weights" or isinstance(made, str):
            continue
        stages = range(len(made["layers"]))
        curve = [
            [_mean(_at_stage(task, made, i, s)["weights_spearman"]) for s in stages] for i in range(len(task.chosen))
        ]
        means = weighted_mean_intervals(np.array(curve), [c.patient for c in task.chosen], seed=seed)
        out[task.label] = np.asarray(made["layers"], np.int64), means
    return out


def _at_stage(task: Task, made: Arrays, picture: int, stage: int) -> dict[str, Array]:
    """similarity -> ``[f]`` of one picture's own findings."""
    start = sum(len(c.findings) for c in task.chosen[:picture])
    own = slice(start, start + len(task.chosen[picture].findings))
    return {name: np.asarray(made["alike"][stage, own, k]) for k, name in enumerate(SIMILARITIES)}
