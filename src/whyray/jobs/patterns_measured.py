"""Measure a pattern bank beside its controls: what it explains, and whether its patterns are what was planted.

A unit is one pattern, one principal or independent direction (either sign), or one channel. For each finding the unit
is chosen by its AUC on validation pictures, and scored on test pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contracts import Classifier, Dataset
from ..errors import DataError, UnmetNeed
from ..io.whole import disk_errors, write_whole
from ..patterns.bank import PatternBank, bank_for, load_bank
from ..training.lock import locked
from ..types import Report, Score
from ._control_units import generic, independent
from ._patterns_rows import bank_rows, planted_rows, purity_rows, sum_rows
from ._units import Representation, measure, representations
from .evaluate import plain, rows_of
from .files import silent
from .store import Store


@dataclass(frozen=True, eq=False)
class PatternsMeasured:
    """One Score a row (``explainer`` = representation), what was left out and why, and the facts beside them."""

    scores: tuple[Score, ...]
    skipped: Mapping[str, str]
    facts: Mapping[str, Any]


def evaluate_patterns(
    classifier: Classifier,
    dataset: Dataset,
    bank: PatternBank,
    store: Store,
    *,
    limit: int | None = None,
    seed: int = 0,
    report: Report = silent,
) -> PatternsMeasured:
    """Every representation on the validation and the test pictures of ``dataset``; what is in ``store`` is not made
    twice. Raises DataError where a split has no pictures."""
    whole: Dataset = getattr(dataset, "whole", dataset)
    splits = {split: list(whole.cases(split))[:limit] for split in ("val", "test")}
    if not all(splits.values()):
        raise DataError(f"{dataset.name} has no validation or no test pictures; give a data set with both")
    skipped: dict[str, str] = {}
    ica, components = independent(classifier, bank, splits["val"], store, seed)
    scores: list[Score] = []
    own = representations(classifier, bank, splits["val"], skipped, seed)
    ones = (*own, ica, *_generic(classifier, skipped))
    found = {split: measure(ones, bank, cases, store, report) for split, cases in splits.items()}
    for one in ones:
        measured = {split: by_name[one.name] for split, by_name in found.items()}
        scores += planted_rows(one, measured, splits, seed)
        scores += purity_rows(one, measured["test"], splits["test"], classifier.findings, seed)
        if one.name == "patterns":
            scores += sum_rows(measured["test"], splits["test"], classifier.findings, seed)
    scores += bank_rows(bank)
    facts = {
        "dataset": dataset.name,
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint,
        "pictures": {s: len(c) for s, c in splits.items()},
        "patterns": len(bank.patterns),
        "members": bank.members,
        "ica": {"components": len(components.rows), "steps": components.steps, "settled": components.settled},
        "seed": seed,
    }
    return PatternsMeasured(tuple(scores), skipped, facts)


def _generic(classifier: Classifier, skipped: dict[str, str]) -> list[Representation]:
    """The embedding that knows no label; none, and the reason in ``skipped``, where there is none."""
    try:
        return [generic(classifier)]
    except UnmetNeed as reason:
        skipped["generic"] = str(reason)
        return []


def patterns_into(
    out: str | Path,
    classifier: Classifier,
    dataset: Dataset,
    bank: str | Path = "",
    *,
    limit: int | None = None,
    seed: int = 0,
    report: Report = silent,
) -> PatternsMeasured:
    """Evaluate the bank in the folder ``bank`` (or the classifier's own) into ``out``: cells/ and scores.json."""
    folder = Path(out)
    found = load_bank(Path(bank), classifier) if bank else bank_for(classifier)
    with disk_errors(folder), locked(folder):
        made = evaluate_patterns(
            classifier, dataset, found, Store(folder / "cells"), limit=limit, seed=seed, report=report
        )
        document = {"kind": "patterns", "facts": made.facts, "skipped": made.skipped, "rows": rows_of(made.scores)}
        write_whole(folder / "scores.json", (json.dumps(plain(document), indent=1) + "\n").encode())
    return made
