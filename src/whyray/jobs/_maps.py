"""Maps as cells: what a map depends on, making those that are missing, and reading them back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier, Context, Explainer
from ..errors import MissingExtra, UnmetNeed, WhyrayError
from ..explanations import Attribution, Explanation
from ..types import Provenance, Radiograph
from ._reads import read_by
from .explain import in_order, unable
from .run import Cell, Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .store import Result, Store

DEAR = 20  # forward passes a picture


@dataclass(frozen=True, eq=False)
class Asked:
    """Whose map of which findings: what a map cell is given."""

    label: str
    radiograph: Radiograph
    findings: tuple[str, ...]


def map_arrays(made: Mapping[str, Explanation]) -> dict[str, NDArray[Any]]:
    """What a map cell holds; the first axis is the finding."""
    maps: list[Attribution] = [e.attribution() for e in made.values()]  # type: ignore[attr-defined]
    return {
        "values": np.stack([m.values for m in maps]),
        "to_source": np.stack([m.to_source for m in maps]),
        "source_shape": np.array(maps[0].source_shape),
        "unit": np.array([m.unit for m in maps]),
        "signed": np.array([m.signed for m in maps]),
        "seconds": np.array(maps[0].provenance.seconds),
        **check_arrays(list(made.values())),
    }


def check_arrays(made: Sequence[Explanation]) -> dict[str, NDArray[Any]]:
    """``check_NAME`` -> ``[f]`` of each finding's explanation."""
    return {f"check_{n}": np.array([e.checks.get(n, np.nan) for e in made]) for n in made[0].checks}


@dataclass(frozen=True, eq=False)
class Maker:
    """Makes the cells of one run that hold explanations: maps, or what ``arrays`` makes of them, as cells of ``kind``.

    ``asked`` is label -> explainer; ``skipped`` fills with label -> why not.
    """

    classifier: Classifier
    asked: Mapping[str, Explainer]
    seed: int
    store: Store
    cancelled: Callable[[], bool] = field(default=lambda: False)
    skipped: dict[str, str] = field(default_factory=dict)
    kind: str = "map"
    arrays: Callable[[Mapping[str, Explanation]], Mapping[str, NDArray[Any]]] = map_arrays
    engines: dict[tuple[Any, Any], str] = field(default_factory=dict)
    read: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def cell(self, label: str, radiograph: Radiograph, findings: Sequence[str], frame_sha256: str) -> Cell:
        """The cell of one explainer's maps of one radiograph: all findings of one call."""
        explainer = self.asked[label]
        facts = {
            "kind": self.kind,
            "image": radiograph.sha256,
            "frame": frame_sha256,
            "explainer": explainer.name,
            "version": explainer.version,
            "settings": dataclasses.asdict(explainer),
            "seed": self.seed,
            "classifier": self.classifier.fingerprint,
            "backend": self._backend(explainer),
            "findings": list(findings),
            **self.reads(label),
        }
        return Cell(facts, f"{label}, {radiograph.name}", Asked(label, radiograph, tuple(findings)))

    def reads(self, label: str) -> Mapping[str, Any]:
        """What the explainer reads besides pictures and classifier (``read_by``): other content is another cell."""
        if label not in self.read:
            self.read[label] = read_by(self.asked[label], self.classifier)
        return self.read[label]

    def _backend(self, explainer: Explainer) -> str:
        """What runs the passes: "auto" is another engine, or precision, on another machine, and so another cell."""
        backend: Any = getattr(explainer, "backend", None)
        precision: Any = getattr(explainer, "precision", "auto")
        own = self.classifier.backend  # names the layer of "features" too
        if backend is None:
            return own
        if (backend, precision) not in self.engines:
            from ..engine.backends import runner_for

            try:
                self.engines[backend, precision] = runner_for(self.classifier, backend, precision).name
            except (UnmetNeed, MissingExtra):  # said again, with the reason, where it is made
                self.engines[backend, precision] = str(backend)
        used = self.engines[backend, precision]
        return own if own.startswith(used) else f"{own} + {used}"

    def check(self) -> None:
        """Fill ``skipped`` with what cannot work with this classifier. Raises UnmetNeed where controls alone can: a
        table of them answers nothing."""
        wanted = [label for label, explainer in self.asked.items() if not explainer.control]
        self.skipped.update(unable(self.asked, self.classifier, wanted))

    def work(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Made]]:
        """Make the maps of a few radiographs: all explainers share what is paid, equal findings share the passes."""
        paid: dict[bytes, NDArray[np.float32]] = {}
        earlier: dict[tuple[str, str, str], Explanation] = {}
        context = Context(seed=self.seed, paid=paid, earlier=earlier, cancelled=self.cancelled)
        for label, explainer in in_order(self.asked).items():
            mine = sorted((c for c in cells if c.given.label == label), key=lambda c: c.given.findings)
            for findings, members in groupby(mine, key=lambda c: c.given.findings):
                for part in _calls(list(members), explainer.passes(len(findings))):
                    for cell, made in self._explained(label, explainer, findings, part, context):
                        if isinstance(made, str):
                            yield cell, made
                            continue
                        earlier |= {(cell.given.radiograph.sha256, f, label): e for f, e in made.items()}
                        yield cell, self.arrays(made)

    def _explained(
        self, label: str, explainer: Explainer, findings: tuple[str, ...], cells: Sequence[Cell], context: Context
    ) -> Iterator[tuple[Cell, dict[str, Explanation] | str]]:
        """Each cell with its explanations. Where several fail together, each is tried alone."""
        if label in self.skipped:
            return
        try:
            made = explainer.explain(self.classifier, [c.given.radiograph for c in cells], findings, context)
        except UnmetNeed as reason:
            self.skipped[label] = str(reason)
        except WhyrayError as error:
            if error.exit_code != 2:  # a full disk: no use to go on
                raise
            if len(cells) == 1:
                yield cells[0], f"{cells[0].about}: {error}"
            else:
                for cell in cells:
                    yield from self._explained(label, explainer, findings, [cell], context)
        else:
            yield from zip(cells, made, strict=True)


def _calls(cells: list[Cell], passes: float) -> list[list[Cell]]:
    """All in one call, or one each where a picture takes long: what is stopped then loses one picture, not a batch."""
    return [cells] if passes < DEAR else [[cell] for cell in cells]


def attributions(facts: Mapping[str, Any], result: Result) -> dict[str, Attribution]:
    """finding -> map, from a map cell."""
    made = provenance_of(facts, result)
    h, w = (int(side) for side in result["source_shape"])
    return {
        finding: Attribution(
            finding=finding,
            provenance=made,
            values=result["values"][i],
            to_source=result["to_source"][i],
            source_shape=(h, w),
            unit=str(result["unit"][i]),  # type: ignore[arg-type]
            signed=bool(result["signed"][i]),
        )
        for i, finding in enumerate(facts["findings"])
    }


def provenance_of(facts: Mapping[str, Any], result: Result) -> Provenance:
    """How the explanations of a cell were made."""
    return Provenance(
        explainer=facts["explainer"],
        version=facts["version"],
        settings=facts["settings"],
        seed=facts["seed"],
        fingerprint=facts["classifier"],
        image_sha256=facts["image"],
        frame_sha256=facts["frame"],
        backend=facts["backend"],
        seconds=float(result["seconds"]),
        whyray="",
    )
