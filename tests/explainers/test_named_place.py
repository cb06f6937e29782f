"""Side and zones of a sentence, held against a map."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from whyray.explainers._named_place import NamedPlace, named_place
from whyray.explanations import Attribution
from whyray.io.frontal import Chest
from whyray.types import Provenance

MADE = Provenance("gradcam", 1, {}, 0, "f" * 64, "a" * 64, "b" * 64, "torch/float32/cpu", 0.1, "0.1.0")
CHEST = Chest(0.5, 0.4, 0.1, 0.9)
CELLS = 10
SIDES = {"right": "in the right lung", "left": "in the left lung", "both": "in both lungs", "": "somewhere"}


def of(values: np.ndarray, signed: bool = False) -> Attribution:
    """A map of as many pixels as the picture has."""
    return Attribution(
        finding="nodule",
        provenance=MADE,
        values=values.astype(np.float32),
        to_source=np.eye(3),
        source_shape=values.shape,
        signed=signed,
    )


def hot(*cells: tuple[int, int, float]) -> np.ndarray:
    values = np.zeros((CELLS, CELLS))
    for row, column, value in cells:
        values[row, column] = value
    return values


RIGHT_TOP = of(hot((2, 2, 3.0), (7, 7, 1.0)))  # three quarters: the patient's right, upper zone


def test_a_side_is_compared_with_its_half_of_the_picture() -> None:
    found = {side: named_place(f"A patch {words}.", RIGHT_TOP, CHEST).side_share for side, words in SIDES.items()}
    assert found.pop("") != found.get("")  # NaN
    assert found == pytest.approx({"right": 0.75, "left": 0.25, "both": 0.25}, abs=0.01)


@pytest.mark.parametrize(
    ("text", "zones", "share"),
    [
        ("Opacity at the right apex.", ("upper",), 0.75),
        ("Opacity at the left base.", ("lower",), 0.25),
        ("A patch low in the left lung.", ("lower",), 0.25),
        ("A patch in the middle part of the left lung.", ("middle",), 0.0),
        ("Opacity of the right upper lobe.", ("upper", "middle"), 0.75),
        ("Opacity at the apex and at the base.", ("upper", "lower"), 1.0),
        ("Opacity in the upper and lower lobes.", (), math.nan),
        ("Opacity.", (), math.nan),
    ],
)
def test_zones_are_compared_with_their_thirds_of_the_chest(text: str, zones: tuple[str, ...], share: float) -> None:
    found = named_place(text, RIGHT_TOP, CHEST)
    assert found.zones == zones and found.zone_share == pytest.approx(share, abs=0.02, nan_ok=True)
    assert ("evidence_in_zone" in found.checks()) == bool(zones)


def test_what_lies_outside_the_chest_lies_in_no_zone() -> None:
    beside = of(hot((2, 5, 1.0), (2, 1, 1.0)))
    small = Chest(0.5, 0.2, 0.1, 0.9)
    assert named_place("Opacity at the apex.", beside, small).zone_share == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("attribution", "chest"),
    [(None, CHEST), (of(np.zeros((4, 4))), CHEST), (of(hot((2, 2, 1.0), (7, 7, -30.0)), signed=True), CHEST)],
    ids=["no map", "empty", "against"],
)
def test_where_nothing_can_be_measured_nothing_is_said(attribution: Attribution | None, chest: Chest) -> None:
    found = named_place("Opacity at the right apex.", attribution, chest)
    assert math.isnan(found.side_share) and math.isnan(found.zone_share)
    assert found.notes("clinician") == () == found.notes("lay")


def test_without_a_chest_no_zone_is_measured() -> None:
    found = named_place("Opacity at the left apex.", RIGHT_TOP, None)
    assert math.isnan(found.zone_share) and found.side_share < 0.5
    assert [note[:12] for note in found.notes("clinician")] == ["It says left"]


def test_the_words_of_both_audiences() -> None:
    wrong = named_place("Opacity at the left base.", RIGHT_TOP, CHEST)
    side, zone = wrong.notes("clinician")
    assert side == "It says left, where only 25 % of the map's positive evidence lies: do not rely on the side."
    assert zone == (
        "Its words mean the lower zone, where only 25 % of the map's positive evidence lies: do not rely on the zone."
    )
    assert any(
        "the lower part of the chest" in note and "Do not rely on the height" in note for note in wrong.notes("lay")
    )
    held = dataclasses.replace(wrong, side_share=0.6, zones=("upper", "middle"), zone_share=0.5)
    assert held.notes("lay") == ()
    assert held.notes("clinician")[1].startswith("Its words mean the upper and middle zones, where 50 %")
    assert NamedPlace("both", 0.3).notes("clinician") == () != NamedPlace("both", 0.2).notes("clinician")
