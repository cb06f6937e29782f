"""The tree of MIMIC-CXR reports, ``p10/p10000032/s50414267.txt``: walked in one order, in constant memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError

_GROUP, _PATIENT, _STUDY = (re.compile(p) for p in (r"p\d{2}", r"p\d{4,}", r"(s\d{4,})\.txt"))
LARGEST = 1_000_000  # bytes; the longest report of the release is a hundredth of it


@dataclass(frozen=True)
class ReportFile:
    """One file of the tree.

    study, patient  "s50414267" and "p10000032"; "" where the name is none of a report.
    path            where it lies; ``place`` is its path below the root, the order of the walk.
    """

    study: str
    patient: str
    path: Path
    place: str


class Unreadable(Exception):
    """Why a file is no report that can be read: a short phrase."""


def report_root(folder: str | Path) -> Path:
    """The folder that holds p10 ... p19: this one, or ``files`` in it. Raises DataError where neither does."""
    root = Path(folder).expanduser()
    for place in (root, root / "files"):
        if any(_GROUP.fullmatch(p.name) and p.is_dir() for p in place.glob("p*")):
            return place
    raise DataError(
        f"no report tree was found in {root.name or root}; folders p10/p10000032/ with s50414267.txt were wanted"
    )


def walk(root: Path, after: str = "") -> Iterator[ReportFile]:
    """Every file below the patients' folders in the order of their places, from the one behind ``after`` on.

    At most the names of one folder are held at a time. Files beside the folders (``.DS_Store``) are not of the tree.
    """
    reached = tuple(after.split("/")) if after else ()
    for group in _names(root, _GROUP, reached[:1]):
        for patient in _names(root / group, _PATIENT, reached[1:2] if group == "".join(reached[:1]) else ()):
            last = reached[2] if reached[:2] == (group, patient) else ""
            folder = root / group / patient
            for name in sorted(os.listdir(folder)):
                if name > last:
                    match = _STUDY.fullmatch(name)
                    study = match[1] if match else ""
                    yield ReportFile(study, patient, folder / name, f"{group}/{patient}/{name}")


def _names(folder: Path, form: re.Pattern[str], reached: tuple[str, ...]) -> list[str]:
    """Sorted names of the folders of this form, from the one that was reached."""
    first = reached[0] if reached else ""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.name >= first and form.fullmatch(e.name) and e.is_dir())


def read_report(file: ReportFile) -> str:
    """The text with line ends as ``\\n``. Raises Unreadable for what is no report."""
    if not file.study:
        raise Unreadable("no report: the name is not s<number>.txt")
    try:
        with open(file.path, "rb") as handle:
            data = handle.read(LARGEST + 1)
    except OSError:
        raise Unreadable("no report: the file cannot be read") from None
    if len(data) > LARGEST:
        raise Unreadable(f"no report: more than {LARGEST // 1_000_000} MB")
    return decoded(data)


def decoded(data: bytes) -> str:
    """UTF-8 as text with line ends as ``\\n``. Raises Unreadable for bytes that are no text."""
    if b"\0" in data:
        raise Unreadable("no report: the file is not text")
    try:
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise Unreadable("wrong encoding: not UTF-8") from None
