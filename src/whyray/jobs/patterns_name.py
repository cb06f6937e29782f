"""Names by an annotator for the patterns of a bank: proposed, checked on held-out images, adopted only where they hold.

FOLDER/names.json keeps every outcome, so that an interrupted or exhausted run goes on where it was. It holds for the
same questions to the same model only: a bank that is built anew in the folder, another address, or pictures where words
were sent get none of the old answers.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..contracts import Classifier
from ..io.whole import write_whole
from ..patterns.activations import ActivationStore
from ..patterns.annotator import Annotator, Budget, BudgetSpent, Part
from ..patterns.attributes import ZONES, zone_masks
from ..patterns.bank import PatternBank, load_bank, save_bank
from ..patterns.galleries import Fired, load_galleries, save_galleries
from ..patterns.lacking import left_out
from ..patterns.naming import CHECKED, CONTROLS, SHOWN, Checked, Describe, cases_of, named_by, prompt
from ..report.firing import moved, outline, outlined_png
from ..training.lock import locked
from ..types import Case, Report
from .files import silent
from .patterns_describe import GALLERIES, IMAGES, Subjects, fired_on
from .patterns_page import affine_of

NAMES = "names.json"
SIDE = 512  # longest side of a picture that is sent


@dataclass(frozen=True)
class Named:
    """What a run did: pattern -> how its name held out, what was used, and why it ended before the last pattern."""

    names: Mapping[str, Checked] = field(repr=False)
    requests: int = 0
    tokens: int = 0
    ended: str = ""

    @property
    def adopted(self) -> int:
        """Names that held."""
        return sum(one.holds for one in self.names.values())

    def lines(self) -> Iterator[str]:
        """The same for people."""
        for pattern, one in self.names.items():
            if one.trouble:
                yield f"{pattern}  no name: {one.trouble}"
                continue
            n = f"n = {one.positives} + {one.negatives}, mean gap {one.gap:.2f}"
            kept = "adopted" if one.holds else "not adopted"
            yield f"{pattern}  {one.accuracy:.2f} [{one.low:.2f}, {one.high:.2f}] {n}  {kept}: {one.name}"
        yield f"{self.adopted} of {len(self.names)} names held; {self.requests} requests, {self.tokens} tokens"
        yield from [self.ended] if self.ended else []


def name_patterns(
    folder: Path,
    activations: Path,
    classifier: Classifier,
    annotator: Annotator,
    budget: Budget,
    *,
    images: int = IMAGES,
    sleep: Callable[[float], None] = time.sleep,
    report: Report = silent,
) -> Named:
    """Name the patterns of the bank in ``folder``, the most relevant first; a name that does not hold changes nothing.

    Raises FingerprintError, LockedError, and AnnotatorError where the annotator refuses.
    """
    with locked(folder):
        bank = load_bank(folder, classifier)
        store = ActivationStore(activations)
        for trouble in left_out(store):
            report(0, 0, trouble)
        subjects, made, _ = fired_on(folder, bank, store, images)
        asked = _asked(annotator, bank, store.content(subjects.rows))
        kept = _kept(folder, asked)
        order = sorted(range(len(bank.patterns)), key=lambda p: -_known(bank.patterns[p].relevance))
        ended = ""
        for done, p in enumerate(order):
            pattern = bank.patterns[p].id
            if pattern in kept:
                continue
            describe = describer(bank, subjects, made, classifier, annotator.pictures)
            try:
                checked = named_by(annotator, cases_of(made, p, subjects.patients), p, describe, budget, sleep)
            except BudgetSpent as error:
                ended = str(error)
                break
            kept[pattern] = checked
            _keep(folder, asked, kept)
            report(done + 1, len(order), checked.name or "no name")
        adopt(folder, bank, kept, annotator.model)
    return Named(kept, budget.used_requests, budget.used_tokens, ended)


def adopt(folder: Path, bank: PatternBank, names: Mapping[str, Checked], model: str) -> PatternBank:
    """Write the names that hold into the bank and its galleries."""
    held = {pattern: one for pattern, one in names.items() if one.holds}
    renamed = tuple(replace(p, name=held[p.id].name if p.id in held else p.name) for p in bank.patterns)
    shown, about = load_galleries(folder / GALLERIES, bank.fingerprint)
    for pattern, facts in zip(renamed, about, strict=True):
        if pattern.id in held:
            facts["origin"] = origin(held[pattern.id], model)
    save_galleries(folder / GALLERIES, shown, bank.fingerprint, bank.site.cells, about)
    bank = replace(bank, patterns=renamed)
    save_bank(folder, bank)
    return bank


def origin(one: Checked, model: str) -> str:
    """Where a name is from and how it held out, in a sentence."""
    return (
        f"Named by {model}; right on {one.hits} of {one.positives} held-out images where it fires and on {one.passed} "
        f"of {one.negatives} where another pattern fires about as strongly (mean gap {one.gap:.2f}): balanced accuracy "
        f"{one.accuracy:.2f} [{one.low:.2f}, {one.high:.2f}]."
    )


def describer(bank: PatternBank, subjects: Subjects, made: Fired, classifier: Classifier, pictures: bool) -> Describe:
    """Describes a case in words (known labels, view, where the pattern fires: no name, date or number of a patient),
    with its outlined picture where pictures may be sent."""
    zones = zone_masks(bank.site.grid)

    def describe(image: int, pattern: int) -> Part:
        case = subjects.cases[image]
        region = made.region(image, pattern) if pattern >= 0 else ()
        text = case_in_words(case)
        if region:
            cell = int(made.peaks[image, pattern])
            where = [name for name, zone in zip(ZONES, zones, strict=True) if zone[cell]]
            text += f" Outlined: {', '.join(where)}." if where else ""
        if not pictures:
            return Part(text)
        radiograph, affine = affine_of(classifier, case, bank.site.grid)
        return Part(text, outlined_png(radiograph, moved(outline(region, bank.site.grid), affine), SIDE))

    return describe


def case_in_words(case: Case) -> str:
    """Known labels and the view."""
    there = [f.replace("_", " ") for f, v in case.labels.items() if v == 1]
    absent = [f.replace("_", " ") for f, v in case.labels.items() if v == 0]
    view = case.facts.get("view")
    text = f"View {view}. " if view in ("PA", "AP") else ""
    return (
        text + f"Present: {', '.join(there) or 'nothing labelled'}. Absent: {', '.join(absent) or 'nothing labelled'}."
    )


def _asked(annotator: Annotator, bank: PatternBank, images: str) -> dict[str, Any]:
    """All that decides the answers: who is asked, about which patterns and images (``ActivationStore.content``), with
    which words, how many examples, and pictures or none."""
    prompts = prompt("name") + prompt("verify")
    return {
        "url": annotator.endpoint,
        "model": annotator.model,
        "pictures": SIDE if annotator.pictures else 0,
        "bank": bank.sha256,
        "images": images,
        "prompts": hashlib.sha256(prompts.encode()).hexdigest(),
        "examples": [SHOWN, CONTROLS, CHECKED],
    }


def _kept(folder: Path, asked: Mapping[str, Any]) -> dict[str, Checked]:
    """What earlier runs were answered to the same questions; what had no answer is asked again."""
    before, found = _read(folder)
    return {pattern: one for pattern, one in found.items() if not one.trouble} if before == asked else {}


def adopted(folder: Path) -> tuple[str, str, dict[str, Checked]]:
    """(model, hash of the bank, pattern -> name) of the names in ``folder`` that hold."""
    asked, found = _read(folder)
    names = {pattern: one for pattern, one in found.items() if one.holds}
    return str(asked.get("model", "")), str(asked.get("bank", "")), names


def _read(folder: Path) -> tuple[Mapping[str, Any], dict[str, Checked]]:
    """(what was asked, pattern -> what came of it) in names.json; nothing where it is absent or damaged."""
    try:
        data = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        asked = dict(data.get("asked", data))  # model and bank stood beside the names once
        return asked, {str(p): Checked(**_numbers(one)) for p, one in data["names"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, {}


def _keep(folder: Path, asked: Mapping[str, Any], names: Mapping[str, Checked]) -> None:
    rows = {p: {k: v if v == v else None for k, v in asdict(one).items()} for p, one in names.items()}
    write_whole(folder / NAMES, (json.dumps({"asked": asked, "names": rows}, indent=1) + "\n").encode())


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: float("nan") if v is None else v for k, v in values.items()}


def _known(value: float) -> float:
    return value if value == value else float("-inf")
