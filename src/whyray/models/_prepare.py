"""How a radiograph becomes model input: fit, antialiased resize, range, mean and standard deviation."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from ..cards import Preparation
from ..types import Frame, Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAST: WeakKeyDictionary[Radiograph, tuple[Preparation, Frame]] = WeakKeyDictionary()


def prepare(radiograph: Radiograph, preparation: Preparation) -> Frame:
    """Model input ``[c, h, w]`` and the exact affine back: ``source = offset + (u + 0.5) * scale - 0.5`` per axis.

    The last one of each radiograph is kept while the radiograph lives: prediction, explainers and warnings ask in turn.
    """
    kept = _LAST.get(radiograph)
    if kept is None or kept[0] != preparation:
        kept = _LAST[radiograph] = preparation, _prepared(radiograph, preparation)
    frame = kept[1]
    return Frame(pixels=frame.pixels.copy(), to_source=frame.to_source.copy(), source_shape=frame.source_shape)


def _prepared(radiograph: Radiograph, preparation: Preparation) -> Frame:
    window = fitted(radiograph.shape, preparation)
    grey = resized(cut(radiograph.pixels, window), preparation.size)
    ranged = preparation.low + grey * (preparation.high - preparation.low)
    mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (preparation.mean, preparation.std))
    shape = (preparation.channels, *preparation.size)
    pixels = np.array(np.broadcast_to((ranged - mean) / std, shape), np.float32, order="C")  # writable
    return Frame(pixels=pixels, to_source=affine(window, preparation.size), source_shape=radiograph.shape)


def fitted(shape: tuple[int, int], preparation: Preparation) -> tuple[int, int, int, int]:
    """(top, left, height, width) in source pixels of what the model sees; it reaches outside the picture for "pad"."""
    (h, w), (rows, columns) = shape, preparation.size
    if preparation.fit == "squash":
        return 0, 0, h, w
    wide = w * rows > h * columns  # wider than the input's aspect
    if wide == (preparation.fit == "crop"):
        height, width = h, max(1, round(h * columns / rows))
    else:
        height, width = max(1, round(w * rows / columns)), w
    return h // 2 - height // 2, w // 2 - width // 2, height, width


def cut(pixels: NDArray[np.float32], window: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """The window of a picture; black where it reaches outside."""
    top, left, height, width = window
    (h, w), out = pixels.shape, np.zeros((height, width), np.float32)
    y0, x0, y1, x1 = max(0, top), max(0, left), min(h, top + height), min(w, left + width)
    out[y0 - top : y1 - top, x0 - left : x1 - left] = pixels[y0:y1, x0:x1]
    return out


def resized(grey: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear, with a filter as wide as the reduction (no aliasing)."""
    from PIL import Image

    if grey.shape == size:
        return grey
    image = Image.fromarray(np.ascontiguousarray(grey)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32)


def affine(window: tuple[int, int, int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    """Model-input pixel centres to source pixel centres."""
    top, left, height, width = window
    sy, sx = height / size[0], width / size[1]
    return np.array([[sx, 0, left + 0.5 * sx - 0.5], [0, sy, top + 0.5 * sy - 0.5], [0, 0, 1]], np.float64)
