"""What removed pixels become: pictures that do not depend on which segments are removed. Pure functions."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError, UnknownName, WhyrayError
from ..types import array_hash, content

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..cards import Preparation
    from .superpixels import Segments

    Pixels = NDArray[np.float32]
    Imputer = Callable[[NDArray[np.bool_], Pixels], NDArray[np.floating[Any]]]

DEFAULT_FILL = "blur"
FILLS = ("blur", "mean", "segment", "neighbours", "black", "white")
BLUR = 1 / 12  # standard deviation of the blur over the shorter side: a large opacity leaves no edge behind

_numbers = itertools.count()


def filled(pixels: Pixels, fill: str | float, segments: Segments, preparation: Preparation) -> Pixels:
    """The model input ``[c, h, w]`` with every segment removed.

    "blur"        Gaussian, standard deviation a twelfth of the shorter side (of shap's ``blur(64,64)`` at 224 px).
    "mean"        the mean of the input, one value a channel.
    "segment"     the mean of each segment itself, as the package ``lime`` does.
    "neighbours"  the mean of the segments that border on it, by the length of the common border.
    "black", "white"  what a black (white) pixel of a radiograph is to this model.
    a number      that value of the model input, as captum's ``baselines``.

    Raises UnknownName for another word, SettingError for NaN and infinities.
    """
    if (value := number(fill)) is not None:
        return np.full_like(pixels, value)
    if fill in ("black", "white"):
        grey = preparation.low if fill == "black" else preparation.high
        mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (preparation.mean, preparation.std))
        return np.array(np.broadcast_to((np.float32(grey) - mean) / std, pixels.shape), np.float32)
    if fill == "mean":
        return np.array(np.broadcast_to(pixels.mean((1, 2), keepdims=True, dtype=np.float64), pixels.shape), np.float32)
    if fill == "blur":
        return blurred(pixels, BLUR * min(pixels.shape[1:]))
    if fill in ("segment", "neighbours"):
        means = np.stack([segments.sums(channel) for channel in pixels]) / segments.sizes  # [c, count]
        painted = means if fill == "segment" else neighbour_means(means, segments.labels)
        return np.asarray(painted[:, segments.labels], np.float32)
    raise _no_fill(fill)


def number(fill: str | float) -> float | None:
    """A fill that is a value, also as the command line gives it; None for a word, and for what is not finite."""
    try:
        value = float(fill)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _no_fill(fill: str | float) -> WhyrayError:
    try:
        float(fill)
    except ValueError:
        return UnknownName("fill", str(fill), (*FILLS, "a number"))
    return SettingError(f"fill={fill} is not finite; give another number, or one of {', '.join(FILLS)}")


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    """Each channel of ``[c, h, w]`` smoothed by a Gaussian; the border continues outwards."""
    from scipy.ndimage import gaussian_filter

    return np.stack([gaussian_filter(channel, sigma, mode="nearest", truncate=3.0) for channel in pixels])


def neighbour_means(means: NDArray[np.float64], labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Means ``[c, count]`` of the segments around each one, by common border; a segment without any keeps its own."""
    from scipy.sparse import coo_array

    beside = ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]))
    first = np.concatenate([a.ravel() for a, _ in beside])
    second = np.concatenate([b.ravel() for _, b in beside])
    between = first != second
    first, second = first[between], second[between]
    count = means.shape[1]
    one_way = coo_array((np.ones(len(first)), (first, second)), shape=(count, count)).tocsr()
    border = one_way + one_way.T  # [count, count]: length of the common border in pixel edges
    length = np.asarray(border.sum(axis=1)).ravel()
    around = (border @ means.T).T / np.maximum(length, 1)
    return np.where(length > 0, around, means)


def fill_key(fill: object, picture: Pixels | None) -> str:
    """What tells two fills apart: the filled picture itself, or every field of a callable that is a frozen dataclass.

    Any other callable (a lambda, a plain object) gets a number of its own at every call, which never comes again.
    """
    if picture is not None:
        return array_hash(picture)
    kind = type(fill)
    frozen = dataclasses.is_dataclass(fill) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    known = content(fill) if frozen else None
    return known or f"{kind.__module__}.{kind.__qualname__} number {next(_numbers)}"
