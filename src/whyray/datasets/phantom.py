"""An analytic chest with planted findings, exact masks and a report: ``phantom`` or ``phantom:train=2000,size=512``.

Case ``n`` is always the same pixels: habitus, pose, view, exposure, devices, findings, positions and severities are drawn
from streams of random numbers that depend on ``PHANTOM_VERSION``, ``n`` and the stream's name only. The findings are
independent of each other and of everything else.

Labels (all 1 or 0). Eleven findings are planted: the keys of ``PREVALENCE``. On top of these
- ``pneumonia`` of severity 0.5 or more is a consolidation as well: ``consolidation`` is 1;
- ``lung_opacity`` is 1 whenever atelectasis, consolidation, edema, pneumonia or an unspecific haze is there;
- ``lung_lesion`` is 1 for a nodule or a mass; ``enlarged_cardiomediastinum`` is 1 for cardiomegaly.
The region of such a parent is the union of its children's masks.

Splits are ranges of n that never meet: train from 0, val from 1,000,000, test from 2,000,000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..contracts import Dataset
from ..errors import DataError, SettingError, UnknownName
from ..findings import finding as canonical
from ..types import Case, Radiograph, Region
from ._phantom_anatomy import Chest, build_chest
from ._phantom_bones import bone_map
from ._phantom_devices import Devices, letters, marker, plant_devices
from ._phantom_factors import (
    PHANTOM_VERSION, PREVALENCE, draw_body, draw_exposure, draw_pose, draw_severities, stream,
)
from ._phantom_fields import make_grid
from ._phantom_findings import Lesion, make_lesion
from ._phantom_image import collimate, expose
from ._phantom_report import Sentence, write_report

__all__ = ["FINDINGS", "PHANTOM_VERSION", "PREVALENCE", "Phantom", "PhantomSet", "Shortcut", "load", "phantom", "phantom_case"]

CHILDREN: dict[str, tuple[str, ...]] = {
    "consolidation": (),
    "enlarged_cardiomediastinum": ("cardiomegaly",),
    "lung_lesion": ("nodule", "mass"),
    "lung_opacity": ("atelectasis", "consolidation", "edema", "pneumonia"),
}
FINDINGS: tuple[str, ...] = tuple(sorted({*PREVALENCE, *CHILDREN}))
CONSOLIDATED = 0.5  # severity from which a pneumonia is a consolidation as well
FIRST = {"train": 0, "val": 1_000_000, "test": 2_000_000}
LIMIT = 1_000_000
FACTS = (
    "version", "view", "supine", "age", "sex", "marker", "severities", "sentences", "sites", "devices", "shortcut",
)


@dataclass(frozen=True)
class Shortcut:
    """A planted false reason, for audits: a sign that goes with a finding in a share ``strength`` of the cases.

    sign "marker" is the word PORT in a corner; "tube" a chest tube. In the other cases the sign is a coin's throw.
    """

    finding: str
    sign: Literal["marker", "tube"] = "marker"
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Phantom:
    """One phantom, made: pixels float32 ``[size, size]`` in 0..1 (multiples of 1/255), and all that is true of it.

    masks       finding -> bool ``[size, size]``, of every finding that is 1.
    anatomy     "left_lung", "right_lung", "heart" -> bool ``[size, size]``; "shortcut" where one was planted.
    severities  planted finding -> 0 (barely visible) .. 1.
    """

    pixels: NDArray[np.float32]
    labels: Mapping[str, float]
    masks: Mapping[str, NDArray[np.bool_]]
    anatomy: Mapping[str, NDArray[np.bool_]]
    severities: Mapping[str, float]
    lesions: tuple[Lesion, ...]
    facts: Mapping[str, object]
    report: Mapping[str, str]
    sentences: tuple[Sentence, ...]


def phantom(
    n: int, *, size: int = 224, without: Sequence[str] = (), plant: Mapping[str, float] | None = None,
    shortcut: Shortcut | None = None,
) -> Phantom:
    """Make case ``n``.

    ``without`` takes findings away and leaves every pixel outside their masks as it was (the counterfactual twin);
    ``plant`` adds findings or fixes their severity in 0..1; ``size`` is 64 to 1024 pixels.
    Raises UnknownName for a finding that cannot be planted, SettingError for a value out of range.
    """
    wanted = {_plantable(f): s for f, s in (plant or {}).items()}
    _check(n, size, wanted)
    severities, shown = _severities(n, wanted, without, shortcut)
    return _made(n, size, severities, shortcut if shown else None)


def phantom_case(
    n: int, *, size: int = 224, without: Sequence[str] = (), plant: Mapping[str, float] | None = None,
    shortcut: Shortcut | None = None,
) -> Case:
    """Case ``n`` as a row of a data set: the picture is made when ``radiograph()`` or ``regions()`` is called.

    ``facts`` holds the factors, ``sentences`` (what each sentence of the report claims) and ``severities``.
    """
    make = partial(phantom, n, without=tuple(without), plant=dict(plant or {}), shortcut=shortcut)
    wanted = {_plantable(f): s for f, s in (plant or {}).items()}
    _check(n, size, wanted)
    severities = _severities(n, wanted, without, shortcut)[0]
    told = cache(lambda: make(size=64))  # words and places do not depend on the size
    return Case(
        id=f"phantom-{n}", open=lambda: _radiograph(n, make(size=size)), labels=labels_of(severities),
        patient=f"phantom-{n}", split=_split(n), open_regions=lambda: _regions(make(size=size)),
        report=_Later(("findings", "impression"), lambda: told().report), facts=_Later(FACTS, lambda: told().facts),
    )


def labels_of(severities: Mapping[str, float]) -> dict[str, float]:
    """Labels of every finding, parents included, from what is planted."""
    found = set(severities)
    if severities.get("pneumonia", 0.0) >= CONSOLIDATED:
        found.add("consolidation")
    found |= {parent for parent, children in CHILDREN.items() if found & set(children)}
    return {f: float(f in found) for f in FINDINGS}


@dataclass(frozen=True)
class PhantomSet(Dataset):
    """Phantoms as a data set: ``train``, ``val`` and ``test`` are how many cases each split has."""

    train: int = 2000
    val: int = 500
    test: int = 1000
    size: int = 224
    name: str = "phantom"
    findings: tuple[str, ...] = FINDINGS
    licence: str = "generated by whyray (Apache-2.0)"

    def cases(self, split: str | None = None) -> Sequence[Case]:
        """Cases of one split, or all."""
        counts = {"train": self.train, "val": self.val, "test": self.test}
        if split is not None and split not in counts:
            raise DataError(f"the phantom has no split {split!r}; it has {', '.join(counts)}")
        chosen = counts if split is None else {split: counts[split]}
        return [phantom_case(FIRST[s] + i, size=self.size) for s, count in chosen.items() for i in range(count)]


def load(argument: str) -> PhantomSet:
    """``""`` or ``key=value,key=value`` with the keys train, val, test (numbers of cases) and size (pixels).

    Raises SettingError for another key, or a value out of range.
    """
    values: dict[str, int] = {}
    for part in filter(None, (p.strip() for p in argument.split(","))):
        key, _, text = part.partition("=")
        low, high = (64, 1024) if key == "size" else (0, LIMIT)
        if key not in (*FIRST, "size"):
            raise SettingError(f"phantom has no setting {key!r}; write phantom:train=2000,val=500,test=1000,size=224")
        if not text.isdigit() or not low <= int(text) <= high:
            raise SettingError(f"phantom: {key}={text!r} came; a whole number from {low} to {high} was wanted")
        values[key] = int(text)
    return PhantomSet(**values)


def _made(n: int, size: int, severities: Mapping[str, float], sign: Shortcut | None) -> Phantom:
    body, pose = draw_body(n), draw_pose(n)
    exposure = draw_exposure(n, pose)
    grid = make_grid(size, pose.field, body.scale, pose.angle, pose.shift)
    chest = build_chest(n, body, pose, grid)
    lesions = tuple(make_lesion(n, f, s, chest) for f, s in severities.items() if f != "support_devices")
    devices = _devices(n, severities, sign, chest)
    lead, text = marker(n, chest)
    signal = letters("PORT", chest, (0.06, 0.9), 1.3) if sign is not None and sign.sign == "marker" else grid.zeros()
    change = sum((lesion.change for lesion in lesions), grid.zeros())
    metal = (devices.metal if devices else grid.zeros()) + lead + signal
    seen = collimate(np.ones((size, size), np.float32), exposure) > 0
    pixels = collimate(expose(n, exposure, chest.tissue, change, bone_map(n, body, pose, grid), metal), exposure)
    masks = {f: m & seen for f, m in _masks(lesions, devices, severities).items()}
    anatomy = {
        "right_lung": (chest.lung > 0.8) & (grid.x < 0) & seen, "left_lung": (chest.lung > 0.8) & (grid.x >= 0) & seen,
        "heart": (chest.heart > 0.3) & seen, **({"shortcut": signal > 0.05} if signal.any() else {}),
    }
    sentences, report = write_report(n, lesions, devices.kinds if devices else (), severities)
    facts: dict[str, object] = {
        "version": PHANTOM_VERSION, "view": pose.view, "supine": pose.supine, "age": body.age,
        "sex": "F" if body.female else "M", "marker": text, "severities": dict(severities), "sentences": sentences,
        "sites": {a.finding: {"side": a.side, "place": a.place, "kind": a.kind, "size_cm": a.size_cm} for a in lesions},
        "devices": devices.kinds if devices else (), "shortcut": sign.sign if sign else "",
    }
    return Phantom(pixels, labels_of(severities), masks, anatomy, severities, lesions, facts, report, sentences)


def _devices(n: int, severities: Mapping[str, float], sign: Shortcut | None, chest: Chest) -> Devices | None:
    if "support_devices" not in severities:
        return None
    kind = "chest tube" if sign is not None and sign.sign == "tube" else None
    return plant_devices(n, severities["support_devices"], chest, kind)


def _masks(
    lesions: Sequence[Lesion], devices: Devices | None, severities: Mapping[str, float]
) -> dict[str, NDArray[np.bool_]]:
    """Masks of the planted findings and of their parents."""
    masks = {lesion.finding: lesion.mask for lesion in lesions}
    if devices is not None:
        masks["support_devices"] = devices.mask
    if severities.get("pneumonia", 0.0) >= CONSOLIDATED:
        masks["consolidation"] = masks.get("consolidation", False) | masks["pneumonia"]
    for parent, children in CHILDREN.items():
        parts = [masks[f] for f in dict.fromkeys((*children, parent)) if f in masks]
        if parts:
            masks[parent] = np.logical_or.reduce(parts)
    return masks


def _severities(
    n: int, wanted: Mapping[str, float], without: Sequence[str], shortcut: Shortcut | None
) -> tuple[dict[str, float], bool]:
    """What is planted, and whether the shortcut's sign is shown. The sign follows the finding before ``without``."""
    before = draw_severities(n, wanted, ())
    severities = {f: s for f, s in before.items() if f not in {_plantable(w) for w in without}}
    if shortcut is None:
        return severities, False
    rng = stream(n, "shortcut")
    follows, coin = rng.random() < shortcut.strength, rng.random() < 0.5
    shown = bool(labels_of(before)[canonical(shortcut.finding)]) if follows else bool(coin)
    if shown and shortcut.sign == "tube":
        severities["support_devices"] = severities.get("support_devices", 0.6)
    return severities, shown


def _plantable(name: str) -> str:
    found = canonical(name)
    if found not in PREVALENCE:
        raise UnknownName("planted finding", found, tuple(PREVALENCE))
    return found


def _check(n: int, size: int, wanted: Mapping[str, float]) -> None:
    if not 0 <= n < 2**31:
        raise SettingError(f"phantom case {n} was asked for; cases are numbered from 0 to 2147483647")
    if not 64 <= size <= 1024:
        raise SettingError(f"a phantom of {size} pixels was asked for; 64 to 1024 can be made")
    for finding, severity in wanted.items():
        if not 0 <= severity <= 1:
            raise SettingError(f"severity {severity} of {finding} was asked for; it goes from 0 to 1")


def _split(n: int) -> str:
    return next((s for s, first in FIRST.items() if first <= n < first + LIMIT), "")


def _radiograph(n: int, made: Phantom) -> Radiograph:
    view = "AP" if made.facts["view"] == "AP" else "PA"
    facts: dict[str, str | int | float | bool | None] = {"format": "phantom", "version": PHANTOM_VERSION, "case": n}
    return Radiograph(made.pixels, bits=8, view=view, facts=facts, patient_key=f"phantom-{n}", name=f"phantom-{n}")


def _regions(made: Phantom) -> tuple[Region, ...]:
    found = [Region(f, box_of(mask), mask, "finding", "phantom") for f, mask in made.masks.items() if mask.any()]
    body = [Region(f, box_of(mask), mask, "anatomy", "phantom") for f, mask in made.anatomy.items() if mask.any()]
    return (*found, *body)


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """(x, y, width, height) of the smallest box of whole pixels around a mask; pixel centres are whole numbers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = float(columns[0]) - 0.5, float(rows[0]) - 0.5
    return x, y, float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1)


class _Later(Mapping[str, Any]):
    """A mapping whose keys are known and whose values are made at the first look."""

    def __init__(self, keys: Sequence[str], make: Callable[[], Mapping[str, Any]]) -> None:
        self._keys, self._make = tuple(keys), make

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return self._make()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
