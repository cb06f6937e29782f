"""The page of an experiment: a section a question, with a column an arm, differences from the first, and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..report.evaluation import Section, Table, evaluation_html
from ..types import Score
from ._weak_page import cell
from ._weak_planted import EVIDENCE, PLANTED
from ._weak_rows import EXPLAINED
from ._weak_said import GENERATED
from ._weak_table import ALL

if TYPE_CHECKING:
    from ._experiment_measured import Measured
    from .experiment import Answer, Experimented

LEAD = (
    "Each question changes one thing of one plan. Arms stand beside each other on the same pictures; a difference is "
    "that of an arm and the first one, with whole patients drawn again for both. One training an arm, unless seeds are "
    "named: the spread between trainings is in no other interval.",
)
# (metric, slice) that are shown; scores.json has all
SHOWN = (
    *((m, EXPLAINED) for m in ("feature_cosine", "gain_kept", "gain_kept_centred", "label_agreement")),
    *((m, EXPLAINED) for m in ("retrieval_at_1", "retrieval_at_10")),
    *((m, ALL) for m in ("simulatability", "las", "share_unique", "self_bleu", "verbatim", "mmd", "grade")),
    *((m, s) for s in (PLANTED, EVIDENCE) for m in ("side_right", "pairs_right_side", "pairs_right_severity")),
)
SENTENCES = 4
OWN_LABELS = "In-model sentences speak for the classifier that was trained, and are measured by its own calls."
SEEDS = "AUC is the mean over findings with at least five pictures with and without the label."


def page(result: Experimented) -> str:
    """Self-contained HTML."""
    facts = {name: _told(value) for name, value in result.facts.items()}
    sections = [section(answer) for answer in result.answers]
    title = f"WeNLEX: {result.facts.get('classifier')} on {result.facts.get('dataset')}"
    return evaluation_html(title, LEAD, facts, sections, result.failures)


def section(answer: Answer) -> Section:
    """One question."""
    question, arms = answer.question, answer.arms
    tables = [arms_table(arms)] if arms else []
    if answer.differences:
        tables.append(differences_table(answer.differences))
    tables += [writers_table(found) for found in arms.values() if question.writers]
    if answer.auc:
        tables.append(auc_table(answer.auc))
    if arms:
        tables.append(sentences_table(arms))
    text = (SEEDS, OWN_LABELS) if question.seeds else ()
    return Section(question.asks, text, tables)


def arms_table(arms: Mapping[str, Measured]) -> Table:
    """A line a metric, a column an arm."""
    lines = []
    for metric, slice_ in SHOWN:
        found = [measured.find(metric, slice_) for measured in arms.values()]
        if any(found):
            counts = sorted({s.n for s in found if s is not None})
            n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
            lines.append((_name(metric, slice_), n, *map(cell, found)))
    return Table(("metric", "n", *arms), lines, "Each arm")


def differences_table(differences: Sequence[Score]) -> Table:
    """A line a metric, a column an arm less the first."""
    names = list(dict.fromkeys(str(d.explainer) for d in differences))
    held = {(d.metric.removesuffix("_difference"), d.slice, d.explainer): d for d in differences}
    lines = [
        (_name(metric, slice_), *(cell(held.get((metric, slice_, name))) for name in names))
        for metric, slice_ in SHOWN
        if any((metric, slice_, name) in held for name in names)
    ]
    return Table(("metric", *names), lines, f"Less {differences[0].baseline}")


def writers_table(found: Measured) -> Table:
    """A line a metric, a column a writer."""
    writers = [
        GENERATED,
        *dict.fromkeys(s.explainer for s in found.scores if s.slice == ALL and s.explainer != GENERATED),
    ]
    lines = []
    for metric, slice_ in SHOWN:
        scores = [found.find(metric, slice_, str(writer)) for writer in writers]
        if any(scores):
            lines.append((_name(metric, slice_), *map(cell, scores)))
    return Table(("metric", *map(str, writers)), lines, "Beside other writers")


def auc_table(rows: Sequence[Score]) -> Table:
    """A line a classifier and data set."""
    lines = [
        (f"{r.explainer}", str(r.slice), r.metric.replace("_", " "), cell(r), str(r.n), r.note or "") for r in rows
    ]
    return Table(("classifier", "data", "what", "value", "n", "note"), lines, "What becomes of the classifier")


def sentences_table(arms: Mapping[str, Measured]) -> Table:
    """What the arms say of the same pictures."""
    said = {
        name: {(e["picture"], e["finding"]): e[GENERATED] for e in measured.told["examples"]}
        for name, measured in arms.items()
    }
    keys = list(dict.fromkeys(key for texts in said.values() for key in texts))[:SENTENCES]
    lines = [
        (f"{picture}: {finding}", *(said[a].get((picture, finding), "") for a in arms)) for picture, finding in keys
    ]
    return Table(("picture and finding", *arms), lines, "What they say")


def _name(metric: str, slice_: str) -> str:
    return metric.replace("_", " ") + (f" ({slice_})" if slice_ in (PLANTED, EVIDENCE) else "")


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
