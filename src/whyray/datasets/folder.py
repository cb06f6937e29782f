"""A folder with images.csv, and where there are any boxes.csv, masks.csv and reports.csv: ``folder:PATH``.

The format is on the page docs/datasets.md. ``folder:PATH,pictures=file_256`` reads the pictures of another column where
a row has one. Labels are 1, 0 or NaN by the row's source: a source that does not label a finding says nothing about it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ..errors import DataError
from ..types import Case, Region, content
from ._policies import labels_from, policy_of
from ._tables import (
    TableSet,
    box_around,
    box_in,
    file_source,
    grouped,
    known_finding,
    mask_in,
    number,
    one_each,
    opener,
    picture,
    read_rows,
    regions_of,
    view_of,
)

Row = Mapping[str, str]
SECTIONS = {
    "findings": "findings_text",
    "impression": "impression_text",
    "indication": "indication",
    "comparison": "comparison",
}
FACTS = ("dataset", "licence", "view", "sex", "label_basis", "official_split", "rsna_class")
Kind = Literal["finding", "anatomy", "machine"]
KINDS: dict[str, Kind] = {"finding": "finding", "anatomy": "anatomy", "machine": "machine"}


def load(argument: str) -> TableSet:
    """``PATH`` or ``PATH,pictures=COLUMN``. Raises DataError for a folder that is not laid out as its format says."""
    match = re.fullmatch(r"(.+?)(?:,pictures=(\w+))?", argument, re.DOTALL)
    if match is None:
        raise DataError("folder needs a path: folder:PATH, where PATH/images.csv lists the pictures")
    root, column = Path(match[1]).expanduser(), match[2] or "file"
    rows = read_rows(root / "images.csv", ("image_id", "file", column))
    boxes = grouped(_optional(root / "boxes.csv", ("image_id", "finding", "x", "y", "w", "h")), "image_id")
    masks = grouped(_optional(root / "masks.csv", ("image_id", "structure", "file")), "image_id")
    reports = _reports(_optional(root / "reports.csv", ("image_ids",)))
    told = [labels_from(row.get("findings", ""), policy_of(row)) for row in rows]
    findings = tuple(sorted({f for labels, _, _ in told for f in labels}))
    cases = []
    for row, (labels, unsure, unknown) in zip(rows, told, strict=True):
        name = row["image_id"]
        every = {f: labels.get(f, math.nan) for f in findings}
        more = {"uncertain": tuple(unsure), "unknown_labels": tuple(unknown), "file": row.get(column) or row["file"]}
        drawn = (boxes.get(name, []), masks.get(name, []))
        cases.append(_case(root, row, every, {**_facts(row), **more}, drawn, reports.get(name, {})))
    licences = sorted({row.get("licence", "") for row in rows} - {""})
    licence = licences[0] if len(licences) == 1 else f"{len(licences)} licences: see the column 'licence'"
    licence = licence if licences else "unknown"
    columns = tuple(filter(None, rows[0])) if rows else ()
    return TableSet(f"folder:{argument}", findings, licence, root, one_each(cases, "images.csv"), columns=columns)


def _case(
    root: Path,
    row: Row,
    labels: Mapping[str, float],
    facts: Mapping[str, object],
    drawn: tuple[Sequence[Row], Sequence[Row]],
    report: Mapping[str, str],
) -> Case:
    name = row["image_id"]
    read = opener(picture(root, str(facts["file"])), name, view_of(row.get("view", "")))
    make: list[Callable[[tuple[int, int]], Region]] = [partial(_box, box, row) for box in drawn[0]]
    make += [_Mask(root, mask) for mask in drawn[1]]
    return Case(
        id=name,
        open=read,
        labels=labels,
        patient=row.get("patient_id") or name,
        split=row.get("split", ""),
        open_regions=regions_of(make, read),
        report=report,
        facts=facts,
    )


def _box(box: Row, row: Row, shape: tuple[int, int]) -> Region:
    """A box of boxes.csv: shares of the picture where the table has them, else pixels of the original picture."""
    share = [number(box.get(f"{key}_norm", "")) for key in "xywh"]
    if None in share:
        wide, high = number(row.get("width", "")) or shape[1], number(row.get("height", "")) or shape[0]
        share = [_needed(box, key) / side for key, side in zip("xywh", (wide, high, wide, high), strict=True)]
    values = box_in([value for value in share if value is not None], shape)
    return Region(_region_name(box, "finding"), values, None, _kind(box), box.get("annotator", ""))


@dataclass(frozen=True, eq=False)
class _Mask:
    """A row of masks.csv, and the folder that its file lies in."""

    root: Path
    row: Row

    def __call__(self, shape: tuple[int, int]) -> Region:
        mask = mask_in(picture(self.root, self.row["file"]), shape)
        name, kind = _region_name(self.row, "structure"), _kind(self.row)
        return Region(name, box_around(mask), mask, kind, self.row.get("annotator", ""))

    def source(self) -> str:
        return f"{content(self.row)} {file_source(self.root / self.row['file'])}"


def _region_name(row: Row, column: str) -> str:
    """Canonical finding: the mapped label first, then the annotator's word; anatomy keeps its own name."""
    for label in (row.get(f"{column}_nih", ""), row[column]):
        found = known_finding(label) if label else None
        if found:
            return found
    return re.sub(r"[\s\-]+", "_", row[column].strip().lower())


def _kind(row: Row) -> Kind:
    kind = row.get("kind") or "finding"
    if kind not in KINDS:
        raise DataError(f"the kind {kind!r:.40} of a region is not known; it is one of {', '.join(KINDS)}")
    return KINDS[kind]


def _needed(row: Row, key: str) -> float:
    value = number(row[key])
    if value is None:
        raise DataError(f"boxes.csv: {key} of a box on {row['image_id']!r:.60} is not a number")
    return value


def _facts(row: Row) -> dict[str, object]:
    facts: dict[str, object] = {key: row[key] for key in FACTS if row.get(key)}
    age = number(row.get("age", ""))
    return facts if age is None else {**facts, "age": int(age)}


def _optional(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    return read_rows(path, required) if path.exists() else []


def _reports(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """image id -> section -> text. A report without a picture belongs to no case."""
    out: dict[str, dict[str, str]] = {}
    for row in rows:
        text = {section: row[column] for section, column in SECTIONS.items() if row.get(column)}
        out |= dict.fromkeys((i for i in row["image_ids"].split("|") if i), text)
    return out
