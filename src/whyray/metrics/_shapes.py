"""What makes a finding hard to localise: number of parts, size, elongation, irrectangularity (CheXlocalize)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ._masks import bounding_box, filled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.bool_]

FEATURES = ("instances", "area_ratio", "elongation", "irrectangularity")


@dataclass(frozen=True)
class Shape:
    """Geometry of one truth.

    instances         parts that touch nowhere, or as many as the annotator drew, where given.
    area_ratio        share of the picture.
    elongation        longer by shorter side of the smallest rectangle, at any angle, around the part with the longest
                      outline; >= 1.
    irrectangularity  1 - that part's area, holes filled, by the rectangle's; 0 = a rectangle.
    """

    instances: int
    area_ratio: float
    elongation: float
    irrectangularity: float


def shape_of(truth: Bits, instances: int | None = None) -> Shape:
    """Geometry of a truth ``[h, w]``; NaN for elongation and irrectangularity where it is empty.

    Pixels are squares: a line of n pixels is n long and 1 wide (a contour through pixel centres, as in the published
    code, has no width).
    """
    from scipy.ndimage import label

    box = bounding_box(truth)
    if box is None:
        return Shape(instances or 0, 0.0, float("nan"), float("nan"))
    parts, count = label(truth[box], np.ones((3, 3)))
    part = filled(parts == _longest_outline(parts))
    longer, shorter = smallest_rectangle(part)
    area = float(np.count_nonzero(part))
    return Shape(
        count if instances is None else instances,
        float(np.count_nonzero(truth)) / truth.size,
        longer / shorter,
        max(0.0, 1 - area / (longer * shorter)),
    )


def smallest_rectangle(mask: Bits) -> tuple[float, float]:
    """(longer, shorter) side of the rectangle of least area, at any angle, around a mask's pixels as squares.

    One of its sides lies on a side of the convex hull (Freeman and Shapira, 1975).
    """
    from scipy.spatial import ConvexHull

    corners = _outer_corners(mask)
    hull = corners[ConvexHull(corners).vertices]
    along = np.diff(hull, axis=0, append=hull[:1])
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    sides = np.stack([np.ptp(hull @ axes.T, axis=0) for axes in (along, across)])
    a, b = sides[:, np.argmin(sides.prod(axis=0))]
    return float(max(a, b)), float(min(a, b))


@dataclass(frozen=True)
class Regression:
    """How a score changes with one feature, scaled from its least (0) to its largest value (1).

    slope, low, high  of the ordinary least-squares line, with its 95 % interval; p two-sided, times ``comparisons``.
    spearman          rank correlation with its 95 % interval by Fisher's transform; its p likewise.
    n                 pictures. They are taken as independent, as published: several of one patient are not.
    """

    slope: float
    low: float
    high: float
    p: float
    spearman: float
    spearman_low: float
    spearman_high: float
    spearman_p: float
    n: int


def regress(
    feature: NDArray[np.floating[Any]], score: NDArray[np.floating[Any]], comparisons: int = len(FEATURES)
) -> Regression:
    """A score ``[n]`` on one feature ``[n]``; pictures with NaN in either are left out. p-values are multiplied by the
    number of ``comparisons`` (Bonferroni; 1 for the regression on the model's probability). NaN below 4 pictures or
    where either is constant."""
    from scipy import stats

    x, y = np.asarray(feature, np.float64), np.asarray(score, np.float64)
    kept = ~(np.isnan(x) | np.isnan(y))
    x, y = x[kept], y[kept]
    n = len(x)
    if n < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        nan = float("nan")
        return Regression(nan, nan, nan, nan, nan, nan, nan, nan, n)
    line = stats.linregress((x - x.min()) / np.ptp(x), y)
    reach = float(stats.t.ppf(0.975, n - 2)) * line.stderr
    ranks = stats.spearmanr(x, y)
    rho = float(ranks.statistic)
    centre, half = math.atanh(min(max(rho, -1 + 1e-15), 1 - 1e-15)), 1.96 / math.sqrt(n - 3)
    return Regression(
        float(line.slope),
        float(line.slope - reach),
        float(line.slope + reach),
        min(1.0, float(line.pvalue) * comparisons),
        rho,
        math.tanh(centre - half),
        math.tanh(centre + half),
        min(1.0, float(ranks.pvalue) * comparisons),
        n,
    )


def _longest_outline(parts: NDArray[np.integer[Any]]) -> int:
    """The part (1 ..) with the most pixels on its outline; the first of equals."""
    inner = np.pad(parts, 1)
    here = inner[1:-1, 1:-1]
    same = (inner[:-2, 1:-1] == here) & (inner[2:, 1:-1] == here) & (inner[1:-1, :-2] == here)
    outline = here[~(same & (inner[1:-1, 2:] == here)) & (here > 0)]
    return int(np.argmax(np.bincount(outline)))


def _outer_corners(mask: Bits) -> NDArray[np.float64]:
    """Corners (x, y) ``[4 rows, 2]`` of each row's first and last pixel: every corner of the hull is among them."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    x = np.concatenate([first, last, first, last])
    y = np.concatenate([rows, rows, rows + 1, rows + 1])
    return np.stack([x, y], axis=1).astype(np.float64)
