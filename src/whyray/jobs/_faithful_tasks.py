"""What a faithfulness run measures: which pictures, which of their findings, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..contracts import Classifier
from ..engine.passes import predict
from ..errors import InputError
from ..types import Case
from ._faithful import Trial
from .localisation import most_specific

Pairs = Literal["predicted", "present", "all"]


@dataclass(frozen=True, eq=False)
class Chosen:
    """A picture (``sha256`` of its source) and the findings of it that are measured."""

    case: Case
    findings: tuple[str, ...]
    sha256: str

    @property
    def patient(self) -> str:
        """Who it shows; the case itself where the data set does not say."""
        return self.case.patient or self.case.id

    @property
    def several(self) -> bool:
        """More than one finding is labelled present, those left out that only follow from another one."""
        return len(most_specific([f for f, label in self.case.labels.items() if label == 1])) > 1


@dataclass(frozen=True, eq=False)
class Task:
    """One piece of work: "curves" or "again" of one picture, "weights" of a few, with the explainer ``label``."""

    kind: Literal["curves", "again", "weights"]
    label: str
    chosen: tuple[Chosen, ...]


def choose_pairs(
    classifier: Classifier, cases: Sequence[Case], findings: Sequence[str], pairs: Pairs
) -> tuple[list[Chosen], list[str]]:
    """Pictures with at least one finding to measure, and one sentence for each that cannot be read."""
    chosen, failures = [], []
    for case in cases:
        if pairs == "present" and not any(case.labels.get(f) == 1 for f in findings):
            continue
        try:
            radiograph = case.radiograph()
        except InputError as error:
            failures.append(str(error))
            continue
        (said,) = predict(classifier, [radiograph])
        keep = {
            "predicted": {p.finding for p in said if p.positive},
            "present": {f for f in findings if case.labels.get(f) == 1},
            "all": set(findings),
        }[pairs]
        if mine := tuple(f for f in findings if f in keep):
            chosen.append(Chosen(case, mine, radiograph.sha256))
    return chosen, failures


def plan_tasks(chosen: Sequence[Chosen], labels: Sequence[str], trial: Trial) -> list[Task]:
    """Picture by picture, so that what was paid for a picture serves all explainers; random layers last."""
    few = tuple(chosen[: trial.few])
    tasks = [
        Task(kind, label, (c,))
        for c in chosen
        for kind in (("curves", "again") if c in few else ("curves",))
        for label in labels
    ]
    return tasks + [Task("weights", label, few) for label in labels if few]
