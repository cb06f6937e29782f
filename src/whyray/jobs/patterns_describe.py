"""What the patterns of a bank are: galleries, what each adds to logits, what is enriched, category, statistical name.

FOLDER/artefact.*     the bank, whose patterns get their category and name
FOLDER/galleries/     images of each pattern by data set and case, and its evidence; no picture
FOLDER/cells/         what was computed of each batch of images, and anatomies; kept for the next run
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier
from ..errors import DataError, FingerprintError
from ..patterns.activations import ActivationStore
from ..patterns.attributes import anatomy_of, attributes
from ..patterns.bank import Pattern, PatternBank, load_bank, save_bank
from ..patterns.enrichment import Enriched, category_of, enrichments
from ..patterns.galleries import Fired, Gallery, from_maps, galleries, joined, save_galleries, strongest
from ..patterns.naming import statistical_name
from ..patterns.sums import decompose
from ..training.examples import dataset_of
from ..training.plan import Source
from ..types import Case, Report
from .files import silent
from .patterns_build import CELLS
from .store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = 1500  # of the store that a bank is described with; test splits are left out
ANATOMY = 400  # of these, whose anatomy is looked at: masks take longer than anything else, so they are kept
BATCH = 16
TOP = 20  # images over which the addition to a logit is averaged
GALLERIES = "galleries"


@dataclass(frozen=True, eq=False)
class Subjects:
    """Images of an activation store: their rows there, their cases, (data set, case id) and patients."""

    rows: NDArray[np.int64]
    cases: tuple[Case, ...] = field(repr=False)
    images: tuple[tuple[str, str], ...] = field(repr=False)
    patients: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Described:
    """A bank, and what is known of each of its patterns, in its order.

    effects  float32 ``[patterns, f]``: what a pattern adds to each logit, mean over its strongest images.
    """

    bank: PatternBank = field(repr=False)
    subjects: Subjects = field(repr=False)
    fired: Fired = field(repr=False)
    galleries: Sequence[Gallery] = field(repr=False)
    enriched: Sequence[Sequence[Enriched]] = field(repr=False)
    effects: NDArray[np.float32] = field(repr=False)


def describe(
    folder: Path,
    activations: Path,
    classifier: Classifier,
    *,
    images: int = IMAGES,
    anatomy: int = ANATOMY,
    kept: Path | None = None,
    report: Report = silent,
) -> Described:
    """Describe the bank in ``folder`` with images of an activation store, and write what was found into it.

    kept  the folder whose cells/ are used, in place of those in ``folder``.
    Interrupted and run again, it goes on where it was. Raises FingerprintError where bank and activations belong to
    other classifiers, DataError where the store has nothing outside test splits.
    """
    bank = load_bank(folder, classifier)
    subjects, made, effects = fired_on(kept or folder, bank, ActivationStore(activations), images, report)
    looked_at = every(subjects.cases, anatomy)
    body = _bodies(Store((kept or folder) / CELLS), classifier, bank.site.grid, looked_at, report)
    known = attributes(subjects.cases, bank.site.grid, body)
    found = enrichments(made, known, subjects.patients)
    shown = galleries(made, subjects.images, subjects.patients)
    told = zip(bank.patterns, found, strict=True)
    named = (replace(pattern, name=statistical_name(one), category=category_of(one)) for pattern, one in told)
    bank = replace(bank, patterns=tuple(named))
    described = Described(bank, subjects, made, shown, found, effects)
    write_description(folder, described)
    return described


def fired_on(
    folder: Path, bank: PatternBank, store: ActivationStore, images: int = IMAGES, report: Report = silent
) -> tuple[Subjects, Fired, NDArray[np.float32]]:
    """(images of a store, what every pattern did on them, what it adds to each logit ``[patterns, f]``)."""
    if store.fingerprint != bank.fingerprint:
        raise FingerprintError(
            f"the bank in {folder} and the activations in {store.folder} belong to different classifiers; "
            "write the activations of this one: whyray activations"
        )
    subjects = subjects_of(store, images)
    cells = list(_cells(folder, bank, store, subjects.rows, report))
    made = joined([Fired(*(c[name] for name in ("strengths", "peaks", "regions", "embeddings"))) for c in cells])
    named = np.concatenate([c["named"] for c in cells])
    tops = [strongest(column, subjects.patients, TOP) for column in made.strengths.T]
    effects = [named[top, p].mean(axis=0, dtype=np.float32) if top else named[0, p] * 0 for p, top in enumerate(tops)]
    return subjects, made, np.asarray(effects, np.float32).reshape(len(tops), named.shape[2])


def subjects_of(store: ActivationStore, images: int) -> Subjects:
    """At most so many images of a store, evenly spread, none of a test split."""
    kept = np.flatnonzero([row.split != "test" for row in store.images])
    rows = (
        kept[np.unique(np.linspace(0, len(kept) - 1, min(images, len(kept))).round().astype(int))]
        if len(kept)
        else kept
    )
    if not len(rows):
        raise DataError(f"{store.folder} has test pictures only; store those of train and val: whyray activations")
    listed = [store.images[i] for i in rows]
    cases = {spec: cases_by_id(spec) for spec in dict.fromkeys(row.spec for row in listed)}
    absent = [row.case for row in listed if row.case not in cases[row.spec]]
    if absent:
        raise DataError(f"{len(absent)} pictures, such as {absent[0]!r:.60}, are no longer in their data set")
    return Subjects(
        rows,
        tuple(cases[row.spec][row.case] for row in listed),
        tuple((row.spec, row.case) for row in listed),
        tuple(row.patient for row in listed),
    )


def cases_by_id(spec: str) -> Mapping[str, Case]:
    """Cases of a data set as its name stands in a plan: ``$NAME`` comes from the environment."""
    return {case.id: case for case in dataset_of(Source(spec, spec)).cases()}


def every(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many cases, evenly spread."""
    return [cases[int(i)] for i in np.unique(np.linspace(0, len(cases) - 1, min(most, len(cases))).round())]


def write_description(folder: Path, described: Described) -> None:
    """The bank with its names, and the galleries with their evidence."""
    bank = described.bank
    about = []
    for p, pattern in enumerate(bank.patterns):
        effects = {f: float(f"{v:.4g}") for f, v in zip(bank.findings, described.effects[p].tolist(), strict=True) if v}
        evidence = [asdict(one) for one in described.enriched[p][:8]]
        about.append({"effects": effects, "evidence": evidence, "origin": _origin(pattern)})
    save_galleries(folder / GALLERIES, described.galleries, bank.fingerprint, bank.site.cells, about)
    save_bank(folder, bank)


def _cells(
    folder: Path, bank: PatternBank, store: ActivationStore, rows: NDArray[np.int64], report: Report
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """What every pattern did, batch by batch: computed once, kept in ``FOLDER/cells``."""
    about = {"what": "fired/1", "bank": bank.sha256, "fingerprint": store.fingerprint}
    kept = Store(folder / CELLS)
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield kept.have({**about, "pictures": store.content(batch)}, _work(bank, store, batch)).arrays
        report(min(start + BATCH, len(rows)), len(rows), "what each pattern fires on")


def _bodies(
    kept: Store, classifier: Classifier, grid: tuple[int, int], looked_at: Sequence[Case], report: Report
) -> Callable[[Case], NDArray[np.float32] | None]:
    """case -> ``anatomy_of`` it, None where it is not among those looked at: made once, kept as a cell."""
    about = {"what": "anatomy/1", "fingerprint": classifier.fingerprint, "grid": list(grid)}
    numbers = {id(case): n for n, case in enumerate(looked_at, 1)}

    def body(case: Case) -> NDArray[np.float32] | None:
        if id(case) not in numbers:
            return None

        def made() -> dict[str, NDArray[Any]]:
            found = anatomy_of(classifier, case, grid)
            return {"places": np.empty((0, grid[0] * grid[1]), np.float32) if found is None else found}

        places = kept.have({**about, "picture": case.source(), "regions": case.regions_source()}, made)["places"]
        report(numbers[id(case)], len(looked_at), "where organs lie")
        return places if len(places) else None

    return body


def _work(bank: PatternBank, store: ActivationStore, rows: NDArray[np.int64]) -> Callable[[], dict[str, Any]]:
    def work() -> dict[str, NDArray[Any]]:
        tokens, outputs = store.tokens(rows), store.outputs(rows)
        parts = [decompose(bank, token, output) for token, output in zip(tokens, outputs, strict=True)]
        maps = np.stack([(bank.grouping @ part.codes).toarray() for part in parts])
        made = from_maps(maps, tokens.mean(axis=1))
        named = np.stack([part.named for part in parts]).astype(np.float32)
        return {**{n: getattr(made, n) for n in ("strengths", "peaks", "regions", "embeddings")}, "named": named}

    return work


def _origin(pattern: Pattern) -> str:
    return "Named by what is enriched." if pattern.name else "Nothing is enriched: no name."
