"""What the user named on the command line -> an ordered list of picture paths: files, folders, globs, lists, ``-``."""

from __future__ import annotations

import csv
import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from .dicom_walk import is_dicom
from .files import SUFFIXES

PICTURES = {*SUFFIXES, ".nii.gz"}
LISTS = (".txt", ".lst", ".csv")
COLUMNS = ("image", "file", "path")
MOST_LIST_BYTES = 64 << 20


def expand(names: Sequence[str]) -> list[Path]:
    """Paths in the order given, each once; a folder's in sorted order.

    A folder is searched through for pictures (known suffix, or DICOM by content); hidden files and links that lead out
    of it are left out. A list (.txt, .lst: one path a line; .csv: a column ``image``, ``file`` or ``path``) names
    paths relative to itself. ``-`` is standard input. A path that does not exist stays in: it fails when it is read,
    and the others go on. Raises InputError for a folder, glob or list without pictures.
    """
    return list(dict.fromkeys(path for name in names for path in _expanded(name)))


def _expanded(name: str) -> Iterable[Path]:
    path = Path(name)
    if name == "-" or (path.is_file() and path.suffix.lower() not in LISTS):
        return [path]
    if path.is_dir():
        return _some(_in_folder(path), name, "the folder holds no picture that is known")
    if path.suffix.lower() in LISTS and path.is_file():
        return _some(_listed(path), name, "the list names no picture")
    if not path.exists() and glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))
        return _some((Path(p) for p in matches if os.path.isfile(p)), name, "no file matches")
    return [path]


def _some(paths: Iterable[Path], name: str, reason: str) -> list[Path]:
    found = list(paths)
    if not found:
        raise InputError(name, reason, "name PNG, JPEG, TIFF or DICOM files")
    return found


def _in_folder(folder: Path) -> Iterator[Path]:
    root = folder.resolve()
    for here, folders, names in os.walk(folder):  # links to folders are not followed: no loops, no way out
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(here, name)
            if not name.startswith(".") and _inside(path, root) and _picture(path):
                yield path


def passed_over(names: Sequence[str]) -> dict[str, int]:
    """Kind -> files that ``expand`` leaves out of folders, the most frequent first; hidden ones are not counted."""
    counted: Counter[str] = Counter()
    for folder in (Path(name) for name in names if Path(name).is_dir()):
        taken = set(_in_folder(folder))
        for here, folders, files in os.walk(folder):
            folders[:] = [f for f in folders if not f.startswith(".")]
            left = [Path(here, n) for n in files if not n.startswith(".") and Path(here, n) not in taken]
            counted.update(path.suffix.lower() or "without a suffix" for path in left)
    return dict(counted.most_common())


def _inside(path: Path, root: Path) -> bool:
    try:
        return not path.is_symlink() or path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def _picture(path: Path) -> bool:
    """By suffix, or by the first bytes of a regular file (scanners write DICOM without a suffix)."""
    suffix = "".join(path.suffixes[-2:]).lower()
    if suffix in PICTURES or path.suffix.lower() in PICTURES:
        return True
    if not path.is_file() or path.suffix.lower() in (*LISTS, ".json", ".html", ".md", ".npz"):
        return False
    try:
        with open(path, "rb") as file:
            return is_dicom(file.read(132))
    except OSError:
        return False


def _listed(path: Path) -> Iterator[Path]:
    try:
        if path.stat().st_size > MOST_LIST_BYTES:
            raise InputError(path, "the list is over 64 MiB", "split it")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(path, "the list cannot be read as UTF-8 text", "write one path a line") from None
    entries = _column(path, lines) if path.suffix.lower() == ".csv" else lines
    for entry in entries:
        text = entry.strip()
        if text and not text.startswith("#") and "\0" not in text:
            yield path.parent / text


def _column(path: Path, lines: list[str]) -> Iterator[str]:
    try:
        rows = csv.DictReader(lines)
        column = next((c for c in COLUMNS if c in (rows.fieldnames or ())), None)
        if column is None:
            raise InputError(path, "the list has no column named image, file or path", "name one of its columns so")
        for row in rows:
            yield row[column] or ""
    except csv.Error:
        raise InputError(path, "the list is no readable CSV", "write one path a line in a .txt file") from None
