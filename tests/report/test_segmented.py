"""Segment maps: borders between segments, outlines of the strongest, where they are in the source."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from whyray.explanations import Attribution
from whyray.report import figures
from whyray.report.segmented import borders, edges, outlines
from whyray.types import Radiograph

Make = Callable[..., Attribution]


def segment_map(make_map: Make, values: np.ndarray, crop: bool = False) -> Attribution:
    return dataclasses.replace(make_map(values.astype(np.float32), crop=crop), unit="logit/segment", signed=True)


def tiles(*values: float) -> np.ndarray:
    """A row of tiles, 6 x 6 cells each."""
    return np.kron(np.array([values]), np.ones((6, 6)))


def test_edges_are_straight_runs_between_unequal_cells() -> None:
    found = edges(np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]]))
    wanted = {((1.5, -0.5), (1.5, 1.5)), ((-0.5, 1.5), (2.5, 1.5))}
    assert {tuple(map(tuple, line)) for line in found.tolist()} == wanted
    assert edges(np.zeros((4, 5))).shape == (0, 2, 2)


def test_every_pair_of_unequal_neighbours_has_its_edge() -> None:
    values = np.random.default_rng(0).integers(0, 3, (9, 7))
    length = np.abs(np.diff(edges(values), axis=1)).sum()
    assert length == (values[:, 1:] != values[:, :-1]).sum() + (values[1:] != values[:-1]).sum()


def test_the_strongest_of_each_side_are_outlined(make_map: Make) -> None:
    made = segment_map(make_map, tiles(5, 0, 4, 1, 0, -3, 0, 2.9, 0, 2.8))
    found = dict(outlines(made, least=1.5, most=3))
    cells = {sign: np.linalg.inv(made.to_source)[:2] @ _homogeneous(lines) for sign, lines in found.items()}
    assert sorted(found) == [-1, 1]
    assert set(np.unique(cells[1][0]).round(6)) == {-0.5, 5.5, 11.5, 17.5, 41.5, 47.5}  # 5, 4 and 2.9, not 2.8
    assert set(np.unique(cells[-1][0]).round(6)) == {29.5, 35.5}
    assert outlines(made, least=9) == [] and outlines(segment_map(make_map, tiles(0, 0)), 0) == []


def test_neighbours_share_one_outline(make_map: Make) -> None:
    found = dict(outlines(segment_map(make_map, tiles(0, 5, 4, 0)), least=1))
    assert len(found[1]) == 4


@pytest.mark.parametrize("crop", [False, True])
def test_borders_lie_where_the_map_jumps(make_map: Make, crop: bool) -> None:
    made = segment_map(make_map, tiles(-1, 2), crop)
    (line,) = borders(made)
    shown = made.at_source()
    x = float(line[0, 0])
    assert line[0, 0] == line[1, 0]
    row = shown[int(line[:, 1].mean())]
    left, right = row[int(x - 2 * made.to_source[0, 0])], row[int(x + 2 * made.to_source[0, 0])]
    assert (left, right) == (-1, 2)


def test_the_overlay_shows_borders_and_outlines(picture: Radiograph, make_map: Make) -> None:
    values = tiles(0.01, 0.02, 3, 0.01, -3)
    plain = dataclasses.replace(segment_map(make_map, values), unit="logit")
    lines = figures.contour_lines(segment_map(make_map, values), figures.scale_of([plain]))
    assert [level for level, _ in lines] == [figures.LEVELS[1], -figures.LEVELS[1]]
    drawn = [_pixels(figures.overlay_png(picture, m)) for m in (segment_map(make_map, values), plain)]
    cell = picture.shape[1] / values.shape[1]
    between = round(6 * cell)  # two weak segments meet: a border, and nothing without the segment view
    change = np.abs(drawn[0] - drawn[1])[20:80, between - 3 : between + 3].max()
    assert change > 10


def _homogeneous(lines: np.ndarray) -> np.ndarray:
    return np.concatenate([lines.reshape(-1, 2), np.ones((2 * len(lines), 1))], 1).T


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
