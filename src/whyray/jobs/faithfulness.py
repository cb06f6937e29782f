"""Measure on a data set whether maps show what the classifier uses: curves, agreement, stability, random weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..contracts import Classifier, Context, Explainer
from ..engine.passes import predict
from ..errors import DataError, InputError, UnmetNeed
from ..metrics._intervals import REPLICATES, Means
from ..metrics.significance import Difference
from ..registry import explainer as explainer_from
from ..types import Case, Radiograph, Report, Score
from ._faithful import CURVES, Trial, again, at_input, curves
from ._faithful_scores import Arrays, Cell, Chosen, cascades_of, mean_curves, notes_of, rows_of, table, union
from ._randomised import weight_dependence
from .explain import check_needs, finding_of
from .files import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

Pairs = Literal["predicted", "present", "all"]
CONTROLS = ("edges", "centre", "random")


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """What was measured.

    scores       one a finding x metric x explainer, and "mean" over findings; 95 % intervals by patient.
    differences  metric -> comparisons of explainers on that mean, Holm-corrected within the metric.
    curves       "deletion" | "insertion" | "road_most" | "road_least" -> explainer -> mean curve.
    cascade      explainer -> (random layers at each stage ``[s]``, mean Spearman there).
    skipped      explainer -> why it could not be measured.
    failures     one sentence a picture that could not be read.
    facts        trial, seed, which pairs, classifier and its fingerprint, number of pictures.
    """

    scores: tuple[Score, ...]
    differences: Mapping[str, Sequence[Difference]]
    curves: Mapping[str, Mapping[str, Means]] = field(repr=False)
    cascade: Mapping[str, tuple[NDArray[np.int64], Means]] = field(repr=False)
    skipped: Mapping[str, str]
    failures: tuple[str, ...]
    facts: Mapping[str, Any]


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
    report: Report = silent,
) -> Faithfulness:
    """Deletion, insertion, ROAD and sensitivity-n of every picture; max-sensitivity, seeds and random layers on a few.

    explainers  ``name`` or ``name:key=value,...``; the controls edges, centre and random are always added.
    findings    any spelling; empty = all of the classifier's.
    pairs       which findings of a picture: those the classifier calls ("predicted": there is a positive answer to
                explain), those labelled 1 ("present"), or "all".
    Raises UnknownName, SettingError, DataError where no picture and finding is left to measure.
    """
    trial = trial or Trial()
    asked = {spec: explainer_from(spec) for spec in dict.fromkeys((*explainers, *CONTROLS))}
    wanted = tuple(dict.fromkeys(finding_of(classifier, f) for f in findings)) or classifier.findings
    chosen, failures = choose_pairs(classifier, cases, wanted, pairs)
    if not chosen:
        raise DataError(f"no picture has a finding to explain (pairs={pairs!r}); give other pictures, or pairs='all'")
    bench = _Bench(classifier, trial, seed)
    cells = plan_cells(chosen, asked, trial)
    done = run_cells(bench, cells, asked, report)
    rows = rows_of(done)
    controls = {label for label, e in asked.items() if e.control}
    scores, differences = table(rows, trial, controls, notes=notes_of(done), seed=seed, replicates=replicates)
    whole = {label: [r for r in members if "deletion" in r.arrays] for label, members in rows.items()}
    return Faithfulness(
        scores=tuple(scores),
        differences=differences,
        curves={name: mean_curves(whole, trial, name, seed=seed) for name in CURVES},
        cascade=cascades_of(done, seed),
        skipped={cell.label: made for cell, made in done.items() if isinstance(made, str) and cell.kind == "curves"},
        failures=tuple(failures),
        facts=_facts(classifier, trial, seed, pairs, chosen),
    )


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
            chosen.append(Chosen(case, mine))
    return chosen, failures


class _Bench:
    """What all cells of one run share: the classifier, the trial, and the picture at hand with what was paid for it."""

    def __init__(self, classifier: Classifier, trial: Trial, seed: int) -> None:
        self.classifier, self.trial, self.seed = classifier, trial, seed
        self._at: tuple[str, Radiograph, Context] | None = None

    def at(self, case: Case) -> tuple[Radiograph, Context]:
        """The radiograph, read once while its cells are in turn, and a context that shares its passes."""
        if self._at is None or self._at[0] != case.id:
            self._at = case.id, case.radiograph(), Context(seed=self.seed)
        return self._at[1], self._at[2]

    def measure(self, cell: Cell, explainer: Explainer) -> Arrays:
        """The arrays of one cell. Raises UnmetNeed."""
        if cell.kind == "weights":
            return self.weights(cell.chosen, explainer)
        (chosen,) = cell.chosen
        return (self.curves if cell.kind == "curves" else self.again)(chosen, explainer)

    def curves(self, chosen: Chosen, explainer: Explainer) -> Arrays:
        """Raw logits of every curve, and sensitivity-n."""
        radiograph, context = self.at(chosen.case)
        (made,) = explainer.explain(self.classifier, [radiograph], chosen.findings, context)
        frame = self.classifier.prepare(radiograph)
        maps = {f: at_input(made[f], frame) for f in chosen.findings}
        return curves(self.classifier, frame, maps, self.trial, context)

    def again(self, chosen: Chosen, explainer: Explainer) -> Arrays:
        """Max-sensitivity and stability over seeds."""
        radiograph, context = self.at(chosen.case)
        return again(explainer, self.classifier, radiograph, chosen.findings, self.trial, context)

    def weights(self, few: Sequence[Chosen], explainer: Explainer) -> Arrays:
        """Similarity of the maps of forgetting copies, of every finding that any of the pictures has."""
        findings = union(few)
        pictures = [c.case.radiograph() for c in few]
        context = Context(seed=self.seed)
        found = weight_dependence(explainer, self.classifier, pictures, findings, context, stages=self.trial.stages)
        return found.arrays()


def plan_cells(chosen: Sequence[Chosen], asked: Iterable[str], trial: Trial) -> list[Cell]:
    """Picture by picture, so that what was paid for a picture serves all explainers; random layers last."""
    few = tuple(chosen[: trial.few])
    cells = [
        Cell(kind, label, (c,))
        for c in chosen
        for kind in (("curves", "again") if c in few else ("curves",))
        for label in asked
    ]
    return cells + [Cell("weights", label, few) for label in asked if few]


def run_cells(
    bench: _Bench, cells: Sequence[Cell], asked: Mapping[str, Explainer], report: Report
) -> dict[Cell, Arrays | str]:
    """What each cell measured, or why it cannot; an explainer that cannot work here is not asked again."""
    done: dict[Cell, Arrays | str] = {}
    refused: dict[tuple[str, str], str] = {}
    for number, cell in enumerate(cells):
        reason = refused.get((cell.label, "curves")) or refused.get((cell.label, cell.kind))
        if reason is None:
            try:
                check_needs(asked[cell.label], bench.classifier, asked)
                done[cell] = bench.measure(cell, asked[cell.label])
            except UnmetNeed as unmet:
                reason = refused[cell.label, cell.kind] = str(unmet)
        if reason is not None:
            done[cell] = reason
        report(number + 1, len(cells), f"{cell.kind} of {cell.label}")
    return done


def _facts(classifier: Classifier, trial: Trial, seed: int, pairs: Pairs, chosen: Sequence[Chosen]) -> dict[str, Any]:
    return {
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint,
        "backend": classifier.backend,
        "trial": asdict(trial),
        "seed": seed,
        "pairs": pairs,
        "pictures": len(chosen),
        "patients": len({c.patient for c in chosen}),
        "again_on": min(trial.few, len(chosen)),
    }
