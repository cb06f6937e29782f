"""The page of a faithfulness run: curves, the table with n and intervals, comparisons, random layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..report.curves import Curve, curves_svg
from ..report.evaluation import Figure, Section, Table, evaluation_html
from ..report.evaluation_bars import Bar, bars_svg
from ._localisation_page import comparison_table
from ._slices import ONE, SEVERAL, figure, slices_section

if TYPE_CHECKING:
    from .faithfulness import Faithfulness

LEAD = (
    "Whether the maps show what the classifier uses: what happens to its logit when the places a map points at are "
    "taken away, or shown alone. Controls know nothing of the classifier: a method that does not beat them has shown "
    "nothing.",
)
CURVES = {
    "deletion": "what the map points at is taken away first; lower is better",
    "insertion": "what the map points at is shown first; higher is better",
    "road_most": "imputed, most salient first; lower is better",
    "road_least": "imputed, least salient first; higher is better",
}


def page(result: Faithfulness, dataset: str) -> str:
    """The whole page as text."""
    facts = {name.replace("_", " "): _text(value) for name, value in result.facts.items()} | {"data set": dataset}
    if result.skipped:
        facts["skipped"] = "; ".join(f"{label}: {why}" for label, why in result.skipped.items())
    sections = [
        Section("Curves", ("Mean over pictures, 0 = filled, 1 = whole; 95 % intervals.",), figures=_curves(result)),
        Section("Methods", ("Mean over a picture's findings, then over pictures.",), [table(result)], _bars(result)),
        Section(
            "Which differences hold",
            ("Paired by picture, bootstrap by patient; Holm's correction over all comparisons of one metric.",),
            [comparison_table(m, found) for m, found in result.differences.items()],
        ),
    ]
    if result.slices:
        sections.insert(2, _slices(result))
    if result.cascade:
        sections.append(_cascade(result))
    sections.append(_every(result))
    title = f"Faithfulness: {result.facts.get('classifier', 'classifier')} on {dataset}"
    return evaluation_html(title, LEAD, facts, sections, result.failures)


def metrics_of(result: Faithfulness) -> list[str]:
    """In the order in which they were measured."""
    return list(dict.fromkeys(r.metric for r in result.scores))


def ordered(result: Faithfulness) -> list[str]:
    """Methods in the order asked, then the controls."""
    return sorted(dict.fromkeys(r.explainer or "" for r in result.scores), key=lambda m: m in result.controls)


def table(result: Faithfulness, finding: str = "mean") -> Table:
    """A row a metric, a column a method: there are more metrics than fit side by side."""
    found = {(r.explainer, r.metric): r for r in result.scores if r.finding == finding}
    labels = ordered(result)
    rows = [[m.replace("_", " "), *(figure(found.get((label, m))) for label in labels)] for m in metrics_of(result)]
    names = [f"{label} (control)" if label in result.controls else label for label in labels]
    return Table(("metric", *names), rows)


def _curves(result: Faithfulness) -> list[Figure]:
    out = []
    for name, means in result.curves.items():
        curves = [
            Curve(label, np.linspace(0, 1, len(m.mean)), m.mean, m.low, m.high, label in result.controls)
            for label, m in means.items()
        ]
        words = name.replace("_", " ")
        svg = curves_svg(curves, title=words, x_label="share of the picture", y_label="share of the logit's span")
        out.append(Figure(svg, f"{words}: {CURVES.get(name, '')}."))
    return out


def _bars(result: Faithfulness) -> list[Figure]:
    out = []
    for metric in metrics_of(result):
        found = {r.explainer: r for r in result.scores if (r.finding, r.metric) == ("mean", metric)}
        rows = [found[label] for label in ordered(result) if label in found]
        if any(np.isfinite(r.value) and r.value < 0 for r in rows):
            continue  # bars start at 0; the table has it
        bars = [Bar(r.explainer or "", r.value, r.low, r.high, r.n, r.explainer in result.controls) for r in rows]
        out.append(Figure(bars_svg(bars, title=metric), f"{metric.replace('_', ' ')}. 95 % intervals."))
    return out


def _slices(result: Faithfulness) -> Section:
    one, several = (max((r.n for r in result.slices if r.slice == s), default=0) for s in (ONE, SEVERAL))
    names = {m: m.replace("_", " ") for m in result.degradation}
    return slices_section(result.slices, result.degradation, ordered(result), result.controls, (one, several), names)


def _cascade(result: Faithfulness) -> Section:
    curves = [
        Curve(label, np.asarray(layers, np.float64), m.mean, m.low, m.high, label in result.controls)
        for label, (layers, m) in result.cascade.items()
    ]
    svg = curves_svg(curves, title="random layers", x_label="random layers", y_label="rank correlation with the map")
    text = (
        "Copies of the classifier forget, from the logits down; a map that stays as it was does not depend on what the "
        "classifier has learned (Adebayo et al., 2018).",
    )
    return Section("Random layers", text, figures=[Figure(svg, "Mean over pictures, 95 % intervals.")])


def _every(result: Faithfulness) -> Section:
    rows = [(r.finding, r.explainer or "", r.metric, figure(r), r.note or "") for r in result.scores]
    return Section("Every number", tables=[Table(("finding", "method", "metric", "value", "note"), rows)])


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} = {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
