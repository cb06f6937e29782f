"""Rows of the table of ``whyray evaluate patterns``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics._intervals import interval, weighted_mean_intervals
from ..metrics.classification import weighted_auc
from ..metrics.patterns import purity, unit_aucs, weighted_recovered
from ..patterns.bank import PatternBank
from ..types import Case, Score
from ._units import STRONGEST, Measured, Representation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SEVERE = 0.5  # of 0 (barely visible) to 1
ALIKE = 0.01  # validation AUCs so near tell a finding equally well


def planted_rows(
    one: Representation, measured: Mapping[str, Measured], splits: Mapping[str, Sequence[Case]], seed: int
) -> list[Score]:
    """A finding: AUC for its presence of the unit and the reading chosen on validation, and where that unit's map lies.

    Where severities are known (phantoms), a slice has the positives of ``SEVERE`` or more alone: a finding that can
    hardly be seen is not told from one that is missed.
    """
    rows = []
    patients = [c.patient or c.id for c in splits["test"]]
    for finding in one.classifier.findings:
        labels = {s: np.array([c.labels.get(finding, np.nan) for c in cases]) for s, cases in splits.items()}
        aucs = {reading: unit_aucs(values, labels["val"]) for reading, values in measured["val"].strengths.items()}
        if np.isnan(list(aucs.values())).all():
            continue
        reading, best = _chosen(aucs, measured["val"].sums[f"mass:{finding}"])
        strength = measured["test"].strengths[reading][:, best].astype(np.float64)
        nan, note = float("nan"), f"{one.names[best]}, {reading}"
        unit = Score(finding, "planted_auc", nan, nan, nan, 0, explainer=one.name, note=note)
        severe = np.where(labels["test"] == 1, _severe(splits["test"], finding), labels["test"])
        rows += _auc_row(unit, strength, labels["test"], patients, seed)
        rows += _auc_row(replace(unit, slice=f"severity {SEVERE:g} or more"), strength, severe, patients, seed)
        ratios = measured["test"].sums[f"mass:{finding}"][:, best].astype(np.float64)
        if np.isfinite(ratios).any():
            rows.append(_mean_row(finding, "mass_ratio", ratios, patients, one.name, one.names[best], seed))
    return rows


def _chosen(aucs: Mapping[str, Array], mass: NDArray[np.floating[Any]]) -> tuple[str, int]:
    """(reading, unit) of the best of ``aucs [u]``; of those within ``ALIKE`` of it the unit whose map lies most on the
    finding, by the mean of ``mass [n, u]`` over the pictures that have it."""
    marked = np.isfinite(mass)
    on = np.where(marked, mass, 0).sum(axis=0) / np.maximum(marked.sum(axis=0), 1)
    least = np.nanmax(list(aucs.values())) - ALIKE
    near = [(on[u], values[u], reading, u) for reading, values in aucs.items() for u in np.flatnonzero(values >= least)]
    _, _, reading, unit = max(near, key=lambda one: one[:2])
    return reading, int(unit)


def _auc_row(unit: Score, strength: Array, labels: Array, patients: Sequence[str], seed: int) -> list[Score]:
    """The row with its AUC over the cases whose label is known; none where it is undefined."""
    known = ~np.isnan(labels)
    positives = int((labels == 1).sum())
    if not 0 < positives < known.sum():
        return []
    measure = partial(weighted_auc, strength[known], labels[known])
    low, high = interval(measure, [p for p, k in zip(patients, known) if k], seed=seed)
    value = float(measure(np.ones((1, int(known.sum()))))[0])
    note = f"{unit.note}, {positives} positives"
    return [replace(unit, value=value, low=low, high=high, n=int(known.sum()), note=note)]


def _severe(cases: Sequence[Case], finding: str) -> Array:
    """1 where the finding was planted with a severity of ``SEVERE`` or more, else NaN."""
    found = [c.facts.get("severities", {}) for c in cases]
    return np.array([1.0 if isinstance(s, Mapping) and s.get(finding, 0) >= SEVERE else np.nan for s in found])


def purity_rows(
    one: Representation, measured: Measured, cases: Sequence[Case], findings: Sequence[str], seed: int
) -> list[Score]:
    """Mean over units that fire of the gain in one label's share among their strongest pictures."""
    labels = np.array([[c.labels.get(f, np.nan) for f in findings] for c in cases])
    strengths = measured.strengths[STRONGEST]
    fires = np.asarray((strengths > 0).any(axis=0))
    dead = Score(
        "all",
        "dead_share",
        float((~fires).mean()),
        *_wilson(int((~fires).sum()), len(fires)),
        len(fires),
        explainer=one.name,
    )
    gains = purity(strengths[:, fires], labels)
    own = [str(i) for i in range(len(gains))]
    return [_mean_row("all", "label_purity", gains, own, one.name, "n = units", seed), dead]


def sum_rows(measured: Measured, cases: Sequence[Case], findings: Sequence[str], seed: int) -> list[Score]:
    """A finding: how much of its logit the sum recovers, the share that has a name, the size of explanations."""
    rows, patients, sums = [], [c.patient or c.id for c in cases], measured.sums
    for c, finding in enumerate(findings):
        logits = sums["logits"][:, c]
        for metric, part in (("logit_recovered", "all"), ("logit_recovered_named", "named")):
            rebuilt = sums[part][:, c]
            measure = partial(weighted_recovered, logits, rebuilt)
            low, high = interval(measure, patients, seed=seed)
            value = float(measure(np.ones((1, len(logits))))[0])
            rows.append(Score(finding, metric, value, low, high, len(logits), explainer="patterns"))
        for metric, values in (("named_share", sums["share"][:, c]), ("size", sums["size"][:, c])):
            spread = np.nanpercentile(values, (10, 50, 90)) if np.isfinite(values).any() else (np.nan,) * 3
            note = "10, 50, 90 %: " + ", ".join(f"{q:.3g}" for q in spread)
            rows.append(_mean_row(finding, metric, values, patients, "patterns", note, seed))
    worst = float(sums["gap"].max())
    rows.append(
        Score("all", "sum_gap", worst, worst, worst, int(sums["gap"].size), explainer="patterns", note="largest")
    )
    return rows


def bank_rows(bank: PatternBank) -> list[Score]:
    """What the build measured: of the members, of two half-ensembles, of the patterns."""
    nan, rows = float("nan"), []
    for name, value in bank.facts.get("results_of_members", {}).items():
        if value is not None:
            rows.append(Score("all", f"member_{name}", float(value), nan, nan, bank.members, note="mean of members"))
    halves = bank.facts.get("halves", {})
    if halves.get("shared") is not None:
        n = int(halves["n"])
        shared = float(halves["shared"])
        rows.append(Score("all", "stability_halves", shared, *_wilson(round(shared * n), n), n, explainer="patterns"))
    gains = np.array([p.monosemanticity for p in bank.patterns])
    ids = [p.id for p in bank.patterns]
    rows.append(_mean_row("all", "monosemanticity", gains, ids, "patterns", "n = patterns", 0))
    return rows


def _mean_row(
    finding: str, metric: str, values: Array, patients: Sequence[str], explainer: str, note: str, seed: int
) -> Score:
    """The mean of values, without those that are NaN, and its interval."""
    found = weighted_mean_intervals(values[:, None], patients, seed=seed)
    mean, low, high = (float(v[0]) for v in (found.mean, found.low, found.high))
    return Score(finding, metric, mean, low, high, int(found.n[0]), explainer=explainer, note=note)


def _wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson, 1927)."""
    if not n:
        return float("nan"), float("nan")
    p, d = k / n, 1 + z * z / n
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    middle = (p + z * z / (2 * n)) / d
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
