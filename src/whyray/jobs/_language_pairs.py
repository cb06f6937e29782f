"""Generated explanations beside their references: one pair an explained diagnosis, written or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets._mimic_nle_files import read_lines, report_of
from ..errors import DataError
from ..findings import crosswalk, finding
from ..metrics._clev import Evidence, cited, published
from ..text.labeller import Labeller

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LABELS = tuple(crosswalk("mimic-nle-10").values())
MOST_NAMED = 20


@dataclass(frozen=True)
class Pair:
    """One diagnosis of one reference sentence.

    text     what was generated for it, "" where nothing was.
    wanted   evidence of the reference: its published label where it has one, else the labeller's.
    correct  whether the diagnosis was predicted uncertain or positive; None where no prediction came.
    """

    sentence: str
    diagnosis: str
    reference: str
    text: str
    wanted: Evidence
    patient: str
    correct: bool | None


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that is measured.

    pairs          one a (reference sentence, diagnosis).
    probabilities  ``[s, 10, 3]`` and truth ``[s, 10, 3]`` of the sentences with a prediction; ``patients`` of these.
    evidence       "published", "labelled" or "mixed": where the references' evidence comes from.
    notes          what did not fit together, counted and named.
    """

    pairs: tuple[Pair, ...]
    probabilities: Array = field(repr=False)
    truth: Array = field(repr=False)
    patients: tuple[str, ...] = field(repr=False)
    evidence: str = ""
    notes: tuple[str, ...] = ()


def material(generated: str | Path, references: str | Path, labeller: Labeller) -> Material:
    """Read both files. Raises DataError where they share nothing, or a line is of another form.

    references  MIMIC-NLE's schema: sentence_ID, nle, diagnosis_label, and where there are evidence_label, img_labels,
                patient_ID.
    generated   sentence_ID, diagnosis (any spelling), nle, and where there is one the prediction of the whole image:
                img_probabilities [10][3] (negative, uncertain, positive), or predicted ("negative", "uncertain",
                "positive") for this diagnosis.
    """
    lines = {line["sentence_ID"]: line for line in read_lines(references, ("sentence_ID", "nle", "diagnosis_label"))}
    made = _generated(generated)
    pairs, used = _pairs(lines, made, labeller)
    if not used:
        raise DataError("no generated line has the sentence_ID and the diagnosis of a reference; check the two files")
    empty = [f"{p.sentence} {p.diagnosis}" for p in pairs if (p.sentence, p.diagnosis) not in made]
    strange = [" ".join(key) for key in made if key not in used]
    notes = _named("pairs have no generated sentence, and count as empty", empty)
    notes += _named("generated sentences belong to no reference, and are left out", strange)
    probabilities, truth, patients = _predictions(lines, made)
    told = {"evidence_label" in line for line in lines.values()}
    evidence = "mixed" if len(told) > 1 else "published" if True in told else "labelled"
    return Material(tuple(pairs), probabilities, truth, patients, evidence, tuple(notes))


def _generated(path: str | Path) -> dict[tuple[str, str], dict[str, Any]]:
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for line in read_lines(path, ("sentence_ID", "diagnosis", "nle")):
        key = (str(line["sentence_ID"]), finding(str(line["diagnosis"])))
        if key in made:
            raise DataError(f"{Path(path).name} explains {key[1]} of {key[0]} twice; keep one sentence a diagnosis")
        if "img_probabilities" in line and np.shape(line["img_probabilities"]) != (len(LABELS), 3):
            raise DataError(f"{Path(path).name}, {key[0]}: img_probabilities has not the shape [10][3]")
        made[key] = line
    return made


def _pairs(
    lines: Mapping[str, Mapping[str, Any]], made: Mapping[tuple[str, str], Mapping[str, Any]], labeller: Labeller
) -> tuple[list[Pair], set[tuple[str, str]]]:
    pairs: list[Pair] = []
    used: set[tuple[str, str]] = set()
    for sentence, line in lines.items():
        for label, on in zip(LABELS, line["diagnosis_label"], strict=True):
            if not on:
                continue
            mine = made.get((sentence, label), {})
            used |= {(sentence, label)} if mine else set()
            wanted = _wanted(line, label, labeller)
            patient = str(line.get("patient_ID") or report_of(sentence))
            text = str(mine.get("nle", ""))
            pairs.append(Pair(sentence, label, line["nle"], text, wanted, patient, _correct(mine, label)))
    return pairs, used


def _wanted(line: Mapping[str, Any], label: str, labeller: Labeller) -> Evidence:
    """Evidence of the reference for one of its diagnoses: published, or read; never the diagnosis itself, on which what
    is read from a generated sentence does not count either."""
    if "evidence_label" in line:
        return published(line["evidence_label"]) - {label}
    return cited(line["nle"], label, labeller)


def _correct(line: Mapping[str, Any], label: str) -> bool | None:
    if "img_probabilities" in line:
        return bool(np.argmax(line["img_probabilities"][LABELS.index(label)]) > 0)
    if "predicted" in line:
        said = str(line["predicted"]).lower()
        if said not in ("negative", "uncertain", "positive"):
            raise DataError(f"predicted={said!r:.40} came; negative, uncertain or positive was wanted")
        return said != "negative"
    return None if line else False


def _predictions(
    lines: Mapping[str, Mapping[str, Any]], made: Mapping[tuple[str, str], Mapping[str, Any]]
) -> tuple[Array, Array, tuple[str, ...]]:
    """One row a reference sentence that has img_labels and, from any of its pairs, img_probabilities."""
    by_sentence = {s: line["img_probabilities"] for (s, _), line in made.items() if "img_probabilities" in line}
    rows = [s for s, line in lines.items() if s in by_sentence and "img_labels" in line]
    shape = (len(rows), len(LABELS), 3)
    probabilities = np.array([by_sentence[s] for s in rows], np.float64).reshape(shape)
    truth = np.array([lines[s]["img_labels"] for s in rows], np.float64).reshape(shape)
    return probabilities, truth, tuple(str(lines[s].get("patient_ID") or report_of(s)) for s in rows)


def _named(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return [f"{len(names)} {what}: {', '.join(names[:MOST_NAMED])}{more}"] if names else []
