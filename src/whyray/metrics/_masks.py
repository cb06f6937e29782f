"""From a saliency map to a mask: Otsu with filled holes, a threshold, the truth's area, or a share of the picture.

Everything works on source pixels ``[h, w]``. NaN = outside what the model saw: never in a mask, never in a threshold. A
map that is empty or constant points nowhere, and gives an empty mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..contracts import in_range
from ..errors import SettingError, UnknownName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Map = NDArray[np.floating[Any]]
    Bits = NDArray[np.bool_]

Sign = Literal["positive", "absolute", "negative"]
Mode = Literal["otsu_filled", "tuned", "area_matched", "top_k"]
ROWS = 64  # a block of so many rows stays in the processor's cache
THRESHOLDS: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Tried when ``tuned`` is tuned (CheXlocalize: ``arange(.2, .8, .1)``, which ends at .8 in floating point)."""


def saliency(values: Map, sign: Sign) -> NDArray[np.float32]:
    """What counts as pointing at the finding, >= 0: evidence for it ("positive"), against it ("negative"), or both
    ("absolute"). NaN stays NaN. There is no default: a map's negative half is not a hit unless somebody says so."""
    values = np.asarray(values, np.float32)
    if sign == "positive":
        return np.maximum(values, 0)
    if sign == "negative":
        return np.maximum(-values, 0)
    if sign == "absolute":
        return np.abs(values)
    raise UnknownName("sign", str(sign), get_args(Sign))


def unit_range(saliency: Map) -> NDArray[np.float32] | None:
    """The map from 0 (its least value) to 1 (its largest); None where it is constant, or NaN everywhere."""
    lowest, highest = _range(saliency)
    if not highest > lowest:
        return None
    shifted = saliency - lowest
    return np.asarray(shifted / (highest - lowest), np.float32)


def otsu_filled(saliency: Map) -> Bits:
    """Otsu's threshold on 256 grey levels, then every hole filled (CheXlocalize)."""
    grey, histogram = np.zeros(saliency.shape, np.uint8), np.zeros(256, np.int64)
    lowest, highest = _range(saliency)
    if not highest > lowest:
        return np.zeros(saliency.shape, bool)
    for start in range(0, len(saliency), ROWS):
        part = saliency[start : start + ROWS]
        known = ~np.isnan(part)
        levels = (255 * ((part[known] - lowest) / (highest - lowest))).astype(np.uint8)
        grey[start : start + ROWS][known] = levels
        histogram += np.bincount(levels, minlength=256)
    return filled(grey > otsu(histogram))


def otsu(histogram: NDArray[np.integer[Any]]) -> int:
    """The level that parts a histogram ``[256]`` into <= level and > level with the largest variance between the parts
    (Otsu, 1979); the lowest such level."""
    weight = np.asarray(histogram, np.float64)
    level = np.arange(len(weight))
    below, mass = np.cumsum(weight), np.cumsum(weight * level)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return int(np.argmax(np.nan_to_num(between)))


def filled(mask: Bits) -> Bits:
    """The mask with its holes filled: background that no path of edge-sharing pixels joins to the outside."""
    from scipy.ndimage import label

    box = bounding_box(mask)
    if box is None:
        return mask
    inside = np.pad(mask[box], 1)
    regions, _count = label(~inside)
    out = mask.copy()
    out[box] = (regions != regions[0, 0])[1:-1, 1:-1]
    return out


def above(saliency: Map, threshold: float) -> Bits:
    """Pixels whose value is above ``threshold`` on the map's own scale from 0 to 1 (CheXlocalize's tuned mode)."""
    scaled = unit_range(saliency)
    return np.zeros(saliency.shape, bool) if scaled is None else scaled > threshold


def area_matched(saliency: Map, area: int) -> Bits:
    """The ``area`` most salient pixels: as many as the truth has, so that precision is recall (Gifsplanation).

    Of pixels with equal values, those come first whose hashed number is lowest: the same ones each time, and scattered,
    where the order of reading would favour the top of the picture. A pixel with value 0 is never taken; fewer than
    ``area`` are, then.
    """
    values = np.where(saliency > 0, saliency, 0).ravel()  # NaN becomes 0
    area = min(int(area), int(np.count_nonzero(values)))
    if area <= 0:
        return np.zeros(saliency.shape, bool)
    least = np.partition(values, len(values) - area)[len(values) - area]
    mask = values > least
    ties = np.flatnonzero(values == least)
    missing = area - int(np.count_nonzero(mask))
    if missing < len(ties):
        ties = ties[np.argpartition(_scattered(ties), missing - 1)[:missing]]
    mask[ties] = True
    return np.asarray(mask.reshape(saliency.shape))


def top_k(saliency: Map, share: float) -> Bits:
    """The most salient ``share`` of the whole picture's pixels, ties as in ``area_matched``."""
    in_range("share", share, 0, 1)
    return area_matched(saliency, round(share * saliency.size))


def smoothed(saliency: Map, side: int) -> NDArray[np.float32]:
    """Mean over a box of ``side`` x ``side`` pixels. What lies outside the picture or the model's crop (NaN) does not
    count; NaN stays NaN. An even box reaches one pixel further up and left."""
    from scipy.ndimage import uniform_filter, uniform_filter1d

    values = np.asarray(saliency, np.float32)
    if side <= 1:
        return values
    known = np.isfinite(values)
    total = uniform_filter(np.where(known, values, 0), side, mode="constant")
    if known.all():
        share = np.multiply.outer(
            *(uniform_filter1d(np.ones(n, np.float32), side, mode="constant") for n in values.shape)
        )
    else:
        share = uniform_filter(known.astype(np.float32), side, mode="constant")
    mean = np.maximum(total, 0) / np.maximum(share, 0.5 / side**2)
    return np.where(known, mean, np.nan).astype(np.float32)


@dataclass(frozen=True)
class Masking:
    """How a map becomes a mask; goes into every table beside the figures.

    sign       which half of a signed map counts; required.
    mode       "otsu_filled", "tuned" (value > ``threshold``), "area_matched", "top_k" (``share`` of the picture).
    threshold  of "tuned", on the map's own scale from 0 to 1; choose it with ``tune`` on the validation split.
    share      of "top_k".
    smooth_px  side of a box filter before everything, in source pixels; 0 = none.
    cutoff     the mask is empty where the model's probability is below it.
    """

    sign: Sign
    mode: Mode = "otsu_filled"
    threshold: float = 0.5
    share: float = 0.05
    smooth_px: int = 0
    cutoff: float = 0.0

    def __post_init__(self) -> None:
        if self.sign not in get_args(Sign):
            raise UnknownName("sign", str(self.sign), get_args(Sign))
        if self.mode not in get_args(Mode):
            raise UnknownName("mask mode", str(self.mode), get_args(Mode))
        for name in ("threshold", "share", "cutoff"):
            in_range(name, getattr(self, name), 0, 1)
        if self.smooth_px < 0:
            raise SettingError(f"setting smooth_px={self.smooth_px} came; give a side in pixels, or 0 for none")

    def strength(self, values: Map) -> NDArray[np.float32]:
        """The saliency of a signed map at source pixels, smoothed where asked."""
        return smoothed(saliency(values, self.sign), self.smooth_px)

    def mask(self, values: Map, *, area: int = 0, probability: float = 1.0) -> Bits:
        """The mask of a signed map at source pixels. ``area``: of the truth, for "area_matched"."""
        return self.mask_of(self.strength(values), area=area, probability=probability)

    def mask_of(self, strength: Map, *, area: int = 0, probability: float = 1.0) -> Bits:
        """The mask of what ``strength`` gave."""
        if probability < self.cutoff:
            return np.zeros(strength.shape, bool)
        if self.mode == "otsu_filled":
            return otsu_filled(strength)
        if self.mode == "tuned":
            return above(strength, self.threshold)
        return area_matched(strength, area) if self.mode == "area_matched" else top_k(strength, self.share)


def bounding_box(mask: Bits) -> tuple[slice, slice] | None:
    """(rows, columns) of the smallest box around what is on; None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _range(saliency: Map) -> tuple[np.floating[Any], np.floating[Any]]:
    """Least and largest value that is not NaN; NaN where all are."""
    return np.fmin.reduce(saliency, axis=None), np.fmax.reduce(saliency, axis=None)


def _scattered(numbers: NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Numbers in 0 .. 2**64 without order, a different one for each (the finaliser of SplitMix64)."""
    x = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
