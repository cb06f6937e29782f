"""Measure sentences that were learned without pairs: controls, simulators, likeness, and whether they are right.

Writers stand side by side: the generator, explainers that speak (template, dpt ...), one sentence for all, a learned
sentence of the diagnosis at random. Definitions: docs/metrics-weak-language.md.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier, Dataset, Explainer
from ..errors import DataError, SettingError, UnknownName, UnmetNeed
from ..io.whole import disk_errors, write_whole
from ..text.nle_database import SHIPPED, Entry, read_database
from ..training.lock import locked
from ..types import Report, Score
from ._weak_checks import Check, checks_of
from ._weak_page import page
from ._weak_plan import USUAL, WeakPlan
from ._weak_planted import evidence_rows, phantom_references, planted_rows, reference_rows
from ._weak_regenerated import controls, regenerate
from ._weak_rows import faithful_rows, likeness_rows, simulated_rows, wording_rows
from ._weak_said import GENERATED, Generator, Rows, Said, key_of, latents, others, rows_of
from ._weak_seen import Seen, Voice, look
from ._weak_table import Table
from .evaluate import plain
from .evaluate import rows_of as plain_rows
from .explain import Plan, check_needs
from .files import silent
from .store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXAMPLES = 12
NOT_PLANTED = "the data set does not know side and severity; phantoms do"
NO_READ_OUT = "the classifier's logits are no linear read-out of its features"
NO_REFERENCES = "the data set has no reference sentences; phantoms do"
NO_HELD_OUT = "every sentence of the database was learned from; name another with --database"


@dataclass(frozen=True, eq=False)
class WeakLanguage:
    """What was measured.

    scores       a row a metric, slice and writer or control; ``differences``: between two of them, drawn together.
    checks       what must hold of such a generator, each with its row and whether it does.
    signatures   metric -> everything its value depends on; ``skipped``: what could not run, and why.
    failures     pictures that could not be read.
    examples     sentences of some pictures, of every writer.
    draws        (writer, metric, slice) -> the value, then that of each draw of patients ``[1 + r]``: two results
                 on the same pictures, with one seed and as many replicates, are compared draw by draw.
    """

    scores: tuple[Score, ...]
    differences: tuple[Score, ...]
    checks: tuple[Check, ...]
    signatures: Mapping[str, str] = field(repr=False)
    skipped: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    draws: Mapping[tuple[str, str, str], NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """Scores, then differences, each with its signature."""
        known = plain_rows((*self.scores, *self.differences))
        return [{**row, "signature": self.signatures[row["metric"].removesuffix("_difference")]} for row in known]


def evaluate_weak_language(
    classifier: Classifier,
    dataset: Dataset,
    generator: Generator,
    plan: WeakPlan = USUAL,
    store: Store | None = None,
    report: Report = silent,
) -> WeakLanguage:
    """Every measure of every writer on all pictures of ``dataset``; what is in ``store`` is not made twice.

    Raises DataError where nothing can be explained, UnknownName for an audience that the generator does not have.
    """
    if plan.audience not in generator.audiences:
        raise UnknownName("audience of the generator", plan.audience, generator.audiences)
    if store is None:
        with tempfile.TemporaryDirectory() as folder:
            return evaluate_weak_language(classifier, dataset, generator, plan, Store(Path(folder)), report)
    skipped: dict[str, str] = {}
    voices = voices_of(classifier, plan, skipped)
    seen = look(classifier, dataset, list(dataset.cases())[: plan.limit], voices, store, plan.seed, report)
    rows = rows_of(seen, generator.diagnoses)
    report(0, 1, "sentences")
    key = key_of(generator, seen, rows, plan.audience)
    said, latent = latents(generator, key, seen, rows, plan.audience)
    writers = {GENERATED: said, **others(generator, seen, rows, plan.audience, plan.constant, plan.seed)}
    table = Table(seen.patients, plan.seed, plan.replicates)
    vectors = {label: rows.pooled(one.z) for label, one in writers.items()}
    vectors |= controls(generator, rows, said, latent, plan.audience, plan.seed)
    made = {}
    for i, (label, z) in enumerate(vectors.items()):
        made[label] = regenerate(generator, key, seen, z)
        report(i + 1, len(vectors), f"pictures from {label}")
    known = [j for j, f in enumerate(classifier.findings) if f in generator.diagnoses]
    faithful_rows(table, seen, rows, made, known, plan.seed)
    simulated_rows(table, seen, rows, writers, generator, plan.seed)
    wording_rows(table, seen, rows, writers, plan.seed)
    likeness_rows(table, rows, writers, generator, plan.audience, held_out_of(generator, plan, skipped))
    _truth_rows(table, seen, rows, writers, skipped)
    references = phantom_references(dataset, seen.cases, generator.diagnoses, plan.audience, plan.seed)
    if references:
        skipped |= reference_rows(table, rows, writers, references, plan.bertscore)
    else:
        skipped["references"] = NO_REFERENCES
    checks = checks_of(table, tuple(writers))
    return WeakLanguage(
        scores=tuple(table.scores),
        differences=tuple(table.differences),
        checks=checks,
        signatures=table.signatures,
        skipped=skipped,
        failures=seen.failures,
        facts=_facts(classifier, dataset, generator, plan, seen, rows),
        examples=_examples(seen, rows, writers),
        draws=table.values,
    )


def weak_language_into(
    out: str | Path,
    classifier: Classifier,
    dataset: Dataset,
    plan: WeakPlan = USUAL,
    *,
    generator: str | Path = "",
    report: Report = silent,
) -> WeakLanguage:
    """Measure the generator in the folder ``generator`` (or the classifier's own) into ``out``: cells/, scores.json and
    report.html. Raises UnmetNeed where there is no generator, LockedError, DiskFullError."""
    from ..models._wenlex import weak_for

    folder = Path(out)
    found = weak_for(classifier, str(generator))
    with disk_errors(folder), locked(folder):
        result = evaluate_weak_language(classifier, dataset, found, plan, Store(folder / "cells"), report)
        write_whole(folder / "scores.json", (json.dumps(plain(document(result)), indent=1) + "\n").encode())
        write_whole(folder / "report.html", page(result).encode())
    return result


def document(result: WeakLanguage) -> dict[str, Any]:
    """What scores.json holds."""
    return {
        "kind": "weak language",
        "facts": result.facts,
        "checks": [{**asdict(c), "score": asdict(c.score)} for c in result.checks],
        "skipped": result.skipped,
        "failures": result.failures,
        "rows": result.rows(),
        "examples": result.examples,
    }


def voices_of(classifier: Classifier, plan: WeakPlan, skipped: dict[str, str]) -> list[Voice]:
    """The explainers that speak, each with what it requires; one that cannot work here is put into ``skipped``."""
    out = []
    for spec in plan.voices:
        base, _ = Plan(explainers=(spec,), seed=plan.seed, audience=plan.audience).check(classifier)
        (one,) = base.values()
        if one.kind != "statement":
            raise SettingError(f"{spec} gives no sentences; name an explainer that does, such as template")
        asked, _ = Plan(explainers=(*one.requires, spec), seed=plan.seed, audience=plan.audience).check(classifier)
        try:
            check_needs(one, classifier, asked)
            _artefact(classifier, one)
        except UnmetNeed as reason:
            skipped[spec] = str(reason)
            continue
        out.append(Voice(spec, asked, plan.audience))
    return out


def _artefact(classifier: Classifier, explainer: Explainer) -> None:
    """Raises UnmetNeed where an explainer needs a trained generator that is not there."""
    from ..explainers._narrated import Narrated
    from ..models._artefacts import artefact_folder

    if isinstance(explainer, Narrated) and not explainer.sentences:
        artefact_folder(explainer.artefact, classifier)


def _truth_rows(table: Table, seen: Seen, rows: Rows, writers: Mapping[str, Said], skipped: dict[str, str]) -> None:
    """Rows beside what was planted, and beside the classifier's own evidence."""
    if not planted_rows(table, seen, rows, writers):
        skipped["planted"] = NOT_PLANTED
    if not evidence_rows(table, seen, rows, writers):
        skipped["classifier's evidence"] = NO_READ_OUT


def held_out_of(generator: Generator, plan: WeakPlan, skipped: dict[str, str]) -> tuple[Entry, ...]:
    """Sentences for the audience that the generator did not learn from; none where no database is known.

    Raises DataError where the database that was named has none at all for the audience.
    """
    entries = read_database(plan.database or plan.audience) if plan.database or plan.audience in SHIPPED else ()
    learned = {(e.diagnosis, e.nle) for e in generator.databases[plan.audience]}
    mine = [e for e in entries if e.audience == plan.audience and e.diagnosis in generator.diagnoses]
    if plan.database and not mine:
        raise DataError(
            f"{plan.database} has no sentence for {plan.audience!r} on a finding of the generator; give one"
        )
    found = tuple(e for e in mine if (e.diagnosis, e.nle) not in learned)
    if not found:
        skipped["mmd"] = NO_HELD_OUT
    return found


def _facts(
    classifier: Classifier, dataset: Dataset, generator: Generator, plan: WeakPlan, seen: Seen, rows: Rows
) -> dict[str, Any]:
    learned = generator.databases[plan.audience]
    counts = [sum(e.diagnosis == d for e in learned) for d in generator.diagnoses]
    return {
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint,
        "dataset": dataset.name,
        "audience": plan.audience,
        "pictures": rows.n,
        "patients": len(set(seen.patients)),
        "pictures with a sentence": len(np.unique(rows.case)),
        "sentences": len(rows.findings),
        "examples a diagnosis": f"{min(counts)} to {max(counts)}" if min(counts) != max(counts) else f"{counts[0]}",
        "seed": plan.seed,
        "replicates": plan.replicates,
    }


def _examples(seen: Seen, rows: Rows, writers: Mapping[str, Said]) -> tuple[Mapping[str, str], ...]:
    """Sentences of the first pictures, a dictionary a picture and finding."""
    return tuple(
        {"picture": seen.cases[c].id, "finding": rows.findings[i], **{w: said.texts[i] for w, said in writers.items()}}
        for i, c in enumerate(rows.case.tolist()[:EXAMPLES])
    )
