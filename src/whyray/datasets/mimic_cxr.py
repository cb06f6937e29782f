"""MIMIC-CXR-JPG in its official layout: ``mimic_cxr:PATH`` (Johnson et al., Scientific Data 2019).

PATH holds files/p10/p10000032/s50414267/<dicom_id>.jpg and the tables mimic-cxr-2.0.0-metadata, -split and -chexpert
or -negbio as .csv.gz (or unpacked). Labels are those of a study, read from its report by the CheXpert labeller, or by
NegBio with ``,labels=negbio``; a label of -1 is uncertain and an empty cell says nothing, as in ``chexpert``, whose
``,blank=0`` and ``,views=frontal`` work here too. Reports are those of MIMIC-CXR (s50414267.txt in the same folders):
unpacked into PATH, into PATH/mimic-cxr-reports, or anywhere with ``,reports=FOLDER``. They are read when asked for.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from ..errors import DataError
from ..types import Case, View
from ._mimic_tree import ReportFile, Unreadable, read_report, report_root
from ._tables import TableSet, each_row, number, one_each, opener, picture, view_of
from .chexpert import findings, settings_of, stated

LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: credentialed users only, no redistribution"
SPLITS = {"train": "train", "validate": "val", "test": "test"}
KEYS = ("subject_id", "study_id")
SETTINGS: Mapping[str, tuple[str, ...] | None] = {
    "labels": ("chexpert", "negbio"),
    "blank": ("nan", "0"),
    "views": ("all", "frontal"),
    "reports": None,
}
Stated = tuple[Mapping[str, float], tuple[str, ...]]  # labels, findings called uncertain


@dataclass(frozen=True)
class Options:
    """What stands behind the path.

    labels   which labeller read the reports.
    blank    what an empty cell says: NaN or 0.
    views    "all" or "frontal" (PA and AP).
    reports  the folder of p10 ... p19 with the reports, or None.
    """

    labels: str = "chexpert"
    blank: float = math.nan
    views: str = "all"
    reports: Path | None = None


class StudyReport(Mapping[str, str]):
    """Section -> text of one report, read from its file at the first look; empty where the file is not there."""

    def __init__(self, file: ReportFile) -> None:
        self._file = file

    @cached_property
    def _sections(self) -> dict[str, str]:
        from ..text.sections import split

        try:
            found = split(read_report(self._file)).sections
        except Unreadable:
            return {}
        parts: dict[str, list[str]] = {}
        for section in found:
            parts.setdefault(section.name, []).append(section.text.strip())
        return {name: "\n".join(texts) for name, texts in parts.items()}

    def __getitem__(self, name: str) -> str:
        return self._sections[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sections)

    def __len__(self) -> int:
        return len(self._sections)


def load(argument: str) -> TableSet:
    """``PATH`` and its settings. Raises DataError where the layout is another."""
    path, given = settings_of("mimic_cxr", argument, SETTINGS)
    root = Path(path).expanduser()
    options = Options(
        labels=given.get("labels", "chexpert"),
        blank=float(given.get("blank", "nan")),
        views=given.get("views", "all"),
        reports=_reports(root, given.get("reports")),
    )
    cases = one_each(tuple(_Reader(root, options).cases()), "MIMIC-CXR")
    return TableSet(f"mimic_cxr:{argument}", findings(), LICENCE, root, cases, options.reports)


def table(root: Path, name: str) -> Path:
    """One of the release's tables, packed or not. Raises DataError where there is none."""
    found = sorted(root.glob(f"mimic-cxr-2.?.?-{name}.csv*"))
    if not found:
        place = root.name or root
        raise DataError(f"mimic-cxr-2.0.0-{name}.csv.gz was not found in {place}; give the folder of MIMIC-CXR-JPG")
    return found[-1]


def _reports(root: Path, named: str | None) -> Path | None:
    """Where the reports are; a folder that was named must hold them."""
    if named is not None:
        return report_root(named)
    for place in (root / "mimic-cxr-reports", root):
        with contextlib.suppress(DataError):
            if _holds_reports(found := report_root(place)):
                return found
    return None


def _holds_reports(tree: Path) -> bool:
    """Whether texts lie in it, and not only pictures: told by three patients of each of its groups."""
    patients = (p for group in tree.glob("p1?") for p in islice(group.iterdir(), 3) if p.is_dir())
    return any(next(p.glob("s*.txt"), None) is not None for p in patients)


@dataclass(frozen=True)
class _Reader:
    """The tables of one release, row by row: 377,110 pictures, each with the labels of its study."""

    root: Path
    options: Options

    def cases(self) -> Iterator[Case]:
        """Every picture of the metadata, in its order. Raises DataError for a split that is none."""
        of_picture = {r["dicom_id"]: r["split"] for r in each_row(table(self.root, "split"), ("dicom_id", "split"))}
        unknown = sorted(set(of_picture.values()) - set(SPLITS))
        if unknown:
            raise DataError(f"the split {unknown[0]!r:.40} came; {', '.join(SPLITS)} were wanted")
        labels, none = self._labels(), (dict.fromkeys(findings(), math.nan), ())
        for row in each_row(table(self.root, "metadata"), ("dicom_id", *KEYS, "ViewPosition")):
            if self.options.views == "all" or row["ViewPosition"] in ("PA", "AP"):
                split = SPLITS.get(of_picture.get(row["dicom_id"], ""), "")
                yield self._case(row, split, labels.get(row["study_id"], none))

    def _labels(self) -> dict[str, Stated]:
        """study -> what its report says; a study that the labeller left out is not labelled."""
        rows = each_row(table(self.root, self.options.labels), (*KEYS, "Edema"))
        return {row["study_id"]: stated(row, self.options.blank) for row in rows}

    def _case(self, row: Mapping[str, str], split: str, told: Stated) -> Case:
        subject, study, name = row["subject_id"], row["study_id"], row["dicom_id"]
        if number(subject) is None or number(study) is None or not name:
            raise DataError(f"the row {name!r:.60} of the metadata has no subject_id or study_id; export it again")
        place = f"p{subject[:2]}/p{subject}/s{study}"
        file = f"files/{place}/{name}.jpg"
        view: View | None = "LATERAL" if "LATERAL" in row["ViewPosition"].upper() else view_of(row["ViewPosition"])
        facts: dict[str, object] = {
            "file": file,
            "view": view or "",
            "frontal": view in ("PA", "AP"),
            "study": f"s{study}",
            "uncertain": told[1],
            "dataset": "MIMIC-CXR",
            "licence": LICENCE,
        }
        reports, text = self.options.reports, f"{place}.txt"
        return Case(
            id=name,
            open=opener(picture(self.root, file), name, view),
            labels=told[0],
            patient=f"mimic_{subject}",
            split=split,
            report=StudyReport(ReportFile(f"s{study}", f"p{subject}", reports / text, text)) if reports else {},
            facts={**facts, "report": text} if reports else facts,
        )
