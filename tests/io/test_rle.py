"""Run-length masks against pycocotools and against the pixels; damaged ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from whyray.errors import DataError
from whyray.io import rle

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
MASKS = hnp.arrays(bool, SHAPES)
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


def peer(mask: np.ndarray) -> dict[str, object]:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def discs(shape: tuple[int, int] = (300, 417)) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x - 150) ** 2 + (y - 120) ** 2 < 90**2, (x - 220) ** 2 + (y - 150) ** 2 < 100**2


def test_by_hand() -> None:
    """Column by column: 1 off, 2 on, 1 off, 2 on; columns are 3 long."""
    mask = np.array([[0, 0], [1, 1], [1, 1]], bool)
    runs = rle.encode(mask)
    assert runs.shape == (3, 2) and rle.to_counts(runs).tolist() == [1, 2, 1, 2]
    assert runs.area == 4 and rle.decode(runs).tolist() == mask.tolist()


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_equals_pycocotools(mask: np.ndarray) -> None:
    runs, theirs = rle.encode(mask), peer(mask)
    ours = rle.to_coco(runs)
    assert ours["counts"] == theirs["counts"].decode() and ours["size"] == list(theirs["size"])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(rle.decode(rle.from_coco(theirs)), mask)
    np.testing.assert_array_equal(rle.decode(rle.from_counts(rle.to_counts(runs), mask.shape)), mask)  # type: ignore[arg-type]
    assert runs.area == coco.area(theirs) == mask.sum()


@given(PAIRS)
@settings(max_examples=150, deadline=None)
def test_overlap_equals_the_pixels_and_pycocotools(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    x, y = rle.encode(a), rle.encode(b)
    assert rle.intersection(x, y) == rle.intersection(y, x) == (a & b).sum()
    assert rle.union(x, y) == (a | b).sum()
    np.testing.assert_array_equal(rle.decode(rle.joined(x, y)), a | b)
    if a.any() and b.any():
        theirs = float(coco.iou([peer(a)], [peer(b)], [0])[0, 0])
        assert rle.intersection(x, y) / rle.union(x, y) == pytest.approx(theirs, abs=1e-12)


@given(st.lists(st.integers(0, 64_000_000), min_size=1, max_size=60))
@settings(max_examples=150, deadline=None)
def test_strings_of_any_counts_come_back(counts: list[int]) -> None:
    values = np.array(counts, np.int64)
    np.testing.assert_array_equal(rle.uncompressed(rle.compressed(values)), values)


def test_real_contours_and_json() -> None:
    a, b = discs()
    x, y = rle.encode(a), rle.encode(b)
    assert rle.intersection(x, y) == (a & b).sum() > 0
    again = rle.from_coco(json.loads(json.dumps(rle.to_coco(x))))
    np.testing.assert_array_equal(rle.decode(again), a)
    assert len(x.bounds) < 2 * a.shape[1] + 2, "as many numbers as twice its columns, not its pixels"


def test_counts_with_empty_runs_are_the_same_mask() -> None:
    """A writer may part one run in two by an empty one."""
    plain, parted = rle.from_counts([2, 4, 3], (3, 3)), rle.from_counts([0, 0, 2, 1, 0, 3, 3, 0], (3, 3))
    assert plain.bounds.tolist() == parted.bounds.tolist() == [2, 6]


@pytest.mark.parametrize("shape", [(20, 30), (30, 20)])
@pytest.mark.parametrize(
    "box",
    [(3, 5, 7, 4), (0, 0, 30, 20), (-5, 2, 9, 3), (25, 15, 50, 50), (4.5, 2.5, 3, 3), (8, 8, 0, 5), (99, 99, 3, 3)],
)
def test_a_box_is_x_y_width_height(box: tuple[float, float, float, float], shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = (x >= box[0]) & (x < box[0] + box[2]) & (y >= box[1]) & (y < box[1] + box[3])
    runs = rle.from_box(box, shape)
    np.testing.assert_array_equal(rle.decode(runs), inside)
    assert runs.area == inside.sum()


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"size": [3], "counts": [9]},
        {"size": [3, 3], "counts": [4, 4]},
        {"size": [3, 3], "counts": [12, -3]},
        {"size": [3, 3], "counts": [4.5, 4.5]},
        {"size": [3, 3], "counts": []},
        {"size": [3, 3], "counts": ""},
        {"size": [3, 3], "counts": "P"},
        {"size": [3, 3], "counts": "\x00\x01"},
        {"size": [3, 3], "counts": "é9"},
        {"size": [3, 3], "counts": "o" * 40 + "0"},
        {"size": [100_000, 100_000], "counts": [10_000_000_000]},
        {"size": [-3, -3], "counts": [9]},
        {"size": [3, 3], "counts": [10**30, -(10**30)]},
        {"size": "ab", "counts": "9"},
        {"size": [3, 3], "counts": {"a": 1}},
    ],
)
def test_damaged_masks_are_refused(record: dict[str, object]) -> None:
    with pytest.raises(DataError):
        rle.from_coco(record)


def test_masks_of_two_shapes_do_not_compare() -> None:
    with pytest.raises(DataError, match="shape"):
        rle.intersection(rle.encode(np.ones((3, 4), bool)), rle.encode(np.ones((4, 3), bool)))
