"""Rows of a table: n in each, the mean over findings by replicate, nothing to score said so."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.metrics import localisation as loc
from whyray.metrics._intervals import chexlocalize_intervals, weighted_mean_intervals

NAN = float("nan")
VALUES = np.array([[0.2, 0.9, NAN], [0.4, NAN, NAN], [0.6, 0.7, NAN], [NAN, NAN, NAN]])


def test_rows_by_hand() -> None:
    rows = loc.mean_scores("iou", ["a", "b", "c"], VALUES, list("pqrs"), explainer="gradcam", slice_="one finding")
    assert [(r.finding, r.n) for r in rows] == [("a", 3), ("b", 2), ("c", 0), ("mean", 5)]
    assert [r.value for r in rows] == pytest.approx([0.4, 0.8, NAN, 0.6], nan_ok=True)
    assert all(r.low <= r.value <= r.high for r in rows if r.n)
    assert rows[2].note == "no picture to score" and rows[3].note == "over 2 findings"
    assert {r.explainer for r in rows} == {"gradcam"} and {r.slice for r in rows} == {"one finding"}


def test_the_mean_is_taken_within_each_replicate() -> None:
    for found in (weighted_mean_intervals(VALUES, list("pqrs"), 400), chexlocalize_intervals(VALUES, 400)):
        slow = np.array([np.mean(r[~np.isnan(r)]) if (~np.isnan(r)).any() else NAN for r in found.replicates])
        mean, low, high = loc.over_findings(found)
        assert mean == pytest.approx(found.mean[:2].mean())
        if found.scheme == "patient":
            assert (low, high) == pytest.approx(tuple(np.nanpercentile(slow, (2.5, 97.5))))
        else:
            assert (low, high) == pytest.approx((np.sort(slow)[9], np.sort(slow)[389]), nan_ok=True)


def test_the_published_scheme_reports_the_mean_of_its_replicates() -> None:
    rows = loc.mean_scores("iou", ["a", "b", "c"], VALUES, list("pqrs"), scheme="chexlocalize")
    found = chexlocalize_intervals(VALUES)
    assert [r.value for r in rows[:2]] == found.mean[:2].tolist() and rows[0].low == found.low[0]


def test_nothing_at_all() -> None:
    rows = loc.mean_scores("iou", ["a"], np.empty((0, 1)), [])
    assert [r.n for r in rows] == [0, 0] and np.isnan([r.value for r in rows]).all()
