"""The part of an evaluation's page that says how methods degrade where a picture shows several findings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..report.evaluation import Figure, Section, Table
from ..report.evaluation_bars import Bar, bars_svg
from ._faithful_scores import SLICES

if TYPE_CHECKING:
    from ..metrics.significance import Difference
    from ..types import Score

ONE, SEVERAL = SLICES
TITLE = "One finding or several"


def slices_section(
    scores: Iterable[Score],
    degradation: Mapping[str, Mapping[str, Difference]],
    labels: Sequence[str],
    controls: Collection[str],
    counts: tuple[int, int],
    names: Mapping[str, str],
) -> Section:
    """A table a metric of ``degradation``: both slices and their difference, a row a method; bars of the first metric.

    scores  of one finding (or "mean"), with their slice; counts = pictures with one finding, and with several;
    names   metric -> its words.
    """
    found = {(r.metric, r.explainer, r.slice): r for r in scores}
    dim = frozenset(i for i, label in enumerate(labels) if label in controls)
    head = ("method", *SLICES, "single − multi, by picture", "p, Holm")
    tables = []
    for metric, by in degradation.items():
        rows = [
            [
                f"{label} (control)" if label in controls else label,
                *(figure(found.get((metric, label, s))) for s in SLICES),
                *_difference(by.get(label)),
            ]
            for label in labels
        ]
        tables.append(Table(head, rows, names.get(metric, metric), dim))
    one, several = counts
    text = [
        f"{one} pictures with one finding present, {several} with several. A finding that only follows from another "
        "(lung opacity from consolidation) is not counted twice. Different pictures, so nothing is paired."
    ]
    if not (one and several):
        text.append("With one kind of picture alone there is nothing to compare.")
    figures = [bars_of(found, labels, controls, next(iter(degradation)), s, names) for s in SLICES if degradation]
    return Section(TITLE, text, tables, [f for f in figures if f] if one and several else ())


def bars_of(
    found: Mapping[tuple[str, str | None, str | None], Score],
    labels: Sequence[str],
    controls: Collection[str],
    metric: str,
    slice_: str,
    names: Mapping[str, str],
) -> Figure | None:
    """One metric of one slice as bars; None where a value is below 0, from where bars start: the table has it."""
    rows = [found[metric, label, slice_] for label in labels if (metric, label, slice_) in found]
    if any(np.isfinite(r.value) and r.value < 0 for r in rows):
        return None
    bars = [Bar(r.explainer or "", r.value, r.low, r.high, r.n, r.explainer in controls) for r in rows]
    title = f"{names.get(metric, metric)}: {slice_}"
    return Figure(bars_svg(bars, title=title), f"{title}. 95 % intervals.")


def figure(row: Score | None) -> str:
    """``0.234 [0.166, 0.272] n=33``."""
    if row is None or not row.n or np.isnan(row.value):
        return "–" if row is None else f"– n={row.n}"
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}] n={row.n}"


def _difference(found: Difference | None) -> tuple[str, str]:
    if found is None:
        return "–", "–"
    return f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]", f"{found.adjusted:.2g}"
