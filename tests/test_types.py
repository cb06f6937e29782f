"""What tells pictures, regions and values apart: their content, and nothing is read that need not be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from whyray.testing import sample_radiographs
from whyray.types import Case, Radiograph, Region, content

PICTURES = sample_radiographs(2)


def test_a_picture_that_nobody_describes_is_known_by_its_pixels() -> None:
    case = Case("a", lambda: PICTURES[0])
    assert case.source() == Case("b", lambda: replace(PICTURES[0], name="other", sha256="0")).source()
    assert case.source() != Case("a", lambda: PICTURES[1]).source()


def test_a_described_picture_is_not_read() -> None:
    class Described:
        def __call__(self) -> Radiograph:
            raise AssertionError("it was read")

        def source(self) -> str:
            return "/home/somebody/a.png"

    source = Case("a", Described()).source()
    assert len(source) == 64 and "somebody" not in source
    assert replace(Case("a", Described()), open=lambda: PICTURES[0]).source() != source


def test_regions_are_known_by_all_they_hold() -> None:
    mask = np.zeros((8, 8), bool)
    one = Region("mass", (0, 0, 4, 4), mask)
    others = [replace(one, box=(0, 0, 4, 5)), replace(one, mask=~mask), replace(one, finding="nodule")]
    keys = {Case("a", lambda: PICTURES[0], open_regions=lambda r=r: (r,)).regions_source() for r in (one, *others)}
    assert len(keys) == 4
    assert Case("a", lambda: PICTURES[0]).regions_source() not in keys


@dataclass(frozen=True)
class Held:
    seen: int
    hidden: int = field(default=0, repr=False)
    array: object = None


LONG = np.arange(5000)


@pytest.mark.parametrize(
    "pair",
    [
        (Held(1), Held(1, 1)),
        (Held(1, 0, LONG), Held(1, 0, np.where(LONG == 2500, 0, LONG))),
        (Held(1, 0, LONG), Held(1, 0, LONG.reshape(50, 100))),
        (Held(1, 0, {"a": [LONG]}), Held(1, 0, {"a": [LONG + 1]})),
        ((1, 2), [1, 2]),
        (1, 1.0),
        (("a", "b"), ("a b",)),
        ("1", 1),
        (Path("a"), "a"),
    ],
)
def test_what_differs_anywhere_has_other_words(pair: tuple[object, object]) -> None:
    first, second = map(content, pair)
    assert None not in (first, second) and first != second


def test_equal_values_have_equal_words() -> None:
    assert content(Held(1, 2, {"a": (LONG, np.float32(0.5))})) == content(
        Held(1, 2, {"a": (LONG + 0, np.float32(0.5))})
    )


@pytest.mark.parametrize("value", [object(), lambda: 0, Held(1, 0, lambda: 0), [object()], np.array([object()])])
def test_what_is_known_by_its_address_has_none(value: object) -> None:
    assert content(value) is None
