"""VinDr-CXR in its official layout: ``vindr:PATH`` (Nguyen et al., Scientific Data 2022, PhysioNet).

PATH holds annotations/annotations_train.csv, annotations_test.csv, image_labels_train.csv and image_labels_test.csv (or
these beside the folders), and the pictures train/<image_id>.dicom and test/<image_id>.dicom. Not all pictures need be
there. A training picture has three readers: a finding is 1 where most of them state it, 0 where none does, and NaN in
between, named in ``facts["uncertain"]``; their boxes all stand, each with its reader. The test set is a consensus of
five. The release names no patients, so each picture is its own; "val" is an eighth of the training set, by a hash.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..errors import DataError
from ..findings import crosswalk
from ..types import Case, Region
from ._tables import TableSet, grouped, known_finding, number, one_each, opener, picture, read_rows, regions_of

LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"
COLUMNS = crosswalk("vindr-28") | {"Other disease": crosswalk("vindr-28")["Other diseases"]}
SUFFIXES = (".dicom", ".dcm", ".png", ".jpg")
Row = Mapping[str, str]


def load(argument: str) -> TableSet:
    """The data set in this folder. Raises DataError where a table or every picture is missing."""
    root = Path(argument).expanduser()
    tables = root / "annotations" if (root / "annotations").is_dir() else root
    cases: list[Case] = []
    for part in ("train", "test"):
        if (tables / f"image_labels_{part}.csv").is_file():
            cases += _cases(root, tables, part)
    if not cases:
        raise DataError(f"no table was found in {root.name or root}; annotations/image_labels_train.csv was wanted")
    return TableSet(f"vindr:{argument}", findings(), LICENCE, root, one_each(cases, "VinDr-CXR"))


def findings() -> tuple[str, ...]:
    """What the readers were asked for."""
    return tuple(sorted(set(COLUMNS.values())))


def _cases(root: Path, tables: Path, part: str) -> list[Case]:
    rows = grouped(read_rows(tables / f"image_labels_{part}.csv", ("image_id",)), "image_id")
    boxes = tables / f"annotations_{part}.csv"
    needed = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")
    drawn = grouped(read_rows(boxes, needed), "image_id") if boxes.is_file() else {}
    found = {path.stem: path.name for path in sorted((root / part).glob("*")) if path.suffix in SUFFIXES}
    if not found:
        raise DataError(f"no picture was found in {root.name or root}/{part}; <image_id>.dicom was wanted")
    return [_case(root, part, name, readers, drawn.get(name, ()), found.get(name)) for name, readers in rows.items()]


def _case(root: Path, part: str, name: str, readers: Sequence[Row], boxes: Sequence[Row], found: str | None) -> Case:
    file = f"{part}/{found or name + '.dicom'}"
    read = opener(picture(root, file), name, "PA")
    labels = {f: _agreed(name, readers, f) for f in findings()}
    make = [partial(_region, box) for box in map(_box, boxes) if box is not None]
    facts: dict[str, object] = {
        "file": file,
        "readers": tuple(row.get("rad_id", "") for row in readers) if part == "train" else (),
        "uncertain": tuple(f for f, value in labels.items() if math.isnan(value)),
        "dataset": "VinDr-CXR",
        "licence": LICENCE,
    }
    return Case(
        id=name,
        open=read,
        labels=labels,
        patient=f"vindr_{name}",
        split="test" if part == "test" else "val" if _share(name) % 8 == 0 else "train",
        open_regions=regions_of(make, read),
        facts=facts,
    )


def _share(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


def _agreed(name: str, readers: Sequence[Row], finding: str) -> float:
    """1 where most readers state it, 0 where none does, else NaN; also NaN where the table has no such column."""
    votes = []
    for row in readers:
        cells = [number(row[column]) for column, found in COLUMNS.items() if found == finding and column in row]
        if any(cell not in (0, 1) for cell in cells):
            raise DataError(f"image_labels: a label of {name!r:.60} for {finding} is not 0 or 1")
        if cells:
            votes.append(any(cells))
    if not votes or 0 < sum(votes) <= len(votes) / 2:
        return math.nan
    return float(sum(votes) > 0)


def _box(row: Row) -> Region | None:
    """A region from one row of annotations; None for a row that says there is no finding."""
    finding, values = (
        known_finding(row["class_name"]),
        [number(row[key]) for key in ("x_min", "y_min", "x_max", "y_max")],
    )
    if finding == "no_finding" or all(value is None for value in values):
        return None
    if finding is None or None in values:
        raise DataError(f"annotations: a row of {row['image_id']!r:.60} is not a known class with x_min ... y_max")
    x, y, right, bottom = (value for value in values if value is not None)
    return Region(finding, (x, y, right - x, bottom - y), annotator=row.get("rad_id", "") or "consensus of 5")


def _region(region: Region, shape: tuple[int, int]) -> Region:
    """The box, cut at the picture: some reach a pixel beyond it."""
    (x, y, w, h), (height, width) = region.box, shape
    left, top = min(max(x, 0.0), width), min(max(y, 0.0), height)
    right, bottom = min(max(x + w, 0.0), width), min(max(y + h, 0.0), height)
    return Region(region.finding, (left, top, right - left, bottom - top), annotator=region.annotator)
