"""From thickness maps to grey values: Beer-Lambert, scatter, noise, and the processing of a digital detector.

Whatever reaches beyond one pixel (scatter, noise level, tone scale) is computed from the anatomy without findings, so
that taking a finding away changes no pixel outside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ._phantom_factors import Exposure, stream
from ._phantom_fields import Map

BONE = 0.36  # per cm, beyond the soft tissue it replaces
METAL = 2.5


def expose(n: int, exposure: Exposure, healthy: Map, change: Map, bone: Map, metal: Map) -> Map:
    """Grey values 0..1, quantised to 8 bits. ``healthy`` and ``change``: soft tissue in cm and what findings alter."""
    mu = np.float32(exposure.mu)
    calm = mu * healthy + np.float32(BONE) * bone
    direct = np.exp(-calm)
    size = healthy.shape[0]
    source = np.where(healthy > np.float32(0.5), np.minimum(direct, np.float32(0.14)), 0)  # air does not scatter
    scatter = np.float32(exposure.scatter * 0.055) + np.float32(exposure.scatter) * _blurred(source, size / 9)
    signal = np.exp(-(calm + mu * change + np.float32(METAL) * metal)) + scatter
    film = -np.log(signal)
    calm_film = -np.log(direct + scatter)
    grain = _grain(n, size) * np.float32(exposure.noise) * np.sqrt(1 / (direct + scatter)) * np.float32(0.22)
    grey = _tone(film + grain, calm_film, exposure)
    return np.asarray(np.round(grey * 255) / np.float32(255), np.float32)


def collimate(pixels: Map, exposure: Exposure) -> Map:
    """Black outside the collimated field."""
    size = pixels.shape[0]
    left, right, top, bottom = (round(edge * size) for edge in exposure.collimation)
    out = np.zeros_like(pixels)
    out[top : size - bottom, left : size - right] = pixels[top : size - bottom, left : size - right]
    return out


def _tone(film: Map, calm: Map, exposure: Exposure) -> Map:
    """Density to grey: large-scale differences reduced in part, then a sigmoid between two set points."""
    broad = _blurred(calm, calm.shape[0] / 12)
    middle = calm[calm.shape[0] // 5 :, calm.shape[1] // 6 : -calm.shape[1] // 6]
    low, high = np.quantile(middle[::3, ::3], (0.04, 0.93))
    span = np.float32(high - low)
    flat = film - np.float32(exposure.equalise) * (broad - np.float32((low + high) / 2)) * np.float32(0.6)
    t = (flat - np.float32(low)) / span * np.float32(1 + exposure.high) + np.float32(exposure.low)
    grey = np.float32(0.34) + np.float32(0.54) * t
    soft = 1 / (1 + np.exp(-np.float32(4.2 * exposure.curve) * (grey - np.float32(0.5))))
    edge = 1 / (1 + np.exp(-np.float32(4.2 * exposure.curve) * np.float32(0.5)))
    out = (soft - (1 - edge)) / (2 * edge - 1)
    return np.asarray(np.clip(out, 0, 1), np.float32)


def _grain(n: int, size: int) -> Map:
    """Quantum noise with the slight blur of a detector."""
    white = stream(n, "noise").standard_normal((size, size), dtype=np.float32)
    return np.asarray(white * np.float32(0.8) + np.float32(0.6) * gaussian_filter(white, 0.8), np.float32)


def _blurred(values: Map, sigma: float) -> NDArray[np.float32]:
    """A broad Gaussian blur, on a grid of an eighth of the size."""
    factor = max(1, values.shape[0] // 56)
    n = values.shape[0] // factor * factor
    small = values[:n, :n].reshape(n // factor, factor, n // factor, factor).mean((1, 3))
    small = gaussian_filter(small, sigma / factor, mode="nearest")
    at = np.clip((np.arange(values.shape[0]) + 0.5) / factor - 0.5, 0, small.shape[0] - 1)
    left = np.minimum(at.astype(np.int64), small.shape[0] - 2)
    part = (at - left).astype(np.float32)
    rows = small[left] * (1 - part)[:, None] + small[left + 1] * part[:, None]
    return np.asarray(rows[:, left] * (1 - part) + rows[:, left + 1] * part, np.float32)
