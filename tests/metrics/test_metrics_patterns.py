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


@pytest.mark.parametrize("value", [0.1, 1234.1, -3e-5, 0.0])
def test_logits_that_do_not_vary_have_no_share(value: float) -> None:
    """Their variance is rounding (0.1 three times: 2e-34), also in a draw that holds one picture only."""
    for count in (3, 7, 50):
        assert np.isnan(recovered(np.full(count, value), np.full(count, value + 0.05)))
    logits = np.array([value, value, value + 1, value + 2])
    draws = np.array([[2.0, 2, 0, 0], [0, 0, 4, 0], [1, 1, 1, 1]])
    found = weighted_recovered(logits, logits + 0.1, draws)
    assert np.isnan(found[:2]).all() and found[2] == pytest.approx(1 - 0.01 / 0.6875)
    near = 10 + np.array([0.0, 1e-4, 2e-4])
    assert recovered(near, near + 1e-5) == pytest.approx(1 - 1e-10 / np.var(near), abs=1e-6), "small, and no rounding"


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
