"""The page of an evaluation of sentences that were learned without pairs, and its tables for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..report.evaluation import Section, Table, evaluation_html
from ..types import Score
from ._weak_planted import EVIDENCE, PLANTED, REFERENCES
from ._weak_regenerated import CONTROLS
from ._weak_rows import EXPLAINED
from ._weak_table import ALL

if TYPE_CHECKING:
    from .weak_language import WeakLanguage

LEAD = (
    "The generator learned from a few example sentences a diagnosis and from no pair of picture and sentence. So the "
    "question is not whether it sounds right, but whether a sentence is about this picture, and whether it tells what "
    "the classifier said. Controls are in every table: what does not beat them has shown nothing.",
)
TITLES = {
    EXPLAINED: "Is the picture in the words? (pictures made anew from sentences)",
    ALL: "Do the words foretell the classifier, do they vary, are they parroted?",
    PLANTED: "Are they right? (what was planted)",
    EVIDENCE: "Are they right? (where the classifier's own evidence lies)",
    REFERENCES: "Beside reference sentences of what was planted",
}
DIFFERENCE = "_difference"


def page(result: WeakLanguage) -> str:
    """Self-contained HTML."""
    facts = {name: str(value) for name, value in result.facts.items()}
    if result.skipped:
        facts["skipped"] = "; ".join(f"{name}: {why}" for name, why in result.skipped.items())
    told = [f"{name}: {what}." for name, what in CONTROLS.items()]
    sections = [Section("What must hold", ("Each demand was written before the numbers.",), [checks_table(result)])]
    for slice_, title in TITLES.items():
        tables = [t for name, t in tables_of(result) if name == slice_]
        if tables:
            sections.append(Section(title, told if slice_ == EXPLAINED else (), tables))
    sections.append(Section("Differences", ("Drawn together, by patient.",), [differences_table(result)]))
    sections.append(Section("Sentences", tables=[examples_table(result)]))
    title = f"Sentences without pairs: {result.facts.get('classifier')} on {result.facts.get('dataset')}"
    return evaluation_html(title, LEAD, facts, sections, result.failures)


def tables_of(result: WeakLanguage) -> Iterator[tuple[str, Table]]:
    """(slice, table): a line a metric, a column a writer."""
    for slice_ in TITLES:
        rows = [s for s in result.scores if s.slice == slice_]
        if not rows:
            continue
        writers = list(dict.fromkeys(str(s.explainer) for s in rows))
        held = {(s.metric, s.explainer): s for s in rows}
        lines = []
        for metric in dict.fromkeys(s.metric for s in rows):
            mine = [held.get((metric, w)) for w in writers]
            counts = sorted({s.n for s in mine if s is not None})
            n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
            lines.append((metric.replace("_", " "), n, *map(cell, mine)))
        yield slice_, Table(("metric", "n", *writers), lines, slice_)


def checks_table(result: WeakLanguage) -> Table:
    """A line a demand."""
    rows = [(c.demand, "yes" if c.holds else "NO", cell(c.score), str(c.score.n)) for c in result.checks]
    return Table(("demand", "holds", "value", "n"), rows)


def differences_table(result: WeakLanguage) -> Table:
    """A line a comparison."""
    rows = [
        (d.metric.removesuffix(DIFFERENCE).replace("_", " "), f"{d.explainer} less {d.baseline}", cell(d), str(d.n))
        for d in result.differences
    ]
    return Table(("metric", "of", "difference", "n"), rows)


def examples_table(result: WeakLanguage) -> Table:
    """A line a picture and finding, a column a writer."""
    heads: Sequence[str] = tuple(result.examples[0]) if result.examples else ("picture",)
    return Table(heads, [tuple(e.values()) for e in result.examples])


def cell(score: Score | None) -> str:
    """Value, interval, and a p where the row has one."""
    if score is None or score.value != score.value:
        return ""
    interval = f" [{score.low:.3f}, {score.high:.3f}]" if score.low == score.low else ""
    p = (score.note or "").partition(",")[0]
    return f"{score.value:.3f}{interval}{' ' + p if p.startswith('p ') else ''}"
