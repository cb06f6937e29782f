"""Paired differences: p agrees with its interval and keeps the level it promises; Holm by hand; decrease."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.errors import DataError
from whyray.metrics import _intervals as iv
from whyray.metrics import significance as sig

NAN = float("nan")


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, never falling: .04 .06 .06 .06."""
    np.testing.assert_allclose(sig.holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(sig.holm([0.5, 0.9]), [1.0, 1.0])
    np.testing.assert_allclose(sig.holm([0.01, NAN, 0.04]), [0.02, NAN, 0.04])
    assert sig.holm([]).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_holm_lies_between_the_raw_and_bonferroni(p: list[float]) -> None:
    raw, adjusted = np.array(p), sig.holm(p)
    assert (adjusted >= raw - 1e-12).all() and (adjusted <= np.minimum(1, raw * len(p)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= -1e-12).all()


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    """2000 families of 6 true null hypotheses: at most 5 % have a false alarm (unadjusted: 26 %)."""
    p = np.random.default_rng(0).random((2000, 6))
    any_alarm = np.mean([(sig.holm(row) < 0.05).any() for row in p])
    assert any_alarm < 0.065 and np.mean((p < 0.05).any(axis=1)) > 0.2


def test_p_agrees_with_the_interval() -> None:
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.05, 0.1, 0.3):
        a, b = rng.normal(shift, 0.3, 80), rng.normal(0, 0.3, 80)
        (d,) = sig.compare({"first": a, "second": b}, range(80), replicates=999)  # type: ignore[arg-type]
        assert (d.p < 0.05) == (not d.low <= 0 <= d.high) and d.n == d.patients == 80


def test_the_null_is_rejected_as_often_as_promised() -> None:
    """500 studies without a difference, 60 patients with two alike pictures each: about 5 %."""
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 2)
    alarms = 0
    for study in range(500):
        gap = rng.normal(size=60)[patients] + 0.2 * rng.normal(size=120)
        both = {"first": gap, "second": np.zeros(120)}
        (d,) = sig.compare(both, patients, replicates=500, seed=study)  # type: ignore[arg-type]
        alarms += d.p < 0.05
    assert 0.025 <= alarms / 500 <= 0.085


def test_pairing_sees_what_two_intervals_hide() -> None:
    """A method that is better by .02 on every picture, among pictures that differ by .3."""
    base = np.random.default_rng(0).normal(0.4, 0.3, 50)
    found = sig.compare({"a": base + 0.02, "b": base}, [str(i) for i in range(50)], wilcoxon=True)[0]
    assert found.difference == pytest.approx(0.02) and found.low > 0 and found.p < 0.01 and found.wilcoxon < 0.001
    apart = iv.weighted_mean_intervals(np.stack([base + 0.02, base], axis=1), range(50))
    assert apart.low[0] < apart.high[1], "their own intervals overlap"


def test_equal_methods_and_no_pictures() -> None:
    values = np.random.default_rng(0).random(20)
    same = sig.compare({"a": values, "b": values.copy()}, [str(i) for i in range(20)], wilcoxon=True)[0]
    assert (same.difference, same.p, same.adjusted, same.wilcoxon) == (0.0, 1.0, 1.0, 1.0)
    none = sig.compare({"a": values, "b": np.full(20, NAN)}, [str(i) for i in range(20)], wilcoxon=True)[0]
    assert none.n == none.patients == 0 and np.isnan([none.difference, none.p, none.adjusted, none.wilcoxon]).all()


def test_only_pictures_that_both_scored_count() -> None:
    a, b = np.array([1.0, 2.0, NAN, 4.0]), np.array([0.0, NAN, 3.0, 2.0])
    found = sig.compare({"a": a, "b": b}, ["p", "q", "q", "p"])[0]
    assert (found.difference, found.n, found.patients) == (1.5, 2, 1)


def test_pairs_are_corrected_together() -> None:
    rng = np.random.default_rng(2)
    methods = {name: rng.normal(mean, 0.1, 40) for name, mean in (("a", 0.3), ("b", 0.2), ("c", 0.19))}
    found = sig.compare(methods, [str(i) for i in range(40)])
    assert [(d.first, d.second) for d in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    np.testing.assert_allclose([d.adjusted for d in found], sig.holm([d.p for d in found]))
    only = sig.compare(methods, [str(i) for i in range(40)], pairs=[("c", "b")])
    assert only[0].difference == pytest.approx(-found[2].difference) and only[0].adjusted == only[0].p


def test_wilcoxon_is_scipys_on_patients() -> None:
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(3)
    a, b, patients = rng.random(30), rng.random(30), np.repeat(np.arange(15), 2).astype(str)
    means = (a - b).reshape(15, 2).mean(axis=1)
    assert sig.signed_rank(a - b, patients) == pytest.approx(wilcoxon(means).pvalue)  # type: ignore[arg-type]


def test_percentage_decrease_is_taken_in_each_replicate() -> None:
    rng = np.random.default_rng(4)
    human, method = rng.random((50, 2)), rng.random((50, 2)) * 0.5
    for draw in (iv.chexlocalize_intervals, lambda v: iv.weighted_mean_intervals(v, range(50), 500)):
        hb, pred = draw(human), draw(method)
        found = sig.percentage_decrease(hb, pred)
        np.testing.assert_allclose(found.replicates, (hb.replicates - pred.replicates) / hb.replicates)
        np.testing.assert_allclose(found.mean, (hb.mean - pred.mean) / hb.mean)
        assert (found.low < found.mean).all() and (found.mean < found.high).all()
    ranked = np.sort(sig.percentage_decrease(*map(iv.chexlocalize_intervals, (human, method))).replicates, axis=0)
    low = sig.percentage_decrease(*map(iv.chexlocalize_intervals, (human, method))).low
    np.testing.assert_array_equal(low, ranked[24])
    with pytest.raises(DataError, match="same patients"):
        sig.percentage_decrease(iv.chexlocalize_intervals(human), iv.weighted_mean_intervals(method, range(50)))


def test_degradation_by_hand_and_its_interval() -> None:
    values = np.array([0.8, 0.6, 0.3, 0.1, NAN])
    several = np.array([False, False, True, True, True])
    found = sig.degradation(values, several, list("abcde"), 500)
    assert found.difference == pytest.approx(0.5) and (found.n, found.patients) == (4, 4)
    assert found.low > 0 and found.p == pytest.approx(1 / 3), "two of four patients: any two of six, on either side"
    none = sig.degradation(values, np.zeros(5, bool), list("abcde"), 100)
    assert np.isnan([none.difference, none.low, none.p]).all()


def test_a_handful_of_patients_proves_nothing() -> None:
    """Three patients that all agree: a bootstrap alone would call that certain, a sign test gives 1/4."""
    first, second = np.array([0.9, 0.8, 0.95]), np.array([0.1, 0.2, 0.15])
    (found,) = sig.compare({"a": first, "b": second}, ["x", "y", "z"], replicates=500)
    assert found.low > 0 and found.p == found.adjusted == 0.25
    ten = {"a": np.tile(first, 10), "b": np.tile(second, 10)}
    (many,) = sig.compare(ten, [str(i) for i in range(30)], replicates=500)
    assert many.p < 0.01


def slow_least_p(paired: int, first: int, second: int) -> float:
    """Two-sided permutation test of the clearest gap there can be: every way to deal the same numbers, counted."""
    pairs, alone = [1.0] * paired, [1.0] * first + [0.0] * second

    def gap(signs: tuple[int, ...], chosen: tuple[int, ...]) -> float:
        one = sum(alone[i] for i in chosen) / max(1, first)
        other = (sum(alone) - sum(alone[i] for i in chosen)) / max(1, second)
        return abs(sum(s * v for s, v in zip(signs, pairs, strict=True)) / max(1, paired) + one - other)

    ways = itertools.product(
        itertools.product((1, -1), repeat=paired), itertools.combinations(range(first + second), first)
    )
    dealt = [gap(*way) for way in ways]
    return float(np.mean([d >= max(dealt) - 1e-9 for d in dealt]))


@pytest.mark.parametrize(("paired", "first", "second"), [(1, 0, 0), (3, 0, 0), (5, 0, 0), (0, 2, 2), (0, 3, 3)])
def test_the_least_p_is_that_of_a_permutation_test(paired: int, first: int, second: int) -> None:
    assert sig.least_p(paired, first, second) == pytest.approx(slow_least_p(paired, first, second))


def test_the_least_p_of_unequal_groups_and_of_many() -> None:
    assert sig.least_p(0) == sig.least_p(0, 1, 0) == 1 and sig.least_p(0, 1, 100) == pytest.approx(2 / 101)
    assert sig.least_p(1, 2, 1) == pytest.approx(1 / 3) and sig.least_p(4000, 3000, 3000) == 0


def test_a_handful_of_patients_shows_no_degradation_and_no_rank() -> None:
    """One patient with pictures of both kinds, then one alone against a hundred."""
    values, several = np.array([0.5, 0.6, 0.2, 0.1]), np.array([False, False, True, True])
    assert sig.degradation(values, several, ["a"] * 4).p == 1.0
    lonely = np.r_[0.0, np.linspace(0.8, 0.9, 100)]
    found = sig.degradation(lonely, np.arange(101) == 0, [str(i) for i in range(101)])
    assert found.p == pytest.approx(2 / 101) and found.patients == 101
    assert sig.signed_rank(np.full(3, 0.1), list("abc")) == 0.25, "three tied patients; the normal curve would say .08"


def test_signed_rank_is_its_exact_permutation_test() -> None:
    gaps = np.array([1.1, -0.4, 2.3, 0.7, 3.1, -1.6])
    ranks = np.argsort(np.argsort(np.abs(gaps))) + 1
    observed = min(ranks[gaps > 0].sum(), ranks[gaps < 0].sum())
    sums = [sum(rank for rank, up in zip(ranks, signs) if up) for signs in itertools.product((0, 1), repeat=6)]
    assert sig.signed_rank(gaps, list("abcdef")) == pytest.approx(np.mean([min(s, 21 - s) <= observed for s in sums]))
