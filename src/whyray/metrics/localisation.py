"""Does the map lie where experts saw the finding: overlap, hits and mass, in source pixels.

Pure functions of a map and the experts' mask ``truth``. Masks are boolean ``[h, w]`` or ``Runs`` (``io/rle.py``), whose
overlap needs no pixels. What cannot be asked is NaN (no truth: nothing to hit); what was asked and not found is 0 (an
empty map misses). Truth outside the model's crop counts as not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..contracts import Metric
from ..errors import DataError
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
from ._pointing import hit, hit_points, same_shape
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
    "map_scores",
    "mass_in",
    "mean_scores",
    "otsu",
    "otsu_filled",
    "over_findings",
    "overlap_scores",
    "precision",
    "recall",
    "regress",
    "saliency",
    "score_map",
    "shape_of",
    "smoothed",
    "threshold_ious",
    "top_k",
    "tune",
    "tune_cutoff",
]


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
    return _share(both, a + b - both)


def iou_true_positive(mask: Mask, truth: Mask) -> float:
    """``iou`` where there is a mask *and* a truth, else NaN: what CheXlocalize's main table averages.

    It leaves out what the map missed and what it invented: never print it without ``iou`` and both n.
    """
    both, a, b = counts(mask, truth)
    return _share(both, a + b - both) if a and b else float("nan")


def precision(mask: Mask, truth: Mask) -> float:
    """Share of the mask that is truth; NaN where the mask is empty."""
    both, a, _ = counts(mask, truth)
    return _share(both, a)


def recall(mask: Mask, truth: Mask) -> float:
    """Share of the truth that is in the mask; NaN where there is no truth."""
    both, _, b = counts(mask, truth)
    return _share(both, b)


def mass_in(saliency: Map, truth: Bits) -> float:
    """Share of the map's mass that lies in the truth; 0 for an empty map, NaN where there is no truth."""
    same_shape(saliency, truth)
    if not truth.any():
        return float("nan")
    total = float(np.nansum(saliency, dtype=np.float64))
    return float(np.nansum(saliency[truth], dtype=np.float64)) / total if total > 0 else 0.0


def energy(saliency: Map, truth: Bits) -> float:
    """Energy-based pointing game: share of the map, scaled from 0 to 1, in the boxes around the truth's parts.

    Differs from ``mass_in`` in both: the least value is subtracted, and a box holds more than its contour. 0 for a map
    that is empty or constant, NaN where there is no truth.
    """
    same_shape(saliency, truth)
    if not truth.any():
        return float("nan")
    scaled = unit_range(saliency)
    return 0.0 if scaled is None else mass_in(scaled, boxes_around(truth))


def overlap_scores(mask: Mask, truth: Mask) -> dict[str, float]:
    """The scores of a mask: "iou", "iou_true_positive", "precision", "recall", from one count."""
    both, a, b = counts(mask, truth)
    overlap = _share(both, a + b - both)
    return {
        "iou": overlap,
        "iou_true_positive": overlap if a and b else float("nan"),
        "precision": _share(both, a),
        "recall": _share(both, b),
    }


def map_scores(
    strength: Map,
    truth: Bits,
    tolerance_px: float = 0.0,
    *,
    tolerance_mm: float | None = None,
    spacing_mm: tuple[float, float] | None = None,
) -> dict[str, float]:
    """The scores of a saliency map that need no mask: "hit", "mass_in", "energy"."""
    return {
        "hit": hit(strength, truth, tolerance_px, tolerance_mm=tolerance_mm, spacing_mm=spacing_mm),
        "mass_in": mass_in(strength, truth),
        "energy": energy(strength, truth),
    }


def score_map(values: Map, truth: Bits, masking: Masking, probability: float = 1.0) -> dict[str, float]:
    """Every score of ``METRICS`` of one signed map at source pixels. The cut-off empties the mask; the scores of the
    map itself do not know it."""
    strength = masking.strength(values)
    mask = masking.mask_of(strength, area=int(np.count_nonzero(truth)), probability=probability)
    return overlap_scores(mask, truth) | map_scores(strength, truth)


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


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


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
