"""Which pixels go first, and the area under what happens then: bands of rank, coalitions, areas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._masks import Sign

    Array = NDArray[np.float64]

LEVELS = 1e6  # values closer than a millionth of the map's maximum are ties: rounding must not rank pixels
LEAST_SPAN = 0.5  # logits between the whole picture and the filled one, below which a share of the span says nothing


def bands(values: NDArray[np.floating[Any]], steps: int, sign: Sign = "positive", seed: int = 0) -> NDArray[np.int32]:
    """Pixels of a map ``[h, w]`` cut by rank into ``steps`` bands of equal size: int32 ``[h, w]``, 0 = most relevant.

    sign  "positive": from most for to most against the finding; "absolute": by magnitude; "negative": the reverse of
          "positive". NaN (outside what the model saw) comes last.
    seed  of the smooth random field that orders ties: no corner is favoured, a constant map is a random order, and a
          flat segment goes in patches (in salt and pepper it would look like noise, not like something removed).
    Raises ValueError for fewer pixels than steps.
    """
    if not 1 <= steps <= values.size:
        raise ValueError(f"{steps} steps came for {values.size} pixels; give 1 to {values.size}")
    key = relevance(values, sign).ravel()
    order = np.lexsort((smooth_field(values.shape, seed).ravel(), -key))
    rank = np.empty(key.size, np.int64)
    rank[order] = np.arange(key.size)
    return (rank * steps // key.size).astype(np.int32).reshape(values.shape)


def smooth_field(shape: tuple[int, ...], seed: int) -> Array:
    """Gaussian noise ``[h, w]`` with a grain of a 32nd of the sides, the same for the same shape and seed."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(gaussian_filter(noise, max(shape) / 32, mode="wrap"))


def relevance(values: NDArray[np.floating[Any]], sign: Sign) -> Array:
    """The number by which pixels are ranked, in whole millionths of the map's maximum; -inf where there is no value."""
    known = np.nan_to_num(np.asarray(values, np.float64))
    key = {"positive": known, "absolute": np.abs(known), "negative": -known}[sign]
    scale = np.abs(key).max() or 1.0
    return np.where(np.isnan(values), -np.inf, np.rint(key / scale * LEVELS))


def deletion_rows(steps: int) -> NDArray[np.bool_]:
    """Which bands are kept, bool ``[steps + 1, steps]``: row k has lost the k most relevant ones."""
    return np.arange(steps) >= np.arange(steps + 1)[:, None]


def insertion_rows(steps: int) -> NDArray[np.bool_]:
    """Row k has only the k most relevant bands. Backwards this is deletion of the least relevant first."""
    return np.arange(steps) < np.arange(steps + 1)[:, None]


def area(curve: Array) -> Array:
    """Area under curves ``[..., steps + 1]`` over the share 0..1 of pixels changed, by trapezoids."""
    curve = np.asarray(curve, np.float64)
    return np.asarray((curve[..., 1:] + curve[..., :-1]).mean(-1) / 2)


def normalised(curve: Array, full: Array | float, baseline: Array | float, least: float = LEAST_SPAN) -> Array:
    """Curves ``[..., steps + 1]`` on the scale 0 = filled picture, 1 = whole picture ``[...]``.

    NaN where whole and filled picture are less than ``least`` logits apart: there is next to nothing to explain.
    """
    span = np.asarray(full, np.float64) - baseline
    span = np.where(span >= least, span, np.nan)
    return np.asarray((curve - np.asarray(baseline)[..., None]) / span[..., None])
