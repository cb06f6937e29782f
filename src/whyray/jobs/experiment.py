"""An experiment in a folder: its runs are trained, measured and compared, question by question.

Interrupt it and run it again, and it goes on: a run that is trained is not trained again, what was measured is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contracts import Classifier
from ..errors import WhyrayError
from ..io.artefacts import NAME
from ..io.whole import disk_errors, write_whole
from ..metrics._intervals import value_and_interval
from ..training.lock import locked
from ..types import Report, Score
from ._experiment_arms import Arm, Experiment, Question, Run, all_runs, runs_of
from ._experiment_auc import auc_changes
from ._experiment_measured import Measured, measured, score_of
from ._experiment_page import page
from .evaluate import plain, rows_of
from .files import silent
from .store import Store


@dataclass(frozen=True, eq=False)
class Answer:
    """One question: what was measured of each arm, the arms less the first, and what became of classifiers."""

    question: Question
    arms: Mapping[str, Measured] = field(repr=False)
    differences: tuple[Score, ...] = ()
    auc: tuple[Score, ...] = ()


@dataclass(frozen=True, eq=False)
class Experimented:
    """All answers; ``failures``: arms that could not be trained or measured, and why."""

    answers: tuple[Answer, ...]
    facts: Mapping[str, Any]
    failures: tuple[str, ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """A row a question, arm, metric and slice; then differences and AUC."""
        out = []
        for answer in self.answers:
            told = {"question": answer.question.name}
            for arm, found in answer.arms.items():
                out += [{**told, "arm": arm, **row} for row in rows_of(found.scores)]
            out += [{**told, "arm": row["explainer"], **row} for row in rows_of((*answer.differences, *answer.auc))]
        return out


def experiment_into(out: str | Path, experiment: Experiment, *, report: Report = silent) -> Experimented:
    """Run an experiment into the folder ``out``: runs/, cells/, scores.json and report.html.

    Raises SettingError and UnknownName before any work, LockedError, DiskFullError, Stopped. An arm that fails is named
    in the result, and the others go on.
    """
    folder, runs = Path(out), all_runs(experiment)
    with disk_errors(folder), locked(folder):
        bench = _Bench(folder, experiment, runs, report)
        result = Experimented((), bench.facts)
        for question in experiment.chosen:
            answers = (*result.answers, bench.answer(question))
            result = Experimented(answers, bench.facts, tuple(dict.fromkeys(bench.failures)))
            _write(folder, result)
    return result


def _write(folder: Path, result: Experimented) -> None:
    """scores.json and report.html, of the questions that are answered so far."""
    document = {"kind": "wenlex experiment", "facts": result.facts, "failures": result.failures, "rows": result.rows()}
    write_whole(folder / "scores.json", (json.dumps(plain(document), indent=1) + "\n").encode())
    write_whole(folder / "report.html", page(result).encode())


class _Bench:
    """What all arms share: the classifier, the data, the store, and the trainings done so far."""

    def __init__(self, folder: Path, experiment: Experiment, runs: Mapping[str, Run], report: Report) -> None:
        from ..datasets._resolve import load_dataset
        from ..models._resolve import load_model

        self.folder, self.experiment, self.runs, self.report = folder, experiment, runs, report
        self.store, self.failures = Store(folder / "cells"), list[str]()
        self.dataset = load_dataset(experiment.dataset)
        self.labelled = {spec: load_dataset(spec) for spec in experiment.labelled or (experiment.dataset,)}
        self.classifier = load_model(next(iter(runs.values())).plan.classifier)
        self.done: dict[str, Path | str] = {}

    def answer(self, question: Question) -> Answer:
        """Train, measure and compare the arms of a question."""
        found: dict[str, Measured] = {}
        trained: dict[str, list[tuple[Run, Path]]] = {}
        for arm in question.arms:
            try:
                trained[arm.name] = [self._trained(run) for run in runs_of(self.experiment, question, arm)]
                if arm.speaks:
                    found[arm.name] = self._measured(arm, *trained[arm.name][0])
            except WhyrayError as error:
                if error.exit_code != 2:
                    raise
                self.failures.append(f"{question.name}, {arm.name}: {error}")
        auc = self._auc(question, trained) if question.seeds else ()
        return Answer(question, found, compared(found), auc)

    @property
    def facts(self) -> dict[str, Any]:
        """What the page says first."""
        asked = {k: v for k, v in asdict(self.experiment).items() if v not in ((), "", None)}
        own = {"classifier": self.classifier.name, "fingerprint": self.classifier.fingerprint}
        return {**asked, **own, "runs": len(self.runs)}

    def _trained(self, run: Run) -> tuple[Run, Path]:
        """The run with its folder, trained now or before; one that failed once is not tried again."""
        from ..training.wenlex import train_wenlex

        run = self.runs[run.key]
        folder = self.folder / "runs" / run.folder
        if run.key not in self.done:
            activations = Path(self.experiment.activations) if self.experiment.activations else None
            try:
                if not (folder / NAME).is_file():  # it is written last, and whole
                    train_wenlex(run.plan, folder, self.report, activations=activations, cache=self.folder / "cache")
                self.done[run.key] = folder
            except WhyrayError as error:
                if error.exit_code != 2:
                    raise
                self.done[run.key] = str(error)
        found = self.done[run.key]
        if isinstance(found, str):
            raise WhyrayError(found)
        return run, found

    def _measured(self, arm: Arm, run: Run, folder: Path) -> Measured:
        audience = arm.audience or self.experiment.audience
        classifier = self._classifier(run, folder)
        return measured(self.experiment, classifier, self.dataset, folder, audience, self.store, self.report)

    def _classifier(self, run: Run, folder: Path) -> Classifier:
        """The one that a run explains: its own, where it trained one."""
        from ..models._resolve import load_model

        return load_model(str(folder)) if run.plan.joint else self.classifier

    def _auc(self, question: Question, trained: Mapping[str, Sequence[tuple[Run, Path]]]) -> tuple[Score, ...]:
        """The change of AUC of every arm that trained the classifier, on each data set with labels."""
        out: list[Score] = []
        for spec in self.labelled:
            for arm in question.arms:
                runs = [(run, folder) for run, folder in trained.get(arm.name, ()) if run.plan.joint]
                out += self._changes(arm, runs, spec) if runs else []
        return tuple(out)

    def _changes(self, arm: Arm, runs: Sequence[tuple[Run, Path]], spec: str) -> list[Score]:
        """Rows of one arm on one data set; kept."""
        classifiers = {f"seed {run.plan.loop.seed}": self._classifier(run, folder) for run, folder in runs}
        experiment = self.experiment
        facts = {
            "kind": "wenlex-experiment-auc",
            "before": self.classifier.fingerprint,
            "after": {name: c.fingerprint for name, c in classifiers.items()},
            "drawn": [spec, experiment.limit, experiment.seed, experiment.replicates],
        }

        def make() -> dict[str, Any]:
            rows = rows_of(self._compared(classifiers, spec))
            return {"rows": np.frombuffer(json.dumps(plain(rows)).encode(), np.uint8)}

        told = json.loads(self.store.have(facts, make)["rows"].tobytes())
        return [replace(score_of(row), explainer=f"{arm.name}, {row['explainer']}") for row in told]

    def _compared(self, classifiers: Mapping[str, Classifier], spec: str) -> list[Score]:
        from ..training.evaluate import graded_findings

        cases = list(self.labelled[spec].cases())[: self.experiment.limit]
        graded = {name: graded_findings(c, cases)[0] for name, c in {"": self.classifier, **classifiers}.items()}
        out: list[Score] = []
        for slice_ in dict.fromkeys(name for name, _ in graded[""]):
            mine = {name: [g for s, g in found if s == slice_] for name, found in graded.items()}
            base = mine.pop("")
            where = f"{spec}, {slice_}" if slice_ else spec
            out += auc_changes(base, mine, self.experiment.replicates, self.experiment.seed, where)
        return out


def compared(arms: Mapping[str, Measured]) -> tuple[Score, ...]:
    """Every arm less the first, on the same draws of patients; rows that one of the two lacks are left out.

    Arms on other pictures (another number of patients) cannot be paired, and give no row.
    """
    if not arms:
        return ()
    (first, base), *others = arms.items()
    out = []
    for name, found in others:
        if any(base.told["facts"][k] != found.told["facts"][k] for k in ("pictures", "patients")):
            continue
        for (metric, slice_), values in found.draws.items():
            if (metric, slice_) in base.draws:
                gap = values - base.draws[metric, slice_]
                row = found.find(metric, slice_)
                n = row.n if row else 0
                out.append(Score("all", f"{metric}_difference", *value_and_interval(gap), n, name, slice_, first))
    return tuple(out)
