"""What a reader ought to know about a picture before he believes an explanation of it.

Checks on pixels and facts, each with a sentence when it fails. Of ordinary frontal radiographs at most 5 % may be
warned of; the measured share is in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..types import Radiograph
from .frontal import look

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SIDE, LEAST_LEVELS, LEAST_SPAN, LEAST_DETAIL = 200, 48, 0.25, 1e-3
MOST_BLACK, MOST_WHITE, MOST_BORDER, MOST_ASPECT, LOST_BAND, MOST_STROKES = 0.6, 0.25, 0.5, 1.7, 0.15, 0.003
SHOWN = {
    "inverted": "The picture looks inverted (dark bones, bright lungs).",
    "upside down": "The picture looks upside down.",
    "on its side": "The picture looks turned on its side.",
}


@dataclass(frozen=True)
class Check:
    """One check: what was measured, and the sentence to show (None = passed)."""

    name: str
    value: float | str | None
    warning: str | None = None


def input_report(radiograph: Radiograph) -> tuple[str, ...]:
    """Warnings, one sentence each: the file's own first, then what the pixels show."""
    found = (check.warning for check in checks(radiograph) if check.warning)
    return tuple(dict.fromkeys((*radiograph.warnings, *found)))


def checks(radiograph: Radiograph) -> tuple[Check, ...]:
    """Every check, passed or not, in the order of a report page. A picture with a part missing is not judged as a chest."""
    pixels = radiograph.pixels
    margins = _margins(pixels)
    whole = all(check.warning is None for check in margins)
    return (
        *_shape(radiograph), *_grey(pixels), *margins, _strokes(pixels), *(_view(pixels) if whole else ()),
        Check("window", radiograph.voi), Check("bits", radiograph.bits),
    )


def _shape(radiograph: Radiograph) -> tuple[Check, ...]:
    height, width = radiograph.shape
    side, aspect = min(height, width), max(height, width) / min(height, width)
    return (
        Check("shorter side", side, f"The picture is small ({width} x {height} pixels)." if side < LEAST_SIDE else None),
        Check("aspect", round(aspect, 3), "The picture is unusually narrow." if aspect > MOST_ASPECT else None),
    )


def _grey(pixels: NDArray[np.float32]) -> tuple[Check, ...]:
    sample = pixels[:: max(1, pixels.shape[0] // 1024), :: max(1, pixels.shape[1] // 1024)]
    counts = np.bincount((sample * 255 + 0.5).astype(np.uint8).ravel(), minlength=256)
    share = counts / sample.size
    total = np.cumsum(share)
    low, high = np.searchsorted(total, [0.01, 0.99])
    levels, span, black, white = np.count_nonzero(counts), (high - low) / 255, float(share[0]), float(share[255])
    return (
        Check("grey levels of 256", int(levels), f"Only {levels} grey levels are used." if levels < LEAST_LEVELS else None),
        Check("contrast", round(float(span), 3), "The picture has very little contrast." if span < LEAST_SPAN else None),
        Check("black share", round(black, 3), f"{black:.0%} of the picture is plain black." if black > MOST_BLACK else None),
        Check("white share", round(white, 3), f"{white:.0%} of the picture is plain white." if white > MOST_WHITE else None),
        _detail(pixels),
    )


def _detail(pixels: NDArray[np.float32]) -> Check:
    """Mean second difference along rows: any real picture has grain."""
    lines = pixels[:: max(1, pixels.shape[0] // 64)]
    value = float(np.abs(np.diff(lines, 2, axis=1)).mean())
    return Check("detail", round(value, 5), "The picture has no detail at all." if value < LEAST_DETAIL else None)


def _margins(pixels: NDArray[np.float32]) -> tuple[Check, ...]:
    """Uniform rows and columns at the edges; a band at the top or bottom alone may be a lost part."""
    top, bottom = _uniform_ends(pixels)
    left, right = _uniform_ends(pixels.T)
    border = 1 - max(0.0, 1 - top - bottom) * max(0.0, 1 - left - right)
    lost = max(top, bottom) if max(left, right, min(top, bottom)) < 0.02 else 0.0
    return (
        Check("border", round(border, 3), f"{border:.0%} of the picture is border." if border > MOST_BORDER else None),
        Check("lost band", round(lost, 3),
              f"{lost:.0%} of the picture, at one end, is of one value: a part may be lost." if lost > LOST_BAND else None),
    )


def _uniform_ends(pixels: NDArray[np.float32]) -> tuple[float, float]:
    """Shares of leading and trailing rows that hold one value (to 1/255)."""
    varied = np.flatnonzero(np.ptp(pixels, axis=1) > 1.5 / 255)
    if varied.size == 0:
        return 0.5, 0.5
    return float(varied[0] / len(pixels)), float(1 - (varied[-1] + 1) / len(pixels))


def _strokes(pixels: NDArray[np.float32]) -> Check:
    """Share of near-white pixels with dark on both sides within two steps: letters and arrows are thin and bright."""
    white = pixels[:, 3:-3] > 0.97
    dark_beside = (pixels[:, :-6] < 0.5) & (pixels[:, 6:] < 0.5)
    share = float((white & dark_beside).mean())
    return Check("strokes", round(share, 5), "Much text seems to be burned into the picture." if share > MOST_STROKES else None)


def _view(pixels: NDArray[np.float32]) -> tuple[Check, ...]:
    seen = look(pixels)
    strange = "The picture does not look like a frontal chest radiograph." if not seen.frontal else None
    warning = SHOWN[seen.nearer] if seen.nearer else strange
    return (
        Check("distance from frontal radiographs", round(seen.distance, 3), warning),
        Check("likeness to a drawn chest", round(seen.likeness, 3)),
        Check("shown", seen.nearer or "upright"),
    )
