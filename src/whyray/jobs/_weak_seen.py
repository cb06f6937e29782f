"""What a classifier makes of every picture, a cell each, and what explainers say of it: each picture is read once.

A picture is known by ``Case.source()``, so that a second run, or one with another generator, reads none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier, Dataset, Explainer
from ..engine.passes import passes
from ..errors import DataError, UnmetNeed, WhyrayError
from ..explanations import Statement
from ..models._predict import predictions
from ..patterns.site import Site, site_of
from ..types import Case, Radiograph, Report
from ._reads import read_by
from .explain import Plan, run_explainers
from .run import Cell, Made, run
from .store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

VERSION = 1
PIECE = 16
THUMB = 16  # side of the thumbnails that a simulator of pictures sees


@dataclass(frozen=True, eq=False)
class Voice:
    """An explainer that speaks: its specification, it and what it requires (label -> explainer), and the audience."""

    label: str
    asked: Mapping[str, Explainer]
    audience: str

    def facts(self, classifier: Classifier, seed: int) -> dict[str, Any]:
        """What its words depend on besides the classifier's weights and the picture."""
        made = {
            label: [e.name, e.version, dataclasses.asdict(e), read_by(e, classifier)] for label, e in self.asked.items()
        }
        return {"voice": self.label, "explainers": made, "audience": self.audience, "seed": seed}


@dataclass(frozen=True, eq=False)
class Seen:
    """n pictures as a classifier sees them.

    logits [n, f]; features: pooled [n, d]; thumbs [n, 256]; evidence [n, f, cells]: each cell's part of the logit,
    without cells where the read-out is not linear; called [n, f]: at or above the operating point.
    said       voice -> finding -> sentence, a dictionary a picture; "" where it has none.
    keys       of the cells; ``failures``: pictures that could not be read, one sentence each.
    """

    classifier: Classifier
    cases: tuple[Case, ...]
    store: Store
    keys: tuple[str, ...]
    logits: Array = field(repr=False)
    features: Array = field(repr=False)
    thumbs: Array = field(repr=False)
    evidence: Array = field(repr=False)
    called: NDArray[np.bool_] = field(repr=False)
    said: Mapping[str, Sequence[Mapping[str, str]]] = field(repr=False)
    failures: tuple[str, ...] = ()

    @property
    def patients(self) -> list[str]:
        """Of each picture; one without a patient is its own."""
        return [c.patient or c.id for c in self.cases]

    def maps(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """The last feature maps ``[b, d, h, w]`` of these pictures, as they were kept (half precision)."""
        held = [self.store.get(self.keys[i]) for i in rows]
        if any(r is None for r in held):
            raise DataError("a cell of this run was damaged while it ran; run again, and it is made anew")
        return np.stack([r["maps"] for r in held if r is not None]).astype(np.float32)


def look(
    classifier: Classifier,
    dataset: Dataset,
    cases: Sequence[Case],
    voices: Sequence[Voice],
    store: Store,
    seed: int,
    report: Report,
) -> Seen:
    """Have every picture and every sentence of the voices in the store. Raises DataError where no picture is left."""
    looker = _Looker(classifier, voices, store, seed)
    for start in range(0, len(cases), PIECE):
        looker.piece(cases[start : start + PIECE])
        report(min(start + PIECE, len(cases)), len(cases), "pictures")
    if not looker.kept:
        raise DataError(f"no picture of {dataset.name} could be read; give other pictures")
    return looker.seen()


def called_of(classifier: Classifier, logits: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Which findings are at or above their operating point, ``[n, f]``."""
    told = predictions(logits, classifier.findings, classifier.card)
    return np.array([[p.positive for p in row] for row in told]).reshape(logits.shape)


class _Looker:
    """What all pictures of one run share, and what was kept of them."""

    def __init__(self, classifier: Classifier, voices: Sequence[Voice], store: Store, seed: int) -> None:
        self.classifier, self.voices, self.store, self.seed = classifier, voices, store, seed
        self.about = {"version": VERSION, "classifier": classifier.fingerprint, "backend": classifier.backend}
        self.spoken = {v.label: v.facts(classifier, seed) for v in voices}
        self.site = _site(classifier)
        self.kept: list[tuple[Case, str, dict[str, Any]]] = []
        self.said: dict[str, list[dict[str, str]]] = {v.label: [] for v in voices}
        self.failures: list[str] = []

    def piece(self, cases: Sequence[Case]) -> None:
        """A few pictures: their cells, then those of every voice."""
        read: dict[str, Radiograph] = {}
        cells = list(self._cells(cases))
        ran = run([cells], partial(self._pictures, read), self.store)
        self.failures += ran.failed.values()
        there = [(c, r) for c in cells if (r := self.store.get(c.key)) is not None]
        for cell, result in there:
            self.kept.append((cell.given, cell.key, {k: v for k, v in result.arrays.items() if k != "maps"}))
        for voice in self.voices:
            called = [self._called(result["logits"]) for _, result in there]
            about = {**self.about, **self.spoken[voice.label], "kind": "weak-voice"}
            spoken = [
                Cell({**about, "case": c.facts["case"], "findings": f}, c.about, c)
                for (c, _), f in zip(there, called, strict=True)
            ]
            run([spoken], partial(self._words, voice, read), self.store)
            for cell in spoken:
                held = self.store.get(cell.key)
                words = held["texts"].tolist() if held is not None else []
                self.said[voice.label].append(dict(zip(cell.facts["findings"], words, strict=False)))

    def seen(self) -> Seen:
        """Everything that was kept."""
        joined = {name: np.stack([a[name] for _, _, a in self.kept]).astype(np.float64) for name in self.kept[0][2]}
        return Seen(
            classifier=self.classifier,
            cases=tuple(c for c, _, _ in self.kept),
            store=self.store,
            keys=tuple(key for _, key, _ in self.kept),
            called=called_of(self.classifier, joined["logits"]),
            said=self.said,
            failures=tuple(self.failures),
            **joined,
        )

    def _cells(self, cases: Sequence[Case]) -> Iterator[Cell]:
        for case in cases:
            try:
                yield Cell({**self.about, "kind": "weak-picture", "case": case.source()}, case.id, case)
            except WhyrayError as error:
                if error.exit_code != 2:
                    raise
                self.failures.append(f"{case.id}: {error}")

    def _called(self, logits: NDArray[np.floating[Any]]) -> list[str]:
        on = called_of(self.classifier, logits[None])[0]
        return [f for f, c in zip(self.classifier.findings, on, strict=True) if c]

    def _pictures(self, read: dict[str, Radiograph], cells: Sequence[Cell]) -> Iterator[tuple[Cell, Made]]:
        there: list[Cell] = []
        frames = []
        for cell in cells:
            try:
                read[cell.given.id] = cell.given.radiograph()
                frames.append(self.classifier.prepare(read[cell.given.id]).pixels)
                there.append(cell)
            except WhyrayError as error:
                if error.exit_code != 2:
                    raise
                yield cell, f"{cell.about}: {error}"
        if there:
            yield from zip(there, self._arrays(np.stack(frames)), strict=True)

    def _arrays(self, x: NDArray[np.float32]) -> Iterator[dict[str, NDArray[Any]]]:
        for part, logits, taps in passes(self.classifier, x, ("features",), batch=PIECE):
            for pixels, row, maps in zip(x[part], logits, taps["features"], strict=True):
                yield {
                    "logits": row,
                    "features": maps.mean((1, 2)),
                    "thumbs": _thumb(pixels),
                    "evidence": _evidence(maps, self.site),
                    "maps": maps.astype(np.float16),
                }

    def _words(self, voice: Voice, read: dict[str, Radiograph], cells: Sequence[Cell]) -> Iterator[tuple[Cell, Made]]:
        plan = Plan(explainers=tuple(voice.asked), seed=self.seed, audience=voice.audience)
        for cell in cells:
            findings, case = cell.facts["findings"], cell.given.given
            texts: list[str] = []
            if findings:
                if case.id not in read:
                    read[case.id] = case.radiograph()
                (made,) = run_explainers(self.classifier, [read[case.id]], findings, voice.asked, plan, 0.0)
                found = [made[f][voice.label] for f in findings]
                texts = [e.text if isinstance(e, Statement) else "" for e in found]
            yield cell, {"texts": np.array(texts, dtype=np.str_)}


def _site(classifier: Classifier) -> Site | None:
    """Where the logits are a linear read-out of cells of the features, or None."""
    try:
        site = site_of(classifier)
    except UnmetNeed:
        return None
    return site if site.tap_out == "features" and site.cells > 1 else None


def _evidence(maps: NDArray[np.float32], site: Site | None) -> NDArray[np.float32]:
    """Each cell's part of each logit, ``[f, cells]``; no cells without a linear read-out."""
    if site is None:
        return np.zeros((0, 0), np.float32)
    return np.asarray(site.weights @ maps.reshape(len(maps), -1), np.float32)


def _thumb(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The model input ``[c, h, w]`` as means of 16 x 16 patches of its mean channel, flat."""
    grey = pixels.mean(axis=0)
    edges = [np.linspace(0, side, THUMB + 1).astype(int)[:-1] for side in grey.shape]
    sums = np.add.reduceat(np.add.reduceat(grey, edges[0], axis=0), edges[1], axis=1)
    areas = np.outer(*(np.diff([*e, side]) for e, side in zip(edges, grey.shape, strict=True)))
    return np.asarray((sums / areas).ravel(), np.float32)
