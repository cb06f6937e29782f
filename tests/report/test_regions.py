"""Where the evidence lies, in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from whyray.explainers._place import place
from whyray.explainers._template_words import percent, where
from whyray.explanations import Attribution
from whyray.io.frontal import Chest
from whyray.report.regions import shares, summary

Make = Callable[..., Attribution]
CHEST = Chest(0.5, 0.4, 0.1, 0.9)


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
        (slice(9, 12), slice(8, 12), "lower third of the picture, picture's right half (patient's left)"),
        (slice(0, 3), slice(0, 4), "upper third of the picture, picture's left half (patient's right)"),
        (slice(5, 7), slice(0, 12), "middle third of the picture, in both halves"),
        (slice(0, 12), slice(0, 4), "picture's left half (patient's right), at all heights"),
        (slice(0, 12), slice(0, 12), "spread over the whole picture"),
    ],
)
def test_where_no_chest_is_found_parts_of_the_picture_are_named(
    make_map: Make, row: slice, column: slice, words: str
) -> None:
    assert words in summary(make_map(corner(row, column)), None, "PA")


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (slice(8, 10), slice(8, 10), "99.6 % of the positive evidence lies in the left lower zone (picture's right)."),
        (slice(2, 4), slice(2, 4), "99.6 % of the positive evidence lies in the right upper zone (picture's left)."),
        (slice(5, 7), slice(2, 10), "100 % of the positive evidence lies in both middle zones."),
        (slice(2, 10), slice(2, 4), "100 % of the positive evidence lies on the right (picture's left)."),
        (slice(2, 10), slice(2, 10), "100 % of the positive evidence lies on both sides of the chest."),
    ],
)
def test_where_the_chest_is_found_its_sides_and_zones_are_named(
    make_map: Make, row: slice, column: slice, words: str
) -> None:
    assert summary(make_map(corner(row, column), finding="pneumonia"), CHEST, "PA") == words


def test_a_view_that_is_not_stated_is_called_an_assumption(make_map: Make) -> None:
    low = make_map(corner(slice(8, 10), slice(8, 10)))
    assert "in the left lower zone (picture's right; frontal view assumed)." in summary(low, CHEST, None)
    heart = make_map(corner(slice(8, 10), slice(8, 10)), finding="cardiomegaly")
    assert summary(heart, CHEST, None) == "99.6 % of the positive evidence lies in the lower zone."
    large = make_map(corner(slice(2, 10), slice(2, 10)), finding="cardiomegaly")
    assert summary(large, CHEST, "PA") == "The positive evidence is spread over the chest."


def test_what_lies_outside_the_chest_is_said(make_map: Make) -> None:
    values = corner(slice(8, 10), slice(8, 10))
    aside = values.copy()
    aside[0, 0] = 2.8
    assert " (picture's right), 39 % outside the chest." in summary(make_map(aside), CHEST, "PA")
    aside[0, 0] = 1
    assert "outside" not in summary(make_map(aside), CHEST, "PA")
    aside[0, 0] = 30
    assert "Only 16 % of the positive evidence lies over the chest, too little" in summary(make_map(aside), CHEST, "PA")


def test_one_map_has_the_same_place_and_numbers_as_in_a_statement(make_map: Make) -> None:
    rng = np.random.default_rng(0)
    for finding in ("pneumonia", "cardiomegaly"):
        for _ in range(40):
            made = make_map(rng.gamma(0.15, size=(7, 7)), finding=finding)
            found = place(made, CHEST, finding == "pneumonia")
            told = summary(made, CHEST, "PA")
            if found.why:
                assert found.why == "outside" or "spread over the chest" in told
            else:
                assert told.startswith(
                    f"{percent(found.share)} of the positive evidence lies {where(found, 'clinician')}"
                )


@pytest.mark.parametrize("view", [None, "LATERAL"])
def test_the_patients_side_is_named_only_for_a_frontal_view(make_map: Make, view: str | None) -> None:
    assert "patient" not in summary(make_map(), None, view)
    assert "patient" in summary(make_map(), None, "AP")


def test_only_the_picture_counts_not_what_lies_outside_the_crop(make_map: Make) -> None:
    assert "picture's left half" in summary(make_map(corner(slice(4, 8), slice(0, 3)), crop=True))


def test_sign(make_map: Make) -> None:
    values = corner(slice(9, 12), slice(8, 12)) - corner(slice(0, 3), slice(0, 4))
    assert "50 % speaks against" in summary(make_map(values, signed=True))
    assert "against" not in summary(make_map(values, signed=False))
    assert summary(make_map(-make_map().values, signed=True)).startswith("All the evidence in this map speaks against")
    assert "empty" in summary(make_map(np.zeros((3, 3))))


@pytest.mark.parametrize("chest", [None, CHEST])
def test_where_nearly_all_evidence_is_against_the_rest_is_no_explanation(make_map: Make, chest: Chest | None) -> None:
    pro, contra = corner(slice(8, 10), slice(8, 10)), corner(slice(2, 4), slice(2, 4))
    told = summary(make_map(pro - 19 * contra, signed=True), chest, "PA")
    assert told == "Nearly all the evidence in this map, 95 %, speaks against the finding."
    assert "more than 99.9 %" in summary(make_map(pro - 1e5 * contra, signed=True), chest, "PA")
    assert "Of all evidence, 80 % speaks against" in summary(make_map(pro - 4 * contra, signed=True), chest, "PA")
