"""Outlines of firing regions: edges by hand, and where they fall on a picture."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from whyray.report.firing import moved, outline, outlined_png, path
from whyray.types import Radiograph


def edges(lines: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(line.ravel().tolist()) for line in lines}


def test_one_cell_has_four_edges_around_it() -> None:
    assert edges(outline((4,), (3, 3))) == {
        (0.5, 0.5, 1.5, 0.5),
        (0.5, 1.5, 1.5, 1.5),
        (0.5, 0.5, 0.5, 1.5),
        (1.5, 0.5, 1.5, 1.5),
    }


def test_neighbours_share_no_edge_and_lines_are_joined() -> None:
    assert edges(outline((0, 1), (1, 2))) == {
        (-0.5, -0.5, 1.5, -0.5),
        (-0.5, 0.5, 1.5, 0.5),
        (-0.5, -0.5, -0.5, 0.5),
        (1.5, -0.5, 1.5, 0.5),
    }
    assert len(outline((), (3, 3))) == 0
    assert len(outline((0, 2, 6, 8), (3, 3))) == 16, "four cells apart"


def test_the_length_of_an_outline_is_its_number_of_sides() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random((6, 5)) < 0.5
    lines = outline(np.flatnonzero(inside).tolist(), (6, 5))
    around = np.pad(inside, 1)
    sides = np.count_nonzero(around[1:] != around[:-1]) + np.count_nonzero(around[:, 1:] != around[:, :-1])
    assert np.abs(lines[:, 1] - lines[:, 0]).sum() == sides


def test_lines_are_moved_and_written_from_pixel_edges() -> None:
    affine = np.array([[16.0, 0, 7.5], [0, 16, 7.5], [0, 0, 1]])
    lines = moved(outline((0,), (14, 14)), affine)
    assert lines.min() == -0.5 and lines.max() == 15.5, "the first cell of 16 x 16 pixels"
    assert path(lines[:1]) == "M0.0 0.0L16.0 0.0"


def test_an_outlined_picture_is_small_and_marked_at_the_place() -> None:
    picture = Radiograph(np.zeros((64, 128), np.float32))
    data = outlined_png(
        picture, moved(outline((1,), (1, 2)), np.array([[64.0, 0, 31.5], [0, 64, 31.5], [0, 0, 1]])), 64
    )
    drawn = np.asarray(Image.open(io.BytesIO(data)))
    yellow = (drawn[..., 0] > 200) & (drawn[..., 2] < 60)
    assert drawn.shape == (32, 64, 3) and yellow[:, 30:34].any() and not yellow[:, :28].any() and yellow[:, 62:].any()
