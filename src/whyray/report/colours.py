"""Two colour tables, computed in Oklab: lightness rises evenly, so equal steps of a value look like equal steps.

Oklab: B. Ottosson, "A perceptual color space for image processing", 2020 (the matrices below are its definition).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = 256
_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@cache
def sequential() -> NDArray[np.uint8]:
    """``[256, 3]`` sRGB: violet (little) over red to yellow (much), for maps without a sign."""
    t = np.linspace(0, 1, 1024)
    return _table(lightness=0.28 + 0.66 * t, hue=np.radians(295 + 170 * t), chroma=0.08 + 0.11 * np.sin(np.pi * t**0.8))


@cache
def diverging() -> NDArray[np.uint8]:
    """``[256, 3]`` sRGB: blue (against) over dark grey (nothing) to orange (for), both arms equally light.

    Blue and orange stay apart for the three common kinds of colour blindness.
    """
    t = np.linspace(0, 1, 1024)
    arms = [
        _table(lightness=0.36 + 0.44 * t, hue=np.full_like(t, np.radians(hue)), chroma=0.17 * t**0.6, steps=STEPS // 2)
        for hue in (248, 58)
    ]
    return np.concatenate([arms[0][::-1], arms[1]])


def oklab_to_srgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[n, 3]`` Oklab -> sRGB; outside 0..1 where the screen cannot show the colour."""
    linear = ((lab @ _TO_LMS.T) ** 3) @ _TO_RGB.T
    bent = np.copysign(1.055 * np.abs(linear) ** (1 / 2.4) - 0.055, linear)
    return np.asarray(np.where(np.abs(linear) <= 0.0031308, 12.92 * linear, bent))


def _table(
    *, lightness: NDArray[np.float64], hue: NDArray[np.float64], chroma: NDArray[np.float64], steps: int = STEPS
) -> NDArray[np.uint8]:
    """The path through Oklab, cut into steps of equal length."""
    lab = _lab(lightness, hue, np.minimum(chroma, _largest_chroma(lightness, hue)))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lab, axis=0), axis=1))])
    even = np.linspace(0, length[-1], steps)
    path = np.stack([np.interp(even, length, lab[:, i]) for i in range(3)], axis=1)
    return np.asarray(np.rint(np.clip(oklab_to_srgb(path), 0, 1) * 255), np.uint8)


def _lab(lightness: NDArray[np.float64], hue: NDArray[np.float64], chroma: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)


def _largest_chroma(lightness: NDArray[np.float64], hue: NDArray[np.float64]) -> NDArray[np.float64]:
    """The most vivid colour a screen can show at this lightness and hue, found by halving."""
    low, high = np.zeros_like(lightness), np.full_like(lightness, 0.4)
    for _ in range(20):
        middle = (low + high) / 2
        rgb = oklab_to_srgb(_lab(lightness, hue, middle))
        inside = ((rgb >= 0) & (rgb <= 1)).all(axis=1)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low
