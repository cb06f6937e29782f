"""Databases of explaining sentences: a few a diagnosis teach a generator how an audience is spoken to.

A database is a CSV file of ``diagnosis,nle,audience,source``; another file swaps the audience (WeNLEX, arXiv
2603.18752). Two are shipped, "clinician" and "lay": written for this project, no sentence is from a report.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import DataError, SettingError, UnknownName, clipped, printable, suggestion
from ..findings import finding
from ._lexicon import rows

COLUMNS = ("diagnosis", "nle", "audience", "source")
SHIPPED = ("clinician", "lay")
LONGEST = 1000  # characters of a sentence


@dataclass(frozen=True)
class Entry:
    """One sentence: the finding that it explains (canonical id), for whom, and where it is from."""

    diagnosis: str
    nle: str
    audience: str
    source: str


def read_database(path_or_name: str | Path) -> tuple[Entry, ...]:
    """The entries of a shipped database ("clinician", "lay") or of a CSV file, in the order of the file.

    Diagnoses may be spelt in any known way, further columns are left alone, empty lines skipped. Raises DataError with
    line and column, and UnknownName for a bare name that is neither shipped nor a file.
    """
    name = os.fspath(path_or_name)
    if name in SHIPPED:
        return _shipped(name)
    path = Path(name)
    if not path.is_file():
        if path.suffix:
            raise DataError(f"{path.name} is no file; give a CSV file with the columns {', '.join(COLUMNS)}")
        raise UnknownName("database of sentences", name, SHIPPED)
    with _opened(path) as handle:
        return tuple(_entries(handle, path.name))


def drawn(entries: Sequence[Entry], n: int | None, seed: int) -> tuple[Entry, ...]:
    """``n`` entries of each diagnosis and audience, in the order given; all where there are fewer, or ``n`` is None.

    A diagnosis's draw depends on the seed and its own entries alone, and a smaller draw is part of a larger one.
    """
    if n is not None and n < 1:
        raise SettingError(f"{n} sentences a diagnosis came; give 1 or more, or None for all")
    groups: dict[tuple[str, str], list[int]] = {}
    for i, entry in enumerate(entries):
        groups.setdefault((entry.diagnosis, entry.audience), []).append(i)
    kept: set[int] = set()
    for (diagnosis, audience), members in groups.items():
        rng = np.random.default_rng([seed, *diagnosis.encode(), 0, *audience.encode()])
        order = rng.permutation(len(members))
        kept.update(members[k] for k in order[: len(members) if n is None else n])
    return tuple(entries[i] for i in sorted(kept))


def described(entries: Sequence[Entry]) -> dict[str, Any]:
    """What a record says of a database, plain JSON: counts by diagnosis and audience, sources, and a hash of it all."""
    body = "\n".join("\t".join((e.diagnosis, e.nle, e.audience, e.source)) for e in entries)
    return {
        "diagnoses": dict(sorted(Counter(e.diagnosis for e in entries).items())),
        "audiences": dict(sorted(Counter(e.audience for e in entries).items())),
        "sources": dict(sorted(Counter(e.source for e in entries).items())),
        "sha256": hashlib.sha256(body.encode()).hexdigest(),
    }


def mirrored(text: str) -> str:
    """The text with left and right swapped; as it is where it names no side, or what lies on one side only.

    By the rules of ``mirror.tsv``: the lingula has no counterpart, so a sentence about it has none.
    """
    other, single = _mirror()
    if single.search(text):
        return text
    return _SIDE.sub(lambda m: cased(other[m.group().lower()], m.group()), text)


_SIDE = re.compile(r"\b(?:left|right|[lr][ul]l)\b", re.IGNORECASE)


@cache
def _mirror() -> tuple[dict[str, str], re.Pattern[str]]:
    """Each word of a side with its counterpart, and the pattern of what has none."""
    pairs = {row["words"]: row["other"] for row in rows("mirror") if row["other"]}
    single = "|".join(row["words"].replace(" ", r"[\s-]+") for row in rows("mirror") if not row["other"])
    return pairs, re.compile(rf"\b(?:{single})\b", re.IGNORECASE)


def cased(word: str, like: str) -> str:
    """``word`` in capitals, or with the first letter a capital, where ``like`` is so."""
    return word.upper() if like.isupper() else word.capitalize() if like[0].isupper() else word


@cache
def _shipped(name: str) -> tuple[Entry, ...]:
    with (files(__package__) / f"nle_{name}.csv").open(encoding="utf-8") as handle:
        return tuple(_entries(handle, f"nle_{name}.csv"))


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            yield handle
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(f"{path.name} could not be read as a CSV file in UTF-8; export it again") from None


def _entries(lines: Iterable[str], name: str) -> Iterator[Entry]:
    reader = csv.DictReader(lines)
    header = [(h or "").strip().lower() for h in reader.fieldnames or ()]
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        came = clipped(printable(", ".join(header)), 100) or "none"
        raise DataError(f"{name} has no column {missing[0]!r}; give it {', '.join(COLUMNS)} (it has {came})")
    reader.fieldnames = header
    for row in reader:
        where = f"{name}, line {reader.line_num}"
        if any(row.get(column) is None for column in COLUMNS):
            raise DataError(f"{where}: {len(header)} cells were wanted; put texts that hold a comma in quotes")
        yield _entry({column: " ".join(row[column].split()) for column in COLUMNS}, where)


def _entry(cells: dict[str, str], where: str) -> Entry:
    for column, cell in cells.items():
        if not cell:
            raise DataError(f"{where}, column {column!r}: it is empty; fill it, or take the line out")
    if len(cells["nle"]) > LONGEST:
        long = len(cells["nle"])
        raise DataError(f"{where}, column 'nle': {long} characters; give one sentence of at most {LONGEST}")
    try:
        return Entry(finding(cells["diagnosis"]), cells["nle"], cells["audience"], cells["source"])
    except UnknownName as error:
        came = clipped(printable(cells["diagnosis"]), 64)
        raise DataError(f"{where}, column 'diagnosis': {came!r} came; {suggestion(came, error.known)}") from None
