"""What a reader ought to know about a picture before he believes an explanation of it.

Checks on pixels and facts, each with a sentence when it fails. Of ordinary frontal radiographs at most 5 % may be
warned of; the measured share is in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..types import Radiograph
from .frontal import SIDE, look

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SIDE, LEAST_LEVELS, LEAST_SPAN, LEAST_DETAIL = 200, 48, 0.25, 1e-3
MOST_BLACK, MOST_WHITE, MOST_BORDER, MOST_ASPECT, LOST_BAND, MOST_STROKES = 0.6, 0.25, 0.5, 1.7, 0.15, 0.0012
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
    """Every check, passed or not, in report order. A large border is cut off before the chest is judged."""
    pixels = radiograph.pixels
    margins = _margins(pixels)
    whole = all(check.warning is None for check in margins)
    return (
        *_shape(radiograph),
        *_grey(pixels),
        *margins,
        _strokes(pixels),
        *_view(pixels if whole else _trimmed(pixels)),
        Check("window", radiograph.voi),
        Check("bits", radiograph.bits),
    )


def _check(name: str, value: float, failed: bool, sentence: str) -> Check:
    return Check(name, round(float(value), 5), sentence if failed else None)


def _shape(radiograph: Radiograph) -> tuple[Check, ...]:
    height, width = radiograph.shape
    side, aspect = min(height, width), max(height, width) / min(height, width)
    small = f"The picture is small ({width} x {height} pixels)."
    shape = "wide" if width > height else "narrow"
    odd = f"The picture is unusually {shape} ({width} x {height} pixels)."
    return (_check("shorter side", side, side < LEAST_SIDE, small), _check("aspect", aspect, aspect > MOST_ASPECT, odd))


def _grey(pixels: NDArray[np.float32]) -> tuple[Check, ...]:
    sample = pixels[:: max(1, pixels.shape[0] // 1024), :: max(1, pixels.shape[1] // 1024)]
    counts = np.bincount((sample * 255 + 0.5).astype(np.uint8).ravel(), minlength=256)
    share = counts / sample.size
    low, high = np.searchsorted(np.cumsum(share), [0.01, 0.99])
    levels, span = int(np.count_nonzero(counts)), float(high - low) / 255
    black, white = float(share[0]), float(share[255])
    lines = pixels[:: max(1, pixels.shape[0] // 64)]
    detail = float(np.abs(np.diff(lines, 2, axis=1)).mean())  # any real picture has grain
    return (
        _check("grey levels of 256", levels, levels < LEAST_LEVELS, f"Only {levels} grey levels are used."),
        _check("contrast", span, span < LEAST_SPAN, "The picture has very little contrast."),
        _check("black share", black, black > MOST_BLACK, f"{black:.0%} of the picture is plain black."),
        _check("white share", white, white > MOST_WHITE, f"{white:.0%} of the picture is plain white."),
        _check("detail", detail, detail < LEAST_DETAIL, "The picture has no detail at all."),
    )


def _margins(pixels: NDArray[np.float32]) -> tuple[Check, ...]:
    """Uniform rows and columns at the edges; a band at the top or bottom alone may be a lost part."""
    top, bottom = _uniform_ends(pixels)
    left, right = _uniform_ends(pixels.T)
    border = 1 - max(0.0, 1 - top - bottom) * max(0.0, 1 - left - right)
    lost = max(top, bottom) if max(left, right, min(top, bottom)) < 0.1 else 0.0
    gone = f"{lost:.0%} of the picture, at one end, is of one value: a part may be lost."
    return (
        _check("border", border, border > MOST_BORDER, f"{border:.0%} of the picture is border."),
        _check("lost band", lost, lost > LOST_BAND, gone),
    )


def _uniform_ends(pixels: NDArray[np.float32]) -> tuple[float, float]:
    """Shares of leading and trailing rows that hold one value (to 1/255)."""
    varied = np.flatnonzero(np.ptp(pixels, axis=1) > 1.5 / 255)
    if varied.size == 0:
        return 0.5, 0.5
    return float(varied[0] / len(pixels)), float(1 - (varied[-1] + 1) / len(pixels))


def _trimmed(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without uniform rows and columns at the edges."""
    rows, columns = (np.flatnonzero(np.ptp(pixels, axis=axis) > 1.5 / 255) for axis in (1, 0))
    if min(rows.size, columns.size) < SIDE:
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _strokes(pixels: NDArray[np.float32]) -> Check:
    """Share of near-white pixels with dark on both sides within two steps: letters and arrows are thin and bright."""
    white = pixels[:, 3:-3] > 0.97
    dark_beside = (pixels[:, :-6] < 0.5) & (pixels[:, 6:] < 0.5)
    share = float((white & dark_beside).mean())
    return _check("strokes", share, share > MOST_STROKES, "Much text seems to be burned into the picture.")


def _view(pixels: NDArray[np.float32]) -> tuple[Check, ...]:
    seen = look(pixels)
    strange = "The picture does not look like a frontal chest radiograph." if not seen.frontal else None
    warning = SHOWN[seen.nearer] if seen.nearer else strange
    return (
        Check("distance from frontal radiographs", round(seen.distance, 3), warning),
        Check("likeness to a drawn chest", round(seen.likeness, 3)),
        Check("shown", seen.nearer or "upright"),
    )
