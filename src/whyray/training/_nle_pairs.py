"""What a generator learns from: pairs of a diagnosis and a sentence that explains it, from whatever a case tells."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets._phantom_nle import Audience, explaining
from ..errors import DataError
from ..findings import crosswalk
from ..io.whole import disk_errors
from ..text import nle
from ..text.sentences import sentences
from ..types import Case, Report

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = tuple(crosswalk("mimic-nle-10").values())
TOLD = ("severities", "sites", "devices")  # what a phantom's sentences need
VARIANTS = 8


@dataclass(frozen=True)
class Pair:
    """One diagnosis of one picture.

    case       index of the picture.
    texts      sentences that explain it; of a phantom several, one of which is drawn in each epoch.
    uncertain  whether the sentence hedges the diagnosis.
    """

    case: int
    diagnosis: str
    texts: tuple[str, ...]
    sentence: str
    patient: str
    uncertain: bool = False


def pairs_of(
    cases: Sequence[Case],
    cache: Path,
    *,
    test: bool = False,
    audience: Audience = "clinician",
    report: Report | None = None,
) -> tuple[Pair, ...]:
    """All pairs, in the order of the cases.

    MIMIC-NLE's own lines where a case has them; else of a phantom its findings in our own grammar, whose phrases for
    test cases no training sentence has; else the explaining sentences that ``text/nle.py`` finds in the report.
    Raises DataError where a lay ``audience`` would be told what a clinician wrote.
    """
    out: list[Pair] = []
    phantoms = _told([c for c in cases if "sites" in c.facts], cache, report)
    for i, case in enumerate(cases):
        if case.id in phantoms and "nles" not in case.facts:
            out += _phantom(i, case, phantoms[case.id], test, audience)
            continue
        written = _published(i, case) if "nles" in case.facts else _found(i, case)
        if written and audience == "lay":
            raise DataError(
                f"{case.id} is explained in a clinician's words, and sentences for a lay audience were asked; "
                "give audience=clinician, or data sets of phantoms alone"
            )
        out += written
    return tuple(out)


def states_of(cases: Sequence[Case], pairs: Sequence[Pair], findings: Sequence[str]) -> NDArray[np.int64]:
    """``[n, f]``: 0 negative, 1 uncertain, 2 positive, -1 unknown; what a sentence hedges is uncertain."""
    out = np.full((len(cases), len(findings)), -1, np.int64)
    for i, case in enumerate(cases):
        unsure = case.facts.get("uncertain", ())
        for k, finding in enumerate(findings):
            label = case.labels.get(finding, math.nan)
            out[i, k] = 1 if finding in unsure else -1 if math.isnan(label) else 2 * int(label)  # type: ignore[operator]
    for pair in pairs:
        if pair.uncertain and pair.diagnosis in findings:
            out[pair.case, list(findings).index(pair.diagnosis)] = 1
    return out


def _published(i: int, case: Case) -> list[Pair]:
    lines: Sequence[Mapping[str, Any]] = case.facts["nles"]  # type: ignore[assignment]
    out = []
    for line in lines:
        for finding, on, state in zip(LABELS, line["diagnosis_label"], line["img_labels"], strict=True):
            if on:
                out.append(Pair(i, finding, (line["nle"],), line["sentence_ID"], case.patient, bool(state[1])))
    return out


def _phantom(i: int, case: Case, facts: Mapping[str, Any], test: bool, audience: Audience) -> list[Pair]:
    rng = np.random.default_rng([7, int(case.id.removeprefix("phantom-")), int(test)])
    drawn = [explaining(facts, test=test, rng=rng, audience=audience) for _ in range(1 if test else VARIANTS)]
    return [
        Pair(
            i,
            same[0].diagnosis,
            tuple(e.text for e in same),
            f"{case.id}#{k}",
            case.patient or case.id,
            same[0].state == "uncertain",
        )
        for k, same in enumerate(zip(*drawn, strict=True))
    ]


def _found(i: int, case: Case) -> list[Pair]:
    """What the rules call an explanation, in findings and impression."""
    out = []
    parts = [text for name, text in case.report.items() if name in ("findings", "impression")]
    for number, sentence in enumerate(s for text in parts for s in sentences(text)):
        told = nle.explain(sentence.text)
        for finding in told.diagnoses:
            unsure = bool(told.img_labels[LABELS.index(finding)][1])
            out.append(Pair(i, finding, (sentence.text,), f"{case.id}#{number}", case.patient or case.id, unsure))
    return out


def _told(phantoms: Sequence[Case], cache: Path, report: Report | None) -> dict[str, dict[str, Any]]:
    """The facts of phantoms, kept in ``cache``: each takes a rendering to know. Goes on where it was stopped."""
    if not phantoms:
        return {}
    key = hashlib.sha256("\n".join(c.source() for c in phantoms).encode()).hexdigest()[:12]
    path = cache / f"told-{key}.jsonl"
    held = _read(path)
    with disk_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            for i, case in enumerate(phantoms):
                if case.id not in held:
                    held[case.id] = {name: _plain(case.facts[name]) for name in TOLD}
                    file.write(json.dumps({"case": case.id, **held[case.id]}) + "\n")
                if report is not None and i % 100 == 0:
                    report(i, len(phantoms), "reading what was planted")
    return held


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Whole lines of the file; a last one that was cut off is left out."""
    out = {}
    for line in path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else ():
        found = json.loads(line)
        out[str(found.pop("case"))] = found
    return out


def _plain(value: object) -> object:
    """Mappings and tuples as JSON has them."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
