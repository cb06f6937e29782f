"""Overlap, hits and mass against cases worked by hand from the published definitions; x and y are never swapped."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt

from whyray.errors import DataError, SettingError
from whyray.io import rle
from whyray.metrics import localisation as loc
from whyray.testing import check_metric

NAN = float("nan")
H, W = 30, 50  # not square, so that a swap of the axes shows


def at(*places: tuple[int, int], value: float = 1.0) -> np.ndarray:
    """A map with a value at (row, column) places."""
    out = np.zeros((H, W), np.float32)
    for place in places:
        out[place] = value
    return out


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    out = np.zeros((H, W), bool)
    out[top:bottom, left:right] = True
    return out


NOTHING = box(0, 0, 0, 0)


def test_overlap_by_hand() -> None:
    """Boxes of 40 and 30 pixels that share 12: 12 / (40 + 30 - 12)."""
    mask, truth = box(0, 0, 4, 10), box(1, 6, 7, 11)
    assert loc.counts(mask, truth) == (12, 40, 30)
    for metric in (loc.iou, loc.iou_true_positive):
        assert metric(mask, truth) == pytest.approx(12 / 58)
    assert loc.precision(mask, truth) == pytest.approx(12 / 40)
    assert loc.recall(mask, truth) == pytest.approx(12 / 30)


@pytest.mark.parametrize(
    ("mask", "truth", "full", "true_positive", "precision", "recall"),
    [
        (NOTHING, NOTHING, NAN, NAN, NAN, NAN),
        (box(0, 0, 2, 2), NOTHING, 0.0, NAN, 0.0, NAN),
        (NOTHING, box(0, 0, 2, 2), 0.0, NAN, NAN, 0.0),
        (box(0, 0, 2, 2), box(5, 5, 8, 8), 0.0, 0.0, 0.0, 0.0),
        (box(5, 5, 8, 8), box(5, 5, 8, 8), 1.0, 1.0, 1.0, 1.0),
    ],
    ids=["both empty", "invented", "missed", "apart", "equal"],
)
def test_what_is_empty(
    mask: np.ndarray, truth: np.ndarray, full: float, true_positive: float, precision: float, recall: float
) -> None:
    wanted = dict(zip(("iou", "iou_true_positive", "precision", "recall"), (full, true_positive, precision, recall)))
    for name, value in wanted.items():
        function = loc.METRICS[name].function
        for a, b in ((mask, truth), (rle.encode(mask), rle.encode(truth)), (rle.encode(mask), truth)):
            assert function(a, b) == pytest.approx(value, nan_ok=True), name


@given(hnp.arrays(bool, (9, 13)), hnp.arrays(bool, (9, 13)))
@settings(max_examples=80, deadline=None)
def test_runs_score_as_pixels_do(a: np.ndarray, b: np.ndarray) -> None:
    for name in ("iou", "iou_true_positive", "precision", "recall"):
        function = loc.METRICS[name].function
        assert function(rle.encode(a), rle.encode(b)) == pytest.approx(function(a, b), nan_ok=True, abs=1e-15)


def test_truth_outside_the_crop_counts_against_the_map() -> None:
    """The model saw the right half only; the truth's left half cannot be found, and is not forgiven."""
    values = np.full((H, W), NAN, np.float32)
    values[:, 25:] = at((10, 30), (11, 30), (10, 31), (11, 31))[:, 25:]
    truth = box(10, 18, 12, 32)
    mask = loc.otsu_filled(values)
    assert mask.sum() == 4 and loc.recall(mask, truth) == pytest.approx(4 / 28) and loc.iou(mask, truth) == 4 / 28
    assert loc.mass_in(values, truth) == 1.0 and loc.hit(values, truth) == 1.0
    outside = box(0, 0, 5, 5)
    assert loc.iou(mask, outside) == loc.hit(values, outside) == loc.mass_in(values, outside) == 0.0


def test_a_hit_is_row_column_in_the_truth() -> None:
    """The peak is at x = 40, y = 5; a truth at x = 5, y = ... must not be hit by swapping them."""
    peak = at((5, 40))
    assert loc.hit(peak, box(3, 35, 8, 45)) == 1.0
    assert loc.hit(peak, box(20, 3, 30, 8)) == 0.0
    assert loc.hit(at((20, 5)), box(3, 18, 8, 22)) == 0.0, "swapped axes would hit"
    assert loc.hit(at((20, 5)), box(18, 3, 22, 8)) == 1.0


def test_tolerance_in_pixels_is_euclidean() -> None:
    truth = box(10, 20, 15, 30)
    assert loc.hit(at((10, 33)), truth, 3) == 0.0 and loc.hit(at((10, 33)), truth, 4) == 1.0
    assert loc.hit(at((7, 33)), truth, 4.99) == 0.0 and loc.hit(at((7, 33)), truth, 5.0) == 1.0, "3 up, 4 right"
    assert loc.hit(at((0, 49)), NOTHING | box(29, 0, 30, 1), 15) == 0.0


def test_tolerance_in_millimetres_knows_rows_from_columns() -> None:
    """Rows 2 mm apart, columns 0.5 mm: 3 rows are 6 mm, 3 columns 1.5 mm."""
    truth, spacing = box(10, 20, 15, 30), (2.0, 0.5)
    for tolerance, below, beside in ((1.4, 0.0, 0.0), (1.5, 0.0, 1.0), (5.9, 0.0, 1.0), (6.0, 1.0, 1.0)):
        assert loc.hit(at((17, 25)), truth, tolerance_mm=tolerance, spacing_mm=spacing) == below
        assert loc.hit(at((12, 32)), truth, tolerance_mm=tolerance, spacing_mm=spacing) == beside
    with pytest.raises(SettingError, match="spacing"):
        loc.hit(at((1, 1)), truth, tolerance_mm=5)
    with pytest.raises(SettingError, match="one of them"):
        loc.hit(at((1, 1)), truth, 3, tolerance_mm=5, spacing_mm=spacing)


@given(hnp.arrays(bool, (13, 21)), st.integers(0, 12), st.integers(0, 20), st.floats(0, 12), st.booleans())
@settings(max_examples=100, deadline=None)
def test_tolerance_equals_the_distance_transform(
    truth: np.ndarray, row: int, column: int, reach: float, mm: bool
) -> None:
    values = np.zeros(truth.shape, np.float32)
    values[row, column] = 2
    spacing = (0.7, 1.9) if mm else (1.0, 1.0)
    how = {"tolerance_mm": reach, "spacing_mm": spacing} if mm else {"tolerance_px": reach}
    found = loc.hit(values, truth, **how)  # type: ignore[arg-type]
    if not truth.any():
        assert math.isnan(found)
    else:
        assert found == float(distance_transform_edt(~truth, sampling=spacing)[row, column] <= reach + 1e-9)


def test_equal_peaks_share_the_hit_or_the_first_counts() -> None:
    """A flat superpixel of four pixels, three of them in the truth."""
    peaks = at((4, 6), (9, 7), (9, 8), (9, 9))
    truth = box(8, 5, 12, 12)
    assert loc.hit(peaks, truth) == 0.75 and loc.hit(peaks, truth, ties="first") == 0.0
    assert loc.hit(peaks, truth, 10) == 1.0


def test_an_empty_map_misses_and_no_truth_is_no_question() -> None:
    truth = box(0, 0, 3, 3)
    for values in (at(), np.full((H, W), NAN, np.float32)):
        assert loc.hit(values, truth) == loc.mass_in(values, truth) == loc.energy(values, truth) == 0.0
    for name in ("hit", "mass_in", "energy"):
        assert math.isnan(loc.METRICS[name].function(at((1, 1)), NOTHING))


def test_human_points_are_x_y_and_any_counts() -> None:
    truth = box(3, 35, 8, 45)
    assert loc.hit_points(np.array([[40.0, 5.0]]), truth) == 1.0
    assert loc.hit_points(np.array([[5.0, 40.0]]), truth) == 0.0
    assert loc.hit_points(np.array([[1.0, 1.0], [44.4, 7.4]]), truth) == 1.0
    assert loc.hit_points(np.array([[44.6, 7.4]]), truth) == 0.0
    assert loc.hit_points(np.array([[46.0, 5.0]]), truth, 2) == 1.0
    assert loc.hit_points(np.array([[1e9, -1e9]]), truth, 2) == 0.0, "a point off the picture"
    assert loc.hit_points(np.empty((0, 2)), truth) == 0.0
    for x in (34.9, 35.0, 44.9, 45.0):  # the published int(x) is the nearest pixel of x - 0.5
        assert loc.hit_points(np.array([[x - 0.5, 5.0]]), truth) == float(truth[5, int(x)])
    assert math.isnan(loc.hit_points(np.array([[40.0, 5.0]]), NOTHING))


def test_mass_by_hand() -> None:
    values = at((2, 2), value=3.0) + at((20, 40), value=1.0)
    values[0, 0] = NAN
    assert loc.mass_in(values, box(0, 0, 5, 5)) == pytest.approx(0.75)


def test_energy_is_of_the_scaled_map_in_boxes() -> None:
    """A diagonal truth of two pixels has a box of four; the map's least value, 1, is subtracted."""
    truth = at((4, 4), (5, 5)) > 0
    assert loc.boxes_around(truth).sum() == 4
    values = np.ones((H, W), np.float32)
    values[4, 5], values[20, 20] = 3.0, 7.0
    assert loc.energy(values, truth) == pytest.approx(2 / 8)
    two_parts = box(0, 0, 2, 2) | box(20, 30, 25, 33)
    np.testing.assert_array_equal(loc.boxes_around(two_parts), two_parts)


@pytest.mark.parametrize("mode", ["otsu_filled", "tuned", "area_matched", "top_k"])
@pytest.mark.parametrize("truth", [box(5, 20, 12, 30), NOTHING])
def test_one_call_gives_every_score(mode: str, truth: np.ndarray) -> None:
    values = np.random.default_rng(3).normal(size=(H, W)).astype(np.float32)
    values[:, :4] = NAN
    masking = loc.Masking("absolute", mode, smooth_px=3, cutoff=0.3)  # type: ignore[arg-type]
    strength = loc.smoothed(loc.saliency(values, "absolute"), 3)
    for probability in (0.9, 0.1):
        mask = masking.mask(values, area=int(truth.sum()), probability=probability)
        found = loc.score_map(values, truth, masking, probability=probability)
        assert found.keys() == loc.METRICS.keys() and mask.any() == (
            probability > 0.3 and (mode != "area_matched" or truth.any())
        )
        for name, metric in loc.METRICS.items():
            wanted = metric.function(strength if "map" in metric.needs else mask, truth)
            assert found[name] == pytest.approx(wanted, nan_ok=True)
    near = loc.map_scores(strength, truth, tolerance_mm=9.0, spacing_mm=(0.5, 1.0))["hit"]
    assert near == pytest.approx(loc.hit(strength, truth, tolerance_mm=9.0, spacing_mm=(0.5, 1.0)), nan_ok=True)


@pytest.mark.parametrize("name", loc.METRICS)
def test_contract(name: str) -> None:
    truth = box(5, 20, 12, 30)
    right, wrong = (truth, box(20, 0, 28, 9))
    if "map" in loc.METRICS[name].needs:
        right, wrong = right.astype(np.float32), wrong.astype(np.float32)
    check_metric(loc.METRICS[name], (right, truth), (wrong, truth))


@pytest.mark.parametrize("name", loc.METRICS)
def test_a_transposed_truth_is_refused(name: str) -> None:
    truth = box(5, 20, 12, 30)
    given_ = truth.astype(np.float32) if "map" in loc.METRICS[name].needs else truth
    with pytest.raises(DataError, match="shape"):
        loc.METRICS[name].function(given_, truth.T)


@pytest.mark.parametrize("name", loc.METRICS)
def test_flipping_both_changes_nothing(name: str) -> None:
    """No metric knows left from right or up from down, and rows swap with columns only together."""
    rng = np.random.default_rng(3)
    values, truth = rng.random((H, W)).astype(np.float32), box(5, 20, 12, 30)
    given_ = values if "map" in loc.METRICS[name].needs else values > 0.6
    plain = loc.METRICS[name].function(given_, truth)
    for turn in (np.transpose, np.flipud, np.fliplr):
        assert loc.METRICS[name].function(turn(given_), turn(truth)) == pytest.approx(plain, rel=1e-6)
