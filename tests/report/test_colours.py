"""The colour tables rise evenly, and their two arms stay apart without red-green vision."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.report import colours


def lab(table: np.ndarray) -> np.ndarray:
    """CIELAB by an independent formula (D65)."""
    rgb = table / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    f = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def test_sequential_grows_lighter_in_even_steps() -> None:
    values = lab(colours.sequential()[::8].astype(float))
    steps = np.linalg.norm(np.diff(values, axis=0), axis=1)
    assert (np.diff(values[:, 0]) > 0).all()
    assert steps.max() / steps.min() < 2.5  # a rainbow table is beyond 10


def test_diverging_arms_are_equally_light_and_differ_in_blueness() -> None:
    values = lab(colours.diverging().astype(float))
    against, towards = values[127::-1], values[128:]
    assert np.abs(against[:, 0] - towards[:, 0]).max() < 5
    assert towards[-1, 2] - against[-1, 2] > 60  # b*: what people without red-green vision still see


@pytest.mark.parametrize("table", [colours.sequential, colours.diverging])
def test_tables_are_tables(table) -> None:
    assert table().shape == (256, 3)
    assert table().dtype == np.uint8
