"""Does the map lie where experts saw the finding: overlap, hits and mass, in source pixels.

Pure functions of a map and the experts' mask ``truth``. Masks are boolean ``[h, w]`` or ``Runs`` (``io/rle.py``), whose
overlap needs no pixels. What cannot be asked is NaN (no truth: nothing to hit); what was asked and not found is 0 (an
empty map misses). Truth outside the model's crop counts as not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..contracts import Metric
from ..errors import DataError, SettingError
from ..io.rle import Runs, encode
from ..io.rle import intersection as runs_intersection
from ._masks import (
    THRESHOLDS,
    Masking,
    Mode,
    Sign,
    above,
    area_matched,
    bounding_box,
    filled,
    otsu,
    otsu_filled,
    saliency,
    smoothed,
    top_k,
    unit_range,
)
from ._scores import mean_scores, over_findings
from ._shapes import FEATURES, Regression, Shape, regress, shape_of
from ._tuning import CUTOFFS, Tuned, best, threshold_ious, tune, tune_cutoff

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.floating[Any]]
    Bits = NDArray[np.bool_]
    Mask: TypeAlias = Bits | Runs

__all__ = [
    "CUTOFFS",
    "FEATURES",
    "METRICS",
    "THRESHOLDS",
    "Masking",
    "Mode",
    "Regression",
    "Shape",
    "Sign",
    "Tuned",
    "above",
    "area_matched",
    "best",
    "boxes_around",
    "counts",
    "energy",
    "filled",
    "hit",
    "hit_points",
    "iou",
    "iou_true_positive",
    "mass_in",
    "mean_scores",
    "otsu",
    "otsu_filled",
    "over_findings",
    "precision",
    "recall",
    "regress",
    "saliency",
    "shape_of",
    "smoothed",
    "threshold_ious",
    "top_k",
    "tune",
    "tune_cutoff",
]

PLATEAU = 1e-6  # values this close to the largest, relative to it, are as large: resampling rounds


def counts(mask: Mask, truth: Mask) -> tuple[int, int, int]:
    """(pixels in both, in the mask, in the truth). Two ``Runs`` are compared without decoding."""
    if mask.shape != truth.shape:
        raise DataError(
            f"a mask of {mask.shape} and a truth of {truth.shape} came; both must be of the radiograph's shape"
        )
    if isinstance(mask, Runs) or isinstance(truth, Runs):
        a, b = (m if isinstance(m, Runs) else encode(m) for m in (mask, truth))
        return runs_intersection(a, b), a.area, b.area
    return tuple(int(np.count_nonzero(m)) for m in (mask & truth, mask, truth))  # type: ignore[return-value]


def iou(mask: Mask, truth: Mask) -> float:
    """Pixels in both / pixels in either (Jaccard), over all pictures: 0 where one is empty, NaN only where both are."""
    both, a, b = counts(mask, truth)
    return both / (a + b - both) if a + b else float("nan")


def iou_true_positive(mask: Mask, truth: Mask) -> float:
    """``iou`` where there is a mask *and* a truth, else NaN: what CheXlocalize's main table averages.

    It leaves out what the map missed and what it invented: never print it without ``iou`` and both n.
    """
    both, a, b = counts(mask, truth)
    return both / (a + b - both) if a and b else float("nan")


def precision(mask: Mask, truth: Mask) -> float:
    """Share of the mask that is truth; NaN where the mask is empty."""
    both, a, _ = counts(mask, truth)
    return both / a if a else float("nan")


def recall(mask: Mask, truth: Mask) -> float:
    """Share of the truth that is in the mask; NaN where there is no truth."""
    both, _, b = counts(mask, truth)
    return both / b if b else float("nan")


def hit(
    saliency: Map,
    truth: Bits,
    tolerance_px: float = 0.0,
    *,
    tolerance_mm: float | None = None,
    spacing_mm: tuple[float, float] | None = None,
    ties: Literal["share", "first"] = "share",
) -> float:
    """1 where the most salient pixel lies in the truth, or within the tolerance of it (pointing game), else 0.

    Several pixels may be the most salient (a superpixel is flat): the share of them that hits, or ("first", as
    CheXlocalize) the first in reading order. An empty map misses. NaN where there is no truth.
    ``spacing_mm`` is (row, column); with ``tolerance_mm`` the distance is measured in millimetres.
    """
    _same_shape(saliency, truth)
    if not truth.any():
        return float("nan")
    top = _most_salient(saliency, ties)
    if not len(top):
        return 0.0
    reach, sampling = _tolerance(tolerance_px, tolerance_mm, spacing_mm)
    return float(_within(top, truth, reach, sampling).mean())


def hit_points(
    points: NDArray[np.floating[Any]],
    truth: Bits,
    tolerance_px: float = 0.0,
    *,
    tolerance_mm: float | None = None,
    spacing_mm: tuple[float, float] | None = None,
) -> float:
    """1 where any of a reader's points ``[n, 2]`` (x, y) lies in the truth, else 0; NaN where there is no truth.

    No point is a miss. A point belongs to the pixel nearest to it.
    """
    if not truth.any():
        return float("nan")
    pixels = np.rint(np.asarray(points, np.float64).reshape(-1, 2)[:, ::-1]).astype(np.int64)
    if not len(pixels):
        return 0.0
    reach, sampling = _tolerance(tolerance_px, tolerance_mm, spacing_mm)
    return float(_within(pixels, truth, reach, sampling).any())


def mass_in(saliency: Map, truth: Bits) -> float:
    """Share of the map's mass that lies in the truth; 0 for an empty map, NaN where there is no truth."""
    _same_shape(saliency, truth)
    if not truth.any():
        return float("nan")
    total = float(np.nansum(saliency, dtype=np.float64))
    return float(np.nansum(saliency[truth], dtype=np.float64)) / total if total > 0 else 0.0


def energy(saliency: Map, truth: Bits) -> float:
    """Energy-based pointing game: share of the map, scaled from 0 to 1, in the boxes around the truth's parts.

    Differs from ``mass_in`` in both: the least value is subtracted, and a box holds more than its contour. 0 for a map
    that is empty or constant, NaN where there is no truth.
    """
    _same_shape(saliency, truth)
    if not truth.any():
        return float("nan")
    scaled = unit_range(saliency)
    return 0.0 if scaled is None else mass_in(scaled, boxes_around(truth))


def boxes_around(truth: Bits) -> Bits:
    """Each connected part of the truth (corners touch) replaced by the box around it."""
    from scipy.ndimage import find_objects, label

    whole = bounding_box(truth)
    boxes = np.zeros(truth.shape, bool)
    if whole is not None:
        parts, _count = label(truth[whole], np.ones((3, 3)))
        inside = boxes[whole]  # a view
        for box in find_objects(parts):
            inside[box] = True
    return boxes


def _most_salient(saliency: Map, ties: str) -> NDArray[np.int64]:
    """(row, column) ``[n, 2]`` of the largest value; none where nothing is above 0."""
    highest = np.fmax.reduce(saliency, axis=None)
    if not highest > 0:
        return np.empty((0, 2), np.int64)
    if ties == "first":
        place = np.flatnonzero(saliency.ravel() == highest)[0]
        return np.array([divmod(int(place), saliency.shape[1])], np.int64)
    return np.argwhere(saliency >= highest * (1 - PLATEAU))


def _tolerance(
    tolerance_px: float, tolerance_mm: float | None, spacing_mm: tuple[float, float] | None
) -> tuple[float, tuple[float, float]]:
    """Reach, and the distance of (rows, columns) in its unit."""
    if tolerance_mm is None:
        return tolerance_px, (1.0, 1.0)
    if tolerance_px:
        raise SettingError("a tolerance came in pixels and in millimetres; give one of them")
    if spacing_mm is None:
        raise SettingError(
            "a tolerance in millimetres needs the pixel spacing, which this picture lacks; give it in pixels"
        )
    return tolerance_mm, spacing_mm


def _within(pixels: NDArray[np.int64], truth: Bits, reach: float, sampling: tuple[float, float]) -> NDArray[np.bool_]:
    """Which (row, column) ``[n, 2]`` lie within ``reach`` of the truth; pixels may lie outside the picture."""
    from scipy.ndimage import distance_transform_edt

    box = bounding_box(truth)
    out = np.zeros(len(pixels), bool)
    if box is None:
        return out
    margin = np.floor(max(reach, 0) / np.array(sampling) + 1e-9).astype(np.int64)
    near = np.pad(truth[box], [(m, m) for m in margin])
    at = pixels - [s.start for s in box] + margin
    inside = ((at >= 0) & (at < near.shape)).all(axis=1)  # the others are out of reach
    places = tuple(at[inside].T)
    if reach > 0 and inside.any():
        out[inside] = distance_transform_edt(~near, sampling=sampling)[places] <= reach + 1e-9
    else:
        out[inside] = near[places]
    return out


def _same_shape(a: Map, b: Bits) -> None:
    if a.shape != b.shape:
        raise DataError(f"a map of {a.shape} and a truth of {b.shape} came; both must be of the radiograph's shape")


_MASK, _MAP = frozenset({"mask"}), frozenset({"map", "mask"})
_SCORE_CAM, _SAPORTA = "Wang et al., CVPR-W 2020", "Saporta et al., Nature Machine Intelligence 2022"
METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("iou", iou, "higher", (0.0, 1.0), _MASK, _SAPORTA),
        Metric("iou_true_positive", iou_true_positive, "higher", (0.0, 1.0), _MASK, _SAPORTA),
        Metric("hit", hit, "higher", (0.0, 1.0), _MAP, "Zhang et al., IJCV 2018"),
        Metric("mass_in", mass_in, "higher", (0.0, 1.0), _MAP),
        Metric("energy", energy, "higher", (0.0, 1.0), _MAP, _SCORE_CAM),
        Metric("precision", precision, "higher", (0.0, 1.0), _MASK),
        Metric("recall", recall, "higher", (0.0, 1.0), _MASK),
    )
}
"""name -> metric. Those that need "map" take (saliency, truth), the others (mask, truth)."""
