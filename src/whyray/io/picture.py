"""What a reader hands to ``load.py``, and the steps that formats share: colour to grey, orientation, 16-bit range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import Laterality, View
from .greyscale import natural_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

Fact = str | int | float | bool | None
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Picture:
    """Fields as in ``Radiograph``, before the file's name and hash are known."""

    pixels: NDArray[np.float32] = field(repr=False)
    bits: int
    facts: Mapping[str, Fact]
    warnings: tuple[str, ...] = ()
    voi: str = "none"
    spacing_mm: tuple[float, float] | None = None
    view: View | None = None
    laterality: Laterality | None = None
    patient_key: str | None = None


def grey_of_rgb(rgb: NDArray[Any]) -> tuple[NDArray[np.float32], str | None]:
    """(grey 0..1, a warning where the channels differ) of unsigned ``[h, w, 3]``. Equal channels stay exact."""
    top = float(np.iinfo(rgb.dtype).max)
    spread = rgb.max(axis=2) - rgb.min(axis=2)
    if not spread.any():
        grey = rgb[..., 0].astype(np.float32)
        grey /= np.float32(top)
        return grey, None
    grey = np.zeros(rgb.shape[:2], np.float32)
    for channel, weight in enumerate(LUMA):
        grey += rgb[..., channel] * np.float32(weight / top)
    share = float((spread > 0.1 * top).mean())
    if share == 0:
        return grey, "The colour channels differ a little; their luminance was taken."
    return grey, f"{share:.1%} of the pixels are in colour (marks or text burned in?); their luminance was taken."


def grey_of_integers(values: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """0..1 of unsigned ``[h, w]`` that bring no window: the whole range of 8 bits, else ``natural_range``."""
    low, high = natural_range(float(values.min()), float(values.max()), bits)
    if bits <= 8:
        low, high = 0.0, 255.0
    table = (np.arange(np.iinfo(values.dtype).max + 1) - low) / max(high - low, 1.0)
    out: NDArray[np.float32] = table.astype(np.float32)[values]
    return out


def opaque(values: NDArray[Any]) -> tuple[NDArray[Any], str | None]:
    """``[h, w, samples + 1]`` -> ``[h, w, samples]``: what is transparent becomes black."""
    alpha, samples = values[..., -1:], values[..., :-1]
    top = np.iinfo(values.dtype).max
    if (alpha == top).all():
        return samples, None
    laid = (samples.astype(np.float32) * alpha / top).round().astype(values.dtype)
    return laid, "Parts of the picture are transparent; they were taken as black."


def oriented(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The array as it is meant to be seen, by the Exif / TIFF orientation 1..8; others leave it as it is."""
    if orientation in (5, 6, 7, 8):
        values = np.swapaxes(values, 0, 1)
    flips: dict[int, tuple[int, ...]] = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    return np.flip(values, flips[orientation]) if orientation in flips else values
