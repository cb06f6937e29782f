"""The page of a counterfactual run: targets, quality, the true twin, maps beside other methods, company, robustness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..report.curves import Curve, curves_svg
from ..report.evaluation import Figure, Section, Table, evaluation_html
from ..report.evaluation_bars import Bar, bars_svg
from ._changes import MEASURES, TWIN
from ._counterfactual_panels import panels
from ._counterfactual_tables import POOLED, PRESENT, SLICES, located_metrics
from ._localisation_page import comparison_table, metric_name
from ._slices import figure

if TYPE_CHECKING:
    from ..types import Score
    from .counterfactual import Counterfactuals
    from .store import Store

LEAD = (
    "Whether the pictures that a counterfactual draws change the prediction as asked, how little else they change, and "
    "where. They are drawn by a model: they show what would change the prediction, not the patient.",
    "Every measure is of a picture and a finding present on it; of those, the true positives are the ones that the "
    "classifier calls. Controls know nothing of the classifier: a map that does not beat them has shown nothing.",
)
TARGETS = ("removed", "exaggerated", "removal_reached", "trusted")
COMPANY = 5  # other findings that are named beside an explained one


def page(result: Counterfactuals, store: Store) -> str:
    """The whole page as text."""
    sections = [
        Section("Targets", (_words(TARGETS),), targets_tables(result), _target_bars(result)),
        Section("What the removal is like", (), [_quality(result)]),
        *([_twins(result)] if result.facts["twins"] else []),
        *([_places(result)] if result.facts["pairs_with_region"] else []),
        _company(result),
        *([_robust(result)] if result.tables.robustness else []),
        Section("Pictures", ("Chosen by rule: of the most frequent findings, the surest true positive.",),
                panels=panels(result, store)),
        _every_number(result),
    ]  # fmt: skip
    title = f"Counterfactuals: {result.facts['classifier']} on {result.facts['dataset']}"
    return evaluation_html(title, LEAD, about(result), sections, result.failures)


def about(result: Counterfactuals) -> dict[str, str]:
    """What belongs beside every figure."""
    facts, plan = result.facts, result.plan
    only = "".join(f", {k} {v} only" for k, v in facts["where"].items())
    out = {
        "Pictures": f"{facts['pictures']} read, {facts['with_findings']} with a finding, {facts['patients']} patients"
        + only,
        "Pairs of picture and finding": f"{facts['pairs']}, {facts['true_positives']} true positives, "
        f"{facts['pairs_with_region']} with a region, {facts['twins']} with a twin",
        "Called": "at or above " + "; ".join(f"{rule} ({', '.join(f)})" for rule, f in _rules(facts["called"]).items()),
        "Findings ← regions": "; ".join(f"{f} ← {', '.join(r)}" for f, r in facts["map"].items()) or "none drawn",
        "Masks": ", ".join(plan.localisation.modes),
        "Signs": "; ".join(f"{m}: {s}" for m, s in facts["signs"].items() if m not in result.labels.controls),
        "Intervals": f"95 %, bootstrap by patient, {plan.replicates} replicates",
        "Classifier": f"{facts['classifier']} ({facts['fingerprint'][:12]}, {facts['backend']})",
        "Autoencoder": "; ".join(f"{label}: {a}" for label, a in facts["autoencoder"].items()) or "none",
        "Seed": str(plan.seed),
    }
    if result.skipped:
        out["Skipped"] = "; ".join(f"{label}: {why}" for label, why in result.skipped.items())
    return out


def targets_tables(result: Counterfactuals) -> list[Table]:
    """An explainer and slice each: a row a finding, then "mean" and "pooled"."""
    out = []
    for label in result.labels.paths:
        for name in SLICES:
            found = _found(result, label, name)
            rows = [
                [finding.replace("_", " "), *(figure(found.get((finding, m))) for m in TARGETS)]
                for finding in (*result.tables.findings, "mean", POOLED)
                if any((finding, m) in found for m in TARGETS)
            ]
            out.append(Table(("finding", *(_name(m) for m in TARGETS)), rows, f"{label}: {_slice(name)}"))
    return out


def places_table(result: Counterfactuals, slice_: str = PRESENT) -> Table:
    """A row a map: its overlap with the experts' regions, mean over findings."""
    metrics = located_metrics(result.plan)
    found = {(r.explainer, r.metric): r for r in result.tables.scores if (r.finding, r.slice) == ("mean", slice_)}
    rows = [[_label(m, result), *(figure(found.get((m, k))) for k in metrics)] for m in result.labels.maps]
    dim = frozenset(i for i, m in enumerate(result.labels.maps) if m in result.labels.controls)
    return Table(("map", *map(metric_name, metrics)), rows, f"{_slice(slice_)}, mean over findings", dim)


def measures_table(result: Counterfactuals, names: Sequence[str]) -> Table:
    """A row a measure, a column an explainer and slice; every pair of picture and finding counts alike."""
    columns = [(label, name) for label in result.labels.paths for name in SLICES]
    found = {(label, name): _found(result, label, name) for label, name in columns}
    rows = [
        [_name(m), *(figure(found[c].get((POOLED, m))) for c in columns), MEASURES[m].better, MEASURES[m].text]
        for m in names
        if any((POOLED, m) in found[c] for c in columns)
    ]
    head = ("measure", *(f"{label}, {name}" for label, name in columns), "better", "what it is")
    return Table(head, rows, "pooled over pairs")


def company_table(result: Counterfactuals) -> Table:
    """A row an explained finding: the findings that move most with it, or against it."""
    rows = []
    for finding, by in result.tables.alignment.items():
        most = sorted(by.values(), key=lambda s: -abs(s.value) if np.isfinite(s.value) else 0.0)[:COMPANY]
        told = [
            f"{s.metric.partition(':')[2].replace('_', ' ')} {s.value:+.2f} [{s.low:+.2f}, {s.high:+.2f}]" for s in most
        ]
        rows.append([finding.replace("_", " "), str(most[0].n if most else 0), *told])
    width = max((len(row) for row in rows), default=2)
    return Table(("explained", "n", *(f"moves {i + 1}." for i in range(width - 2))), rows)


def robust_tables(result: Counterfactuals) -> list[Table]:
    """A row an explainer, a column a strength: area-matched IoU, then likeness to the undisturbed map; none where
    nothing was made again."""
    if not result.tables.robustness:
        return []
    found = {(r.explainer, r.slice, r.metric): r for r in result.tables.robustness}
    labels, strengths = (list(dict.fromkeys(k[i] for k in found)) for i in (0, 1))
    dim = frozenset(i for i, m in enumerate(labels) if m in result.labels.controls)
    captions = {"robust_iou": "IoU, area matched", "robust_similarity": "rank correlation with the undisturbed map"}
    return [
        Table(
            ("explainer", *map(str, strengths)),
            [[_label(str(m), result), *(figure(found.get((m, s, metric))) for s in strengths)] for m in labels],
            caption,
            dim,
        )
        for metric, caption in captions.items()
    ]


def _found(result: Counterfactuals, label: str, slice_: str) -> dict[tuple[str, str], Score]:
    return {(r.finding, r.metric): r for r in result.tables.scores if (r.explainer, r.slice) == (label, slice_)}


def _target_bars(result: Counterfactuals) -> list[Figure]:
    out = []
    for label in result.labels.paths:
        found = _found(result, label, SLICES[1])
        rows = [found[f, "removed"] for f in (*result.tables.findings, POOLED) if (f, "removed") in found]
        bars = [Bar(r.finding.replace("_", " "), r.value, r.low, r.high, r.n) for r in rows]
        title = f"{label}: removal reached its target, true positives"
        out.append(Figure(bars_svg(bars, title=title), f"{title}. 95 % intervals."))
    return out


def _quality(result: Counterfactuals) -> Table:
    return measures_table(result, [m for m in MEASURES if m not in (*TARGETS[:2], *TWIN)])


def _twins(result: Counterfactuals) -> Section:
    text = (
        "The true counterfactual: the same case without the finding, every other pixel as it was. Ratios of mean "
        "absolute grey distances to it; below 1 the removal led nearer to the truth.",
    )
    return Section("The true twin", text, [measures_table(result, TWIN)])


def _places(result: Counterfactuals) -> Section:
    text = (
        "Maps of the path beside those of other methods, with the masks of the truth's own size first. Comparisons are "
        "paired by picture (the mean over its findings), bootstrap by patient, with Holm's correction within a metric.",
    )
    tables = [places_table(result, name) for name in SLICES]
    metric = located_metrics(result.plan)[0]
    found = {
        r.explainer: r for r in result.tables.scores if (r.finding, r.metric, r.slice) == ("mean", metric, PRESENT)
    }
    rows = [found[m] for m in result.labels.maps if m in found]
    bars = [Bar(r.explainer or "", r.value, r.low, r.high, r.n, r.explainer in result.labels.controls) for r in rows]
    figures = [Figure(bars_svg(bars, title=metric), f"{metric_name(metric)}, findings present. 95 % intervals.")]
    tables += [comparison_table(m, d) for m, d in result.tables.differences.items()]
    return Section("Where the change lies", text, tables, figures)


def _company(result: Counterfactuals) -> Section:
    text = (
        "How far other findings move along while one is changed: their change of logit over that of the explained one. "
        f"1 = alike, 0 = not at all, below 0 = against. The {COMPANY} largest; all of them are in scores.csv.",
    )
    return Section("Company", text, [company_table(result)])


def _robust(result: Counterfactuals) -> Section:
    curves = [c for metric in ("noise", "blur") for c in _robust_curves(result, metric)]
    n = result.facts["made_again_on"]
    text = (
        f"Maps made again on the first {n} pictures with a region, under Gaussian noise (sigma in grey of 0..1) and "
        "blur (sigma in pixels of the model input). That a map never changes is no virtue alone: controls do not.",
    )
    return Section("Noise and blur", text, robust_tables(result), curves)


def _robust_curves(result: Counterfactuals, kind: str) -> list[Figure]:
    rows = [r for r in result.tables.robustness if r.metric == "robust_iou" and _strength(r, kind) is not None]
    curves = []
    for label in dict.fromkeys(r.explainer or "" for r in rows):
        mine = sorted((r for r in rows if r.explainer == label), key=lambda r: _strength(r, kind) or 0.0)
        x = np.array([_strength(r, kind) for r in mine], np.float64)
        values, low, high = (np.array([getattr(r, k) for r in mine]) for k in ("value", "low", "high"))
        if len(mine) > 1:
            curves.append(Curve(label, x / x.max(), values, low, high, label in result.labels.controls))
    if not curves:
        return []
    title = f"IoU, area matched, under {kind}"
    most = max(_strength(r, kind) or 0.0 for r in rows)
    svg = curves_svg(curves, title=title, x_label=f"{kind}: share of sigma {most:g}", y_label="IoU")
    return [Figure(svg, f"{title}. 95 % intervals.")]


def _strength(row: Score, kind: str) -> float | None:
    name, _, sigma = (row.slice or "").partition(" ")
    return 0.0 if name == "none" else float(sigma) if name == kind else None


def _every_number(result: Counterfactuals) -> Section:
    rows = [
        (r.finding, r.explainer or "", _name(r.metric), r.slice or "", figure(r), r.note or "")
        for r in result.tables.scores
        if r.finding in ("mean", POOLED)
    ]
    head = ("finding", "explainer", "metric", "slice", "value", "note")
    text = ("Rows of every finding are in scores.csv and scores.json beside this page.",)
    return Section("Every metric", text, [Table(head, rows)])


def _words(names: Iterable[str]) -> str:
    return "; ".join(f"{_name(m)}: {MEASURES[m].text}" for m in names) + "."


def _name(metric: str) -> str:
    return metric.replace("_", " ") if metric in MEASURES else metric_name(metric)


def _slice(name: str) -> str:
    return "findings present" if name == PRESENT else "true positives"


def _label(name: str, result: Counterfactuals) -> str:
    return f"{name} (control)" if name in result.labels.controls else name


def _rules(called: dict[str, str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for finding, rule in called.items():
        out.setdefault(rule, []).append(finding)
    return out
