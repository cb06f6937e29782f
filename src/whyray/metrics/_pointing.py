"""Pointing: does the most salient pixel, or a reader's point, lie in the truth or near it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import DataError, SettingError
from ._masks import bounding_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.floating[Any]]
    Bits = NDArray[np.bool_]

PLATEAU = 1e-6  # values this close to the largest, relative to it, are as large: resampling rounds


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
    same_shape(saliency, truth)
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

    No point is a miss. A point belongs to the pixel nearest to it: where a file counts from the first pixel's edge and
    not its centre (CheXlocalize, whose code cuts decimals off), take 0.5 from both coordinates first.
    """
    if not truth.any():
        return float("nan")
    pixels = np.floor(np.asarray(points, np.float64).reshape(-1, 2)[:, ::-1] + 0.5).astype(np.int64)
    if not len(pixels):
        return 0.0
    reach, sampling = _tolerance(tolerance_px, tolerance_mm, spacing_mm)
    return float(_within(pixels, truth, reach, sampling).any())


def same_shape(a: Map, b: Bits) -> None:
    """Raises DataError unless both are of one shape."""
    if a.shape != b.shape:
        raise DataError(f"a map of {a.shape} and a truth of {b.shape} came; both must be of the radiograph's shape")


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
