"""Geometry of findings: known rectangles and ellipses, cv2's smallest rectangle, regressions written out again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whyray.metrics import localisation as loc
from whyray.metrics._shapes import smallest_rectangle

NAN = float("nan")


def turned(longer: float, shorter: float, degrees: float, shape: tuple[int, int] = (400, 500)) -> np.ndarray:
    """A rectangle at an angle."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    a = math.radians(degrees)
    u = (x - 240) * math.cos(a) + (y - 190) * math.sin(a)
    v = -(x - 240) * math.sin(a) + (y - 190) * math.cos(a)
    return (np.abs(u) < longer / 2) & (np.abs(v) < shorter / 2)


def test_an_upright_rectangle_by_hand() -> None:
    truth = np.zeros((50, 80), bool)
    truth[10:20, 30:70] = True
    assert loc.shape_of(truth) == loc.Shape(1, 400 / 4000, 4.0, 0.0)


@pytest.mark.parametrize("degrees", [0, 17, 45, 80, 130])
def test_a_turned_rectangle_keeps_its_shape(degrees: float) -> None:
    found = loc.shape_of(turned(180, 60, degrees))
    assert found.elongation == pytest.approx(3.0, rel=0.03) and found.irrectangularity < 0.04
    assert found.area_ratio == pytest.approx(180 * 60 / 200_000, rel=0.03)


def test_an_ellipse_fills_pi_quarters_of_its_rectangle() -> None:
    y, x = np.mgrid[:300, :400]
    found = loc.shape_of(((x - 200) / 150) ** 2 + ((y - 150) / 60) ** 2 < 1)
    assert found.elongation == pytest.approx(2.5, rel=0.02)
    assert found.irrectangularity == pytest.approx(1 - math.pi / 4, abs=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_equals_cv2_but_for_the_width_of_a_pixel(seed: int) -> None:
    """cv2's rectangle goes through pixel centres: its sides are shorter by a pixel's width, at most its diagonal."""
    cv2 = pytest.importorskip("cv2")
    from scipy.ndimage import gaussian_filter, label

    noise = gaussian_filter(np.random.default_rng(seed).random((200, 300)), 12)
    parts, _ = label(noise > np.quantile(noise, 0.85))
    mask = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    _, (a, b), _ = cv2.minAreaRect(max(outline, key=len))
    area = math.prod(smallest_rectangle(mask))
    assert a * b + 2 * math.sqrt(a * b) < area < (a + 1.42) * (b + 1.42)


def test_the_part_with_the_longest_outline_counts() -> None:
    """A square of 30 x 30 (116 outline pixels) beside a line of 1 x 130."""
    truth = np.zeros((100, 200), bool)
    truth[10:40, 10:40] = True
    truth[80, 20:150] = True
    found = loc.shape_of(truth)
    assert found.instances == 2 and found.elongation == 130.0 and found.irrectangularity == 0.0
    assert loc.shape_of(truth, instances=5).instances == 5


def test_holes_are_filled_and_corners_touch() -> None:
    ring = np.zeros((40, 40), bool)
    ring[5:35, 5:35] = True
    ring[10:30, 10:30] = False
    assert loc.shape_of(ring).irrectangularity == 0.0
    assert loc.shape_of(np.eye(20, dtype=bool)).instances == 1


def test_one_pixel_and_none() -> None:
    one = np.zeros((5, 7), bool)
    one[2, 3] = True
    assert loc.shape_of(one) == loc.Shape(1, 1 / 35, 1.0, 0.0)
    none = loc.shape_of(np.zeros((5, 7), bool))
    assert (none.instances, none.area_ratio) == (0, 0.0) and np.isnan([none.elongation, none.irrectangularity]).all()


def test_regression_is_the_textbook_one() -> None:
    """Slope, standard error and interval from the normal equations; p times four."""
    from scipy import stats

    rng = np.random.default_rng(0)
    feature = rng.gamma(2, 3, 60)
    score = 0.5 - 0.02 * feature + rng.normal(0, 0.1, 60)
    found = loc.regress(np.r_[feature, NAN, 1.0], np.r_[score, 0.3, NAN])
    x = (feature - feature.min()) / (feature.max() - feature.min())
    design = np.stack([np.ones(60), x], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, score, rcond=None)
    residual = score - design @ coefficients
    error = math.sqrt(residual @ residual / 58 * np.linalg.inv(design.T @ design)[1, 1])
    reach = stats.t.ppf(0.975, 58) * error
    assert found.slope == pytest.approx(coefficients[1]) and found.n == 60
    assert (found.low, found.high) == pytest.approx((coefficients[1] - reach, coefficients[1] + reach))
    p = 2 * stats.t.sf(abs(coefficients[1] / error), 58)
    assert found.p == pytest.approx(min(1, 4 * p)) and loc.regress(feature, score, 1).p == pytest.approx(p)
    rho = np.corrcoef(stats.rankdata(feature), stats.rankdata(score))[0, 1]
    assert found.spearman == pytest.approx(rho)
    assert found.spearman_low == pytest.approx(math.tanh(math.atanh(rho) - 1.96 / math.sqrt(57)))


def test_regression_that_cannot_be_made_is_nan() -> None:
    for feature, score in (([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]), ([1, 2, 3, 4], [0, 0, 0, 0])):
        found = loc.regress(np.array(feature, float), np.array(score, float))
        assert np.isnan([found.slope, found.p, found.spearman, found.spearman_p]).all() and found.n == len(feature)
    perfect = loc.regress(np.arange(6.0), np.arange(6.0))
    assert perfect.slope == pytest.approx(5) and perfect.spearman == pytest.approx(1)
