"""Contours of a cone are circles; every line closes, also at the edge of what is known."""

from __future__ import annotations

from collections import Counter

import numpy as np

from whyray.report.contours import segments


def cone() -> np.ndarray:
    y, x = np.mgrid[:41, :61]
    return 20 - np.hypot(x - 30.0, y - 18.0)


def test_circle() -> None:
    lines = segments(cone(), 8.0)
    radius = np.hypot(lines[..., 0] - 30, lines[..., 1] - 18)
    assert np.abs(radius - 12).max() < 0.1
    assert np.isclose(np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1).sum(), 2 * np.pi * 12, rtol=0.01)


def test_lines_close_at_unknown_cells_and_borders() -> None:
    field = np.random.default_rng(1).random((20, 30))
    field[:, :5] = np.nan
    ends = Counter(tuple(p) for p in np.round(segments(field, 0.5).reshape(-1, 2), 6))
    assert ends
    assert all(n % 2 == 0 for n in ends.values())
    assert segments(field, 0.5)[..., 0].min() > 4


def test_nothing_crosses() -> None:
    assert segments(np.zeros((5, 5)), 0.5).shape == (0, 2, 2)
    assert segments(np.full((5, 5), np.nan), 0.5).shape == (0, 2, 2)
