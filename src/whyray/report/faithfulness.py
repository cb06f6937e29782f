"""The page of a faithfulness run: curves, tables with intervals, comparisons. One file, no script, no network."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..io.records import NOTICE
from ..metrics.faithfulness import METRICS
from ..metrics.significance import Difference
from ..types import Score
from .curves import Curve, curves_svg
from .pages import asset, digest, environment

FEW_PATIENTS = 20
STYLE = """
.figure { max-width: 44rem; }
.figure svg { width: 100%; height: auto; }
tr.control { color: var(--dim); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
small { color: var(--dim); }
body { overflow-wrap: anywhere; }
"""
_SCALE = "logit: 0 filled, 1 whole"
FIGURES = {  # curve -> (title, text, x axis, y axis)
    "deletion": ("Deletion", "Most relevant pixels go first: low is good.", "share removed", _SCALE),
    "insertion": ("Insertion", "Most relevant pixels come first: high is good.", "share shown", _SCALE),
    "road_most": ("Imputation, most relevant first", "ROAD: low is good.", "share imputed", _SCALE),
    "road_least": ("Imputation, least relevant first", "ROAD: high is good.", "share imputed", _SCALE),
    "weights": (
        "Random layers",
        "Similarity of the map to its original while layers are randomised from the logits down: a map that stays does "
        "not depend on the weights.",
        "share of layers randomised",
        "Spearman",
    ),
}


def faithfulness_html(
    facts: Mapping[str, Any],
    scores: Sequence[Score],
    differences: Mapping[str, Sequence[Difference]],
    curves: Mapping[str, Sequence[Curve]],
    *,
    controls: Collection[str] = (),
    skipped: Mapping[str, str] | None = None,
    failures: Sequence[str] = (),
) -> str:
    """The page as text. ``curves`` is a key of ``FIGURES`` -> its lines; those without lines are left out."""
    style = asset("index.css") + STYLE
    csp = f"default-src 'none'; style-src '{digest(style)}'; base-uri 'none'; form-action 'none'"
    made: str = (
        environment()
        .get_template("faithfulness.html.j2")
        .render(
            facts=facts,
            figures=[_figure(name, lines) for name, lines in curves.items() if lines],
            tables=[_table(name, scores, controls) for name in METRICS if any(s.metric == name for s in scores)],
            differences=[_difference(name, d) for name, found in differences.items() for d in found],
            skipped=skipped or {},
            failures=failures,
            small=facts["patients"] < FEW_PATIENTS,
            style=style,
            csp=csp,
            notice=NOTICE,
        )
    )
    return made


def _figure(name: str, lines: Sequence[Curve]) -> dict[str, str]:
    title, text, x, y = FIGURES[name]
    return {"title": title, "text": text, "svg": curves_svg(lines, title=title, x_label=x, y_label=y)}


def _table(metric: str, scores: Sequence[Score], controls: Collection[str]) -> dict[str, Any]:
    """Explainers down, findings across, "mean" first."""
    mine = [s for s in scores if s.metric == metric]
    findings = sorted(dict.fromkeys(s.finding for s in mine), key=lambda f: f != "mean")
    by = {(s.explainer, s.finding): s for s in mine}
    rows = [
        {
            "explainer": label,
            "control": label in controls,
            "cells": [_cell(by.get((label, f))) for f in findings],
            "note": (by[label, "mean"].note or "") if (label, "mean") in by else "",
        }
        for label in dict.fromkeys(s.explainer for s in mine)
    ]
    better = METRICS[metric].better
    return {
        "metric": metric.replace("_", " "),
        "better": f"{better} is better" if better != "none" else "no direction",
        "findings": [f.replace("_", " ") for f in findings],
        "rows": rows,
    }


def _cell(score: Score | None) -> dict[str, str]:
    if score is None or not score.n:
        return {"value": "n/a", "interval": "", "n": "0"}
    return {"value": _number(score.value), "interval": _interval(score.low, score.high), "n": str(score.n)}


def _difference(metric: str, d: Difference) -> dict[str, str]:
    return {
        "metric": metric.replace("_", " "),
        "first": d.first,
        "second": d.second,
        "difference": _number(d.difference),
        "interval": _interval(d.low, d.high),
        "p": "n/a" if d.adjusted != d.adjusted else f"{d.adjusted:.3f}" if d.adjusted >= 0.001 else "< 0.001",
        "n": f"{d.n} of {d.patients} patients",
    }


def _interval(low: float, high: float) -> str:
    return f"[{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return "n/a" if value != value else f"{value:.3f}".replace("-", "−")
