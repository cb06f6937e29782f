"""The bundled picture is the phantom it says it is, and ``explain`` takes it without a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import whyray
from whyray.datasets.phantom import phantom

EXAMPLE = Path(__file__).parents[1] / "examples" / "phantom.png"


def test_the_example_is_phantom_2000044() -> None:
    made = phantom(2000044, size=512)
    np.testing.assert_allclose(whyray.load_image(EXAMPLE).pixels, made.pixels, atol=0.5 / 255 + 1e-6)
    assert made.labels["mass"] == 1 and made.labels["pleural_effusion"] == 1


def test_the_example_needs_no_warning() -> None:
    made = whyray.explain(whyray.load_model("analytic"), whyray.load_image(EXAMPLE))
    assert made.warnings == ()
