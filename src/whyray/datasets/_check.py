"""What ``whyray data check`` reports: counts, and everything that would spoil a measurement in silence."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..contracts import Dataset
from ..errors import WhyrayError
from ..types import Case, Region, Report
from ._meant import columns_told, label_told, split_meant
from ._tables import SPLITS

SLACK = 1.0  # pixels that a box may lie outside: rounding of the annotators' tools
SHOWN = 5


@dataclass(frozen=True)
class DataReport:
    """Counts over all cases; ``opened`` of them had their picture read.

    splits      split -> {"cases", "patients"}.
    counts      finding -> split -> (present, absent, not labelled).
    missing     ids whose picture file is not there; unreadable: id -> why it is refused.
    unreported  reports whose file is not there.
    duplicates  groups of ids with the same picture; across_splits: those of them that lie in more than one split.
    leaking     patients in more than one split.
    outside     ids with a region that leaves the picture, or is empty.
    unknown     labels that no vocabulary has, and how often; they are not used. ``meant``: what some of them may be.
    mistakes    sentences: columns, splits and labels that surely mean another one; remarks: what may be as it is.
    """

    name: str
    licence: str
    opened: int
    splits: Mapping[str, Mapping[str, int]]
    counts: Mapping[str, Mapping[str, tuple[int, int, int]]]
    missing: tuple[str, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    duplicates: tuple[tuple[str, ...], ...] = ()
    across_splits: tuple[tuple[str, ...], ...] = ()
    leaking: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    unknown: Mapping[str, int] = field(default_factory=dict)
    unreported: tuple[str, ...] = ()
    meant: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is missing, refused, leaking, outside or mistaken. The rest (duplicates within a split ...) is only
        told."""
        faults = (self.missing, self.unreadable, self.across_splits, self.leaking, self.outside, self.mistakes)
        return not any(faults)

    def lines(self) -> list[str]:
        """The report as text."""
        splits = list(self.splits)
        names = {s: s or "(no split)" for s in splits}
        sizes = [f"{names[s]} {n['cases']} pictures of {n['patients']} patients" for s, n in self.splits.items()]
        total = sum(n["cases"] for n in self.splits.values())
        out = [f"{self.name}: {total} cases; {self.opened} pictures read", f"licence: {self.licence}"]
        out += ["; ".join(sizes), ""]
        out.append(f"{'present / absent / not labelled':<34}" + "".join(f"{names[s]:>22}" for s in splits))
        for finding, per in self.counts.items():
            out.append(f"{finding:<34}" + "".join(f"{' / '.join(map(str, per[s])):>22}" for s in splits))
        return [*out, "", *self._problems()]

    def _problems(self) -> list[str]:
        refused = [f"{i}: {why}" for i, why in self.unreadable.items()]
        groups = {
            "missing picture files": self.missing,
            "missing reports": self.unreported,
            "pictures refused": refused,
            "patients in more than one split": self.leaking,
            "same picture in more than one split": [" = ".join(g) for g in self.across_splits],
            "same picture twice": [" = ".join(g) for g in self.duplicates],
            "regions outside their picture": self.outside,
            "labels nobody knows (not used)": [self._label(label, n) for label, n in self.unknown.items()],
        }
        told = [*(f"mistake: {sentence}" for sentence in self.mistakes), *self.remarks]
        for what, items in groups.items():
            if items:
                more = f", … {len(items) - SHOWN} more" if len(items) > SHOWN else ""
                told.append(f"{what}: {len(items)}: {', '.join(items[:SHOWN])}{more}")
        return told or ["no problem found"]

    def _label(self, label: str, count: int) -> str:
        return f"{label} ({count}; {self.meant[label]})" if label in self.meant else f"{label} ({count})"


def check(dataset: Dataset, *, limit: int | None = None, report: Report | None = None) -> DataReport:
    """Read tables of all cases, and the pictures and regions of at most ``limit`` (None = all), spread evenly.

    ``report(done, total, id)`` is called after each picture. Nothing is raised for a fault of a single case.
    """
    cases = dataset.cases()
    here, missing = _files(dataset, cases)
    hashes, unreadable, outside = _opened(_spread(here, limit), report)
    groups = [tuple(c.id for c in same) for same in hashes.values() if len(same) > 1]
    across = [tuple(c.id for c in same) for same in hashes.values() if len({c.split for c in same}) > 1]
    unknown = _unknown(cases)
    told = {label: label_told(label) for label in unknown}
    mistakes, remarks = _names(dataset, cases)
    mistakes += [f"the label {label!r}: {said}" for label, (said, sure) in told.items() if sure]
    return DataReport(
        name=dataset.name,
        licence=dataset.licence,
        opened=sum(map(len, hashes.values())),
        splits=_splits(cases),
        counts=_counts(cases, dataset.findings),
        missing=missing,
        unreadable=unreadable,
        duplicates=tuple(g for g in groups if g not in across),
        across_splits=tuple(across),
        leaking=leaking_patients(cases),
        outside=tuple(outside),
        unknown=unknown,
        unreported=_unreported(dataset, cases),
        meant={label: said for label, (said, sure) in told.items() if said and not sure},
        mistakes=tuple(mistakes),
        remarks=tuple(remarks),
    )


def _names(dataset: Dataset, cases: Sequence[Case]) -> tuple[list[str], list[str]]:
    """Sentences on columns and splits: those that surely mean another one, and those that are only unusual."""
    said, sure = columns_told(getattr(getattr(dataset, "whole", dataset), "columns", ()))
    mistakes, remarks = [said] if sure else [], [said] if said and not sure else []
    if not said and cases and not any(value == value for case in cases for value in case.labels.values()):
        remarks.append("no picture is labelled with a finding that is known")
    for name in sorted({case.split for case in cases} - {*SPLITS, ""}):
        meant = split_meant(name)
        told = f"the split {name!r} is none of {', '.join(SPLITS)}"
        if meant:
            mistakes.append(f"{told}; did you mean {meant}?")
        else:
            remarks.append(told)
    return mistakes, remarks


def leaking_patients(cases: Sequence[Case]) -> tuple[str, ...]:
    """Patients with pictures in more than one split."""
    seen: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.patient:
            seen[case.patient].add(case.split)
    return tuple(sorted(patient for patient, splits in seen.items() if len(splits) > 1))


def inside(region: Region, shape: tuple[int, int]) -> bool:
    """Whether a region has an extent, lies in a picture of this shape (h, w), and its mask has that shape."""
    x, y, w, h = region.box
    fits = x >= -SLACK and y >= -SLACK and x + w <= shape[1] + SLACK and y + h <= shape[0] + SLACK
    return fits and w > 0 and h > 0 and (region.mask is None or region.mask.shape == shape)


def _files(dataset: Dataset, cases: Sequence[Case]) -> tuple[list[Case], tuple[str, ...]]:
    """Cases whose file is there (or that have none), and the ids of the others."""
    root = _folder(dataset, "root")
    if root is None:
        return list(cases), ()
    gone = {c.id for c in cases if "file" in c.facts and not (root / str(c.facts["file"])).is_file()}
    return [c for c in cases if c.id not in gone], tuple(sorted(gone))


def _unreported(dataset: Dataset, cases: Sequence[Case]) -> tuple[str, ...]:
    """Reports that cases name and that are not there."""
    root = _folder(dataset, "reports")
    named = {str(c.facts["report"]) for c in cases if "report" in c.facts} if root is not None else ()
    return tuple(sorted(n for n in named if root is not None and not (root / n).is_file()))


def _folder(dataset: Dataset, name: str) -> Path | None:
    """A folder of the data set, or of the whole that it is a split of."""
    found = getattr(dataset, name, getattr(getattr(dataset, "whole", None), name, None))
    return found if isinstance(found, Path) else None


def _opened(cases: Sequence[Case], report: Report | None) -> tuple[dict[str, list[Case]], dict[str, str], list[str]]:
    """Picture hash -> cases, id -> why refused, ids with a bad region."""
    hashes: dict[str, list[Case]] = defaultdict(list)
    unreadable: dict[str, str] = {}
    outside: list[str] = []
    for done, case in enumerate(cases, 1):
        try:
            picture = case.radiograph()
            hashes[picture.sha256].append(case)
            if not all(inside(region, picture.shape) for region in case.regions()):
                outside.append(case.id)
        except WhyrayError as error:
            unreadable[case.id] = str(error)
        if report is not None:
            report(done, len(cases), case.id)
    return dict(hashes), unreadable, outside


def _spread(cases: Sequence[Case], limit: int | None) -> Sequence[Case]:
    if limit is None or limit >= len(cases):
        return cases
    return [cases[i * len(cases) // limit] for i in range(max(0, limit))]


def _splits(cases: Sequence[Case]) -> dict[str, dict[str, int]]:
    names = sorted({c.split for c in cases}, key=lambda s: ({"train": 0, "val": 1, "test": 2}.get(s, 3), s))
    parts = {name: [c for c in cases if c.split == name] for name in names}
    return {name: {"cases": len(p), "patients": len({c.patient for c in p})} for name, p in parts.items()}


def _counts(cases: Sequence[Case], findings: Sequence[str]) -> dict[str, dict[str, tuple[int, int, int]]]:
    counted: Counter[tuple[str, str, str]] = Counter()
    for case in cases:
        for finding in findings:
            value = case.labels.get(finding, math.nan)
            counted[finding, case.split, "?" if math.isnan(value) else str(int(value))] += 1
    splits = _splits(cases)
    return {f: {s: (counted[f, s, "1"], counted[f, s, "0"], counted[f, s, "?"]) for s in splits} for f in findings}


def _unknown(cases: Sequence[Case]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for case in cases:
        if "unknown_labels" in case.facts:
            counted.update(case.facts["unknown_labels"])  # type: ignore[call-overload]
    return dict(counted.most_common())
