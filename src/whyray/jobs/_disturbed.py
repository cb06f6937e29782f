"""The same radiograph with noise or blur of a stated strength: what robustness of a map is measured under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..explanations import resample
from ..types import Frame, Radiograph


@dataclass(frozen=True)
class Level:
    """Gaussian "noise" (sigma in grey of 0..1) or "blur" (sigma in pixels of the model input); "none" = untouched."""

    kind: Literal["none", "noise", "blur"]
    sigma: float = 0.0

    @property
    def name(self) -> str:
        """``noise 0.03``."""
        return self.kind if self.kind == "none" else f"{self.kind} {self.sigma:g}"

    def of(self, radiograph: Radiograph, frame: Frame, seed: int) -> Radiograph:
        """The disturbed radiograph, kept inside 0..1. Noise is drawn on the grid of the model input and enlarged, so
        that making the input does not average it away; it depends on the seed and the picture."""
        if self.kind == "none":
            return radiograph
        if self.kind == "blur":
            from scipy.ndimage import gaussian_filter

            a, b, c, d = frame.to_source[:2, :2].ravel()
            pixels = gaussian_filter(radiograph.pixels, self.sigma * float(abs(a * d - b * c)) ** 0.5)
        else:
            rng = np.random.default_rng([seed, int(radiograph.sha256[:15], 16)])
            noise = rng.normal(0, self.sigma, frame.pixels.shape[1:]).astype(np.float32)
            pixels = radiograph.pixels + np.nan_to_num(resample(noise, frame.to_source, radiograph.shape))
        return replace(radiograph, pixels=np.clip(pixels, 0, 1), sha256="")


def levels(noise: Sequence[float], blur: Sequence[float]) -> tuple[Level, ...]:
    """Untouched first, then each strength."""
    return (Level("none"), *(Level("noise", s) for s in noise), *(Level("blur", s) for s in blur))
