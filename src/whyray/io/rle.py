"""COCO run-length masks: read, write, area and overlap on the runs themselves, without the pixels.

A mask is told column by column, from the top left: so many pixels off, so many on, so many off ... COCO writes the
counts as a list, or as a string of 6-bit characters (Lin et al., ECCV 2014). Overlap costs time in the number of runs:
a contour on 3000 x 3000 pixels has a few thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from .limits import limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

_DIGITS = 7  # 5-bit groups of one count; more than any picture needs


@dataclass(frozen=True, eq=False)
class Runs:
    """A mask as runs.

    shape   (h, w).
    bounds  int64 ``[2 k]``: start and end (not included) of each of k runs of pixels that are on, rising, as
            column-major pixel numbers; no run is empty and no two touch.
    """

    shape: tuple[int, int]
    bounds: NDArray[np.int64] = field(repr=False)

    @property
    def area(self) -> int:
        """Pixels that are on."""
        return int(self.bounds[1::2].sum() - self.bounds[::2].sum())


def encode(mask: NDArray[Any]) -> Runs:
    """The runs of a mask ``[h, w]``; every pixel that is not 0 is on."""
    flat = np.asarray(mask != 0).ravel(order="F")
    steps = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    first = [0] if flat[:1].any() else []
    last = [flat.size] if flat[-1:].any() else []
    return Runs((mask.shape[0], mask.shape[1]), np.concatenate([first, steps, last]).astype(np.int64))


def decode(runs: Runs) -> NDArray[np.bool_]:
    """The mask ``[h, w]``."""
    h, w = runs.shape
    turns = np.zeros(h * w + 1, np.int8)
    turns[runs.bounds] = 1
    on = np.bitwise_xor.accumulate(turns[:-1], dtype=np.int8)
    return on.view(np.bool_).reshape(w, h).T


def from_counts(counts: Sequence[int] | Counts, shape: tuple[int, int]) -> Runs:
    """From uncompressed counts: off, on, off ...; raises DataError unless they are >= 0 and fill the shape."""
    h, w = shape
    if min(h, w) < 1 or h * w > limits().pixels:
        raise DataError(f"a run-length mask of {h} x {w} came; give 1 to {limits().pixels} pixels")
    values = np.asarray(counts)
    if values.dtype.kind not in "iu":
        raise DataError("the counts of a run-length mask must be whole numbers")
    values = values.astype(np.int64)
    if values.ndim != 1 or not len(values) or values.min() < 0 or values.max() > h * w or values.sum() != h * w:
        raise DataError(f"run lengths of a mask of {h} x {w} must be >= 0 and sum to {h * w}; they do not")
    edges = np.cumsum(values)[: len(values) - (len(values) % 2)]
    return Runs((h, w), _merged(edges))


def to_counts(runs: Runs) -> Counts:
    """Uncompressed counts: off, on, off ...; the first may be 0."""
    h, w = runs.shape
    edges = np.concatenate([[0], runs.bounds, [h * w]])
    counts = np.diff(edges)
    return np.asarray(counts if counts[-1] or len(counts) == 1 else counts[:-1])


def from_coco(record: Mapping[str, Any]) -> Runs:
    """From ``{"size": [h, w], "counts": string, bytes or list}``, as COCO and CheXlocalize write it; else DataError."""
    try:
        h, w = (int(side) for side in record["size"])
        counts = record["counts"]
    except (KeyError, TypeError, ValueError):
        raise DataError('a run-length mask is {"size": [height, width], "counts": ...}; this is none') from None
    if isinstance(counts, (str, bytes)):
        counts = uncompressed(counts)
    try:
        return from_counts(counts, (h, w))
    except (TypeError, ValueError, OverflowError):
        raise DataError('"counts" of a run-length mask must be whole numbers or a COCO string') from None


def to_coco(runs: Runs) -> dict[str, Any]:
    """``{"size": [h, w], "counts": string}``, ready for JSON."""
    return {"size": list(runs.shape), "counts": compressed(to_counts(runs))}


def uncompressed(text: str | bytes) -> Counts:
    """Counts from a COCO string: 5-bit groups, low first, bit 5 = more follow, two's complement; from the fourth count
    on the difference to the count two before. Raises DataError for other characters or an unfinished count."""
    raw = text.encode("utf-8") if isinstance(text, str) else bytes(text)
    codes = np.frombuffer(raw, np.uint8) - np.uint8(48)  # what lies below 48 wraps to above 63
    if not len(codes) or codes.max() > 63 or codes[-1] > 31:
        raise DataError("a compressed run-length string is empty, cut short or holds other characters")
    ends = np.flatnonzero(codes < 32)
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    lengths = ends - starts + 1
    if lengths.max() > _DIGITS:
        raise DataError("a compressed run length is longer than any picture; the string is damaged")
    values = (codes[ends].astype(np.int64) ^ 16) - 16  # the highest group has the sign
    for digit in range(1, int(lengths.max())):
        longer = lengths > digit
        values[longer] = (values[longer] << 5) | (codes[ends[longer] - digit] & 31)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def compressed(counts: Counts) -> str:
    """The COCO string of counts; the inverse of ``uncompressed``."""
    values = np.asarray(counts, np.int64).copy()
    values[3:] -= counts[1:-2]
    codes = np.full((_DIGITS, len(values)), -1, np.int64)
    left = np.ones(len(values), bool)
    for digit in range(_DIGITS):
        group, rest = values & 31, values >> 5
        more = left & (rest != np.where(group & 16, -1, 0))
        codes[digit, left] = (group + 32 * more)[left] + 48
        values, left = rest, more
    flat = codes.T.ravel()
    return flat[flat >= 0].astype(np.uint8).tobytes().decode("ascii")


def from_box(box: tuple[float, float, float, float], shape: tuple[int, int]) -> Runs:
    """The pixels whose centres lie in a box (x, y, width, height), x <= centre < x + width; cut at the picture."""
    h, w = shape
    left, right = (int(np.clip(np.ceil(v), 0, w)) for v in (box[0], box[0] + box[2]))
    top, bottom = (int(np.clip(np.ceil(v), 0, h)) for v in (box[1], box[1] + box[3]))
    if right <= left or bottom <= top:
        return Runs((h, w), np.empty(0, np.int64))
    columns = h * np.arange(left, right)[:, None]
    return Runs((h, w), _merged((columns + np.array([top, bottom])).ravel()))


def intersection(a: Runs, b: Runs) -> int:
    """Pixels that are on in both."""
    _same_shape(a, b)
    if len(a.bounds) > len(b.bounds):
        a, b = b, a
    below = _on_below(b, a.bounds)
    return int(below[1::2].sum() - below[::2].sum())


def union(a: Runs, b: Runs) -> int:
    """Pixels that are on in one or both."""
    return a.area + b.area - intersection(a, b)


def joined(a: Runs, b: Runs) -> Runs:
    """The mask that is on where either is."""
    _same_shape(a, b)
    edges = np.concatenate([a.bounds, b.bounds])
    steps = np.concatenate([np.tile([1, -1], len(a.bounds) // 2), np.tile([1, -1], len(b.bounds) // 2)])
    order = np.lexsort((-steps, edges))  # at one place, what begins comes before what ends
    depth = np.cumsum(steps[order])
    opens = (depth == 1) & (steps[order] == 1)
    return Runs(a.shape, _merged(np.sort(np.concatenate([edges[order][opens], edges[order][depth == 0]]))))


def _on_below(runs: Runs, at: Counts) -> Counts:
    """How many pixels of each number below ``at`` are on."""
    lengths = runs.bounds[1::2] - runs.bounds[::2]
    before = np.concatenate([[0], np.cumsum(lengths)])
    edge = np.searchsorted(runs.bounds, at, side="right")  # odd: inside a run
    inside = np.zeros(len(at), np.int64)
    odd = edge % 2 == 1
    inside[odd] = at[odd] - runs.bounds[edge[odd] - 1]
    return np.asarray(before[edge // 2] + inside)


def _merged(edges: Counts) -> Counts:
    """Bounds without empty runs and without runs that touch: an edge that stands an even number of times is none."""
    if (edges[1:] > edges[:-1]).all():
        return edges
    values, times = np.unique(edges, return_counts=True)
    return np.asarray(values[times % 2 == 1], np.int64)


def _same_shape(a: Runs, b: Runs) -> None:
    if a.shape != b.shape:
        raise DataError(f"masks of {a.shape} and {b.shape} came; both must be of the radiograph's shape")
