"""One phantom, made from its factors: pixels, labels, masks and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingError, UnknownName
from ..findings import finding as canonical
from ._phantom_anatomy import Chest, build_chest
from ._phantom_bones import bone_map
from ._phantom_devices import Devices, letters, marker, plant_devices
from ._phantom_factors import PHANTOM_VERSION, PREVALENCE, draw_body, draw_exposure, draw_pose, draw_severities, stream
from ._phantom_fields import make_grid
from ._phantom_findings import Lesion, make_lesion
from ._phantom_image import collimate, expose
from ._phantom_report import Sentence, write_report

CHILDREN: dict[str, tuple[str, ...]] = {
    "consolidation": (),
    "enlarged_cardiomediastinum": ("cardiomegaly",),
    "lung_lesion": ("nodule", "mass"),
    "lung_opacity": ("atelectasis", "consolidation", "edema", "pneumonia"),
}
FINDINGS: tuple[str, ...] = tuple(sorted({*PREVALENCE, *CHILDREN}))
Planted = Mapping[str, float | Sequence[float]]  # finding -> severity, or one of each of its lesions
SEVERAL = ("atelectasis", "consolidation", "lung_opacity", "mass", "nodule", "pneumonia")  # may be in many places
CONSOLIDATED = 0.5  # severity from which a pneumonia is a consolidation as well


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
    lesions     the planted volumes: what each changes of the tissue, its side, place and size.
    spacing_mm  distance of pixel centres on the detector.
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
    spacing_mm: float


def phantom(
    n: int,
    *,
    size: int = 224,
    without: Sequence[str] = (),
    plant: Planted | None = None,
    shortcut: Shortcut | None = None,
) -> Phantom:
    """Make case ``n``.

    ``without`` takes findings away and leaves every pixel outside their masks as it was (the counterfactual twin);
    ``plant`` adds findings or fixes their severity in 0..1, of several lesions where several are given, which then are
    one finding of the largest severity; ``size`` is 64 to 1024 pixels.
    Raises UnknownName for a finding that cannot be planted, SettingError for a value out of range.
    """
    check_case(n, size)
    wanted = severities_wanted(plant or {})
    severities, shown = severities_of(n, {f: several[0] for f, several in wanted.items()}, without, shortcut)
    return _made(n, size, severities, shortcut if shown else None, {f: rest for f, (_, *rest) in wanted.items()})


def labels_of(severities: Mapping[str, float]) -> dict[str, float]:
    """Labels of every finding, parents included, from what is planted."""
    found = set(severities)
    if severities.get("pneumonia", 0.0) >= CONSOLIDATED:
        found.add("consolidation")
    found |= {parent for parent, children in CHILDREN.items() if found & set(children)}
    return {f: float(f in found) for f in FINDINGS}


def _made(
    n: int, size: int, severities: Mapping[str, float], sign: Shortcut | None, further: Mapping[str, Sequence[float]]
) -> Phantom:
    body, pose = draw_body(n), draw_pose(n)
    exposure = draw_exposure(n, pose)
    grid = make_grid(size, pose.field, body.scale, pose.angle, pose.shift)
    chest = build_chest(n, body, pose, grid)
    lesions = tuple(
        make_lesion(n, f, each, chest, nth)
        for f, s in severities.items()
        if f != "support_devices"
        for nth, each in enumerate((s, *further.get(f, ())))
    )
    devices = _devices(n, severities, sign, chest)
    lead, text = marker(n, chest)
    signal = letters("PORT", chest, (0.06, 0.9), 1.3) if sign is not None and sign.sign == "marker" else grid.zeros()
    change = sum((lesion.change for lesion in lesions), grid.zeros())
    metal = (devices.metal if devices else grid.zeros()) + lead + signal
    seen = collimate(np.ones((size, size), np.float32), exposure) > 0
    pixels = collimate(expose(n, exposure, chest.tissue, change, bone_map(n, body, pose, grid), metal), exposure)
    masks = {f: m & seen for f, m in _masks(lesions, devices, severities).items()}
    anatomy = {
        "right_lung": (chest.lung > 0.8) & (grid.x < 0) & seen,
        "left_lung": (chest.lung > 0.8) & (grid.x >= 0) & seen,
        "heart": (chest.heart > 0.3) & seen,
        **({"shortcut": (signal > 0.05) & seen} if signal.any() else {}),
    }
    sentences, report = write_report(n, lesions, devices.kinds if devices else (), severities)
    facts: dict[str, object] = {
        "version": PHANTOM_VERSION,
        "view": pose.view,
        "supine": pose.supine,
        "age": body.age,
        "sex": "F" if body.female else "M",
        "marker": text,
        "severities": dict(severities),
        "sentences": sentences,
        "sites": {
            a.finding: {"side": a.side, "place": a.place, "kind": a.kind, "size_cm": a.size_cm} for a in lesions[::-1]
        },
        "devices": devices.kinds if devices else (),
        "shortcut": sign.sign if sign else "",
    }
    return Phantom(
        pixels,
        labels_of(severities),
        masks,
        anatomy,
        severities,
        lesions,
        facts,
        report,
        sentences,
        spacing_mm=10 * pose.field / size,
    )


def _devices(n: int, severities: Mapping[str, float], sign: Shortcut | None, chest: Chest) -> Devices | None:
    if "support_devices" not in severities:
        return None
    kind = "chest tube" if sign is not None and sign.sign == "tube" else None
    return plant_devices(n, severities["support_devices"], chest, kind)


def _masks(
    lesions: Sequence[Lesion], devices: Devices | None, severities: Mapping[str, float]
) -> dict[str, NDArray[np.bool_]]:
    """Masks of the planted findings and of their parents."""
    masks: dict[str, NDArray[np.bool_]] = {}
    for lesion in lesions:
        masks[lesion.finding] = masks.get(lesion.finding, np.False_) | lesion.mask
    if devices is not None:
        masks["support_devices"] = devices.mask
    if severities.get("pneumonia", 0.0) >= CONSOLIDATED:
        masks["consolidation"] = masks.get("consolidation", False) | masks["pneumonia"]
    for parent, children in CHILDREN.items():
        parts = [masks[f] for f in dict.fromkeys((*children, parent)) if f in masks]
        if parts:
            masks[parent] = np.logical_or.reduce(parts)
    return masks


def severities_of(
    n: int, wanted: Mapping[str, float], without: Sequence[str], shortcut: Shortcut | None
) -> tuple[dict[str, float], bool]:
    """What is planted, and whether the shortcut's sign is shown. The sign follows the finding before ``without``."""
    before = draw_severities(n, wanted, ())
    severities = {f: s for f, s in before.items() if f not in {plantable(w) for w in without}}
    if shortcut is None:
        return severities, False
    rng = stream(n, "shortcut")
    follows, coin = rng.random() < shortcut.strength, rng.random() < 0.5
    shown = bool(labels_of(before)[canonical(shortcut.finding)]) if follows else bool(coin)
    if shown and shortcut.sign == "tube":
        severities["support_devices"] = severities.get("support_devices", 0.6)
    return severities, shown


def plantable(name: str) -> str:
    found = canonical(name)
    if found not in PREVALENCE:
        raise UnknownName("planted finding", found, tuple(PREVALENCE))
    return found


def check_case(n: int, size: int) -> None:
    if not 0 <= n < 2**31:
        raise SettingError(f"phantom case {n} was asked for; cases are numbered from 0 to 2147483647")
    if not 64 <= size <= 1024:
        raise SettingError(f"a phantom of {size} pixels was asked for; 64 to 1024 can be made")


def severities_wanted(plant: Planted) -> dict[str, list[float]]:
    """Planted finding -> the severity of each lesion, the largest first."""
    return {plantable(name): _each(plantable(name), given) for name, given in plant.items()}


def _each(finding: str, given: float | Sequence[float]) -> list[float]:
    several: list[float] = sorted(np.atleast_1d(given).tolist(), reverse=True)
    for severity in several:
        if not 0 <= severity <= 1:
            raise SettingError(f"severity {severity} of {finding} was asked for; it goes from 0 to 1")
    if not several or (len(several) > 1 and finding not in SEVERAL):
        remedy = "give one severity or more" if finding in SEVERAL else "give one severity"
        raise SettingError(f"{len(several)} lesions of {finding} were asked for; {remedy}")
    return several
