"""Where a counterfactual may change: a box in source pixels, as weights on the autoencoder's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..contracts import cells_to_pixels
from ..errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Frame

Box = tuple[float, float, float, float]  # x0, y0, x1, y1: source pixels, x to the right, y down
EDGE = 6.0  # pixels of the autoencoder over which the change fades in: a hard border would be evidence of its own


def box_of(text: str) -> Box:
    """``"x0;y0;x1;y1"`` -> the box. Raises SettingError."""
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(";"))
    except ValueError:
        raise SettingError(f"setting region={text!r} came; give x0;y0;x1;y1 in pixels of the radiograph") from None
    if not (x0 < x1 and y0 < y1):
        raise SettingError(f"setting region={text!r} is empty; give left;top;right;bottom in pixels of the radiograph")
    return x0, y0, x1, y1


def weights(box: Box, frame: Frame, size: tuple[int, int]) -> NDArray[np.float32]:
    """0 outside the box, rising to 1 inside, ``[h, w]`` on a grid of ``size`` that covers the model's input.

    Raises SettingError where the model sees nothing of the box.
    """
    to_source = frame.to_source @ cells_to_pixels(size, frame.pixels.shape[1:])
    y, x = np.mgrid[: size[0], : size[1]]
    at = np.tensordot(to_source, np.stack([x, y, np.ones_like(x)]), axes=1)
    pixel = float(np.sqrt(abs(np.linalg.det(to_source[:2, :2]))))
    x0, y0, x1, y1 = box
    depth = np.minimum.reduce([at[0] - x0, x1 - at[0], at[1] - y0, y1 - at[1]])
    edge = min(EDGE * pixel, min(x1 - x0, y1 - y0) / 3)
    out: NDArray[np.float32] = np.clip(depth / edge, 0, 1).astype(np.float32)
    if not out.any():
        h, w = frame.source_shape
        raise SettingError(f"the region {box} has nothing that the model sees; the radiograph is {w} x {h} pixels")
    return out
