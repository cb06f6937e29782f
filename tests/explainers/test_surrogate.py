"""LIME's maths against scikit-learn and ``lime``; its draws, standard errors and stability against simulation."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

from whyray.explainers._surrogate import antithetic, block, fitted, independent, nearness, rank_correlation, stability

Floats = NDArray[np.floating[Any]]


def game(keep: NDArray[np.bool_], seed: int = 0, findings: int = 3, pairs: float = 0.3, triples: float = 0.3) -> Floats:
    """Linear, with products of two and of three segments: ``[n, findings]``."""
    rng, x = np.random.default_rng(seed), keep - 0.5
    n = keep.shape[1]
    values = x @ rng.standard_normal((n, findings))
    for order, size in ((2, pairs), (3, triples)):
        members = rng.integers(0, n, (60, order))
        values = values + size * 2**order * x[:, members].prod(2) @ rng.standard_normal((60, findings)) / 2
    return np.asarray(values)


@pytest.mark.parametrize("width", [0.25, 2.0])
def test_the_kernel_is_that_of_lime(width: float) -> None:
    keep = independent(np.random.default_rng(0), 50, 13)
    keep[0], keep[1] = True, False
    distance = pairwise_distances(keep.astype(float), keep[:1].astype(float), metric="cosine").ravel()
    np.testing.assert_allclose(nearness(keep, width), np.sqrt(np.exp(-(distance**2) / width**2)), atol=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 0.01, 30.0])
def test_the_fit_is_scikit_learns_ridge(alpha: float) -> None:
    rng = np.random.default_rng(1)
    keep = independent(rng, 200, 20)
    values, near = game(keep) + rng.standard_normal((200, 3)), nearness(keep, 0.25)
    mine = fitted(keep, values, near, alpha)
    for j in range(3):
        peer = Ridge(alpha=alpha).fit(keep.astype(float), values[:, j], sample_weight=near)
        np.testing.assert_allclose(mine.weights[:, j], peer.coef_, atol=1e-9)
        assert mine.intercept[j] == pytest.approx(peer.intercept_, abs=1e-9)
        score = peer.score(keep.astype(float), values[:, j], sample_weight=near)
        assert mine.r2[j] == pytest.approx(score, abs=1e-9)


def test_the_fit_is_limes_own() -> None:
    from lime.lime_base import LimeBase

    keep = independent(np.random.default_rng(2), 150, 30)
    keep[0] = True
    values = game(keep)
    base = LimeBase(partial(lambda d, width: np.sqrt(np.exp(-(d**2) / width**2)), width=0.25))
    distances = pairwise_distances(keep.astype(float), keep[:1].astype(float), metric="cosine").ravel()
    mine = fitted(keep, values, nearness(keep, 0.25), 1.0)
    for j in range(3):
        intercept, weights, score, _ = base.explain_instance_with_data(keep.astype(int), values, distances, j, 100)
        assert intercept == pytest.approx(mine.intercept[j], abs=1e-6) and score == pytest.approx(mine.r2[j], abs=1e-6)
        for segment, weight in weights:
            assert weight == pytest.approx(mine.weights[segment, j], abs=1e-6)


@pytest.mark.parametrize("segments", [2, 12, 39, 63, 64, 100])
def test_pairs_complement_and_blocks_are_orthogonal(segments: int) -> None:
    pairs = block(segments)
    keep = antithetic(np.random.default_rng(0), pairs, segments)
    assert keep.shape == (2 * pairs, segments)
    assert (keep[::2] == ~keep[1::2]).all()
    signs = 2 * keep.astype(int) - 1
    assert (signs.T @ signs == 2 * pairs * np.eye(segments)).all()
    assert len(antithetic(np.random.default_rng(0), pairs + 7, segments)) == 2 * pairs + 14


def test_each_antithetic_row_by_itself_is_a_fair_draw() -> None:
    first = np.stack([antithetic(np.random.default_rng(seed), 1, 10)[0] for seed in range(2000)])
    signs = 2.0 * first - 1
    assert np.abs(signs.mean(0)).max() < 4 / np.sqrt(2000)
    together = signs.T @ signs / 2000 - np.eye(10)
    assert np.abs(together).max() < 4 / np.sqrt(2000)
    triple = (signs[:, 0] * signs[:, 1] * signs[:, 2]).mean()
    assert abs(triple) < 4 / np.sqrt(2000)


def test_what_two_segments_do_together_falls_out_of_pairs() -> None:
    flat = np.ones(256)
    for draw, largest in ((antithetic(np.random.default_rng(0), 128, 20), 1e-12), (None, np.inf)):
        keep = independent(np.random.default_rng(0), 256, 20) if draw is None else draw
        only_pairs = game(keep, triples=0) - (keep - 0.5) @ np.random.default_rng(0).standard_normal((20, 3))
        found = np.abs(fitted(keep, only_pairs, flat, 0.0).weights).max()
        assert found < largest and (draw is not None or found > 1e-3)


@pytest.mark.parametrize("together", [1, 2])
def test_standard_errors_are_the_spread_over_draws(together: int) -> None:
    rng = np.random.default_rng(0)
    fits = []
    for _ in range(150):
        keep = antithetic(rng, 128, 25) if together == 2 else independent(rng, 256, 25)
        fits.append(fitted(keep, game(keep), nearness(keep, 0.25), 1.0, together))
    spread = np.stack([f.weights for f in fits]).std(0)
    said = np.sqrt(np.mean([f.errors**2 for f in fits], 0))
    ratio = np.sqrt((said**2).mean(0) / (spread**2).mean(0))  # [f]
    assert (np.abs(ratio - 1) < 0.15).all(), ratio


def redraws(samples: int, size: float) -> tuple[Floats, Floats]:
    """(stability as said, rank correlation of 20 draws with one another), both ``[f]``."""
    rng = np.random.default_rng(0)
    fits = []
    for _ in range(20):
        keep = antithetic(rng, samples // 2, 40)
        fits.append(fitted(keep, game(keep, pairs=size, triples=size), nearness(keep, 0.25), 1.0, 2))
    said = np.mean([stability(f.weights, f.errors) for f in fits], 0)
    pairs = [rank_correlation(a.weights.T, b.weights.T) for i, a in enumerate(fits) for b in fits[:i]]
    return said, np.mean(pairs, 0)


@pytest.mark.parametrize(("samples", "size"), [(256, 0.6), (512, 0.6), (512, 1.2)])
def test_stability_is_what_another_draw_gives(samples: int, size: float) -> None:
    said, drawn = redraws(samples, size)
    assert (np.abs(said - drawn) < 0.06).all(), (said, drawn)
    assert (drawn < 0.97).all()  # else the bound above could not fail


@pytest.mark.parametrize("size", [0.6, 1.2])
def test_stability_from_few_draws_is_rough_and_does_not_praise_noise(size: float) -> None:
    said, drawn = redraws(128, size)  # 64 pairs for 40 segments: the errors are known to a third of themselves
    assert (said < drawn + 0.06).all() and (drawn < 0.9).all(), (said, drawn)


def test_nothing_to_rank_and_too_few_to_know() -> None:
    keep = antithetic(np.random.default_rng(0), 64, 20)
    flat = fitted(keep, np.full((128, 1), -3.3), nearness(keep, 0.25), 1.0, 2)
    assert np.isnan(flat.r2).all() and not flat.weights.any()
    assert np.isnan(stability(flat.weights, flat.errors)).all()
    few = fitted(keep[:40], game(keep[:40]), nearness(keep[:40], 0.25), 1.0, 2)
    assert np.isfinite(few.weights).all() and np.isinf(few.errors).all()
    assert np.isnan(stability(few.weights, few.errors)).all()
    noise = np.random.default_rng(0).standard_normal((20, 1))
    assert stability(noise, np.full((20, 1), 10.0))[0] == 0


def test_rank_correlation_is_spearmans() -> None:
    first, second = np.random.default_rng(0).standard_normal((2, 4, 30))
    wanted = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), wanted)
