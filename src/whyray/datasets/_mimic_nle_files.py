"""The published extraction of MIMIC-NLE: query files and a report tree become train, dev and test (Kayser et al. 2022).

A query line holds a sentence id and labels; the sentence comes from the report. The lines written are those of the
published script, key for key and byte for byte; what it would stop at (a report that is not there) is counted and
named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..findings import VOCABULARIES
from ..io.whole import disk_errors, write_whole
from ..text.sentences import mimic_nle as sentences_of
from ._mimic_tree import Unreadable, read_report, report_root, walk

SUBSETS = ("train", "dev", "test")
LABELS = VOCABULARIES["mimic-nle-10"]


@dataclass(frozen=True)
class Extraction:
    """What was written.

    written  subset -> lines; ``asked``: subset -> lines of its query file; a subset without one is in neither.
    missing  report ids that the queries name and the tree does not have, sorted.
    unread   report id -> why it could not be read; ``absent``: sentence ids their reports do not have.
    """

    written: Mapping[str, int]
    asked: Mapping[str, int]
    missing: tuple[str, ...] = field(repr=False)
    unread: Mapping[str, str] = field(repr=False)
    absent: tuple[str, ...] = field(repr=False)

    @property
    def whole(self) -> bool:
        """Whether every line that was asked for was written."""
        return self.written == self.asked

    def lines(self) -> Iterator[str]:
        """For people; every report that is missing is named."""
        for subset, asked in self.asked.items():
            yield f"{subset}: {self.written[subset]} of {asked} explanations"
        if self.missing:
            yield f"{len(self.missing)} reports are missing: {', '.join(self.missing)}"
        for study, why in self.unread.items():
            yield f"{study}: {why}"
        if self.absent:
            yield f"{len(self.absent)} sentences are not in their reports: {', '.join(self.absent)}"


def extract(reports: str | Path, queries: str | Path, out: str | Path) -> Extraction:
    """Write ``mimic-nle-{train,dev,test}.json`` (one JSON line an explanation) into the folder ``out``.

    reports  the tree p10 ... p19, or the folder ``files`` above it.
    queries  a folder with ``{train,dev,test}-query.json`` as published; at least one of them.
    Raises DataError where either is not laid out so, DiskFullError.
    """
    asked = read_queries(queries)
    wanted = {report_of(line["sentence_ID"]) for lines in asked.values() for line in lines}
    held, unread, found = _sentences(report_root(reports), wanted)
    written: dict[str, int] = {}
    folder = Path(out)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for subset, lines in asked.items():
            full = [_full(line, *held[line["sentence_ID"]]) for line in lines if line["sentence_ID"] in held]
            write_whole(folder / f"mimic-nle-{subset}.json", "".join(json.dumps(e) + "\n" for e in full).encode())
            written[subset] = len(full)
    ids = [line["sentence_ID"] for lines in asked.values() for line in lines]
    absent = [i for i in ids if i not in held and report_of(i) in found]
    missing = tuple(sorted(wanted - found - set(unread)))
    return Extraction(written, {s: len(lines) for s, lines in asked.items()}, missing, unread, tuple(absent))


def read_queries(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Subset -> lines of its query file, for those in the folder. Raises DataError."""
    root = Path(folder).expanduser()
    found = {s: root / f"{s}-query.json" for s in SUBSETS if (root / f"{s}-query.json").is_file()}
    if not found:
        raise DataError(f"no query file was found in {root.name or root}; dev-query.json or its like was wanted")
    return {subset: list(read_lines(path)) for subset, path in found.items()}


def read_lines(path: str | Path, keys: Iterable[str] = ("sentence_ID",)) -> Iterator[dict[str, Any]]:
    """Lines of a file in MIMIC-NLE's form, one JSON object each. Raises DataError naming the line that is none."""
    path = Path(path)
    try:
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield _checked(json.loads(text), keys, f"{path.name}, line {number}")
    except FileNotFoundError:
        raise DataError(f"{path.name} was not found; check the path") from None
    except (OSError, UnicodeDecodeError, ValueError):
        raise DataError(f"{path.name} could not be read as JSON lines in UTF-8; one object a line is wanted") from None


def _checked(line: Any, keys: Iterable[str], where: str) -> dict[str, Any]:
    if not isinstance(line, dict) or any(key not in line for key in keys):
        raise DataError(f"{where}: an object with {', '.join(keys)} was wanted")
    for key in ("diagnosis_label", "evidence_label", "img_labels"):
        if key in line and (not isinstance(line[key], list) or len(line[key]) != len(LABELS)):
            raise DataError(f"{where}: {key} has not the {len(LABELS)} labels of MIMIC-NLE")
    return line


def report_of(sentence: str) -> str:
    """ "s50414267" of "s50414267#3"."""
    return str(sentence).partition("#")[0]


def _sentences(root: Path, wanted: set[str]) -> tuple[dict[str, tuple[str, str, str]], dict[str, str], set[str]]:
    """Sentence id -> (sentence, report, patient) of the wanted reports; why some could not be read; those that were."""
    held: dict[str, tuple[str, str, str]] = {}
    unread: dict[str, str] = {}
    found: set[str] = set()
    for file in walk(root):
        if file.study not in wanted:
            continue
        try:
            text = read_report(file)
        except Unreadable as why:
            unread[file.study] = str(why)
            continue
        found.add(file.study)
        held |= {s.id: (s.text, file.study, file.patient) for s in sentences_of(file.study, text)}
    return held, unread, found


def _full(line: Mapping[str, Any], sentence: str, report: str, patient: str) -> dict[str, Any]:
    return {**line, "nle": sentence, "report_ID": report, "patient_ID": patient}
