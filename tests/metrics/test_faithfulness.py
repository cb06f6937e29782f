"""Faithfulness: bands, areas and correlations against hand-computed cases; imputation against a sparse solution."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.metrics import faithfulness as f
from whyray.testing import check_metric

RNG = np.random.default_rng(0)


def test_bands_by_hand() -> None:
    values = np.array([[3.0, -1.0], [0.5, -4.0]])
    assert f.bands(values, 4).tolist() == [[0, 2], [1, 3]]
    assert f.bands(values, 4, "negative").tolist() == [[3, 1], [2, 0]]
    assert f.bands(values, 4, "absolute").tolist() == [[1, 2], [3, 0]]
    assert f.bands(values, 2).tolist() == [[0, 1], [0, 1]]


def test_bands_are_of_equal_size_and_tied_pixels_favour_no_corner() -> None:
    values = np.zeros((40, 50))
    labels = f.bands(values, 8)
    assert np.bincount(labels.ravel()).tolist() == [250] * 8
    rows = np.mgrid[:40, :50][0]
    assert abs(rows[labels == 0].mean() - 19.5) < 2.5  # in reading order it would be 2
    assert np.array_equal(labels, f.bands(values + 1, 8)), "the same ties, the same order"
    assert not np.array_equal(labels, f.bands(values, 8, seed=1))


def test_rounding_ranks_no_pixels() -> None:
    values = np.repeat([[1.0], [0.5]], 64, axis=0) + RNG.normal(0, 1e-9, (128, 1))
    assert np.array_equal(f.bands(values, 4), f.bands(np.repeat([[1.0], [0.5]], 64, axis=0), 4))


def test_what_the_model_did_not_see_comes_last() -> None:
    values = -np.ones((4, 4))
    values[:, 3] = np.nan
    for sign in ("positive", "absolute", "negative"):
        assert (f.bands(values, 4, sign)[:, 3] == 3).all()


@pytest.mark.parametrize("steps", [0, 5])
def test_more_steps_than_pixels_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="give 1 to 4"):
        f.bands(np.zeros((2, 2)), steps)


def test_rows_of_coalitions() -> None:
    assert f.deletion_rows(2).tolist() == [[True, True], [False, True], [False, False]]
    assert f.insertion_rows(2).tolist() == [[False, False], [True, False], [True, True]]


def test_areas_by_hand() -> None:
    curve = np.array([4.0, 2.0, 1.0, 0.0])  # three steps: (3 + 1.5 + 0.5) / 3
    assert f.area(curve) == pytest.approx(5 / 3)
    assert f.deletion(curve, 4.0, 0.0) == pytest.approx(5 / 12)
    assert f.deletion(curve + 10, 14.0, 10.0) == pytest.approx(5 / 12)
    assert f.probability_area(np.array([0.0, 0.0])) == 0.5
    assert f.gap(curve, np.array([4.0, 4.0, 4.0, 0.0])) == pytest.approx(10 / 3 - 5 / 3)


def test_a_span_too_small_to_divide_by_is_undefined() -> None:
    assert np.isnan(f.deletion(np.array([1.0, 0.8]), 1.0, 0.8))
    assert np.isnan(f.insertion(np.array([0.0, -3.0]), -3.0, 0.0)), "the filled picture scores higher"
    assert np.isfinite(f.gap(np.array([1.0, 0.8]), np.array([1.0, 0.8])))


def test_linear_model_in_closed_form() -> None:
    """logit = sum of parts; removal takes a part away: both areas and sensitivity-n are known."""
    parts = np.array([5.0, 3.0, 1.0, -1.0])
    curve = f.deletion_rows(4) @ parts  # 8 3 0 -1 0
    assert f.deletion(curve, 8.0, 0.0) == pytest.approx((5.5 + 1.5 - 0.5 - 0.5) / 32)
    assert f.insertion(f.insertion_rows(4) @ parts, 8.0, 0.0) == pytest.approx((2.5 + 6.5 + 8.5 + 8.5) / 32)
    removed, sizes = f.subsets(4, (1, 2, 3), 20)
    assert sorted(set(removed.sum(1))) == [1, 2, 3] and np.array_equal(removed.sum(1), sizes)
    assert f.sensitivity_n(parts, removed, removed @ parts) == pytest.approx(1)
    assert f.sensitivity_n(2 * parts + 0.5, removed, removed @ parts) == pytest.approx(1), (
        "n times a constant drops out"
    )
    assert f.sensitivity_n(-parts, removed, removed @ parts) == pytest.approx(-1)
    assert f.sensitivity_n(np.zeros(4), removed, removed @ parts) == 0


def test_sensitivity_n_of_an_unrelated_map_is_near_zero() -> None:
    removed, _ = f.subsets(100, (5, 20, 50), 200)
    found = [f.sensitivity_n(RNG.normal(size=100), removed, removed @ RNG.normal(size=100)) for _ in range(20)]
    assert abs(np.mean(found)) < 0.1 < np.std(found) * 3


def test_sensitivity_n_is_the_mean_of_plain_correlations() -> None:
    removed, sizes = f.subsets(30, (3, 10), 50, seed=2)
    parts, drops = RNG.normal(size=30), RNG.normal(size=100)
    slow = [np.corrcoef(removed[sizes == n] @ parts, drops[sizes == n])[0, 1] for n in (3, 10)]
    assert f.sensitivity_n(parts, removed, drops) == pytest.approx(np.mean(slow))


def test_max_sensitivity_by_hand() -> None:
    original = np.array([[3.0, 4.0]])
    assert f.max_sensitivity(original, [original, original + np.array([[0.0, 1.0]]), original * 1.1]) == pytest.approx(
        0.2
    )
    assert f.max_sensitivity(original, [original]) == 0
    assert np.isnan(f.max_sensitivity(np.zeros((2, 2)), [original]))


def test_similarities() -> None:
    from scipy.stats import spearmanr

    a, b = RNG.normal(size=(14, 14)), RNG.normal(size=(14, 14)).round(1)
    assert f.spearman(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel())[0])
    assert f.spearman(a, np.exp(a)) == pytest.approx(1)
    assert f.spearman(a, -a) == pytest.approx(-1) and f.spearman_absolute(a, -a) == 1
    assert f.ssim(a, 3 * a) == pytest.approx(1) and abs(f.ssim(a, b)) < 0.3
    assert f.spearman(a, np.zeros_like(a)) == 0 and f.spearman(np.zeros((3, 3)), np.zeros((3, 3))) == 1
    assert f.pairwise_spearman([a, a, -a]) == pytest.approx((1 - 1 - 1) / 3)
    assert np.isnan(f.pairwise_spearman([a]))


def test_metrics_keep_their_promises() -> None:
    metrics = f.METRICS
    fast, slow = np.array([4.0, 0.0, 0.0]), np.array([4.0, 4.0, 0.0])
    check_metric(metrics["deletion"], (fast, 4.0, 0.0), (slow, 4.0, 0.0))
    check_metric(metrics["insertion"], (slow[::-1], 4.0, 0.0), (fast[::-1], 4.0, 0.0))
    check_metric(metrics["gap"], (fast, slow), (slow, fast))
    check_metric(metrics["deletion_probability"], (fast,), (slow,))
    ramp = np.arange(25.0).reshape(5, 5)
    check_metric(metrics["weights_spearman"], (ramp, -ramp), (ramp, ramp))
    check_metric(metrics["max_sensitivity"], (ramp, [ramp]), (ramp, [-ramp]))


def slow_imputation(x: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """The system of the paper, written out pixel by pixel and solved densely in float64."""
    h, w = x.shape
    system, right = np.eye(h * w), np.where(keep, x, 0).astype(np.float64).ravel()
    for i, j in zip(*np.nonzero(~keep), strict=True):
        near = {
            (i + a, j + b): 1 / 6 if a * b == 0 else 1 / 12
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if (a or b) and 0 <= i + a < h and 0 <= j + b < w
        }
        for (k, m), weight in near.items():
            system[i * w + j, k * w + m] = -weight / sum(near.values())
    return np.linalg.solve(system, right).reshape(h, w)


@pytest.mark.parametrize("hole", ["disk", "scattered", "almost all"])
def test_imputation_solves_the_published_system(hole: str) -> None:
    y, x = np.mgrid[:32, :27]
    picture = np.sin(y / 5) + np.cos(x / 4) + RNG.normal(0, 0.1, (32, 27))
    keep = {
        "disk": (y - 16) ** 2 + (x - 13) ** 2 > 80,
        "scattered": RNG.random((32, 27)) < 0.3,
        "almost all": (y < 4) & (x < 5),
    }[hole]
    found = f.impute(picture[None].astype(np.float32), keep)[0]
    assert np.abs(found - slow_imputation(picture, keep)).max() < 0.02 * picture.std()
    assert np.array_equal(found[keep], picture.astype(np.float32)[keep])


def test_imputation_of_grey_channels_and_of_nothing_kept() -> None:
    grey = RNG.random((40, 40)).astype(np.float32)
    keep = RNG.random((40, 40)) < 0.5
    picture = np.stack([grey, 2 * grey - 1, RNG.random((40, 40)).astype(np.float32)])
    each = np.concatenate([f.impute(channel[None], keep) for channel in picture])
    assert np.allclose(f.impute(picture, keep), each, atol=1e-4)
    assert np.allclose(f.impute(picture, np.zeros_like(keep)), picture.mean((1, 2))[:, None, None])


def test_road_fill_adds_the_same_noise_to_removed_pixels_only() -> None:
    picture = RNG.random((1, 32, 32)).astype(np.float32)
    keep = np.stack([RNG.random((32, 32)) < 0.5, np.ones((32, 32), bool)])
    before = picture.copy()
    made = f.RoadFill(noise=0.1)(keep, picture)
    assert made.shape == (2, 1, 32, 32) and np.array_equal(picture, before)
    assert np.array_equal(made[1], picture) and np.array_equal(made[0, 0][keep[0]], picture[0][keep[0]])
    added = (made[0] - f.impute(picture, keep[0]))[0][~keep[0]]
    assert added.std() == pytest.approx(0.1 * picture.std(), rel=0.1)
    assert np.array_equal(made, f.RoadFill(noise=0.1)(keep, picture)), "seeded"


def test_cells_that_are_nan_are_left_out() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 5)), rng.normal(size=(6, 5))
    holed_a, holed_b = a.copy(), b.copy()
    holed_a[0], holed_b[:, 0] = np.nan, np.nan
    assert f.spearman(holed_a, holed_b) == pytest.approx(f.spearman(a[1:, 1:], b[1:, 1:]))
    assert f.spearman(holed_a, holed_a.copy()) == 1 and f.spearman_absolute(holed_a, -holed_a) == 1
    found = f.max_sensitivity(holed_a, [holed_b, a])
    assert found == pytest.approx(f.max_sensitivity(a[1:, 1:], [b[1:, 1:]]))
    nothing = np.full((6, 5), np.nan)
    assert np.isnan([f.spearman(a, nothing), f.max_sensitivity(a, [b, nothing])]).all()
