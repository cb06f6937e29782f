"""CheXpert in its official layout: ``chexpert:PATH`` (Irvin et al., AAAI 2019).

PATH holds train.csv and valid.csv (and test.csv or test_labels.csv where there is one) beside the folders train/,
valid/ and test/ that their column Path names. valid.csv is the split "val". A label of -1 is uncertain and an empty
cell says nothing: both are NaN, the former is named in ``facts["uncertain"]``. ``chexpert:PATH,blank=0`` takes an empty
cell for absent, as most published trainings do; ``chexpert:PATH,views=frontal`` leaves lateral views out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import DataError
from ..findings import crosswalk
from ..types import Case, View
from ._tables import TableSet, number, one_each, opener, picture, read_rows, view_of

LABELS = crosswalk("chexpert-14")  # column -> finding
LICENCE = "Stanford University Dataset Research Use Agreement: research only, no redistribution"
TABLES = {
    "train": ("train.csv",),
    "val": ("valid.csv", "val.csv", "val_labels.csv"),
    "test": ("test.csv", "test_labels.csv"),
}
FOLDERS = ("train", "valid", "val", "test")
SETTINGS = {"blank": ("nan", "0"), "views": ("all", "frontal")}


@dataclass(frozen=True)
class Options:
    """What stands behind the path.

    blank  what an empty cell says: NaN or 0.
    views  "all" or "frontal".
    """

    blank: float = math.nan
    views: str = "all"


def load(argument: str) -> TableSet:
    """``PATH``, then ``,blank=0`` and ``,views=frontal`` where wanted. Raises DataError where the layout is another."""
    path, given = settings_of("chexpert", argument, SETTINGS)
    root, options = Path(path).expanduser(), Options(float(given.get("blank", "nan")), given.get("views", "all"))
    if not any((root / name).is_dir() for name in FOLDERS):
        wanted = "train/ and valid/ beside train.csv and valid.csv"
        raise DataError(f"no folder of pictures was found in {root.name or root}; {wanted} were wanted")
    cases = [case for split in TABLES for case in cases_of(root, split, options)]
    if not cases:
        raise DataError(f"no table was found in {root.name or root}; train.csv or valid.csv was wanted")
    return TableSet(f"chexpert:{argument}", findings(), LICENCE, root, one_each(cases, "CheXpert"))


def findings() -> tuple[str, ...]:
    """The fourteen labels."""
    return tuple(sorted(LABELS.values()))


def cases_of(root: Path, split: str, options: Options = Options()) -> Iterator[Case]:
    """Cases of one split's table in this folder; none where there is no table."""
    table = next((root / name for name in TABLES[split] if (root / name).is_file()), None)
    for row in read_rows(table, ("Path",)) if table is not None else ():
        file = file_of(row["Path"])
        frontal = row.get("Frontal/Lateral", "") != "Lateral" and not file.endswith("_lateral.jpg")
        if frontal or options.views == "all":
            yield _case(root, row, file, split, frontal, options.blank)


def _case(root: Path, row: Mapping[str, str], file: str, split: str, frontal: bool, blank: float) -> Case:
    labels, uncertain = stated(row, blank)
    name, patient = name_of(file)
    view: View | None = view_of(row.get("AP/PA", "")) if frontal else "LATERAL"
    age = number(row.get("Age", ""))
    facts: dict[str, object] = {
        "file": file,
        "view": view or "",
        "frontal": frontal,
        "age": None if age is None else int(age),
        "sex": {"Male": "M", "Female": "F"}.get(row.get("Sex", ""), ""),
        "uncertain": uncertain,
        "dataset": "CheXpert",
        "licence": LICENCE,
    }
    return Case(
        id=name, open=opener(picture(root, file), name, view), labels=labels, patient=patient, split=split, facts=facts
    )


def file_of(path: str) -> str:
    """The picture's path below its table's folder: what stands before "train", "valid" ... is the release's name."""
    parts = PurePosixPath(path).parts
    start = next((i for i, part in enumerate(parts) if part in FOLDERS), None)
    if start is None or len(parts) - start < 3:
        raise DataError(f"the Path {path!r:.80} does not read .../train/patient00001/study1/view1_frontal.jpg")
    return "/".join(parts[start:])


def name_of(file: str) -> tuple[str, str]:
    """(id as CheXlocalize writes it, patient) of a picture's path: patient00001_study1_view1_frontal."""
    parts = PurePosixPath(file).with_suffix("").parts[1:]
    return "_".join(parts), f"chexpert_{parts[0].removeprefix('patient')}"


def settings_of(name: str, argument: str, known: Mapping[str, tuple[str, ...] | None]) -> tuple[str, dict[str, str]]:
    """(path, setting -> value) of ``PATH,key=value``; None = any value. Raises DataError for others."""
    path, *pairs = argument.split(",")
    given = dict(pair.partition("=")[::2] for pair in pairs)
    for key, value in given.items():
        if key not in known or not value or (known[key] is not None and value not in (known[key] or ())):
            ways = ", ".join(f"{k}={'|'.join(v) if v else 'FILE'}" for k, v in known.items())
            raise DataError(f"{name} was given {key}={value!r:.40}; it takes {ways}")
    if not path:
        raise DataError(f"{name} needs a path: {name}:PATH")
    return path, given


def stated(row: Mapping[str, str], blank: float) -> tuple[dict[str, float], tuple[str, ...]]:
    """(finding -> label, findings called uncertain) of a row with the fourteen columns; an empty cell is ``blank``."""
    told = {finding: _told(row.get(column), column) for column, finding in sorted(LABELS.items(), key=lambda i: i[1])}
    labels = {f: blank if v is None else math.nan if v == -1 else float(v) for f, v in told.items()}
    return labels, tuple(f for f, value in told.items() if value == -1)


def _told(cell: str | None, column: str) -> int | None:
    """1, 0, -1 (uncertain), or None for a cell that says nothing."""
    if not cell:
        return None
    value = number(cell)
    if value not in (1, 0, -1):
        raise DataError(f"the label {cell!r:.20} of {column} is not 1, 0, -1 or empty")
    return int(value)
