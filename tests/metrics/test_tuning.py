"""Thresholds and cut-offs: the candidates of the paper, the best of them found by going through all."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.metrics import localisation as loc

NAN = float("nan")


def test_the_candidates_are_the_published_ones() -> None:
    """``arange(.2, .8, .1)`` ends at .8: (.8 - .2) / .1 is a little more than 6 in floating point."""
    np.testing.assert_allclose(loc.THRESHOLDS, np.arange(0.2, 0.8, 0.1))
    assert len(loc.THRESHOLDS) == 7
    np.testing.assert_allclose(loc.CUTOFFS, np.arange(0, 0.9, 0.1))


def hills(n: int = 6) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cones whose truth is what lies above half their height, and one without a truth."""
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(n):
        y, x = np.mgrid[:60, :90]
        cone = np.clip(1 - np.hypot(y - rng.integers(20, 40), x - rng.integers(30, 60)) / 18, 0, None)
        pairs.append(((cone - 0.001).astype(np.float32), cone > 0.5))
    return [*pairs, (pairs[0][0], np.zeros((60, 90), bool))]


def test_tune_finds_the_threshold_that_made_the_truth() -> None:
    tuned = loc.tune(hills(), "positive")
    assert tuned.value == 0.5 and tuned.n == (6,) * 7 and tuned.means[3] == max(tuned.means) > 0.95


@pytest.mark.parametrize("smooth", [0, 5])
def test_each_row_is_the_metric_at_each_threshold(smooth: int) -> None:
    values, truth = hills()[1]
    found = loc.threshold_ious(values, truth, "positive", smooth_px=smooth)
    for threshold, iou in zip(loc.THRESHOLDS, found):
        mask = loc.Masking("positive", "tuned", threshold=threshold, smooth_px=smooth).mask(values)
        assert iou == pytest.approx(loc.iou_true_positive(mask, truth))
    assert np.isnan(loc.threshold_ious(values, np.zeros_like(truth), "positive")).all()
    assert np.isnan(loc.threshold_ious(np.zeros_like(values), truth, "positive")).all()


def test_of_equals_the_lowest_wins_and_nothing_is_nan() -> None:
    assert loc.best(np.array([[0.1, 0.3, 0.3], [NAN, 0.3, 0.3]]), (0.2, 0.4, 0.6)).value == 0.4
    none = loc.tune([], "positive")
    assert np.isnan(none.value) and none.n == (0,) * 7


def test_cut_off_by_hand() -> None:
    """Invented masks at p = .1 and .3, a good one at .6, a poor one at .2.

    Means over all: no cut-off (0 + 0 + .8 + .1) / 4 = .225; .2 drops the first: .9 / 3 = .3; .3 empties the poor one:
    .8 / 3 = .267; .4 also drops the invented one at .3: .8 / 2 = .4; .7 empties the good one: 0.
    """
    ious = np.array([0.0, 0.0, 0.8, 0.1])
    with_truth = np.array([False, False, True, True])
    tuned = loc.tune_cutoff(ious, np.array([0.1, 0.3, 0.6, 0.2]), with_truth)
    np.testing.assert_allclose(tuned.means, [0.225, 0.225, 0.3, 0.8 / 3, 0.4, 0.4, 0.4, 0.0, 0.0])
    assert tuned.value == 0.4 and tuned.n[4] == 2


def test_cut_off_equals_masking_again() -> None:
    """From the rows alone, the same means as with every mask made again at every cut-off."""
    pairs, p = hills(), np.linspace(0.05, 0.85, 7)
    ious = np.array([loc.iou(loc.Masking("positive").mask(v), t) for v, t in pairs])
    tuned = loc.tune_cutoff(ious, p, np.array([t.any() for _, t in pairs]))
    for cutoff, mean in zip(loc.CUTOFFS, tuned.means):
        masking = loc.Masking("positive", cutoff=cutoff)
        again = [loc.iou(masking.mask(v, probability=q), t) for (v, t), q in zip(pairs, p)]
        assert mean == pytest.approx(np.nanmean(again))
