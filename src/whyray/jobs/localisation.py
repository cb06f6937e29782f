"""Measure on a data set whether maps lie where experts saw the finding; every map and every score is a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..contracts import Classifier, Dataset
from ..engine.passes import predict
from ..errors import DataError, WhyrayError
from ..findings import facts as finding_facts
from ..types import Case, Radiograph, Report, array_hash
from ._located import VERSION, how, located, nothing_drawn, truths
from ._mapped import mapped
from ._maps import Maker, attributions
from ._tables import Tables, tables
from .explain import finding_of
from .files import silent
from .plan import OPERATING, EvaluationPlan
from .run import Cell, Made, run
from .store import Store

if TYPE_CHECKING:
    from ._located import Bits

CONTROLS = ("edges", "centre", "random")
DEFAULT = ("gradcam", "lime", "lrp", "shap")
TUNING_CASES = 100  # validation pictures with a region on which thresholds are tuned, at most
TUNING = (
    "thresholds of the mode tuned come from the validation split ({all} pictures): its first {most} with a region are "
    "read, and the count ends early where fewer have one; what an earlier run made is not counted again"
)


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture of the table.

    truth       findings whose regions experts drew, in the classifier's order.
    false_calls findings that the model calls and the data set says are absent: 0 in the full IoU of every method.
    probability, called  of each finding of ``truth``.
    present     findings labelled 1 or drawn, without those that only follow from another one (its parents).
    scores      explainer -> key of its cell of scores; ``maps``: of its maps, as facts.
    """

    case: Case
    name: str
    truth: tuple[str, ...]
    false_calls: tuple[str, ...]
    probability: Mapping[str, float]
    called: Mapping[str, bool]
    present: tuple[str, ...]
    scores: Mapping[str, str] = field(default_factory=dict)
    maps: Mapping[str, Cell] = field(default_factory=dict)

    @property
    def patient(self) -> str:
        """Who it shows; the case itself where the data set does not say."""
        return self.case.patient or self.case.id

    @property
    def several(self) -> bool:
        """More than one finding is present."""
        return len(self.present) > 1


@dataclass(frozen=True, eq=False)
class Measured:
    """The pictures of one split, with what could not be done. ``failures``: one sentence each; ``unused``: region name
    -> pictures; ``unmarked``: finding -> pictures labelled present without a region, which are in no mean."""

    subjects: tuple[Subject, ...]
    pictures: int
    failures: tuple[str, ...]
    unused: Mapping[str, int]
    unmarked: Mapping[str, int]
    made: int
    kept: int


@dataclass(frozen=True, eq=False)
class Localisation:
    """What was measured: ``tables`` (rows, comparisons, curves), why explainers were ``skipped``, ``failures`` of
    single pictures, and the ``facts`` that belong beside every figure."""

    plan: EvaluationPlan
    tables: Tables
    measured: Measured = field(repr=False)
    skipped: Mapping[str, str]
    controls: tuple[str, ...]
    facts: Mapping[str, Any]

    @property
    def failures(self) -> tuple[str, ...]:
        """One sentence a picture, or map of a picture, that could not be made."""
        return self.measured.failures


def evaluate_localisation(
    classifier: Classifier,
    dataset: Dataset,
    plan: EvaluationPlan,
    store: Store,
    *,
    report: Report = silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Localisation:
    """Every explainer of the plan and the controls on every picture with an expert's region. Interrupt it and call it
    again: what is in ``store`` is not made twice.

    Raises UnknownName and SettingError before any work, UnmetNeed where none but controls works with this classifier,
    DataError where no picture has a region of a finding.
    """
    asked = mapped(plan.explainers or DEFAULT, CONTROLS)
    wanted = regions_wanted(classifier, plan)
    maker = Maker(classifier, asked, plan.seed, store, cancelled)
    maker.check()
    bench = _Bench(maker, plan, wanted)
    cases = plan.chosen(dataset.cases())
    measured = bench.measure(cases, report)
    if not any(s.truth for s in measured.subjects):
        raise nothing_drawn(dataset.name, tuple(wanted), measured.unused)
    tuning, failed, why_not = _tuning(bench, dataset, cases, report)
    measured = replace(measured, failures=(*measured.failures, *failed))
    labels = tuple(label for label in asked if label not in maker.skipped)
    controls = tuple(label for label in labels if asked[label].control)
    facts = {
        "dataset": dataset.name,
        "classifier": classifier.name,
        "fingerprint": classifier.fingerprint,
        "backend": classifier.backend,
        "map": {f: list(r) for f, r in wanted.items() if any(f in s.truth for s in measured.subjects)},
        "where": dict(plan.where),
        "pictures": measured.pictures,
        "with_regions": sum(bool(s.truth) for s in measured.subjects),
        "patients": len({s.patient for s in measured.subjects if s.truth}),
        "signs": {label: plan.localisation.sign_of(label) for label in labels},
        "not_tuned": why_not,
        "regions_not_used": dict(measured.unused),
        "present_without_region": dict(measured.unmarked),
    }
    made = tables(measured.subjects, tuning, labels, controls, plan, store)
    return Localisation(plan, made, measured, maker.skipped, controls, facts)


def regions_wanted(classifier: Classifier, plan: EvaluationPlan) -> dict[str, tuple[str, ...]]:
    """finding of the classifier -> names of regions that count as it: the plan's, else its own name."""
    for finding in plan.map:
        finding_of(classifier, finding)
    chosen = tuple(dict.fromkeys(finding_of(classifier, f) for f in plan.findings)) or classifier.findings
    return {f: plan.map.get(f, (f,)) for f in classifier.findings if f in chosen}


def most_specific(present: Sequence[str]) -> tuple[str, ...]:
    """Findings without those that only follow from another one: a consolidation makes a lung opacity, and is one
    finding, not two."""

    def ancestors(finding: str) -> Iterator[str]:
        parent = finding_facts(finding).parent
        while parent is not None:
            yield parent
            parent = finding_facts(parent).parent

    implied = {a for f in present for a in ancestors(f)}
    return tuple(f for f in present if f not in implied and f != "no_finding")


class _Bench:
    """What all pictures of one run share."""

    def __init__(self, maker: Maker, plan: EvaluationPlan, wanted: Mapping[str, tuple[str, ...]]) -> None:
        self.maker, self.plan, self.wanted = maker, plan, wanted
        self.classifier = maker.classifier

    def measure(self, cases: Sequence[Case], report: Report, at_most: int | None = None) -> Measured:
        """Have the scores of all cases in the store, a batch of radiographs at a time.

        ``at_most``: stop at so many pictures with a region or a false call, and count those that are not kept from
        before; else every picture is counted.
        """
        subjects: list[Subject] = []
        failures: list[str] = []
        unused: dict[str, int] = {}
        unmarked: dict[str, int] = {}
        read = made = kept = 0
        for start in range(0, len(cases), self.plan.batch):
            if at_most is not None and len(subjects) >= at_most:
                break
            group: list[Cell] = []
            for case in cases[start : start + self.plan.batch]:
                try:
                    subject, cells, names = self._subject(case)
                except WhyrayError as error:
                    if error.exit_code != 2:
                        raise
                    failures.append(f"{case.id}: {error}")
                    continue
                read += 1
                for name in names:
                    unused[name] = unused.get(name, 0) + 1
                for finding in self.wanted:
                    if case.labels.get(finding) == 1 and finding not in subject.truth:
                        unmarked[finding] = unmarked.get(finding, 0) + 1
                if subject.truth or subject.false_calls:
                    subjects.append(subject)
                group += cells
            done = run([group], lambda missing: self._scored(missing, failures), self.maker.store)
            made, kept = made + done.made, kept + done.kept
            if at_most is None:
                report(min(start + self.plan.batch, len(cases)), len(cases), "pictures")
            elif done.made:
                report(min(len(subjects), at_most), min(at_most, len(cases)), "pictures of the validation split")
        return Measured(tuple(subjects), read, tuple(failures), unused, unmarked, made, kept)

    def _subject(self, case: Case) -> tuple[Subject, list[Cell], set[str]]:
        """A picture with its cells of scores, and the names of its regions that are not used."""
        radiograph = replace(case.radiograph(), name=case.id)
        truth, names = truths(case.regions(), radiograph.shape, self.wanted)
        said = {p.finding: p for p in predict(self.classifier, [radiograph])[0]}
        cutoff = self.plan.localisation.cutoff
        called = {f: p.positive if cutoff == OPERATING else p.probability >= cutoff for f, p in said.items()}
        absent = [f for f in self.wanted if f not in truth and case.labels.get(f) == 0]
        subject = Subject(
            case,
            radiograph.name,
            tuple(truth),
            tuple(f for f in absent if called[f]),
            {f: said[f].probability for f in truth},
            {f: called[f] for f in truth},
            most_specific([*dict.fromkeys((*(f for f, label in case.labels.items() if label == 1), *truth))]),
        )
        cells = self._cells(radiograph, truth) if truth else {}
        maps = {label: cell.given[0] for label, cell in cells.items()}
        keys = {label: cell.key for label, cell in cells.items()}
        return replace(subject, scores=keys, maps=maps), list(cells.values()), names

    def _cells(self, radiograph: Radiograph, truth: Mapping[str, Bits]) -> dict[str, Cell]:
        """explainer -> its cell of scores, which is given the cell of maps it needs."""
        frame = self.classifier.prepare(radiograph).sha256
        settings = self.plan.localisation
        hashes = {f: array_hash(mask) for f, mask in truth.items()}
        cells = {}
        for label in self.maker.asked:
            if label in self.maker.skipped:
                continue
            maps = self.maker.cell(label, radiograph, tuple(truth), frame)
            facts = {
                "kind": "localisation",
                "version": VERSION,
                "map": maps.key,
                "truth": hashes,
                **how(settings, label, radiograph.spacing_mm),
            }
            cells[label] = Cell(facts, maps.about, (maps, radiograph, truth))
        return cells

    def _scored(self, cells: Sequence[Cell], failures: list[str]) -> Iterator[tuple[Cell, Made]]:
        """Have the maps of these cells, then score each. A map that failed points nowhere; that is not kept."""
        failed = run([[c.given[0] for c in cells]], self.maker.work, self.maker.store).failed
        failures += failed.values()
        for cell in cells:
            maps, radiograph, truth = cell.given
            result = self.maker.store.get(maps.key)
            if result is None:
                yield cell, failed.get(maps.key, "skipped")
                continue
            found = attributions(maps.facts, result)
            label = maps.given.label
            yield cell, located(found, truth, self.plan.localisation, label, radiograph.spacing_mm)


def _tuning(
    bench: _Bench, dataset: Dataset, cases: Sequence[Case], report: Report
) -> tuple[tuple[Subject, ...], tuple[str, ...], str | None]:
    """Pictures of the validation split to tune thresholds on, which could not be read, and why there are none."""
    if "tuned" not in bench.plan.localisation.modes:
        return (), (), None
    if any(case.split == "val" for case in cases):
        return (), (), "the pictures that are scored include the validation split; score #test"
    try:
        validation = replace(bench.plan, limit=None).chosen(getattr(dataset, "whole", dataset).cases("val"))
    except DataError as error:
        return (), (), str(error)
    report(0, 0, TUNING.format(most=min(TUNING_CASES, len(validation)), all=len(validation)))
    found = bench.measure(validation, report, TUNING_CASES)
    marked = tuple(s for s in found.subjects if s.truth)[:TUNING_CASES]
    return marked, found.failures, None if marked else "the validation split has no regions of these findings"
