"""From a map to a mask: each mode against its definition, cv2 or scikit-image; NaN, ties, empty and constant maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw
from scipy.ndimage import binary_fill_holes

from whyray.errors import SettingError, UnknownName
from whyray.metrics import localisation as loc

NAN = float("nan")
LEVELS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=25), elements=st.integers(0, 40)
)


def blobs(shape: tuple[int, int] = (90, 140), seed: int = 0) -> np.ndarray:
    """A smooth map with several hills, as float32 >= 0."""
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).random(shape)
    smooth = gaussian_filter(noise, 7)
    return (smooth - smooth.min()).astype(np.float32)


def test_the_sign_is_asked_for_and_kept_apart() -> None:
    values = np.array([[-2.0, 0.5], [NAN, 1.0]], np.float32)
    np.testing.assert_array_equal(loc.saliency(values, "positive"), [[0, 0.5], [NAN, 1]])
    np.testing.assert_array_equal(loc.saliency(values, "negative"), [[2, 0], [NAN, 0]])
    np.testing.assert_array_equal(loc.saliency(values, "absolute"), [[2, 0.5], [NAN, 1]])
    with pytest.raises(UnknownName, match="positive, absolute, negative"):
        loc.saliency(values, "both")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        loc.Masking()  # type: ignore[call-arg]


def test_otsu_by_hand() -> None:
    """Levels 0, 10 and 50 with 4, 4 and 2 pixels: below 10 and below 50 compared by hand.

    Parts {0} | {10, 50}: 4 * 6 * (0 - 140/6)**2 = 13066.7; {0, 10} | {50}: 8 * 2 * (5 - 50)**2 = 32400.
    """
    histogram = np.zeros(256, int)
    histogram[[0, 10, 50]] = 4, 4, 2
    assert loc.otsu(histogram) == 10


@pytest.mark.parametrize("seed", range(5))
def test_otsu_equals_scikit_image_and_cv2(seed: int) -> None:
    from skimage.filters import threshold_otsu

    cv2 = pytest.importorskip("cv2")
    grey = (255 * blobs(seed=seed) / blobs(seed=seed).max()).astype(np.uint8)
    level = loc.otsu(np.bincount(grey.ravel(), minlength=256))
    assert level == threshold_otsu(grey)
    np.testing.assert_array_equal(grey > level, cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[1] > 0)


@pytest.mark.parametrize("seed", range(4))
def test_otsu_filled_is_the_published_pipeline(seed: int) -> None:
    """Min-max, 255, uint8, Otsu, every contour drawn filled: written with cv2 and Pillow, step by step."""
    cv2 = pytest.importorskip("cv2")
    values = blobs(seed=seed)
    ring = np.hypot(*(np.mgrid[:90, :140] - np.array([40, 60])[:, None, None]))
    values = (values + 2 * values.max() * (np.abs(ring - 20) < 6)).astype(np.float32)
    shifted = values - values.min()
    grey = np.uint8(255 * (shifted / shifted.max()))
    binary = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[1]
    outlines, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    drawn = Image.new("1", (140, 90))
    for outline in outlines:
        if len(outline) > 1:
            ImageDraw.Draw(drawn).polygon([tuple(map(int, p[0])) for p in outline], outline=1, fill=1)
    published = np.array(drawn)
    np.testing.assert_array_equal(loc.otsu_filled(values), published)
    assert published.sum() > (binary > 0).sum(), "the test has a hole to fill"


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30)))
@settings(max_examples=100, deadline=None)
def test_filled_equals_scipy(mask: np.ndarray) -> None:
    before = mask.copy()
    np.testing.assert_array_equal(loc.filled(mask), binary_fill_holes(mask))
    np.testing.assert_array_equal(mask, before)


def test_above_is_strictly_above_on_the_maps_own_scale() -> None:
    values = np.array([[2.0, 4.0, 6.0]], np.float32)
    assert loc.above(values, 0.5).tolist() == [[False, False, True]]
    assert loc.above(values, 0.49).tolist() == [[False, True, True]]
    assert loc.above(values, 0.0).tolist() == [[False, True, True]]


@given(LEVELS, st.integers(0, 700))
@settings(max_examples=150, deadline=None)
def test_area_matched_takes_the_largest_and_as_many(values: np.ndarray, area: int) -> None:
    mask = loc.area_matched(values, area)
    assert mask.sum() == min(area, (values > 0).sum())
    if mask.any() and not mask.all():
        assert values[mask].min() >= values[~mask].max()
    np.testing.assert_array_equal(mask, loc.area_matched(values.copy(), area))


@given(LEVELS, st.data())
@settings(max_examples=60, deadline=None)
def test_at_matched_areas_precision_is_recall(values: np.ndarray, data: st.DataObject) -> None:
    truth = data.draw(hnp.arrays(bool, values.shape))
    assume(0 < truth.sum() <= (values > 0).sum())
    mask = loc.area_matched(values, int(truth.sum()))
    assert loc.precision(mask, truth) == loc.recall(mask, truth)


def test_ties_are_scattered_and_grow_one_by_one() -> None:
    """Half of a flat map is half of every quarter, not its top; a larger area contains the smaller one."""
    flat = np.ones((200, 300), np.float32)
    half = loc.area_matched(flat, 30_000)
    for quarter in (half[:100, :150], half[:100, 150:], half[100:, :150], half[100:, 150:]):
        assert 0.47 < quarter.mean() < 0.53
    assert (half & loc.area_matched(flat, 20_000)).sum() == 20_000


def test_top_k_is_a_share_of_the_whole_picture() -> None:
    values = blobs()
    assert loc.top_k(values, 0.1).sum() == round(0.1 * values.size)
    values[:, :70] = NAN
    assert loc.top_k(values, 0.1).sum() == round(0.1 * values.size)
    with pytest.raises(SettingError, match="share"):
        loc.top_k(values, 1.5)


MODES = {
    "otsu_filled": loc.otsu_filled,
    "tuned": lambda s: loc.above(s, 0.3),
    "area_matched": lambda s: loc.area_matched(s, 200),
    "top_k": lambda s: loc.top_k(s, 0.05),
}


@pytest.mark.parametrize("mode", MODES)
def test_outside_the_crop_is_never_in_a_mask_and_never_counts(mode: str) -> None:
    """With NaN left and right, the mask is that of the crop alone."""
    values = blobs()
    framed = np.full((90, 180), NAN, np.float32)
    framed[:, 20:160] = values
    mask = MODES[mode](framed)
    assert not mask[:, :20].any() and not mask[:, 160:].any() and mask.any()
    if mode != "area_matched" and mode != "top_k":  # of equal values, which are taken depends on the pixel's number
        np.testing.assert_array_equal(mask[:, 20:160], MODES[mode](values))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [0.0, NAN])
def test_an_empty_map_gives_an_empty_mask(mode: str, level: float) -> None:
    assert not MODES[mode](np.full((20, 30), level, np.float32)).any()


@pytest.mark.parametrize("mode", ["otsu_filled", "tuned"])
def test_a_constant_map_points_nowhere(mode: str) -> None:
    assert not MODES[mode](np.full((20, 30), 3.0, np.float32)).any()


@pytest.mark.parametrize("side", [3, 5, 8])
def test_smoothing_is_the_mean_of_the_box_that_exists(side: int) -> None:
    values = blobs((17, 23))
    values[:, :4] = NAN
    found = loc.smoothed(values, side)
    for y, x in ((0, 4), (8, 12), (16, 22), (5, 5)):
        top, left = y - side // 2, x - side // 2
        box = values[max(top, 0) : top + side, max(left, 0) : left + side]
        assert found[y, x] == pytest.approx(np.nanmean(box), abs=1e-6)
    assert np.isnan(found[:, :4]).all() and np.isfinite(found[:, 4:]).all()


def test_masking_is_its_parts() -> None:
    values = blobs() - 0.01
    s = loc.saliency(values, "positive")
    same = np.testing.assert_array_equal
    same(loc.Masking("positive").mask(values), loc.otsu_filled(s))
    same(loc.Masking("positive", "tuned", threshold=0.3).mask(values), loc.above(s, 0.3))
    same(loc.Masking("positive", "area_matched").mask(values, area=77), loc.area_matched(s, 77))
    same(loc.Masking("absolute", "top_k", share=0.1).mask(values), loc.top_k(np.abs(values), 0.1))
    same(loc.Masking("positive", smooth_px=5).mask(values), loc.otsu_filled(loc.smoothed(s, 5)))


def test_below_the_cut_off_the_mask_is_empty() -> None:
    masking = loc.Masking("positive", cutoff=0.4)
    assert masking.mask(blobs(), probability=0.4).any()
    assert not masking.mask(blobs(), probability=0.39).any()


@pytest.mark.parametrize(
    "settings",
    [{"sign": "both"}, {"mode": "otsu"}, {"threshold": 1.2}, {"share": -1}, {"smooth_px": -3}, {"cutoff": NAN}],
)
def test_bad_settings_fail(settings: dict[str, object]) -> None:
    with pytest.raises((SettingError, UnknownName)):
        loc.Masking(**{"sign": "positive", **settings})  # type: ignore[arg-type]
