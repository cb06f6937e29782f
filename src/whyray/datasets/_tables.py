"""What data sets kept as CSV files and pictures share: reading tables, labels, regions, splits. No pandas."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Dataset
from ..errors import DataError, UnknownName, listed
from ..findings import finding
from ..types import Case, Radiograph, Region, View, content

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
Opener = Callable[[], Radiograph]


@dataclass(frozen=True, eq=False)
class TableSet(Dataset):
    """A data set whose cases are known.

    ``root`` is the folder that ``case.facts["file"]`` is relative to, ``reports`` that of ``case.facts["report"]``.
    ``columns`` of its table, where users choose them.
    """

    name: str
    findings: tuple[str, ...]
    licence: str
    root: Path
    every: tuple[Case, ...] = field(repr=False)
    reports: Path | None = None
    columns: tuple[str, ...] = ()

    def cases(self, split: str | None = None) -> Sequence[Case]:
        """Cases of one split, or all. Raises DataError for a split that it does not have."""
        if split is None:
            return self.every
        held = sorted({c.split for c in self.every})
        if split not in held:
            known = ", ".join(filter(None, held)) or "no splits"
            raise DataError(f"{self.name} has no split {split!r}; it has {known}")
        return tuple(c for c in self.every if c.split == split)


def read_rows(path: Path, required: Iterable[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, cells stripped. Raises DataError for a missing file or column."""
    return list(each_row(path, required))


def each_row(path: Path, required: Iterable[str] = ()) -> Iterator[dict[str, str]]:
    """``read_rows`` one by one; a name that ends in .gz is unpacked on the way."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            header = [(h or "").strip() for h in reader.fieldnames or ()]
            missing = [c for c in required if c not in header]
            if missing:
                raise _without(missing[0], header, path)
            for row in reader:
                yield {(k or "").strip(): v.strip() for k, v in row.items() if isinstance(v, str)}
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise DataError(f"there is no folder {str(path.parent)!r}; check the path") from None
        raise DataError(
            f"{path.name} was not found in {str(path.parent)!r}; the page docs/datasets.md shows the layout"
        ) from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error):
        raise DataError(f"{path.name} could not be read as a CSV file in UTF-8; export it again") from None


def _without(column: str, header: Sequence[str], path: Path) -> DataError:
    from ._meant import header_hint

    hint = header_hint(header, column)
    has = f"it has {listed([h.replace(chr(9), ' ') for h in header]) or 'none'}"
    return DataError(f"{path.name} has no column {column!r}; {f'{hint} ({has})' if hint else has}")


def known_finding(label: str) -> str | None:
    """Canonical id of a label, or None. A remark in brackets is not part of it."""
    try:
        return finding(re.sub(r"\s*\(.*\)$", "", label))
    except UnknownName:
        return None


def picture(root: Path, file: str) -> Path:
    """Path of a picture inside the data set. Raises DataError for one that leads out of it."""
    if not file or Path(file).is_absolute() or ".." in Path(file).parts:
        raise DataError(f"the file {file!r:.80} does not lie in the data set's folder; write paths relative to it")
    return root / file


def opener(path: Path, name: str, view: View | None) -> Opener:
    """Reads a picture, with the name and (where the file says nothing) the view of the table."""
    return _File(path, name, view)


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    view: View | None

    def __call__(self) -> Radiograph:
        from ..io.load import load_image

        radiograph = load_image(self.path)
        return replace(radiograph, name=self.name, view=radiograph.view or self.view)

    def source(self) -> str:
        """The file, and the view that the table gives it."""
        return f"{file_source(self.path)} {self.view}"


def file_source(path: Path) -> str:
    """What tells a file from every other, and from itself before it was written anew; not one byte of it is read."""
    try:
        held = path.stat()
    except OSError:
        return f"{path.absolute()} absent"
    return f"{path.absolute()} {held.st_size} {held.st_mtime_ns}"


def view_of(text: str) -> View | None:
    """PA, AP or LATERAL from a table's word ("AP Supine", "L", "frontal")."""
    word = text.upper().split()[0] if text.strip() else ""
    views: dict[str, View] = {"PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "LL": "LATERAL", "L": "LATERAL"}
    return views.get(word)


def box_in(share: Sequence[float], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """A box given in shares of width and height, in pixels of a picture of this shape (h, w)."""
    h, w = shape
    return share[0] * w, share[1] * h, share[2] * w, share[3] * h


def mask_in(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask file (non-zero = inside) at the shape of the picture. Raises DataError where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as held:
            image = held.convert("L")
            image = image if image.size == shape[::-1] else image.resize(shape[::-1], Image.Resampling.NEAREST)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise DataError(f"the mask {path.name} is missing or unreadable; give a PNG of the picture's size") from None
    return np.asarray(image) > 0


def box_around(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """(x, y, width, height) in whole pixels; all 0 for an empty mask."""
    if not mask.any():
        return 0.0, 0.0, 0.0, 0.0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)


def one_each(cases: Sequence[Case], name: str) -> tuple[Case, ...]:
    """The cases, if no id stands twice. Raises DataError."""
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise DataError(f"{name} names the picture {case.id!r:.60} twice; every picture is one row")
        seen.add(case.id)
    return tuple(cases)


def number(text: str) -> float | None:
    """A number from a cell, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def regions_of(make: Sequence[Callable[[tuple[int, int]], Region]], load: Opener) -> Callable[[], tuple[Region, ...]]:
    """Reads regions that need the shape of the picture, which is read only where there are any."""
    return _Drawn(tuple(make), load)


@dataclass(frozen=True, eq=False)
class _Drawn:
    make: tuple[Callable[[tuple[int, int]], Region], ...]
    load: Opener

    def __call__(self) -> tuple[Region, ...]:
        if not self.make:
            return ()
        shape = self.load().shape
        return tuple(each(shape) for each in self.make)

    def source(self) -> str:
        """What the tables say of each region, and the picture whose shape they take."""
        return "\n".join(_words(part) for part in (*self.make, self.load)) if self.make else ""


def _words(part: object) -> str:
    """What a reader says of itself; of a function with arguments (rows of a table) its name and theirs."""
    if isinstance(part, partial):
        held = content((part.args, part.keywords))
        assert held is not None, "a reader of regions is given rows of a table, numbers and paths"
        return f"{part.func.__qualname__} {held}"
    return str(part.source() if hasattr(part, "source") else part)


def grouped(rows: Iterable[Mapping[str, str]], key: str) -> dict[str, list[Mapping[str, str]]]:
    """Rows by the value of one column."""
    out: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        out.setdefault(row.get(key, ""), []).append(row)
    return out
