"""Overlays: aligned to the source pixel, honest about nothing, never touching the raw values."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from whyray.explanations import Attribution
from whyray.report import figures
from whyray.report.figures import NOTICE, Scale, map_png, overlay_png, picture_png, scale_of, thumbnail_png
from whyray.types import Radiograph

Make = Callable[..., Attribution]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(opened(data).convert("RGB")).astype(int)


def plain_pixels(picture: Radiograph) -> np.ndarray:
    return np.rint(picture.pixels * 255).astype(int)[..., None].repeat(3, 2)


@pytest.mark.parametrize("crop", [False, True])
def test_one_cell_lands_where_it_was(picture: Radiograph, make_map: Make, crop: bool) -> None:
    values = np.zeros((14, 14), np.float32)
    values[10, 4] = 1
    made = make_map(values, crop=crop)
    alpha = np.asarray(opened(map_png(made)))[..., 3].astype(float)
    assert alpha.shape == picture.shape
    y, x = (np.average(axis, weights=alpha) for axis in np.mgrid[: picture.shape[0], : picture.shape[1]])
    expected = made.to_source @ [4, 10, 1]
    half_cell = made.to_source[0, 0] / 2, made.to_source[1, 1] / 2
    assert abs(x - expected[0]) < 0.1 * half_cell[0]
    assert abs(y - expected[1]) < 0.1 * half_cell[1]
    changed = np.abs(pixels(overlay_png(picture, made))[:180, :240] - plain_pixels(picture)).sum(axis=2) > 60
    rows, columns = np.nonzero(changed & ~np.isnan(made.at_source()))
    assert abs(rows.mean() - expected[1]) < half_cell[1]
    assert abs(columns.mean() - expected[0]) < half_cell[0]


def test_contours_lie_on_the_same_place(make_map: Make) -> None:
    made = make_map(crop=True)
    drawn = figures.contour_lines(made, scale_of([made]))
    assert [level for level, _ in drawn] == list(figures.LEVELS)
    for level, lines in drawn:
        field = made.at_source() / made.values.max()
        x, y = np.rint(lines[:, 0]).astype(int).T
        assert np.abs(field[y, x] - level).max() < 0.12


def test_the_picture_is_left_as_it_was_where_the_map_says_nothing(picture: Radiograph, make_map: Make) -> None:
    overlay = pixels(overlay_png(picture, make_map()))[:180, :240]
    assert (overlay[:20, -20:] == plain_pixels(picture)[:20, -20:]).all()


def test_unseen_area_is_darker_and_hatched_never_coloured(picture: Radiograph, make_map: Make) -> None:
    overlay = pixels(overlay_png(picture, make_map(np.ones((14, 14)), crop=True)))[:180, :240]
    unseen = overlay[:, :25]
    assert np.ptp(unseen, axis=2).max() == 0  # grey
    assert unseen.mean() < 0.7 * plain_pixels(picture)[:, :25].mean()
    assert (unseen == 96).any()
    assert np.asarray(opened(map_png(make_map(crop=True))))[:, :25, 3].max() == 0


@pytest.mark.parametrize("values", [np.zeros((14, 14)), np.full((14, 14), 1e-20), np.full((14, 14), np.nan)])
def test_an_empty_map_is_a_result_and_no_noise(picture: Radiograph, make_map: Make, values: np.ndarray) -> None:
    made = make_map(values)
    assert scale_of([made]).empty
    assert figures.contour_lines(made, scale_of([made])) == []
    assert np.asarray(opened(map_png(made)))[..., 3].max() == 0
    if np.isfinite(values).all():
        assert (pixels(overlay_png(picture, made))[:180, :240] == plain_pixels(picture)).all()


def test_an_all_negative_map_is_blue_when_signed_and_nothing_when_not(picture: Radiograph, make_map: Make) -> None:
    against = make_map(-make_map().values, signed=True, unit="logit")
    overlay = pixels(overlay_png(picture, against))[:180, :240]
    red, blue = overlay[110:125, 55:65, 0].mean(), overlay[110:125, 55:65, 2].mean()
    assert blue > red + 40
    assert scale_of([make_map(-make_map().values)]).empty


def test_raw_values_are_never_changed(picture: Radiograph, make_map: Make) -> None:
    made = make_map(np.random.default_rng(0).normal(size=(80, 80)), signed=True)
    before, source = made.values.copy(), picture.pixels.copy()
    overlay_png(picture, made)
    map_png(made, side=64)
    figures.contour_lines(made, scale_of([made]))
    assert (made.values == before).all()
    assert (picture.pixels == source).all()


def test_a_shared_scale_keeps_unequal_maps_unequal(make_map: Make) -> None:
    weak, strong = make_map(), make_map(make_map().values * 4)
    shared = scale_of([weak, strong])
    assert shared.limit == pytest.approx(4 * float(weak.values.max()))
    opaque = [int(np.asarray(opened(map_png(m, shared)))[..., 3].max()) for m in (weak, strong)]
    assert opaque[0] < 0.5 * opaque[1]
    assert map_png(weak) == map_png(strong)  # each on its own scale
    with pytest.raises(ValueError, match="one unit"):
        scale_of([weak, make_map(unit="logit")])


def test_outliers_of_a_fine_map_do_not_hide_the_rest(make_map: Make) -> None:
    values = np.random.default_rng(0).random((100, 100))
    values[3, 3] = 1000
    scale = scale_of([make_map(values)])
    assert scale.limit <= 1
    assert figures.tick(1.0, scale).startswith("> ")


def test_position_never_divides_by_zero() -> None:
    assert (Scale(0.0, True).position(np.array([0.0, 1e-30])) == 0).all()
    assert Scale(2.0, True).position(np.array([-4.0, 1.0])).tolist() == [-1.0, 0.5]
    assert Scale(2.0, False).position(np.array([-4.0, 1.0])).tolist() == [0.0, 0.5]


def test_every_png_carries_the_notice(picture: Radiograph, make_map: Make) -> None:
    for data in (
        picture_png(picture),
        thumbnail_png(picture),
        overlay_png(picture, make_map()),
        map_png(make_map()),
        map_png(make_map(), side=64),
        overlay_png(picture, make_map(np.zeros((7, 7)))),
    ):
        assert opened(data).text["Disclaimer"] == NOTICE


def test_the_notice_is_visible_below_the_picture(picture: Radiograph, make_map: Make) -> None:
    tiny = Radiograph(np.full((40, 32), 0.5, np.float32))
    for radiograph, data in ((picture, overlay_png(picture, make_map())), (tiny, picture_png(tiny))):
        image = pixels(data)
        foot = image[max(radiograph.shape[0], image.shape[0] - 20) :]
        assert (foot[:, :-4].max(axis=2) > 90).sum() > 100  # letters
        assert (foot[:, -4:].max(axis=2) < 60).all()  # none is cut off


def test_a_map_of_another_picture_is_refused(picture: Radiograph, make_map: Make) -> None:
    with pytest.raises(ValueError, match="180, 240"):
        overlay_png(picture, make_map(source_shape=(64, 64)))


def test_drawing_needs_no_matplotlib() -> None:
    code = "import sys, whyray.report.render; print([m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
