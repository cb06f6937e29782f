"""Training pictures as one cached array, and their labels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ..cards import Preparation
from ..contracts import Dataset
from ..errors import DataError
from ..findings import FINDINGS
from ..io.whole import disk_errors, whole_file
from ..types import Case, Report
from .plan import Source
from .settings import expanded

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures uint8 ``[n, s, s]``, labels float32 ``[n, f]`` (NaN = not labelled), patients and the source of each."""

    pictures: NDArray[np.uint8]
    labels: NDArray[np.float32]
    patients: tuple[str, ...]
    source: NDArray[np.int64]


def load_cases(source: Source, split: str) -> list[Case]:
    """The cases of one source and split. Raises DataError where there are none."""
    chosen = [
        c
        for c in dataset_of(source).cases(split)
        if not source.where or all(str(c.facts.get(k, "")) == v for k, v in source.where.items())
    ]
    if not chosen:
        raise DataError(f"{source.spec} has no {split} cases where {dict(source.where)}; check the plan's data")
    return chosen


def dataset_of(source: Source) -> Dataset:
    """The data set of a source."""
    from ..datasets._resolve import load_dataset

    return load_dataset(expanded(source.spec))


def gathered(
    sources: Sequence[Source],
    split: str,
    findings: Sequence[str],
    cache: Path,
    *,
    stored: int,
    uncertain: Literal["ignore", "zeros", "ones"] = "ignore",
    report: Report | None = None,
) -> Examples:
    """All sources of one split; pictures are read once and kept in ``cache``."""
    parts = [(source, load_cases(source, split)) for source in sources]
    pictures = [cached_pictures(cases, cache / f"{source.name}-{split}", stored, report) for source, cases in parts]
    labels = [labels_of(cases, findings, source, uncertain) for source, cases in parts]
    return Examples(
        np.concatenate(pictures),
        np.concatenate(labels),
        tuple(c.patient for _, cases in parts for c in cases),
        np.concatenate([np.full(len(cases), i) for i, (_, cases) in enumerate(parts)]),
    )


class Drawn(Protocol):
    """Anything of which an epoch takes ``draws`` examples; 0 = each once."""

    @property
    def draws(self) -> int: ...


def mixed_order(sources: Sequence[Drawn], source: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Each source's share of one epoch, mixed; ``source [n]`` says whose each example is."""
    parts = []
    for number, one in enumerate(sources):
        members = np.flatnonzero(source == number)
        wanted = one.draws or len(members)
        rounds = [rng.permutation(members) for _ in range(math.ceil(wanted / len(members)))]
        parts.append(np.concatenate(rounds)[:wanted])
    return rng.permutation(np.concatenate(parts))


def labels_of(
    cases: Sequence[Case], findings: Sequence[str], source: Source, uncertain: Literal["ignore", "zeros", "ones"]
) -> NDArray[np.float32]:
    """``[n, f]``: 1, 0, NaN, after the source's rules."""
    value = {"ignore": math.nan, "zeros": 0.0, "ones": 1.0}[uncertain]
    rows = []
    for case in cases:
        known = dict(case.labels)
        unsure = case.facts.get("uncertain", ()) if "uncertain" in case.facts else ()
        known |= {f: value for f in unsure}  # type: ignore[attr-defined]
        known = with_parents(known) if source.implied else known
        used = set(source.findings or findings)
        rows.append([known.get(f, math.nan) if f in used else math.nan for f in findings])
    return np.asarray(rows, np.float32).reshape(len(cases), len(findings))


def with_parents(labels: Mapping[str, float]) -> dict[str, float]:
    """A parent without a label of its own is 1 where a child is 1, 0 where there is no finding at all, else unknown."""
    out = dict(labels)
    healthy = labels.get("no_finding") == 1
    for child in FINDINGS:
        if child.parent and math.isnan(labels.get(child.parent, math.nan)):
            if labels.get(child.id) == 1:
                out[child.parent] = 1.0
            elif healthy and out.get(child.parent) != 1:
                out[child.parent] = 0.0
    return out


def cached_pictures(cases: Sequence[Case], path: Path, side: int, report: Report | None = None) -> NDArray[np.uint8]:
    """uint8 ``[n, side, side]``, read from ``path`` where it was made before from the same pictures."""
    key = hashlib.sha256("\n".join([str(side), *(c.source() for c in cases)]).encode()).hexdigest()[:12]
    file = path.with_name(f"{path.name}-{key}.npy")
    if file.is_file():
        held: NDArray[np.uint8] = np.load(file, mmap_mode="r", allow_pickle=False)
        if held.shape == (len(cases), side, side) and held.dtype == np.uint8:
            return held
    pictures = np.empty((len(cases), side, side), np.uint8)
    for i, case in enumerate(cases):
        pictures[i] = stored_picture(case, side)
        if report is not None:
            report(i + 1, len(cases), f"reading {path.name}")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as handle:
            np.save(handle, pictures, allow_pickle=False)
    return pictures


def scaled(pictures: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``[n, s, s]`` -> ``[n, side, side]``, without aliasing; the same array where it has that side."""
    from PIL import Image

    if pictures.shape[1] == side:
        return pictures
    made = [Image.fromarray(p).resize((side, side), Image.Resampling.BILINEAR) for p in pictures]
    out: NDArray[np.uint8] = np.stack([np.asarray(p, np.uint8) for p in made])
    return out


def stored_picture(case: Case, side: int) -> NDArray[np.uint8]:
    """The centre square of one picture at the cached size."""
    from ..models._prepare import prepare

    grey = prepare(case.radiograph(), Preparation(size=(side, side))).pixels[0]
    stored: NDArray[np.uint8] = np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
    return stored
