"""Measure on a data set whether maps show what the classifier uses: curves, agreement, stability, random weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Classifier, Context, Explainer
from ..errors import DataError, UnmetNeed, WhyrayError
from ..explanations import Attribution
from ..metrics._intervals import REPLICATES, Means
from ..metrics.significance import Difference
from ..types import Case, Radiograph, Report, Score
from ._faithful import CURVES, Trial, again, at_input, curves
from ._faithful_scores import Arrays, by_label_count, cascades_of, mean_curves, notes_of, rows_of, table
from ._faithful_tasks import Chosen, Pairs, Task, choose_pairs, plan_tasks
from ._mapped import mapped
from ._maps import Maker, attributions
from ._randomised import weight_dependence
from .explain import check_needs, finding_of
from .files import silent
from .run import Cell, Made, run
from .store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Faithfulness", "Pairs", "Trial", "choose_pairs", "evaluate_faithfulness"]

CONTROLS = ("edges", "centre", "random")
FEW_PATIENTS = 20
VERSIONS = {"curves": 1, "again": 1, "weights": 2}  # raise one when the same trial measures something else
USES = {  # kind of task -> fields of the trial that it depends on
    "curves": ("steps", "fill", "road", "noise", "sign", "grid", "sizes", "draws", "precision"),
    "again": ("radius", "disturbed", "seeds"),
    "weights": ("stages",),
}


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What was measured.

    scores       one a finding x metric x explainer, and "mean" over findings; 95 % intervals by patient.
    differences  metric -> comparisons of explainers on that mean, Holm-corrected within the metric.
    slices       the same mean where one finding is present, and where several are.
    degradation  metric -> explainer -> single-label less multi-label, Holm-corrected over explainers.
    curves       "deletion" | "insertion" | "road_most" | "road_least" -> explainer -> mean curve.
    cascade      explainer -> (random layers at each stage ``[s]``, mean Spearman there).
    skipped      explainer -> why it could not be measured.
    failures     one sentence a picture that could not be read.
    controls     explainers that look at nothing of the classifier.
    facts        trial, seed, which pairs, classifier and its fingerprint, number of pictures.
    """

    scores: tuple[Score, ...]
    differences: Mapping[str, Sequence[Difference]]
    slices: tuple[Score, ...]
    degradation: Mapping[str, Mapping[str, Difference]]
    curves: Mapping[str, Mapping[str, Means]] = field(repr=False)
    cascade: Mapping[str, tuple[NDArray[np.int64], Means]] = field(repr=False)
    skipped: Mapping[str, str]
    failures: tuple[str, ...]
    controls: tuple[str, ...]
    facts: Mapping[str, Any]

    def more(self) -> dict[str, Any]:
        """What scores.json holds beside scores and differences: "curves", "slices", "degradation"."""
        degradation = {m: {label: asdict(d) for label, d in by.items()} for m, by in self.degradation.items()}
        return {"curves": self.points(), "slices": [asdict(s) for s in self.slices], "degradation": degradation}

    def points(self) -> dict[str, Any]:
        """Every mean curve with its interval and n at each step, as JSON holds it; "random_layers" is the cascade."""
        curves: dict[str, Any] = {n: {label: _points(m) for label, m in by.items()} for n, by in self.curves.items()}
        cascade = {label: {"layers": layers.tolist(), **_points(m)} for label, (layers, m) in self.cascade.items()}
        return {**curves, "random_layers": cascade}


def evaluate_faithfulness(
    classifier: Classifier,
    cases: Sequence[Case],
    explainers: Sequence[str],
    *,
    findings: Sequence[str] = (),
    pairs: Pairs = "predicted",
    trial: Trial | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
    store: Store | None = None,
    report: Report = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Faithfulness:
    """Deletion, insertion, ROAD and sensitivity-n of every picture; max-sensitivity, seeds and random layers on a few.

    explainers  ``name`` or ``name:key=value,...``; the controls edges, centre and random are always added.
    findings    any spelling; empty = all of the classifier's.
    pairs       which findings of a picture: those the classifier calls ("predicted": there is a positive answer to
                explain), those labelled 1 ("present"), or "all".
    store       where finished cells are kept: with the same store, a second call makes only what is missing.
    Raises UnknownName, SettingError, UnmetNeed where no explainer but controls works with this classifier, DataError
    where no picture and finding is left to measure, Stopped.
    """
    trial = trial or Trial()
    asked = mapped(explainers, CONTROLS)
    wanted = tuple(dict.fromkeys(finding_of(classifier, f) for f in findings)) or classifier.findings
    chosen, failures = choose_pairs(classifier, cases, wanted, pairs)
    if not chosen:
        raise DataError(f"no picture has a finding to explain (pairs={pairs!r}); give other pictures, or pairs='all'")
    with tempfile.TemporaryDirectory() as folder:
        maker = Maker(classifier, asked, seed, store or Store(Path(folder)), cancelled)
        maker.check()
        bench = _Bench(maker, trial)
        done = _done(bench, plan_tasks(chosen, tuple(asked), trial), report, cancelled)
    rows = rows_of(done)
    controls = tuple(label for label, e in asked.items() if e.control)
    scores, differences = table(rows, trial, controls, notes=notes_of(done), seed=seed, replicates=replicates)
    slices, degradation = by_label_count(rows, trial, seed=seed, replicates=replicates)
    whole = {label: [r for r in members if "deletion" in r.arrays] for label, members in rows.items()}
    return Faithfulness(
        scores=tuple(scores),
        differences=differences,
        slices=tuple(slices),
        degradation=degradation,
        curves={name: mean_curves(whole, trial, name, seed=seed) for name in CURVES},
        cascade=cascades_of(done, seed),
        skipped=maker.skipped,
        failures=(*failures, *bench.failures),
        controls=controls,
        facts=_facts(classifier, trial, seed, pairs, chosen),
    )


def _done(
    bench: _Bench, tasks: Sequence[Task], report: Report, cancelled: Callable[[], bool]
) -> dict[Task, Arrays | str]:
    """What each task measured, from the store or now, or why it could not."""
    cells = [Cell(bench.facts(task), f"{task.kind} of {task.label}", task) for task in tasks]
    groups = [list(members) for _, members in groupby(cells, key=lambda c: c.given.chosen)]
    store = bench.maker.store
    ran = run(groups, bench, store, total=len(groups), report=report, cancelled=cancelled)
    done: dict[Task, Arrays | str] = {}
    for cell in cells:
        kept = store.get(cell.key)
        done[cell.given] = kept.arrays if kept else ran.failed.get(cell.key, "not measured")
    return done


class _Bench:
    """Measures tasks. Those of one picture share the radiograph and what was paid for it; maps are cells of their own.

    failures  one sentence a task that failed; what an explainer cannot do at all is in ``maker.skipped``.
    """

    def __init__(self, maker: Maker, trial: Trial) -> None:
        self.maker, self.trial = maker, trial
        self.classifier = maker.classifier
        self.failures: list[str] = []
        self._at: tuple[str, Radiograph, Context] | None = None

    def facts(self, task: Task) -> dict[str, Any]:
        """Everything that the arrays of a task depend on."""
        explainer, trial = self.maker.asked[task.label], asdict(self.trial)
        return {
            "kind": f"faithfulness/{task.kind}",
            "version": VERSIONS[task.kind],
            "images": [c.sha256 for c in task.chosen],
            "findings": [list(c.findings) for c in task.chosen],
            "explainer": [explainer.name, explainer.version, asdict(explainer)],
            "seed": self.maker.seed,
            "fingerprint": self.classifier.fingerprint,
            "backend": [self.classifier.backend, _runner(self.classifier, self.trial)],
            "trial": {name: trial[name] for name in USES[task.kind]},
            **self.maker.reads(task.label),
        }

    def __call__(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Made]]:
        """Each cell with its arrays, or with the sentence that says why there are none."""
        maps = self.maps([c.given for c in cells if c.given.kind == "curves"])
        for cell in cells:
            task: Task = cell.given
            try:
                yield cell, self.measure(task, maps.get(task))
            except UnmetNeed as reason:
                yield cell, str(reason)
            except WhyrayError as error:
                if error.exit_code != 2:  # a full disk: no use to go on
                    raise
                self.failures.append(f"{task.chosen[0].case.id}, {cell.about}: {error}")
                yield cell, str(error)

    def maps(self, tasks: Sequence[Task]) -> dict[Task, Mapping[str, Attribution] | str]:
        """The maps of one picture, from the store or made now, or why there are none."""
        if not tasks:
            return {}
        radiograph, _ = self.at(tasks[0].chosen[0].case)
        frame, maker = self.classifier.prepare(radiograph).sha256, self.maker
        cells = {t: maker.cell(t.label, radiograph, t.chosen[0].findings, frame) for t in tasks}
        failed = run([list(cells.values())], maker.work, maker.store).failed
        out: dict[Task, Mapping[str, Attribution] | str] = {}
        for task, cell in cells.items():
            kept = maker.store.get(cell.key)
            out[task] = attributions(cell.facts, kept) if kept else failed.get(cell.key, "")
        return out

    def measure(self, task: Task, maps: Mapping[str, Attribution] | str | None) -> Arrays:
        """The arrays of one task. Raises UnmetNeed."""
        if task.label in self.maker.skipped:
            raise UnmetNeed(self.maker.skipped[task.label])
        explainer = self.maker.asked[task.label]
        check_needs(explainer, self.classifier, self.maker.asked)
        if task.kind == "weights":
            return self.weights(task.chosen, explainer)
        (chosen,) = task.chosen
        radiograph, context = self.at(chosen.case)
        if task.kind == "again":
            return again(explainer, self.classifier, radiograph, chosen.findings, self.trial, context)
        if maps is None or isinstance(maps, str):
            raise WhyrayError(maps or "there is no map")
        frame = self.classifier.prepare(radiograph)
        inputs = {f: at_input(maps[f], frame) for f in chosen.findings}
        return curves(self.classifier, frame, inputs, self.trial, context)

    def at(self, case: Case) -> tuple[Radiograph, Context]:
        """The radiograph, read once while its tasks are in turn, and a context that shares its passes."""
        if self._at is None or self._at[0] != case.id:
            self._at = case.id, case.radiograph(), Context(seed=self.maker.seed, cancelled=self.maker.cancelled)
        return self._at[1], self._at[2]

    def weights(self, few: Sequence[Chosen], explainer: Explainer) -> Arrays:
        """Similarity of the maps of forgetting copies, of each picture's own findings."""
        pictures, findings = [c.case.radiograph() for c in few], [c.findings for c in few]
        context, stages = Context(seed=self.maker.seed, cancelled=self.maker.cancelled), self.trial.stages
        return weight_dependence(explainer, self.classifier, pictures, findings, context, stages=stages).arrays()


def _runner(classifier: Classifier, trial: Trial) -> str:
    """Engine, precision and device of the passes behind curves."""
    from ..engine.backends import runner_for

    return runner_for(classifier, precision=trial.precision).name


def _points(means: Means) -> dict[str, list[float]]:
    return {"mean": means.mean.tolist(), "low": means.low.tolist(), "high": means.high.tolist(), "n": means.n.tolist()}


def _facts(classifier: Classifier, trial: Trial, seed: int, pairs: Pairs, chosen: Sequence[Chosen]) -> dict[str, Any]:
    patients = len({c.patient for c in chosen})
    facts = {
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint,
        "backend": _runner(classifier, trial),
        "trial": asdict(trial),
        "seed": seed,
        "pairs": pairs,
        "pictures": len(chosen),
        "patients": patients,
        "made again on": min(trial.few, len(chosen)),
    }
    if patients < FEW_PATIENTS:
        facts["caution"] = f"{patients} patients: intervals of so few are too narrow, and p-values too small"
    return facts
