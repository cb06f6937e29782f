"""The funnel of a pattern bank as a page: how many passed each gate, and how many would at other thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..patterns.bank import PatternBank
from ..report.curves import Curve, curves_svg
from ..report.evaluation import Figure, Section, Table, evaluation_html

LEAD = (
    "Latents of all members pass the gates in this order. The thresholds were set before; the curves show what others "
    "would have let through.",
)


def page(bank: PatternBank) -> str:
    """Self-contained HTML."""
    funnel: Sequence[Mapping[str, Any]] = bank.facts.get("funnel", ())
    rows = [[g["gate"], g["what"], f"{g['before']:,}", f"{g['after']:,}", g["rule"]] for g in funnel]
    table = Table(("Gate", "of", "came", "passed", "rule"), rows, f"{bank.facts.get('images', 0)} validation pictures.")
    facts = {
        "members": str(bank.members),
        "latents": f"{len(bank.cluster):,}",
        "patterns": f"{len(bank.patterns):,}",
        "classifier": bank.fingerprint[:12],
    }
    sections = [Section("Counts", tables=[table])]
    sections += [Section(g["gate"].capitalize(), [g["rule"]], figures=_figures(g)) for g in funnel]
    return evaluation_html("Pattern bank: the funnel", LEAD, facts, sections)


def _figures(gate: Mapping[str, Any]) -> list[Figure]:
    """Counts over thresholds; densities on a logarithmic axis."""
    curves = []
    for name, curve in gate["curves"].items():
        x = np.asarray(curve["threshold"], np.float64)
        curves.append(Curve(name, np.log10(x) if gate["gate"] == "density" else x, np.asarray(curve["count"], float)))
    label = "threshold, log10" if gate["gate"] == "density" else "threshold"
    title = f"{gate['what']} that pass the gate {gate['gate']}"
    return [Figure(curves_svg(curves, title=title, x_label=label, y_label=gate["what"]), title)] if curves else []
