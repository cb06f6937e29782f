"""Where the evidence lies, in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from whyray.explanations import Attribution
from whyray.report.regions import shares, summary

Make = Callable[..., Attribution]


def corner(row: slice, column: slice) -> np.ndarray:
    values = np.zeros((12, 12))
    values[row, column] = 1
    return values


def test_shares_split_cells_that_straddle_a_border() -> None:
    assert np.allclose(shares(np.ones((4, 5))), 1 / 6)
    assert np.isclose(shares(corner(slice(8, 12), slice(6, 12)))[2, 1], 1)
    with pytest.raises(ValueError, match="no positive"):
        shares(-np.ones((4, 4)))


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (slice(9, 12), slice(8, 12), "lower third, picture's right half (patient's left)"),
        (slice(0, 3), slice(0, 4), "upper third, picture's left half (patient's right)"),
        (slice(5, 7), slice(0, 12), "middle third, on both sides"),
        (slice(0, 12), slice(0, 4), "picture's left half (patient's right), at all heights"),
        (slice(0, 12), slice(0, 12), "spread over the whole picture"),
    ],
)
def test_words(make_map: Make, row: slice, column: slice, words: str) -> None:
    assert words in summary(make_map(corner(row, column)), "PA")


@pytest.mark.parametrize("view", [None, "LATERAL"])
def test_the_patients_side_is_named_only_for_a_frontal_view(make_map: Make, view: str | None) -> None:
    assert "patient" not in summary(make_map(), view)
    assert "patient" in summary(make_map(), "AP")


def test_only_the_picture_counts_not_what_lies_outside_the_crop(make_map: Make) -> None:
    assert "picture's left half" in summary(make_map(corner(slice(4, 8), slice(0, 3)), crop=True), None)


def test_sign(make_map: Make) -> None:
    values = corner(slice(9, 12), slice(8, 12)) - corner(slice(0, 3), slice(0, 4))
    assert "50 % speaks against" in summary(make_map(values, signed=True))
    assert "against" not in summary(make_map(values, signed=False))
    assert summary(make_map(-make_map().values, signed=True)).startswith("All the evidence in this map speaks against")
    assert "empty" in summary(make_map(np.zeros((3, 3))))
