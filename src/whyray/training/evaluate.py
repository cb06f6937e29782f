"""Measure a classifier on cases of a data set, patient by patient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Classifier
from ..engine.passes import finite, logits
from ..errors import DataError, InputError, listed
from ..metrics._intervals import REPLICATES
from ..metrics.classification import Graded, classification_scores
from ..models._predict import sigmoid
from ..types import Case, Report, Score

if TYPE_CHECKING:
    from numpy.typing import NDArray

Refused = Callable[[str], None]


def _nobody(_sentence: str) -> None:
    """Nobody wants to know which pictures cannot be read."""


def evaluate_classifier(
    classifier: Classifier,
    cases: Sequence[Case],
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    batch: int = 16,
    only: Sequence[str] | None = None,
    report: Report | None = None,
    refused: Refused = _nobody,
) -> list[Score]:
    """AUC, AUPRC, sensitivity, specificity, F1 and calibration of each finding, with patient-bootstrap 95 % intervals.

    A folder of several data sets is measured one by one (``Score.slice``): pooled, an AUC would measure which hospital
    a picture comes from. A finding nobody labels gives no row. A picture that cannot be read is left out: ``refused``
    is called with a sentence that names it, and the note of every row says how many there are. Raises DataError where
    none can be read, or none is labelled with a finding of the classifier.
    """
    found, unread = graded_findings(classifier, cases, batch=batch, report=report, refused=refused)
    if not found:
        raise DataError(
            f"no picture is labelled with a finding of {classifier.name} ({listed(classifier.findings)}); "
            "`whyray data check` counts the labels and says what may be misspelt"
        )
    rows = [
        row
        for name, graded in found
        for row in classification_scores(graded, seed=seed, replicates=replicates, slice_=name, only=only)
    ]
    return [_with_note(row, unread) for row in rows]


def graded_findings(
    classifier: Classifier,
    cases: Sequence[Case],
    *,
    batch: int = 16,
    report: Report | None = None,
    refused: Refused = _nobody,
) -> tuple[list[tuple[str | None, Graded]], int]:
    """(data set, a finding of its pictures) for each that somebody labels, and how many pictures could not be read.

    Raises DataError where none can be read, and WhyrayError for logits that are not finite.
    """
    said, unread = _logits(classifier, cases, batch, report, refused)
    cases = [c for c, u in zip(cases, unread, strict=True) if not u]
    if not cases:
        raise DataError(f"none of {len(unread)} pictures can be read; whyray data check says why")
    chances = _chances(classifier, said)
    labels = np.array([[c.labels.get(f, np.nan) for f in classifier.findings] for c in cases], np.float64)
    found: list[tuple[str | None, Graded]] = []
    for name, members in _slices(cases):
        patients = [cases[i].patient or cases[i].id for i in members]
        for k, finding in enumerate(classifier.findings):
            if np.isnan(labels[members, k]).all():
                continue
            operation = classifier.card.operations.get(finding)
            threshold = operation.threshold if operation else None
            columns = labels[members, k], said[members, k], chances[members, k]
            found.append((name, Graded(finding, *columns, patients, threshold)))
    return found, sum(unread)


def _slices(cases: Sequence[Case]) -> Iterator[tuple[str | None, NDArray[np.int64]]]:
    """(data set, its cases), or all of them under no name where there is one."""
    of = np.array([str(c.facts.get("dataset", "")) for c in cases])
    names = np.unique(of)
    for name in names:
        yield (str(name) or "unnamed") if len(names) > 1 else None, np.flatnonzero(of == name)


def _logits(
    classifier: Classifier, cases: Sequence[Case], batch: int, report: Report | None, refused: Refused
) -> tuple[NDArray[np.float64], list[bool]]:
    """Logits ``[n, f]`` of the pictures that can be read, and which cannot."""
    parts: list[NDArray[np.float32]] = []
    unread: list[bool] = []
    for start in range(0, len(cases), batch):
        frames = []
        for case in cases[start : start + batch]:
            try:
                frames.append(classifier.prepare(case.radiograph()).pixels)
                unread.append(False)
            except InputError as error:
                unread.append(True)
                refused(f"{case.id}: {error}")
        if frames:
            parts.append(logits(classifier, np.stack(frames), batch=batch))
        if report is not None:
            report(min(start + batch, len(cases)), len(cases), "pictures")
    found = np.concatenate(parts) if parts else np.empty((0, len(classifier.findings)))
    return finite(found, classifier.name).astype(np.float64), unread


def _chances(classifier: Classifier, said: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities ``[n, f]`` as the card calibrates them; a finding without calibration gets the sigmoid."""
    columns = []
    for k, finding in enumerate(classifier.findings):
        operation = classifier.card.operations.get(finding)
        slope, intercept = (operation.slope, operation.intercept) if operation else (1.0, 0.0)
        columns.append([sigmoid(slope * v + intercept) for v in said[:, k]])
    return np.array(columns).T


def _with_note(row: Score, unread: int) -> Score:
    if not unread:
        return row
    return replace(row, note="; ".join(p for p in (row.note, f"{unread} pictures could not be read") if p))
