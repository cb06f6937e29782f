"""Maps in source pixels: the resampling against a slow re-written one, and NaN outside what the model saw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyray.contracts import cells_to_pixels
from whyray.explanations import Attribution, Counterfactual, PatternSum, Statement, resample
from whyray.types import Provenance

MADE = Provenance("test", 1, {}, 0, "0" * 64, "0" * 64, "0" * 64, "torch/float32/cpu", 0.0, "0")


def slowly(values: np.ndarray, to_target: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation pixel by pixel, edge cells extended by half a cell."""
    inverse = np.linalg.inv(to_target)
    out = np.full(shape, np.nan)
    h, w = values.shape
    for y in range(shape[0]):
        for x in range(shape[1]):
            u, v, _ = inverse @ (x, y, 1)
            if not (-0.5 - 1e-9 <= u <= w - 0.5 + 1e-9 and -0.5 - 1e-9 <= v <= h - 0.5 + 1e-9):
                continue
            u, v = min(max(u, 0), w - 1), min(max(v, 0), h - 1)
            i, j = min(int(v), max(h - 2, 0)), min(int(u), max(w - 2, 0))
            a, b = v - i, u - j
            i2, j2 = min(i + 1, h - 1), min(j + 1, w - 1)
            top = values[i, j] * (1 - b) + values[i, j2] * b
            bottom = values[i2, j] * (1 - b) + values[i2, j2] * b
            out[y, x] = top * (1 - a) + bottom * a
    return out


@settings(max_examples=25, deadline=None)
@given(
    cells=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    shape=st.tuples(st.integers(2, 14), st.integers(2, 14)),
    crop=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 99),
)
def test_resampling_equals_the_slow_formula(
    cells: tuple[int, int], shape: tuple[int, int], crop: tuple[int, int], seed: int
) -> None:
    values = np.random.default_rng(seed).normal(size=cells).astype(np.float32)
    inside = (max(1, shape[0] - 2 * crop[0]), max(1, shape[1] - 2 * crop[1]))
    affine = np.array([[1, 0, crop[1]], [0, 1, crop[0]], [0, 0, 1.0]]) @ cells_to_pixels(cells, inside)
    np.testing.assert_allclose(resample(values, affine, shape), slowly(values, affine, shape), atol=1e-5)


def test_a_rotated_grid_agrees_too() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    turn = np.array([[0.0, -2, 9], [2, 0, 1], [0, 0, 1]])  # a quarter turn, two pixels a cell
    np.testing.assert_allclose(resample(values, turn, (10, 12)), slowly(values, turn, (10, 12)), atol=1e-5)


def test_one_hot_cell_lands_within_half_a_cell() -> None:
    values = np.zeros((14, 14), np.float32)
    values[3, 10] = 1
    shown = resample(values, cells_to_pixels((14, 14), (448, 560)), (448, 560))
    y, x = np.unravel_index(np.nanargmax(shown), shown.shape)
    assert abs(y - (3.5 * 32 - 0.5)) <= 1 and abs(x - (10.5 * 40 - 0.5)) <= 1


def test_outside_the_crop_is_nan_and_the_mass_is_kept_inside() -> None:
    affine = np.array([[1, 0, 20], [0, 1, 0], [0, 0, 1.0]]) @ cells_to_pixels((2, 2), (40, 40))
    shown = resample(np.ones((2, 2), np.float32), affine, (40, 80))
    assert np.isnan(shown[:, :20]).all() and np.isnan(shown[:, 60:]).all()
    np.testing.assert_array_equal(shown[:, 20:60], 1)


def test_an_attribution_is_a_copy_and_read_only() -> None:
    mine = np.ones((2, 2), np.float32)
    made = Attribution(
        finding="mass", provenance=MADE, values=mine, to_source=cells_to_pixels((2, 2), (8, 8)), source_shape=(8, 8)
    )
    mine[:] = 7
    assert made.values.max() == 1 and made.key == "mass/test"
    with pytest.raises(ValueError, match="read-only"):
        made.values[0, 0] = 3


def test_no_evidence_no_statement() -> None:
    with pytest.raises(ValueError, match="rests on"):
        Statement(finding="mass", provenance=MADE, text="There is a mass.", audience="lay", evidence=())


def counterfactual() -> Counterfactual:
    """Three frames of 1 x 2 pixels; the second finding moves half as far as the first, and the other way."""
    return Counterfactual(
        finding="mass",
        provenance=MADE,
        frames=np.array([[[0.1, 0.5]], [[0.4, 0.5]], [[0.6, 0.8]]], np.float32),
        lambdas=np.array([-3.0, 0.0, 2.0]),
        logits=np.array([[-2.0, 1.0], [0.0, 0.2], [2.0, -1.0]]),
        findings=("mass", "edema"),
        probabilities=np.array([0.1, 0.5, 0.9]),
        base=np.zeros((1, 2), np.float32),
        to_source=cells_to_pixels((1, 2), (4, 8)),
        source_shape=(4, 8),
    )


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("max", [0.3, 0.3]),
        ("mean", [0.5 / 3, 0.1]),
        ("mm", [0.5, 0.3]),
        ("int", [0.25, 0.15]),
        ("max_frame0", [0.3, 0.0]),
    ],
)
def test_the_maps_of_a_path(mode: str, expected: list[float]) -> None:
    made = counterfactual().attribution(mode)  # type: ignore[arg-type]
    np.testing.assert_allclose(made.values[0], expected, atol=1e-6)
    assert not made.signed


def test_what_else_moves_along_the_path() -> None:
    assert counterfactual().alignment() == {"mass": 1.0, "edema": -0.5} and counterfactual().zero == 1
    with pytest.raises(ValueError, match="known: max, mean"):
        counterfactual().attribution("largest")  # type: ignore[arg-type]


def test_a_sum_of_patterns_adds_up_and_gives_each_map() -> None:
    made = PatternSum(
        finding="mass",
        provenance=MADE,
        patterns=("p1", "p2"),
        names=("p1", "p2"),
        categories=("unassigned", "unassigned"),
        contributions=np.array([2.0, -0.5]),
        probabilities=np.array([0.1, 0.6]),
        probability=0.4,
        bias=-3.0,
        others=0.25,
        unnamed=0.5,
        residual=-0.125,
        maps=np.array([[[2.0, 0]], [[0, -0.5]]], np.float32),
        rest=np.zeros((1, 2), np.float32),
        to_source=cells_to_pixels((1, 2), (4, 8)),
        source_shape=(4, 8),
    )
    assert made.logit == -0.875 and made.attribution().unit == "logit"
    np.testing.assert_array_equal(made.attribution().values, [[2.0, -0.5]])
    np.testing.assert_array_equal(made.attribution("p2").values, [[0, -0.5]])
    with pytest.raises(ValueError, match="shows p1, p2"):
        made.attribution("p3")
