"""ChestX-ray14 of the NIH Clinical Center in its official layout: ``nih14:PATH`` (Wang et al., CVPR 2017).

PATH holds Data_Entry_2017_v2020.csv (or Data_Entry_2017.csv), the pictures in images/ or images_001/images/ ...
images_012/images/, and where there are any BBox_List_2017.csv and test_list.txt. Not all pictures need be there. Splits
are by patient: "test" is the official list, "val" every eighth of the other patients (by a hash of the patient's
number), "train" the rest; without the list a fifth of all patients is "test".
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..errors import DataError
from ..types import Case, Region
from ._policies import NIH, Policy, labels_from
from ._tables import TableSet, box_in, known_finding, number, one_each, opener, picture, read_rows, regions_of, view_of

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LICENCE = "NIH Clinical Center: no restriction on use; link to the source, cite Wang et al. CVPR 2017"
RELEASED = 1024  # pixels a side; the boxes are in these
SPAN = 8
ANNOTATOR = "NIH board-certified radiologist"


def load(argument: str) -> TableSet:
    """The data set in this folder. Raises DataError where the table or every picture is missing."""
    root = Path(argument).expanduser()
    table = next((root / name for name in TABLES if (root / name).is_file()), root / TABLES[0])
    rows = read_rows(table, ("Image Index", "Finding Labels", "Patient ID"))
    folders = _folders(root)
    boxes, official = _boxes(root / "BBox_List_2017.csv"), _official_test(root)
    cases = [_case(root, row, folders.get(row["Image Index"]), boxes, official) for row in rows]
    return TableSet(f"nih14:{argument}", tuple(sorted(NIH)), LICENCE, root, one_each(cases, table.name))


def _case(
    root: Path,
    row: Mapping[str, str],
    found: str | None,
    boxes: Mapping[str, Sequence[Region]],
    official: frozenset[str] | None,
) -> Case:
    name = row["Image Index"]
    file = found or f"images/{name}"
    labels, _, unknown = labels_from(row["Finding Labels"], Policy(NIH))
    read = opener(picture(root, file), Path(name).stem, view_of(row.get("View Position", "")))
    age = number(row.get("Patient Age", "").rstrip("YyMmDd"))
    facts: dict[str, object] = {
        "file": file,
        "view": row.get("View Position", ""),
        "age": None if age is None else int(age),
        "sex": row.get("Patient Sex") or row.get("Patient Gender", ""),
        "follow_up": row.get("Follow-up #", ""),
        "unknown_labels": tuple(unknown),
        "dataset": "NIH ChestX-ray14",
        "licence": LICENCE,
    }
    make = [partial(_scaled, region) for region in boxes.get(name, ())]
    return Case(
        id=Path(name).stem,
        open=read,
        labels={f: labels.get(f, math.nan) for f in sorted(NIH)},
        patient=f"nih_{row['Patient ID']}",
        split=_split(name, row["Patient ID"], official),
        open_regions=regions_of(make, read),
        facts=facts,
    )


def _split(name: str, patient: str, official: frozenset[str] | None) -> str:
    share = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16)
    if name in official if official is not None else share // SPAN % 5 == 0:
        return "test"
    return "val" if share % SPAN == 0 else "train"


def _official_test(root: Path) -> frozenset[str] | None:
    """Picture names of the official test list, or None without one."""
    path = root / "test_list.txt"
    if not path.is_file():
        return None
    return frozenset(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def _folders(root: Path) -> dict[str, str]:
    """Picture name -> its path below the root."""
    places = [root / "images", *sorted(root.glob("images_*/images")), *sorted(root.glob("images_*"))]
    found: dict[str, str] = {}
    for place in places:
        for path in place.glob("*.png"):
            found.setdefault(path.name, path.relative_to(root).as_posix())
    if not found:
        wanted = "images/*.png or images_001/images/*.png"
        raise DataError(f"no picture was found below {root.name or root}; {wanted} was wanted")
    return found


def _boxes(path: Path) -> dict[str, list[Region]]:
    """Boxes by picture. The header ("Bbox [x,y,w,h],,,") has fewer names than columns, so cells go by their place."""
    out: dict[str, list[Region]] = {}
    if not path.is_file():
        return out
    with open(path, newline="", encoding="utf-8-sig") as handle:
        for row in list(csv.reader(handle))[1:]:
            values = [number(cell) for cell in row[2:6]]
            finding = known_finding(row[1]) if len(row) > 1 else None
            if len(values) < 4 or None in values or finding is None:
                raise DataError(f"{path.name}: the row of {row[0] if row else ''!r:.40} is not name, label, x, y, w, h")
            x, y, w, h = (value / RELEASED for value in values if value is not None)
            out.setdefault(row[0], []).append(Region(finding, (x, y, w, h), annotator=ANNOTATOR))
    return out


def _scaled(region: Region, shape: tuple[int, int]) -> Region:
    """A region whose box is in shares of the picture, in its pixels."""
    return Region(region.finding, box_in(region.box, shape), None, region.kind, region.annotator)
