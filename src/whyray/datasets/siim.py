"""SIIM-ACR Pneumothorax Segmentation 2019 in its official layout: ``siim:PATH`` (SIIM, ACR, Kaggle).

PATH holds train-rle.csv (or stage_2_train.csv) and the pictures <ImageId>.dcm anywhere below, as in
dicom-images-train/<study>/<series>/<ImageId>.dcm. Not all pictures need be there. Rows of one picture are its
pneumothoraces, one mask each; " -1" says that there is none. The release names no patients, so each picture is its own;
"test" is a fifth of them and "val" an eighth of the rest, by a hash of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ..types import Case, Region
from ._tables import TableSet, box_around, grouped, one_each, opener, read_rows, regions_of
from .nih14 import _split

if TYPE_CHECKING:
    from numpy.typing import NDArray

TABLES = ("train-rle.csv", "stage_2_train.csv")
LICENCE = "SIIM-ACR: terms of the challenge (non-commercial); pictures of the NIH Clinical Center"
SIDE = 1024  # pixels of every picture; the masks are of this size
FINDING = "pneumothorax"
ANNOTATOR = "SIIM / STR radiologists"
NONE = "-1"


def load(argument: str) -> TableSet:
    """The data set in this folder. Raises DataError where the table or every picture is missing."""
    root = Path(argument).expanduser()
    table = next((root / name for name in TABLES if (root / name).is_file()), root / TABLES[0])
    rows = grouped(read_rows(table, ("ImageId", "EncodedPixels")), "ImageId")
    found = {path.stem: path.relative_to(root).as_posix() for path in sorted(root.rglob("*.dcm"))}
    if not found:
        raise DataError(f"no picture was found below {root.name or root}; *.dcm in any folder was wanted")
    cases = [_case(root, name, runs, found.get(name)) for name, runs in rows.items()]
    return TableSet(f"siim:{argument}", (FINDING,), LICENCE, root, one_each(cases, table.name))


def _case(root: Path, name: str, rows: Sequence[Mapping[str, str]], found: str | None) -> Case:
    texts = [row.get("EncodedPixels", "") for row in rows]
    ill = texts != [NONE] * len(texts)
    if ill and NONE in texts:
        raise DataError(f"{name!r:.60} has a mask and the row -1, which says that it has none; keep one of them")
    file = found or f"{name}.dcm"
    read = opener(root / file, name, None)
    make = [partial(_region, name, text) for text in texts if ill]
    return Case(
        id=name,
        open=read,
        labels={FINDING: float(ill)},
        patient=f"siim_{name}",
        split=_split("", name, None),
        open_regions=regions_of(make, read),
        facts={"file": file, "dataset": "SIIM-ACR pneumothorax", "licence": LICENCE},
    )


def _region(name: str, text: str, shape: tuple[int, int]) -> Region:
    mask = from_relative_runs(text, (SIDE, SIDE))
    if mask is None:
        raise DataError(
            f"the mask of {name!r:.60} is no pairs of runs inside {SIDE} x {SIDE} pixels; download it again"
        )
    if shape != mask.shape:  # a smaller copy of the picture: nearest
        rows, columns = ((np.arange(n) + 0.5) * SIDE / n for n in shape)
        mask = mask[np.ix_(rows.astype(int), columns.astype(int))]
    return Region(FINDING, box_around(mask), mask, annotator=ANNOTATOR)


def from_relative_runs(text: str, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """A mask ``[h, w]`` from "gap length gap length ...", None where it is no such text or leaves the picture.

    Pixels go down the columns, from the left one on; each gap counts from the end of the run before.
    """
    try:
        numbers = np.array([int(part) for part in text.split()], np.int64)
    except (ValueError, OverflowError):
        return None
    if not len(numbers) or len(numbers) % 2 or (numbers < 0).any() or numbers.max() > shape[0] * shape[1]:
        return None
    if numbers.sum() > shape[0] * shape[1]:
        return None
    values = np.tile([False, True], len(numbers) // 2)
    flat = np.zeros(shape[0] * shape[1], bool)
    flat[: numbers.sum()] = np.repeat(values, numbers)
    return flat.reshape(shape[::-1]).T
