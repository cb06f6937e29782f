"""Measures of counterfactuals on hand-made paths and pictures."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.metrics import counterfactual as m
from whyray.testing import check_metric

DARK, MASK = np.zeros((4, 4)), np.zeros((4, 4), bool)
MASK[:2, :2] = True
LESION = np.where(MASK, 0.8, 0.0)


def test_a_prediction_that_moved_far_enough_is_valid() -> None:
    assert m.validity(2.3, 2.3) == 1 and m.validity(2.2, 2.3) == 0 and m.validity(-3, 2.3) == 0


def test_proximity_and_sparsity_are_of_pixels() -> None:
    assert m.proximity(LESION, DARK) == pytest.approx(0.2) and m.sparsity(LESION, DARK) == 0.75
    assert m.sparsity(DARK + 0.01, DARK) == 1


def test_monotonicity_counts_steps() -> None:
    assert m.monotonicity(np.array([0.0, 1, 0.5, 2, 1.99])) == 0.75
    assert np.isnan(m.monotonicity(np.array([1.0])))


def test_spill_is_the_company_a_finding_keeps() -> None:
    assert m.spill(np.array([[0.0, 0, 0], [2, 1, -1]]), 0) == 0.5
    assert np.isnan(m.spill(np.array([[0.0, 0], [0, 1]]), 0)) and np.isnan(m.spill(np.array([[0.0], [1]]), 0))


def test_the_true_counterfactual_is_all_of_the_way() -> None:
    assert m.twin_gain(DARK, LESION, DARK, MASK) == 1
    assert m.twin_gain(LESION / 2, LESION, DARK, MASK) == pytest.approx(0.5)
    assert m.twin_gain(LESION, LESION, DARK, MASK) == 0 and m.twin_gain(LESION * 1.5, LESION, DARK, MASK) < 0
    assert np.isnan(m.twin_gain(DARK, LESION, LESION, MASK)) and np.isnan(m.twin_gain(DARK, LESION, DARK, MASK & False))


def test_the_ratio_to_the_twin_is_below_one_where_the_change_led_nearer() -> None:
    assert m.twin_ratio(LESION / 4, LESION, DARK, MASK) == pytest.approx(0.25)
    assert m.twin_ratio(LESION + 0.4, LESION, DARK) == pytest.approx(0.6 / 0.2) and np.isnan(
        m.twin_ratio(LESION, DARK, DARK)
    )


def test_perceptual_distance_is_blind_to_the_size_of_features() -> None:
    features = np.zeros((2, 1, 2))
    features[0] = 3
    other = features.copy()
    other[:, 0, 0] = 0, 5
    assert m.perceptual_distance(features, 7 * features) == 0
    assert m.perceptual_distance(features, other) == 1, "one of two cells is orthogonal: 2 there, 0 beside it"
    assert m.perceptual_distance(features, 0 * features) == 1


def test_log_odds_are_finite() -> None:
    assert m.log_odds(0.5) == 0 and m.log_odds(0.9) == pytest.approx(np.log(9)) and np.isfinite(m.log_odds(1.0))


def test_what_changes_elsewhere() -> None:
    changed = LESION.copy()
    changed[3, 3] = 0.8
    assert m.elsewhere(changed, DARK, MASK) == pytest.approx(0.2) and np.isnan(m.elsewhere(DARK, DARK, MASK))


def test_realism_is_a_ratio() -> None:
    assert m.realism(3.0, 1.5) == 2 and np.isnan(m.realism(1.0, 0.0))


def test_the_contract_of_metrics() -> None:
    known = {metric.name: metric for metric in m.METRICS}
    check_metric(known["proximity"], (DARK, DARK), (LESION, DARK))
    ramp = np.arange(8.0).reshape(2, 2, 2)
    check_metric(known["perceptual_distance"], (ramp, ramp), (ramp, ramp[::-1]))
    check_metric(known["sparsity"], (DARK, DARK), (LESION, DARK))
    check_metric(known["monotonicity"], (np.arange(3.0),), (np.arange(3.0)[::-1],))
    check_metric(known["elsewhere"], (LESION, DARK, MASK), (LESION, DARK, ~MASK))
