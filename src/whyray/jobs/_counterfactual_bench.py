"""The cells of a counterfactual run: the paths, their measures, and where the maps of all explainers lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..contracts import Dataset
from ..engine.passes import predict
from ..errors import WhyrayError
from ..explanations import Attribution, MapMode
from ..types import Case, Prediction, Radiograph, Report, array_hash
from ._changes import VERSION, Scene, measured
from ._located import VERSION as LOCATED
from ._located import how, located, truths
from ._maps import Maker, attributions
from ._paths import paths
from .localisation import Subject, most_specific
from .plan import EvaluationPlan, Localise
from .run import Cell, Made, run
from .store import Result

if TYPE_CHECKING:
    from ..models._autoencoders import Autoencoder
    from ._located import Arrays, Bits


@dataclass(frozen=True, eq=False)
class Pictured:
    """One picture of the table.

    findings  labelled 1 or drawn by experts, in the classifier's order: each has a counterfactual.
    positive  those of them that the classifier calls: the true positives.
    located   the same picture for where its maps lie.
    measures  counterfactual explainer -> key of its cell of measures; ``paths``: of the counterfactuals themselves.
    twins     finding -> the same picture without it, where that is known.
    """

    case: Case
    findings: tuple[str, ...]
    positive: frozenset[str]
    located: Subject
    measures: Mapping[str, str]
    paths: Mapping[str, Cell]
    twins: Mapping[str, Case]

    @property
    def patient(self) -> str:
        """Who it shows; the case itself where the data set does not say."""
        return self.case.patient or self.case.id


@dataclass(frozen=True, eq=False)
class Task:
    """What a cell of figures is given: the cell it reads, and how it makes them of what that holds."""

    source: Cell
    make: Callable[[Result], Arrays]


def calls(said: Prediction) -> bool:
    """Whether the classifier calls a finding: at its operating point, else above the prevalence that its probability is
    calibrated to, else at 0.5."""
    if said.threshold is None and said.prevalence is not None:
        return said.probability > said.prevalence
    return said.positive


def rule_of(said: Prediction) -> str:
    """What ``calls`` compares this finding's probability with."""
    if said.threshold is not None:
        return f"operating point {said.threshold:.3g}"
    return "0.5" if said.prevalence is None else f"prevalence {said.prevalence:.3g}"


class Bench:
    """What all pictures of one run share.

    maker, painter  make maps, and counterfactuals. autoencoders: counterfactual explainer -> its autoencoder, None
    where it has none. read: pictures; rules: finding -> what "called" means for it; failures: one sentence each.
    """

    def __init__(
        self,
        maker: Maker,
        painter: Maker,
        dataset: Dataset,
        plan: EvaluationPlan,
        wanted: Mapping[str, tuple[str, ...]],
        autoencoders: Mapping[str, Autoencoder | None],
    ) -> None:
        self.maker, self.painter, self.dataset, self.plan = maker, painter, dataset, plan
        self.wanted, self.autoencoders = wanted, autoencoders
        self.classifier, self.store = maker.classifier, maker.store
        self.failures: list[str] = []
        self.rules: dict[str, str] = {}
        self.read = 0

    @property
    def drawing(self) -> tuple[str, ...]:
        """Explainers that give counterfactuals."""
        return tuple(label for label in self.autoencoders if label not in self.maker.skipped)

    def maps(self) -> dict[str, tuple[str, MapMode | None]]:
        """name in the tables -> (explainer, map of its path; None where it gives a map itself); controls last."""
        own: dict[str, tuple[str, MapMode | None]] = {
            f"{label} {mode}": (label, mode) for label in self.drawing for mode in self.plan.counterfactual.maps
        }
        others = [m for m in self.maker.asked if m not in self.autoencoders and m not in self.maker.skipped]
        return own | {label: (label, None) for label in others}

    def settings(self, name: str) -> Localise:
        """How the map of this name is scored: a path's is never negative, the others follow the sign policy."""
        label, mode = self.maps()[name]
        sign = "positive" if mode else self.plan.localisation.sign_of(label)
        return replace(self.plan.localisation, sign=sign, signs={})

    def measure(self, cases: Sequence[Case], report: Report) -> list[Pictured]:
        """Have all figures of all cases in the store, a batch of radiographs at a time."""
        pictures: list[Pictured] = []
        for start in range(0, len(cases), self.plan.batch):
            group: list[Cell] = []
            for case in cases[start : start + self.plan.batch]:
                try:
                    picture, cells = self._picture(case)
                except WhyrayError as error:
                    if error.exit_code != 2:
                        raise
                    self.failures.append(f"{case.id}: {error}")
                    continue
                self.read += 1
                pictures += [picture] if picture.findings else []
                group += cells
            run([group], self.work, self.store, cancelled=self.maker.cancelled)
            report(min(start + self.plan.batch, len(cases)), len(cases), "pictures")
        return pictures

    def work(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Made]]:
        """Have the maps and paths of these cells, then make the figures of each."""
        sources = {cell.given.source.key: cell.given.source for cell in cells}
        failed: dict[str, str] = {}
        for maker in (self.painter, self.maker):
            mine = [source for source in sources.values() if source.facts["kind"] == maker.kind]
            failed |= run([mine], maker.work, self.store).failed
        self.failures += failed.values()
        held: tuple[str, Result | None] = "", None
        for cell in cells:
            key = cell.given.source.key
            if held[0] != key:
                held = key, self.store.get(key)
            result = held[1]
            yield cell, cell.given.make(result) if result is not None else failed.get(key, "skipped")

    def maps_of(self, result: Result, mode: MapMode | None) -> dict[str, Attribution]:
        """finding -> map, from a cell of maps, or from one of paths."""
        if mode is None or result.facts["kind"] == self.maker.kind:
            return attributions(result.facts, result)
        made = paths(result.facts, result, self.classifier.findings)
        return {finding: path.attribution(mode) for finding, path in made.items()}

    def _picture(self, case: Case) -> tuple[Pictured, list[Cell]]:
        radiograph = replace(case.radiograph(), name=case.id)
        truth = truths(case.regions(), radiograph.shape, self.wanted)[0]
        labelled = not self.plan.counterfactual.drawn
        findings = tuple(f for f in self.wanted if f in truth or (labelled and case.labels.get(f) == 1))
        truth = {f: truth[f] for f in findings if f in truth}
        frame = self.classifier.prepare(radiograph).sha256
        drawn = {label: self.painter.cell(label, radiograph, findings, frame) for label in self.drawing if findings}
        twins = {f: twin for f in findings if (twin := self.dataset.twin(case, f)) is not None}
        measures = {label: self._measures(cell, truth, twins) for label, cell in drawn.items()}
        sources = {
            name: drawn[label] if mode else self.maker.cell(label, radiograph, tuple(truth), frame)
            for name, (label, mode) in (self.maps() if truth else {}).items()
        }
        places = {name: self._place(name, cell, radiograph, truth) for name, cell in sources.items()}
        subject = self._subject(case, radiograph, findings, truth)
        subject = replace(subject, scores={name: cell.key for name, cell in places.items()}, maps=sources)
        positive = frozenset(f for f in findings if subject.called[f])
        keys = {label: cell.key for label, cell in measures.items()}
        picture = Pictured(case, findings, positive, subject, keys, drawn, twins)
        return picture, [*measures.values(), *places.values()]

    def _subject(
        self, case: Case, radiograph: Radiograph, findings: Sequence[str], truth: Mapping[str, Bits]
    ) -> Subject:
        said = {p.finding: p for p in predict(self.classifier, [radiograph])[0] if p.finding in findings}
        self.rules |= {finding: rule_of(p) for finding, p in said.items()}
        probability, called = {f: p.probability for f, p in said.items()}, {f: calls(p) for f, p in said.items()}
        return Subject(case, radiograph.name, tuple(truth), (), probability, called, most_specific(findings))

    def _measures(self, path: Cell, truth: Mapping[str, Bits], twins: Mapping[str, Case]) -> Cell:
        """The cell of one explainer's measures."""
        label = path.given.label

        def make(result: Result) -> Arrays:
            made = paths(result.facts, result, self.classifier.findings)
            shown = {f: twin.radiograph() for f, twin in twins.items()}
            return measured(made, Scene(self.classifier, self.autoencoders[label], truth, shown))

        facts = {
            "kind": "counterfactual",
            "version": VERSION,
            "path": path.key,
            "truth": {f: array_hash(mask) for f, mask in truth.items()},
            "twins": {f: twin.id for f, twin in twins.items()},
        }
        return Cell(facts, f"measures of {path.about}", Task(path, make))

    def _place(self, name: str, source: Cell, radiograph: Radiograph, truth: Mapping[str, Bits]) -> Cell:
        """The cell of where one map lies, as ``evaluate localisation`` has it."""
        (label, mode), settings = self.maps()[name], self.settings(name)

        def make(result: Result) -> Arrays:
            return located(self.maps_of(result, mode), truth, settings, label, radiograph.spacing_mm)

        facts = {
            "kind": "localisation",
            "version": LOCATED,
            "map": source.key,
            "mode": mode,
            "truth": {f: array_hash(mask) for f, mask in truth.items()},
            **how(settings, label, radiograph.spacing_mm),
        }
        return Cell(facts, f"place of {source.about}", Task(source, make))
