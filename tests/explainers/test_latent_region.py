"""A region is a box in source pixels, and weights on the grid of the autoencoder."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.errors import SettingError
from whyray.explainers._latent_region import EDGE, box_of, weights
from whyray.types import Frame


def frame(scale: float = 4.0) -> Frame:
    """The model sees 64 x 64 pixels of a radiograph ``scale`` times as large, from its corner on."""
    shift = (scale - 1) / 2
    to_source = np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]])
    return Frame(np.zeros((1, 64, 64), np.float32), to_source, (round(64 * scale), round(64 * scale) + 100))


def test_the_box_is_where_it_was_named() -> None:
    found = weights(box_of("64;128;192;256"), frame(), (64, 64))
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (16, 47, 32, 63)
    assert found.max() == 1 and found[48, 32] == 1 and found[32, 32] < 1 / EDGE


def test_the_change_fades_in_and_the_grid_may_be_another() -> None:
    found = weights((64, 64, 192, 192), frame(), (32, 32))
    assert np.all(np.diff(found[16, 8:14]) > 0) and found[16, 7] == 0
    small = weights((64, 64, 72, 72), frame(), (64, 64))
    assert small.max() > 0.3  # a small box is not faded away


@pytest.mark.parametrize("text", ["1;2;3", "a;b;c;d", "10;10;5;20", "1,2,3,4", "0;0;0;0"])
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="pixels of the radiograph"):
        box_of(text)


def test_a_box_outside_of_what_the_model_sees_is_refused() -> None:
    with pytest.raises(SettingError, match="nothing that the model sees; the radiograph is 356 x 256"):
        weights((300, 0, 340, 100), frame(), (64, 64))


def test_named_on_the_command_line() -> None:
    from whyray.registry import explainer

    made = explainer("latent_shift:region=10;20;100.5;200,steps=3,mix=0.2")
    assert box_of(made.region) == (10, 20, 100.5, 200)  # type: ignore[attr-defined]
