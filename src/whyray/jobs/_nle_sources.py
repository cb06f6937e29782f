"""Where reports come from: a MIMIC-CXR tree, or a reports.csv; one document at a time, from any place on."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..datasets._mimic_tree import Unreadable, read_report, report_root, walk
from ..datasets._tables import known_finding
from ..errors import DataError, clipped, printable
from ..text.sections import open_i
from ..text.sentences import mimic_nle, sentences

FAILED = ("no report", "wrong encoding")  # kinds of problem that cost a document; the others are remarks
_EMPTY = re.compile(r"\n (FINDINGS|IMPRESSION):\s*(?=\Z|\n [A-Z ()/,-]+:)")
_LABELS = ("findings", "findings_nih")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    """One report of a source.

    place      where it stands, the key for going on; ``report``, ``patient``: their ids.
    sentences  (sentence id, text) of findings and impression.
    problems   sentences of the form "kind: what"; those of a kind in ``FAILED`` mean that nothing was read.
    size       bytes of text.
    """

    place: str
    report: str
    patient: str = ""
    sentences: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()
    size: int = 0

    @property
    def failed(self) -> bool:
        """Whether nothing could be read."""
        return any(p.partition(":")[0] in FAILED for p in self.problems)


class Source(Protocol):
    """A name that tells sources apart, and documents behind a place ("" = from the start)."""

    name: str

    def documents(self, after: str = "") -> Iterator[Document]:
        """In the source's own order, which never changes."""


def source_of(path: str | Path) -> Source:
    """A report tree for a folder, else a table. Raises DataError for what is neither."""
    place = Path(path).expanduser()
    if place.is_dir() and (place / "reports.csv").is_file():
        return Table(place / "reports.csv")
    if place.is_dir():
        return Tree(report_root(place))
    if place.is_file():
        return Table(place)
    raise DataError(f"{place.name} was not found; give a MIMIC-CXR report tree or a reports.csv")


class Tree:
    """A MIMIC-CXR report tree: sentences under the ids of MIMIC-NLE."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root.resolve())

    def documents(self, after: str = "") -> Iterator[Document]:
        """A document a file."""
        for file in walk(self.root, after):
            report = file.study or file.path.name
            try:
                text = read_report(file)
            except Unreadable as why:
                yield Document(file.place, report, file.patient, problems=(str(why),))
                continue
            found = tuple((s.id, s.text) for s in mimic_nle(report, text))
            yield Document(file.place, report, file.patient, found, _empty(text, bool(found)), len(text.encode()))


class Table:
    """A reports.csv in the folder format: ``report_id``, ``findings_text``, ``impression_text`` and more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        stat = path.stat()
        self.name = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        if not {"findings_text", "impression_text"} & set(self._header()):
            raise DataError(
                f"{path.name} has neither findings_text nor impression_text; docs/datasets.md shows a reports.csv"
            )

    def documents(self, after: str = "") -> Iterator[Document]:
        """A document a row; a row's place is its number."""
        reached = int(after) if after else -1
        with open(self.path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            number = -1
            while True:
                number += 1
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error:
                    if number > reached:
                        yield Document(str(number), f"row {number + 1}", problems=("no report: the row is not CSV",))
                    continue
                if number > reached:
                    yield _document(number, {k: v or "" for k, v in row.items() if isinstance(v, str) or v is None})

    def _header(self) -> tuple[str, ...]:
        try:
            with open(self.path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                return tuple(next(csv.reader(file), ()))
        except (OSError, csv.Error):
            raise DataError(f"{self.path.name} could not be read as a CSV file; export it again") from None


def _document(number: int, row: Mapping[str, str]) -> Document:
    """A row's document; its id is the column report_id, else its number."""
    texts = [row.get("findings_text", ""), row.get("impression_text", "")]
    report = printable(row.get("report_id", "")) or f"row {number + 1}"
    patient = printable(row.get("patient_id", "")) or report
    if any(map(_SURROGATE.search, (*texts, report))):
        return Document(str(number), f"row {number + 1}", problems=("wrong encoding: not UTF-8",))
    parts = [s.text for section in open_i(row).named("findings", "impression") for s in sentences(section.text)]
    found = tuple((f"{report}#{i}", text) for i, text in enumerate(parts))
    missing = [name for name, text in zip(("findings", "impression"), texts, strict=True) if not text.strip()]
    problems = [f"empty section: {' and '.join(missing)}"] if missing else []
    cells = [label.strip() for column in _LABELS for label in (row.get(column) or "").split("|")]
    unknown = [label for label in dict.fromkeys(cells) if label and known_finding(label) is None]
    problems += [f"unknown label: {clipped(printable(label), 60)}" for label in unknown]
    return Document(str(number), report, patient, found, tuple(problems), sum(len(t.encode()) for t in texts))


def _empty(text: str, any_sentence: bool) -> tuple[str, ...]:
    if not text.strip():
        return ("empty section: the whole report",)
    if not any_sentence:
        return ("empty section: neither findings nor impression",)
    return tuple(f"empty section: {m[1].lower()}" for m in _EMPTY.finditer(text))
