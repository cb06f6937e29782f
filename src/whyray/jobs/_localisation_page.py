"""The page of a localisation run: what was asked, the table with n and intervals, plots, slices, comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..metrics.localisation import THRESHOLDS
from ..metrics.significance import Difference
from ..report.curves import Curve, curves_svg
from ..report.evaluation import Figure, Section, Table, evaluation_html
from ..report.evaluation_bars import Bar, bars_svg
from ._panels import panels
from ._slices import figure, slices_section
from ._tables import headlines

if TYPE_CHECKING:
    from .localisation import Localisation
    from .store import Store

LEAD = (
    "Where the maps point, measured against the regions that experts drew. A high figure says that a map lies on the "
    "finding; it does not say that the classifier used it: the faithfulness table does.",
    "Both IoU stand together: the true-positive one leaves out pictures with an empty mask; the full one counts 0 "
    "where the model does not call a finding that is there, or calls one that is absent. Controls know nothing of the "
    "classifier: a method that does not beat them has shown nothing.",
)
EXPLAINED = {
    "hit": "the most salient point lies in the region",
    "hit_tolerance": "the most salient point lies within the tolerance of the region",
    "mass_in": "share of the map inside the region",
    "energy": "share of the map inside the boxes around the region",
}


def page(result: Localisation, store: Store) -> str:
    """The whole page as text."""
    sections = [
        _overall(result),
        *([_by_finding(result)] if len(result.tables.findings) > 1 else []),
        _slices(result),
        _comparisons(result),
        Section(
            "Pictures",
            (
                "Chosen by rule: the best overlap (mean over methods), the highest probability, and the picture with "
                "the most findings. Green: the experts' region. White: the mask that was scored. Lines: segments.",
            ),
            panels=panels(result, store),
        ),
        _every_number(result),
    ]
    title = f"Localisation: {result.facts['classifier']} on {result.facts['dataset']}"
    return evaluation_html(title, LEAD, about(result), [s for s in sections if s], result.failures)


def about(result: Localisation) -> dict[str, str]:
    """What belongs beside every figure."""
    facts, local = result.facts, result.plan.localisation
    mapped = "; ".join(f"{f} ← {', '.join(names)}" for f, names in facts["map"].items())
    signs = sorted(set(facts["signs"].values()))
    policy = signs[0] if len(signs) == 1 else "; ".join(f"{label}: {s}" for label, s in facts["signs"].items())
    tuned = facts["not_tuned"] or "on the validation split, one a finding and method"
    only = "".join(f", {k} {v} only" for k, v in facts["where"].items())
    read = f"{facts['pictures']} read, {facts['with_regions']} with a region, {facts['patients']} patients"
    out = {
        "Pictures": read + only,
        "Findings ← regions": mapped,
        "Sign of maps": policy,
        "Masks": ", ".join(local.modes) + (f" ({local.share:.0%} of the picture)" if "top_k" in local.modes else ""),
        "Thresholds": tuned if "tuned" in local.modes else "none tuned",
        "Full IoU": "mask empty below the operating point"
        if local.cutoff == "operating"
        else f"mask empty below a probability of {local.cutoff:g}",
        "Intervals": f"95 %, bootstrap by patient, {result.plan.replicates} replicates"
        if local.scheme == "patient"
        else "95 %, as CheXlocalize published: by picture, 1000 replicates",
        "Classifier": f"{facts['classifier']} ({facts['fingerprint'][:12]}, {facts['backend']})",
        "Seed": str(result.plan.seed),
    }
    if facts["regions_not_used"]:
        out["Regions not used"] = ", ".join(f"{r} ({n} pictures)" for r, n in facts["regions_not_used"].items())
    if facts["present_without_region"]:
        left = ", ".join(f"{f} ({n})" for f, n in facts["present_without_region"].items())
        out["Labelled present, no region: in no mean"] = left
    if result.skipped:
        out["Skipped"] = "; ".join(f"{label}: {why}" for label, why in result.skipped.items())
    return out


def methods_table(result: Localisation, finding: str, slice_: str = "all") -> Table:
    """One finding (or "mean"): a row a method, its main metrics with interval and n; controls last."""
    metrics = [*headlines(result.plan), *_more(result.plan.localisation.modes[0])]
    found = {(r.explainer, r.metric): r for r in result.tables.scores if (r.finding, r.slice) == (finding, slice_)}
    labels = ordered(result)
    rows = [[name_of(m, result), *(figure(found.get((m, k))) for k in metrics)] for m in labels]
    n = max((r.n for r in found.values()), default=0)
    dim = frozenset(i for i, m in enumerate(labels) if m in result.controls)
    return Table(
        ("method", *(metric_name(m) for m in metrics)), rows, f"{finding.replace('_', ' ')} (n up to {n})", dim
    )


def ordered(result: Localisation) -> list[str]:
    """Methods in the order asked, then the controls."""
    return sorted(result.tables.values, key=lambda m: m in result.controls)


def name_of(label: str, result: Localisation) -> str:
    """The label, and whether it is a control."""
    return f"{label} (control)" if label in result.controls else label


def metric_name(metric: str) -> str:
    """For people: ``iou_true_positive:otsu_filled`` is "IoU true-positive, otsu filled"."""
    name, _, mode = metric.partition(":")
    words = name.replace("iou_true_positive", "IoU true-positive").replace("_", " ")
    words = "IoU full" if words == "iou" else words
    return f"{words}, {mode.replace('_', ' ')}" if mode else words


def comparison_table(metric: str, found: Iterable[Difference]) -> Table:
    """Paired differences, those that survive Holm first."""
    rows = sorted(found, key=lambda d: (not d.adjusted < 0.05, d.adjusted))
    cells = [
        (
            f"{d.first} − {d.second}",
            f"{d.difference:+.3f} [{d.low:+.3f}, {d.high:+.3f}]",
            f"{d.p:.2g}",
            f"{d.adjusted:.2g}",
            "yes" if d.adjusted < 0.05 else "no",
            f"{d.n} ({d.patients})",
        )
        for d in rows
    ]
    head = ("difference", "mean [95 %]", "p", "p, Holm", "below 0.05", "pictures (patients)")
    return Table(head, cells, metric_name(metric))


def _more(mode: str) -> tuple[str, ...]:
    return (f"precision:{mode}", f"recall:{mode}")


def _overall(result: Localisation) -> Section:
    finding = _whole(result)
    figures = [_bars(result, finding, metric) for metric in headlines(result.plan)]
    figures.append(_thresholds(result))
    text = ["Mean over findings, each finding counted alike."] if finding == "mean" else []
    seconds = ", ".join(f"{m} {s:.2g}" for m, s in result.tables.seconds.items() if m not in result.controls)
    text.append(f"Seconds a picture on this machine, all its findings together: {seconds}.")
    return Section("Methods" if finding == "mean" else finding, text, [methods_table(result, finding)], figures)


def _whole(result: Localisation) -> str:
    return "mean" if len(result.tables.findings) > 1 else result.tables.findings[0]


def _by_finding(result: Localisation) -> Section:
    findings = result.tables.findings
    metric = f"iou_true_positive:{result.plan.localisation.modes[0]}"
    figures = [_bars(result, f, m) for f in findings for m in ("hit", metric)]
    return Section("Each finding", (), [methods_table(result, f) for f in findings], figures)


def _bars(result: Localisation, finding: str, metric: str) -> Figure:
    wanted = {
        r.explainer: r
        for r in result.tables.scores
        if (r.finding, r.metric, r.slice) == (finding, metric, "all")
    }  # fmt: skip
    bars = [
        Bar(m, wanted[m].value, wanted[m].low, wanted[m].high, wanted[m].n, m in result.controls)
        for m in ordered(result)
        if m in wanted
    ]
    about_it = EXPLAINED.get(metric.partition(":")[0], "")
    title = f"{metric_name(metric)}: {finding.replace('_', ' ')}"
    return Figure(bars_svg(bars, title=title), f"{title}{f' ({about_it})' if about_it else ''}. 95 % intervals.")


def _thresholds(result: Localisation) -> Figure:
    x = np.array(THRESHOLDS)
    curves = [Curve(m, x, c.mean, c.low, c.high, m in result.controls) for m, c in result.tables.curves.items()]
    x_label, y_label = "threshold (share of the map's range)", "IoU, true-positive"
    title = "IoU against the threshold"
    return Figure(
        curves_svg(curves, title=title, x_label=x_label, y_label=y_label),
        f"{title}: mean over pictures, 95 % intervals. Pictures whose mask is empty at a threshold are left out there.",
    )


def _slices(result: Localisation) -> Section:
    """How each method degrades when several findings are present."""
    marked = [s for s in result.measured.subjects if s.truth]
    counts = sum(not s.several for s in marked), sum(s.several for s in marked)
    scores = [r for r in result.tables.scores if r.finding == _whole(result)]
    by = result.tables.degradation
    return slices_section(scores, by, ordered(result), result.controls, counts, {m: metric_name(m) for m in by})


def _comparisons(result: Localisation) -> Section:
    text = (
        "Paired by picture (the mean over its findings), bootstrap by patient, two-sided; Holm's correction over all "
        "comparisons of one metric: between methods, and of each method with each control.",
    )
    found: Mapping[str, Sequence[Difference]] = result.tables.differences
    return Section("Which differences hold", text, [comparison_table(m, d) for m, d in found.items()])


def _every_number(result: Localisation) -> Section:
    rows = [
        (r.finding, r.explainer or "", metric_name(r.metric), r.slice or "", figure(r), r.note or "")
        for r in result.tables.scores
        if r.finding == _whole(result)
    ]
    head = ("finding", "method", "metric", "slice", "value", "note")
    text = ("Rows of every finding are in scores.csv and scores.json beside this page.",)
    return Section("Every metric", text, [Table(head, rows)])
