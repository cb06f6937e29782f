"""MIMIC-NLE beside the pictures of MIMIC-CXR-JPG: ``mimic_nle:PATH`` (Kayser et al., MICCAI 2022, arXiv 2207.04343).

PATH holds mimic-nle-train.json, -dev.json, -test.json (as ``whyray nle mimic`` or the published script writes them) and
the pictures as files/p10/p10000032/s50414267/*.jpg; with mimic-cxr-2.0.0-metadata.csv (or .gz) the frontal views are
known and the others left out. A case is one picture of a study that has explanations. A label that is uncertain is NaN
and named in ``facts["uncertain"]``; the dev split is called "val". ``facts["nles"]`` holds the explanations, a
dictionary each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..findings import crosswalk
from ..types import Case
from ._mimic_nle_files import SUBSETS, Extraction, extract, read_lines
from ._tables import TableSet, each_row, one_each, opener, picture, view_of

__all__ = ["LABELS", "Extraction", "extract", "load", "read_lines"]

LABELS = crosswalk("mimic-nle-10")
LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: no redistribution"
METADATA = "mimic-cxr-2.0.0-metadata.csv"
KEYS = ("sentence_ID", "nle", "diagnosis_label", "evidence_label", "img_labels", "report_ID", "patient_ID")
VIEWS = ("dicom_id", "ViewPosition")
FRONTAL = frozenset({"PA", "AP"})


def load(argument: str) -> TableSet:
    """The data set in this folder. Raises DataError where no split, or no picture of any study, is there."""
    root = Path(argument).expanduser()
    views = _views(root)
    cases: list[Case] = []
    for subset in SUBSETS:
        path = root / f"mimic-nle-{subset}.json"
        if path.is_file():
            split = "val" if subset == "dev" else subset
            for lines in _studies(path):
                cases += _cases(root, lines, split, views)
    if not cases:
        raise DataError(
            f"no explanation with a picture was found in {root.name or root}; mimic-nle-dev.json or its like beside "
            "files/p10/p10000032/s50414267/*.jpg were wanted"
        )
    return TableSet(f"mimic_nle:{argument}", tuple(LABELS.values()), LICENCE, root, one_each(cases, "MIMIC-NLE"))


def _studies(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The lines of each study."""
    held: dict[str, list[dict[str, Any]]] = {}
    for line in read_lines(path, KEYS):
        held.setdefault(line["report_ID"], []).append(line)
    return iter(held.values())


def _cases(root: Path, lines: Sequence[dict[str, Any]], split: str, views: Mapping[str, str]) -> Iterator[Case]:
    patient, study = lines[0]["patient_ID"], lines[0]["report_ID"]
    folder = picture(root, f"files/{patient[:3]}/{patient}/{study}")
    for file in sorted(folder.glob("*.jpg")):
        view = views.get(file.stem, "")
        if view in FRONTAL or not views:
            facts: dict[str, object] = {
                "file": file.relative_to(root).as_posix(),
                "study": study,
                "view": view,
                "uncertain": tuple(f for f, row in _states(lines).items() if row[1]),
                "nles": tuple(lines),
                "dataset": "MIMIC-NLE",
                "licence": LICENCE,
            }
            labels = {f: math.nan if row[1] else float(row[2]) for f, row in _states(lines).items()}
            read = opener(file, file.stem, view_of(view))
            yield Case(id=file.stem, open=read, labels=labels, patient=patient, split=split, facts=facts)


def _states(lines: Sequence[dict[str, Any]]) -> dict[str, tuple[int, int, int]]:
    """(negative, uncertain, positive) of each finding: positive before uncertain where the lines of a study differ."""
    out: dict[str, tuple[int, int, int]] = {}
    for i, finding in enumerate(LABELS.values()):
        rows = [line["img_labels"][i] for line in lines]
        positive = any(row[2] for row in rows)
        uncertain = not positive and any(row[1] for row in rows)
        out[finding] = (int(not positive and not uncertain), int(uncertain), int(positive))
    return out


def _views(root: Path) -> dict[str, str]:
    """dicom_id -> ViewPosition; empty without the table, which may be packed."""
    tables = [path for path in (root / METADATA, root / f"{METADATA}.gz") if path.is_file()]
    return {row["dicom_id"]: row["ViewPosition"] for row in each_row(tables[0], VIEWS)} if tables else {}
