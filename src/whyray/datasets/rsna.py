"""RSNA Pneumonia Detection Challenge 2018 in its official layout: ``rsna:PATH`` (Shih et al., Radiology AI 2019).

PATH holds stage_2_train_labels.csv (one row a box), stage_2_detailed_class_info.csv and the pictures
stage_2_train_images/<patientId>.dcm. Not all pictures need be there. "patientId" names a picture: two may be of one
person. The pictures are of ChestX-ray14, and where pneumonia-challenge-dataset-mappings_2018.json lies beside the
tables, patients are those of the NIH and splits are made as for ``nih14`` (with the NIH's test_list.txt, where that
lies there too): a model trained on "train" of the one has seen no patient in "test" of the other. The official test
pictures of the challenge have no public labels and are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..errors import DataError
from ..types import Case, Region
from ._tables import TableSet, box_in, grouped, number, one_each, opener, picture, read_rows, regions_of
from .nih14 import _official_test, _split

LABELS, CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
PICTURES, MAPPING = "stage_2_train_images", "pneumonia-challenge-dataset-mappings_2018.json"
LICENCE = "RSNA: terms of the challenge (non-commercial, academic); pictures of the NIH Clinical Center"
SIDE = 1024  # pixels of every picture; the boxes are in these
ANNOTATOR = "RSNA / STR radiologists"
NOT_LABELLED = math.nan
# What each of the three classes says. Readers looked for opacities suspicious for pneumonia; a picture that is "not
# normal" may show opacities of another cause, so there lung opacity is not labelled.
MEANING: Mapping[str, Mapping[str, float]] = {
    "Lung Opacity": {"pneumonia": 1.0, "lung_opacity": 1.0, "no_finding": 0.0},
    "No Lung Opacity / Not Normal": {"pneumonia": 0.0, "lung_opacity": NOT_LABELLED, "no_finding": 0.0},
    "Normal": {"pneumonia": 0.0, "lung_opacity": 0.0, "no_finding": 1.0},
}
BOXED = ("pneumonia", "lung_opacity")  # a box is where an opacity suspicious for pneumonia is: both


def load(argument: str) -> TableSet:
    """The data set in this folder. Raises DataError where a table is missing or the two contradict each other."""
    root = Path(argument).expanduser()
    boxes = grouped(read_rows(root / LABELS, ("patientId", "x", "y", "width", "height", "Target")), "patientId")
    classes = {row["patientId"]: row["class"] for row in read_rows(root / CLASSES, ("patientId", "class"))}
    sources = _sources(root / MAPPING)
    official = _official_test(root) if sources else None
    cases = [
        _case(root, name, rows, classes.get(name, ""), sources.get(name, ""), official) for name, rows in boxes.items()
    ]
    return TableSet(f"rsna:{argument}", tuple(sorted(MEANING["Normal"])), LICENCE, root, one_each(cases, LABELS))


def _case(
    root: Path, name: str, rows: Sequence[Mapping[str, str]], kind: str, source: str, official: frozenset[str] | None
) -> Case:
    labels = MEANING.get(kind)
    if labels is None:
        raise DataError(f"{CLASSES} gives {name!r:.60} the class {kind!r:.40}; {', '.join(MEANING)} are known")
    target = {row["Target"] for row in rows}
    if target != {str(int(labels["pneumonia"]))}:
        raise DataError(f"{LABELS} and {CLASSES} contradict each other on {name!r:.60}; use those of one stage")
    file = f"{PICTURES}/{name}.dcm"
    read = opener(picture(root, file), name, None)
    person = str(int(source.partition("_")[0])) if source else ""
    make = [partial(_region, finding, _box(name, row)) for row in rows if target == {"1"} for finding in BOXED]
    return Case(
        id=name,
        open=read,
        labels=labels,
        patient=f"nih_{person}" if person else f"rsna_{name}",
        split=_split(source, person or name, official),
        open_regions=regions_of(make, read),
        facts={
            "file": file,
            "class": kind,
            "source": source,
            "dataset": "RSNA pneumonia challenge",
            "licence": LICENCE,
        },
    )


def _box(name: str, row: Mapping[str, str]) -> tuple[float, float, float, float]:
    """x, y, width, height in shares of the picture."""
    values = [number(row[column]) for column in ("x", "y", "width", "height")]
    if None in values:
        raise DataError(f"{LABELS}: a box of {name!r:.60} is not four numbers; download the file again")
    x, y, width, height = (value / SIDE for value in values if value is not None)
    return x, y, width, height


def _region(finding: str, share: tuple[float, float, float, float], shape: tuple[int, int]) -> Region:
    return Region(finding, box_in(share, shape), annotator=ANNOTATOR)


def _sources(path: Path) -> dict[str, str]:
    """Picture -> its name at the NIH ("00000001_000.png"); empty without the mapping."""
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = {row["subset_img_id"]: row["img_id"] for row in rows}
        if all(source.partition("_")[0].isdecimal() for source in found.values()):
            return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(f"{path.name} is not the RSNA's mapping; download it again, or take it away")
