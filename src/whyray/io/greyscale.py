"""Stored values -> grey 0 = black .. 1 = white, in the order of DICOM PS3.4 N.2: modality, VOI, then polarity, once.

Pure functions on float64 arrays; a picture of up to 16 bits goes through them as a table of its possible values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, eq=False)
class Lut:
    """A look-up table: ``entries`` [n], the input ``first`` that meets entry 0, significant ``bits`` of an entry."""

    first: int
    bits: int
    entries: NDArray[np.uint16]


@dataclass(frozen=True)
class Window:
    """Centre, width (> 0; >= 1 for LINEAR) and one of FUNCTIONS."""

    centre: float
    width: float
    function: str = "LINEAR"


def rescaled(values: Floats, slope: float, intercept: float) -> Floats:
    """Modality rescale (PS3.3 C.11.1.1.2)."""
    return values * slope + intercept


def looked_up(values: Floats, lut: Lut) -> Floats:
    """Table look-up; inputs beyond either end take the end's entry (PS3.3 C.11.1.1)."""
    index = np.clip(np.floor(values) - lut.first, 0, lut.entries.size - 1)
    out: Floats = lut.entries[index.astype(np.intp)].astype(np.float64)
    return out


def windowed(values: Floats, window: Window) -> Floats:
    """0..1 by a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = window.centre, window.width
    if window.function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if window.function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width <= 1:  # the formula's limit: a step
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def ranged(values: Floats, low: float, high: float) -> Floats:
    """0..1 linearly from ``low`` to ``high``; one constant value becomes 0."""
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


def voi_table(values: Floats, lut: Lut) -> Floats:
    """0..1 by a VOI LUT. Some writers declare far more bits than the table uses, or fewer: then the used ones count."""
    used = max(1, int(lut.entries.max()).bit_length())
    bits = lut.bits if lut.bits - 2 < used <= lut.bits else used
    out: Floats = looked_up(values, lut) / (2**bits - 1)
    return out


def natural_range(low: float, high: float, bits: int) -> tuple[float, float]:
    """Black and white for a picture that brings no window, from its lowest and highest value (padding left out).

    8 bits are display-ready: 0..255. Deeper ones often use fewer bits than they declare: the range of the bits in
    use, where the values fill at least 3/4 of it (so that the same picture is the same in 8, 12 and 16 bits), else
    lowest to highest.
    """
    if low < 0 or high <= low:
        return low, high
    full = 2.0 ** max(8, int(high).bit_length()) - 1
    if bits <= 8 or high - low >= 0.75 * full:
        return 0.0, full
    return low, high


def polarised(grey: Floats, inverted: bool) -> Floats:
    """The last step: MONOCHROME1 or presentation shape INVERSE."""
    return 1 - grey if inverted else grey


def luminance(rgb: NDArray[np.generic]) -> Floats:
    """Rec. 601 luma of ``[..., 3]``, in the unit that came."""
    weights = np.array([0.299, 0.587, 0.114])
    out: Floats = np.asarray(rgb, np.float64) @ weights
    return out
