"""One map against the experts' regions: pixel counts from which every overlap follows, hits and mass. A cell a map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, listed
from ..explanations import Attribution
from ..io.rle import decode, from_box
from ..metrics._masks import unit_range
from ..metrics.localisation import (
    THRESHOLDS,
    area_matched,
    counts,
    energy,
    hit,
    mass_in,
    otsu_filled,
    saliency,
    smoothed,
    top_k,
)
from ..types import Region
from .plan import Localise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.bool_]
    Arrays = dict[str, NDArray[Any]]

VERSION = 1  # raise it when the same settings give other numbers
FIXED = ("otsu_filled", "area_matched", "top_k")


def truths(
    regions: Sequence[Region], shape: tuple[int, int], wanted: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Bits], set[str]]:
    """(finding -> union of the experts' regions that count as it, names of regions that count as nothing).

    Only regions of kind "finding" are truth: never a program's, never anatomy. Empty unions are left out.
    """
    drawn = [r for r in regions if r.kind == "finding"]
    found: dict[str, Bits] = {}
    for finding, names in wanted.items():
        for region in drawn:
            if region.finding in names:
                mask = region.mask if region.mask is not None else decode(from_box(region.box, shape))
                found[finding] = found[finding] | mask if finding in found else np.asarray(mask, bool)
    known = {name for names in wanted.values() for name in names}
    return {f: m for f, m in found.items() if m.any()}, {r.finding for r in drawn} - known


def nothing_drawn(dataset: str, wanted: Sequence[str], unused: Mapping[str, int]) -> DataError:
    """Why there is nothing to measure: no region at all, or ``unused`` ones (name -> pictures), and what to do."""
    if not unused:
        return DataError(
            f"no picture of {dataset} has a region that an expert drew, and maps are compared with those; give a data "
            "set with boxes or masks (docs/datasets.md), or measure this one with `whyray evaluate faithfulness`"
        )
    drawn = sorted(unused, key=lambda name: -unused[name])
    return DataError(
        f"no picture of {dataset} has a region of {listed(wanted)}; regions there: "
        f"{listed([f'{name} ({unused[name]})' for name in drawn])}; say what they count as, such as "
        f"--map {wanted[0]}={drawn[0]}"
    )


def located(
    maps: Mapping[str, Attribution],
    truth: Mapping[str, Bits],
    settings: Localise,
    label: str,
    spacing_mm: tuple[float, float] | None,
) -> Arrays:
    """Every number of one explainer on one picture, one row a finding of ``truth``:

    "truth" ``[f]`` its pixels; "otsu_filled", "area_matched", "top_k" ``[f, 2]`` and "tuned" ``[f, t, 2]`` (a row for
    each of ``THRESHOLDS``): pixels of the mask that lie in the truth, pixels of the mask; "hit", "hit_tolerance",
    "mass_in", "energy" ``[f]``.
    """
    rows = [_one(maps[f], mask, settings, label, spacing_mm) for f, mask in truth.items()]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def how(settings: Localise, label: str, spacing_mm: tuple[float, float] | None) -> dict[str, Any]:
    """Facts of a cell: everything but map and truth that these numbers depend on."""
    return {
        "sign": settings.sign_of(label),
        "share": settings.share,
        "smooth_px": settings.smooth_px,
        "tolerance": [settings.tolerance_px, settings.tolerance_mm, spacing_mm],
    }


def nothing_located(truth: Mapping[str, Bits]) -> Arrays:
    """The numbers of a map that could not be made: it points nowhere, and stays in every mean that asks."""
    f = len(truth)
    empty = {name: np.zeros((f, 2), np.int64) for name in FIXED}
    missed = {name: np.zeros(f) for name in ("hit", "hit_tolerance", "mass_in", "energy")}
    tuned = np.zeros((f, len(THRESHOLDS), 2), np.int64)
    return {"truth": np.array([np.count_nonzero(m) for m in truth.values()]), **empty, "tuned": tuned, **missed}


def _one(
    made: Attribution, truth: Bits, settings: Localise, label: str, spacing_mm: tuple[float, float] | None
) -> dict[str, Any]:
    strength = smoothed(saliency(made.at_source(), settings.sign_of(label)), settings.smooth_px)
    size = int(np.count_nonzero(truth))
    masks = {
        "otsu_filled": otsu_filled(strength),
        "area_matched": area_matched(strength, size),
        "top_k": top_k(strength, settings.share),
    }
    scaled = unit_range(strength)
    tuned = np.zeros((len(THRESHOLDS), 2), np.int64)
    if scaled is not None:
        inside = scaled[truth]
        tuned[:] = [(np.count_nonzero(inside > t), np.count_nonzero(scaled > t)) for t in THRESHOLDS]
    return {
        "truth": size,
        **{name: counts(mask, truth)[:2] for name, mask in masks.items()},
        "tuned": tuned,
        "hit": hit(strength, truth),
        "hit_tolerance": _near(strength, truth, settings, spacing_mm),
        "mass_in": mass_in(strength, truth),
        "energy": energy(strength, truth),
    }


def _near(
    strength: NDArray[np.float32], truth: Bits, settings: Localise, spacing_mm: tuple[float, float] | None
) -> float:
    """Hit within the tolerance; NaN where none is set, or the picture has no spacing for millimetres."""
    if settings.tolerance_mm:
        if spacing_mm is None:
            return float("nan")
        return hit(strength, truth, tolerance_mm=settings.tolerance_mm, spacing_mm=spacing_mm)
    return hit(strength, truth, settings.tolerance_px) if settings.tolerance_px else float("nan")


def overlap(pixels: NDArray[Any], truth: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Metric -> values, from counts ``[..., 2]`` (in both, in the mask) and the truth's pixels ``[...]``.

    As the metrics of the same names say: where the mask is empty, the full IoU and recall are 0, the others NaN.
    """
    both, mask = pixels[..., 0].astype(np.float64), pixels[..., 1].astype(np.float64)
    size = np.asarray(truth, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        full = both / (mask + size - both)
        return {
            "iou_true_positive": np.where(mask > 0, full, np.nan),
            "iou": full,
            "precision": both / mask,
            "recall": both / size,
        }
