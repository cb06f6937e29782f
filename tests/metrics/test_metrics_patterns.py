"""Each measure against the slow formula, and on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.metrics.classification import auc
from whyray.metrics.patterns import METRICS, mass_ratio, mass_ratios, purity, recovered, unit_aucs, weighted_recovered
from whyray.testing import check_metric


def test_recovered() -> None:
    logits = np.array([1.0, 2, 3, 4])
    assert recovered(logits, logits) == 1 and recovered(logits, np.full(4, 2.5)) == 0
    assert np.isnan(recovered(np.ones(3), np.ones(3)))
    rng = np.random.default_rng(0)
    rebuilt, weights = logits + rng.normal(size=4), np.array([[1.0, 1, 1, 1], [2, 0, 1, 1]])
    again = [recovered(np.repeat(logits, w), np.repeat(rebuilt, w)) for w in weights.astype(int)]
    np.testing.assert_allclose(weighted_recovered(logits, rebuilt, weights), again)


def test_auc_of_many_units_is_that_of_each() -> None:
    rng = np.random.default_rng(1)
    strengths = rng.integers(0, 4, (40, 5)).astype(float)
    labels = rng.choice([0.0, 1.0, np.nan], 40)
    np.testing.assert_allclose(unit_aucs(strengths, labels), [auc(c, labels) for c in strengths.T])
    assert np.isnan(unit_aucs(strengths, np.zeros(40))).all()


def test_mass_inside_is_one_at_chance() -> None:
    inside = np.array([1.0, 0.5, 0, 0])
    assert mass_ratio(np.ones(4), inside) == 1 and mass_ratio(np.array([1.0, 0, 0, -5]), inside) == pytest.approx(8 / 3)
    assert mass_ratio(np.zeros(4), inside) == 0 and np.isnan(mass_ratio(np.ones(4), np.zeros(4)))
    maps = np.random.default_rng(2).normal(size=(6, 4))
    np.testing.assert_allclose(mass_ratios(maps, inside), [mass_ratio(m, inside) for m in maps])


def test_purity_is_the_gain_of_the_best_label() -> None:
    labels = np.array([[1.0, np.nan], [1, 0], [0, 0], [0, 1]])
    strengths = np.array([[9.0, 0], [8, 1], [0, 9], [0, 8]])
    np.testing.assert_allclose(purity(strengths, labels, top=2), [0.5, 0.5 - 1 / 3])


def test_the_contract() -> None:
    recovered_, ratio = METRICS
    logits = np.arange(4.0)
    check_metric(recovered_, (logits, logits), (logits, -logits))
    check_metric(ratio, (np.array([1.0, 0]), np.array([1.0, 0])), (np.array([0.0, 1]), np.array([1.0, 0])))
