"""Shapley values against the definition over all orders and against shap, and their standard errors against chance."""

from __future__ import annotations

from itertools import permutations
from math import comb, factorial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whyray.explainers import _shapley_surrogate
from whyray.explainers._shapley import (
    Pairs,
    Regression,
    Scheme,
    Stock,
    all_coalitions,
    evaluated,
    exact,
    kernel_matrix,
    scheme,
    size_masses,
)
from whyray.explainers._shapley_surrogate import adjusted, windows
from whyray.explainers._surrogate import antithetic

Floats = NDArray[np.floating[Any]]


class Interacting:
    """A game whose Shapley values are known: sums of products of +1 / -1 over sets of 1, 2, 3 and 5 players.

    Of ``b`` times a product over ``t`` players (t odd) each of them gets ``2 b / t``; products over even sets give 0.
    """

    def __init__(self, players: int, findings: int = 3, seed: int = 0, near: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.terms: list[tuple[NDArray[Any], Floats]] = [
            (np.array([i]), rng.normal(size=findings)) for i in range(players)
        ]
        for size, scale in ((2, 0.5), (3, 0.2), (5, 0.0 if near else 0.1)):
            for start in range(4 * players):
                members = (np.arange(size) + start) % players if near else rng.choice(players, size, replace=False)
                self.terms.append((members, scale * rng.normal(size=findings)))
        self.truth = np.zeros((players, findings))
        for members, value in self.terms:
            if len(members) % 2:
                self.truth[members] += 2 * value / len(members)

    def __call__(self, keep: NDArray[np.bool_]) -> Floats:
        signs = 2.0 * keep - 1
        return np.asarray(sum(signs[:, members].prod(1)[:, None] * value for members, value in self.terms))

    def fixed(self, plan: Scheme) -> Pairs:
        return evaluated(plan.keep, plan.weight, self(plan.keep), self(~plan.keep))

    def drawn(self, plan: Scheme, rng: np.random.Generator, pairs: int, stock: Stock | None = None) -> Pairs:
        keep, weight = plan.draw(rng, pairs, stock)
        return evaluated(keep, weight, self(keep), self(~keep))

    @property
    def gain(self) -> Floats:
        whole = np.ones((1, len(self.truth)), bool)
        return np.asarray((self(whole) - self(~whole))[0])


def over_all_orders(values: Floats) -> Floats:
    """The definition: what a player adds, averaged over all orders in which players come."""
    players = len(values).bit_length() - 1
    out = np.zeros((players, values.shape[1]))
    for order in permutations(range(players)):
        there = 0
        for i in order:
            out[i] += values[there | 1 << i] - values[there]
            there |= 1 << i
    return out / factorial(players)


@pytest.mark.parametrize("players", [1, 2, 5, 6, 7])
def test_exact_is_the_average_over_all_orders(players: int) -> None:
    values = np.random.default_rng(players).normal(size=(2**players, 3))
    np.testing.assert_allclose(exact(values), over_all_orders(values), atol=1e-12)


def test_exact_knows_the_interacting_game() -> None:
    game = Interacting(8)
    np.testing.assert_allclose(exact(game(all_coalitions(8))), game.truth, atol=1e-12)


@pytest.mark.parametrize("players", [2, 3, 8, 9])
def test_all_pairs_give_the_exact_values_and_no_error(players: int) -> None:
    game = Interacting(6) if players == 6 else Interacting(players, near=True) if players < 5 else Interacting(players)
    plan = scheme(players, 2**players)
    assert plan.complete and np.isclose(plan.weight.sum(), 1)
    assert len({tuple(row) for row in np.concatenate([plan.keep, ~plan.keep])}) == 2**players - 2
    values, errors = Regression(game.gain, game.fixed(plan)).solve()
    np.testing.assert_allclose(values, exact(game(all_coalitions(players))), atol=1e-10)
    assert not errors.any()


@pytest.mark.parametrize("players", [2, 7, 10])
def test_the_kernel_in_closed_form(players: int) -> None:
    plan = scheme(players, 2**players)
    x = plan.keep - 0.5
    np.testing.assert_allclose(kernel_matrix(players), (x * plan.weight[:, None]).T @ x, atol=1e-12)
    slow = np.array([(players - 1) / (comb(players, s) * s * (players - s)) for s in range(1, players)])
    of_size = slow * [comb(players, s) for s in range(1, players)]
    np.testing.assert_allclose(
        size_masses(players)[0] / size_masses(players).sum(),
        (of_size[0] + of_size[-1]) / of_size.sum() if players > 2 else 1,
    )


def test_small_sizes_are_enumerated_as_the_budget_allows() -> None:
    assert scheme(50, 60).enumerated == 0  # 30 pairs cannot hold the 50 of size 1
    assert scheme(50, 1000).enumerated == 1
    assert scheme(20, 2000).enumerated == 2
    assert len(scheme(20, 2000).keep) == 20 + 190
    assert not scheme(20, 2000).complete and scheme(13, 2**13).complete


@pytest.mark.parametrize("even", [False, True])
def test_random_pairs_follow_the_kernel(even: bool) -> None:
    plan = scheme(12, 100, even)
    keep, weight = plan.draw(np.random.default_rng(0), 40_000)
    rest = plan.masses[plan.enumerated :]
    sizes = np.bincount(keep.sum(1), minlength=7)[plan.enumerated + 1 :]
    equal = np.array([2.0] * (5 - plan.enumerated) + [1.0])  # halves are of one size, other pairs of two
    np.testing.assert_allclose(
        sizes / len(keep), (equal if even else rest) / (equal if even else rest).sum(), atol=1e-3
    )
    of_size = np.bincount(keep.sum(1), weight, minlength=7)[plan.enumerated + 1 :]
    np.testing.assert_allclose(of_size / len(keep), rest, atol=1e-3)
    for size in range(plan.enumerated + 1, 7):
        chosen = keep[keep.sum(1) == size]
        np.testing.assert_allclose(chosen.mean(0), size / 12, atol=4.5 * 0.5 / np.sqrt(len(chosen)))


def test_a_stock_of_pairs_is_used_up_first() -> None:
    plan, rng = scheme(12, 100), np.random.default_rng(0)
    given = np.random.default_rng(1).random((200, 12)) < 0.5
    stock = Stock(given)
    first, _ = plan.draw(rng, 300, stock)
    both = {row.tobytes() for row in np.concatenate([given, ~given])}
    known = np.array([row.tobytes() in both for row in first])
    for size in range(plan.enumerated + 1, 7):
        there = sum(min(row.sum(), 12 - row.sum()) == size for row in given)
        mine = first[:, :].sum(1) == size
        assert known[mine][: min(there, mine.sum())].all()
    assert first.sum(1).max() <= 6


def test_rounds_add_up_and_the_sum_is_the_gain() -> None:
    game, plan, rng = Interacting(14), scheme(14, 300), np.random.default_rng(1)
    rounds = [game.drawn(plan, rng, 40) for _ in range(3)]
    grown, whole = Regression(game.gain, game.fixed(plan)), Regression(game.gain, game.fixed(plan))
    for each in rounds:
        grown.add(each)
        assert np.abs(grown.solve()[0].sum(0) - game.gain).max() < 1e-10
    whole.add(rounds[0] + rounds[1] + rounds[2])
    for ours, theirs in zip(grown.solve(), whole.solve(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    values, _ = adjusted(game.gain, whole.fixed, whole.drawn, np.eye(14) * 0.5 + 0.5 / 14)
    assert np.abs(values.sum(0) - game.gain).max() < 1e-10


def test_too_few_pairs_have_no_error() -> None:
    game, plan = Interacting(14), scheme(14, 0)
    few = Regression(game.gain, game.fixed(plan))
    few.add(game.drawn(plan, np.random.default_rng(0), 10))
    values, errors = few.solve()
    assert np.isfinite(values).all() and np.isnan(errors).all()
    assert np.abs(values.sum(0) - game.gain).max() < 1e-8


def test_findings_are_solved_independently() -> None:
    game, plan = Interacting(14), scheme(14, 200)
    both = Regression(game.gain, game.fixed(plan))
    both.add(game.drawn(plan, np.random.default_rng(0), 60))
    alone = Regression(game.gain[1:2], Pairs(both.fixed.x, both.fixed.weight, both.fixed.half[:, 1:2]))
    alone.add(Pairs(both.drawn.x, both.drawn.weight, both.drawn.half[:, 1:2]))
    for ours, theirs in zip(both.solve(), alone.solve(), strict=True):
        np.testing.assert_allclose(ours[:, 1:2], theirs, rtol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_equals_shap_where_it_enumerates() -> None:
    import shap  # type: ignore[import-untyped]

    game = Interacting(7)

    def play(x: NDArray[Any]) -> Floats:
        return game(np.asarray(x) > 0.5)

    ours = exact(game(all_coalitions(7)))
    nobody, everybody = np.zeros((1, 7)), np.ones((1, 7))
    peer = shap.explainers.Exact(play, shap.maskers.Independent(nobody))
    np.testing.assert_allclose(peer(everybody).values[0], ours, atol=1e-10)
    kernel = shap.KernelExplainer(play, nobody).shap_values(everybody, nsamples=2**7, l1_reg=False, silent=True)
    np.testing.assert_allclose(np.asarray(kernel)[0], ours, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_no_worse_than_shap_at_equal_samples() -> None:
    import shap

    game, samples = Interacting(16, findings=6), 600
    theirs, ours = [], []
    for seed in range(8):
        np.random.seed(seed)  # shap draws from it
        kernel = shap.KernelExplainer(lambda x: game(np.asarray(x) > 0.5), np.zeros((1, 16)))
        theirs.append(kernel.shap_values(np.ones((1, 16)), nsamples=samples, l1_reg=False, silent=True)[0] - game.truth)
        plan = scheme(16, samples)
        run = Regression(game.gain, game.fixed(plan))
        run.add(game.drawn(plan, np.random.default_rng(seed), samples // 2 - len(plan.keep)))
        ours.append(run.solve()[0] - game.truth)
    assert np.sqrt(np.mean(np.square(ours))) < 1.15 * np.sqrt(np.mean(np.square(theirs)))


@pytest.mark.parametrize("surrogate", [False, True])
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize(("budget", "pairs"), [(0, 150), (400, 150)])
def test_ninety_five_of_a_hundred_intervals_hold_the_truth(
    surrogate: bool, near: bool, budget: int, pairs: int
) -> None:
    game, rng = Interacting(16, findings=8, seed=3, near=near), np.random.default_rng(4)
    plan, errors, held = scheme(16, budget, even=surrogate), [], []
    fixed = game.fixed(plan)
    for _ in range(100):
        run = Regression(game.gain, fixed)
        run.add(game.drawn(plan, rng, pairs))
        values, error = adjusted(game.gain, fixed, run.drawn, ring(16)) if surrogate else run.solve()
        errors.append(values - game.truth)
        held.append(np.abs(values - game.truth) <= 1.96 * error)
    assert 0.93 <= np.mean(held) <= 0.97
    mean, spread = np.mean(errors, 0), np.std(errors, 0) / np.sqrt(len(errors))
    assert np.sqrt(np.mean((mean / spread) ** 2)) < 1.3  # unbiased: 1 is pure chance


def test_intervals_hold_with_the_pairs_of_lime() -> None:
    game, rng = Interacting(40, findings=6, seed=3, near=True), np.random.default_rng(4)
    plan, held, known = scheme(40, 900, even=True), [], []
    fixed = game.fixed(plan)
    for _ in range(15):
        given = antithetic(rng, 400, 40)[::2]
        pairs = game.drawn(plan, rng, 350, Stock(given))
        values, error = adjusted(game.gain, fixed, pairs, ring(40))
        held.append(np.abs(values - game.truth) <= 1.96 * error)
        theirs = {row.tobytes() for row in np.concatenate([given, ~given])}
        known.append(np.mean([row.tobytes() in theirs for row in pairs.x > 0]))
    assert 0.93 <= np.mean(held) <= 0.975
    assert np.mean(known) > 0.3  # so many passes are free where LIME ran before


def ring(players: int) -> Floats:
    """Neighbourhoods of players on a circle."""
    angle = 2 * np.pi * np.arange(players) / players
    radius = players / (2 * np.pi)
    return windows(radius * np.stack([np.cos(angle), np.sin(angle)], 1), 1.0)


def test_the_surrogate_saves_passes_where_neighbours_interact() -> None:
    game, plan = Interacting(24, seed=5, near=True), scheme(24, 600)
    fixed, near, rng = game.fixed(plan), ring(24), np.random.default_rng(6)
    plain, helped = [], []
    for _ in range(10):
        run = Regression(game.gain, fixed)
        run.add(game.drawn(plan, rng, 276))
        plain.append(run.solve()[0] - game.truth)
        more = game.drawn(scheme(24, 600, even=True), rng, 276)
        helped.append(adjusted(game.gain, fixed, more, near)[0] - game.truth)
    assert np.mean(np.square(plain)) > 2 * np.mean(np.square(helped))


def test_pairs_beyond_those_learnt_enter_the_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shapley_surrogate, "FITTED", 100)
    game, plan, rng = Interacting(16, seed=7, near=True), scheme(16, 300), np.random.default_rng(8)
    off = []
    for _ in range(20):
        values, error = adjusted(game.gain, game.fixed(plan), game.drawn(plan, rng, 300), ring(16))
        off.append((values - game.truth) / error)
    assert 0.8 < np.std(off) < 1.2


def test_shapley_values_of_the_surrogates_kernel_by_the_definition() -> None:
    rng = np.random.default_rng(9)
    near = rng.random((4, 7))
    near /= near.sum(1, keepdims=True)
    points = 2.0 * (rng.random((5, 7)) < 0.5) - 1
    games = _shapley_surrogate._gram(2.0 * all_coalitions(7) - 1, points, near)
    np.testing.assert_allclose(_shapley_surrogate._shapley_of(points, near), over_all_orders(games).T, atol=1e-12)
