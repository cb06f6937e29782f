"""Pieces of a model input that are kept or removed as a whole: superpixels (SLIC, quickshift) and grid cells."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError
from ..types import Frame, array_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.floating[Any]]

REMEMBERED = 32  # segmentations kept in this process
_MADE: OrderedDict[tuple[object, ...], Segments] = OrderedDict()
_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Segments:
    """A partition of the pixels of a model input.

    labels  int32 ``[h, w]``, 0 .. count - 1, every number used; read-only.
    count   how many segments there are: a method may give other than it was asked for.
    sha256  of the labels.
    about   how they were made, in words.
    """

    labels: NDArray[np.int32] = field(repr=False)
    count: int
    sha256: str
    about: str

    @staticmethod
    def of(labels: NDArray[np.integer[Any]], about: str) -> Segments:
        """Segments of any whole numbers ``[h, w]``; they are renumbered in their order, without gaps."""
        found, inverse = np.unique(labels, return_inverse=True)
        numbered = np.array(inverse.reshape(labels.shape), np.int32, order="C")
        numbered.setflags(write=False)
        return Segments(numbered, len(found), array_hash(numbered), about)

    def sums(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Sum ``[count]`` of a map ``[h, w]`` over each segment."""
        of = np.asarray(values, np.float64).ravel()
        return np.asarray(np.bincount(self.labels.ravel(), of, self.count), np.float64)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Pixels ``[count]`` of each segment."""
        return np.bincount(self.labels.ravel(), minlength=self.count).astype(np.int64)


def view(frame: Frame) -> NDArray[np.float32]:
    """The model input as one grey picture ``[h, w]`` in 0..1: the mean of its channels, scaled by its own range."""
    grey = frame.pixels.mean(axis=0, dtype=np.float64)
    low, high = float(grey.min()), float(grey.max())
    return np.asarray((grey - low) / max(high - low, 1e-12), np.float32)


def slic(picture: Picture, *, segments: int = 50, compactness: float = 0.1, sigma: float = 1.0) -> Segments:
    """SLIC superpixels of a picture ``[h, w]`` in 0..1 (Achanta et al., IEEE TPAMI 2012): about ``segments`` of them.

    compactness  large = square, small = along edges of brightness; sigma = smoothing before, in pixels.
    """
    _check(picture, segments=segments)

    def make() -> NDArray[np.integer[Any]]:
        peer = _skimage()[0]
        grey = np.asarray(picture, np.float64)
        found = peer(grey, n_segments=segments, compactness=compactness, sigma=sigma, start_label=0, channel_axis=None)
        return np.asarray(found)

    asked = f"slic, {segments} asked, compactness {compactness:g}, sigma {sigma:g}"
    return _remembered(picture, asked, make)


def quickshift(
    picture: Picture, *, kernel_size: float = 4, max_dist: float = 200, ratio: float = 0.2, seed: int = 42
) -> Segments:
    """Quickshift superpixels (Vedaldi and Soatto, ECCV 2008) of the picture as a grey RGB image.

    The defaults are those of the package ``lime``, which are meant for photographs; some seconds on a large picture.
    """
    _check(picture)

    def make() -> NDArray[np.integer[Any]]:
        rgb = np.repeat(np.asarray(picture, np.float64)[..., None], 3, axis=2)
        peer = _skimage()[1]
        return np.asarray(peer(rgb, kernel_size=kernel_size, max_dist=max_dist, ratio=ratio, rng=seed))

    asked = f"quickshift, kernel {kernel_size:g}, distance {max_dist:g}, ratio {ratio:g}, seed {seed}"
    return _remembered(picture, asked, make)


def grid(shape: tuple[int, int], cell: int | tuple[int, int]) -> Segments:
    """Cells of ``cell`` pixels (a side, or (h, w)), row by row; those at the far borders may be smaller."""
    tall, wide = (cell, cell) if isinstance(cell, int) else cell
    if min(tall, wide) < 1:
        raise SettingError(f"a grid cell of {tall} x {wide} pixels came; give at least 1 x 1")
    return cells(shape, range(tall, shape[0], tall), range(wide, shape[1], wide), f"grid of {tall} x {wide} pixels")


def cells(shape: tuple[int, int], rows: Any, columns: Any, about: str) -> Segments:
    """A grid with borders at any ``rows`` and ``columns`` (the first pixel behind each border)."""
    row = np.searchsorted(np.asarray(sorted(rows), int), np.arange(shape[0]), side="right")
    column = np.searchsorted(np.asarray(sorted(columns), int), np.arange(shape[1]), side="right")
    return Segments.of(row[:, None] * (column[-1] + 1) + column, about)


def _skimage() -> tuple[Any, Any]:
    """Its (slic, quickshift), imported without the warning filters that it and scipy set: those are the caller's."""
    with warnings.catch_warnings():
        import skimage.segmentation

        return skimage.segmentation.slic, skimage.segmentation.quickshift


def _check(picture: Picture, segments: int = 2) -> None:
    if picture.ndim != 2:
        raise SettingError(f"a picture of shape {picture.shape} came for segmentation; give [h, w], see view(frame)")
    if not 2 <= segments <= picture.size:
        raise SettingError(f"segments={segments} came for {picture.size} pixels; give 2 to {picture.size}")


def _remembered(picture: Picture, asked: str, make: Callable[[], NDArray[np.integer[Any]]]) -> Segments:
    """The same picture and settings are cut once in a process; ``about`` says how many pieces came out."""
    key = (array_hash(picture), asked)
    with _LOCK:
        if key in _MADE:
            _MADE.move_to_end(key)
            return _MADE[key]
    labels = make()
    made = Segments.of(labels, f"{asked}: {len(np.unique(labels))} segments")
    with _LOCK:
        _MADE[key] = made
        while len(_MADE) > REMEMBERED:
            _MADE.popitem(last=False)
    return made
