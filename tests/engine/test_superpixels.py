"""Segments: a partition that follows the picture, the same as the peers', cut once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import whyray
from whyray.datasets.phantom import phantom
from whyray.engine import superpixels
from whyray.engine.superpixels import Segments, cells, grid, quickshift, slic, view
from whyray.errors import SettingError


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    model = whyray.load_model("mini")
    return view(model.prepare(whyray.Radiograph(phantom(3, size=256).pixels)))


def check(segments: Segments, shape: tuple[int, ...]) -> None:
    assert segments.labels.dtype == np.int32 and segments.labels.shape == shape
    assert np.array_equal(np.unique(segments.labels), np.arange(segments.count))
    assert segments.sizes.sum() == segments.labels.size and segments.sizes.min() > 0
    assert not segments.labels.flags.writeable and len(segments.sha256) == 64


@pytest.mark.parametrize("asked", [10, 50, 120])
def test_slic_gives_about_what_is_asked_and_says_how_many(picture: np.ndarray, asked: int) -> None:
    segments = slic(picture, segments=asked)
    check(segments, picture.shape)
    assert asked / 2 <= segments.count <= asked * 1.3
    assert f"{asked} asked" in segments.about and f"{segments.count} segments" in segments.about


def test_slic_follows_brightness_and_its_pieces_hang_together(picture: np.ndarray) -> None:
    from scipy.ndimage import label

    segments, squares = slic(picture), grid((224, 224), 32)

    def spread(of: Segments) -> float:  # of brightness inside the segments
        means = of.sums(picture) / of.sizes
        return float(np.std(picture - means[of.labels]))

    assert spread(segments) < 0.85 * spread(squares)
    assert all(label(segments.labels == i)[1] == 1 for i in range(segments.count))


def test_quickshift_is_the_one_of_lime(picture: np.ndarray) -> None:
    from lime.wrappers.scikit_image import SegmentationAlgorithm

    small = picture[::3, ::3]
    peer = SegmentationAlgorithm("quickshift", kernel_size=4, max_dist=200, ratio=0.2, random_seed=42)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = peer(np.repeat(small[..., None].astype(np.float64), 3, axis=2))
    ours = quickshift(small)
    check(ours, small.shape)
    pairs = np.unique(np.stack([ours.labels.ravel(), theirs.ravel()]), axis=1)
    assert pairs.shape[1] == ours.count == len(np.unique(theirs)) > 3


def test_grids_are_exact_also_at_uneven_borders() -> None:
    made = grid((5, 7), (2, 3))
    assert made.labels.tolist() == [[0, 0, 0, 1, 1, 1, 2]] * 2 + [[3, 3, 3, 4, 4, 4, 5]] * 2 + [[6, 6, 6, 7, 7, 7, 8]]
    assert grid((6, 6), 9).count == 1
    assert np.array_equal(cells((5, 7), [2, 4], [3, 6], "").labels, made.labels)


def test_any_labels_are_numbered_without_gaps() -> None:
    made = Segments.of(np.array([[7, 7], [-3, 90]]), "by hand")
    assert made.labels.tolist() == [[1, 1], [0, 2]] and made.count == 3
    assert made.sums(np.array([[1.0, 2.0], [4.0, 8.0]])).tolist() == [4.0, 3.0, 8.0]
    assert made.sha256 == Segments.of(np.array([[1, 1], [0, 2]]), "").sha256


def test_the_same_picture_is_cut_once_and_memory_is_bounded(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slic(picture, segments=20) is slic(picture.copy(), segments=20)
    assert slic(picture, segments=20) is not slic(picture, segments=21)
    monkeypatch.setattr(superpixels, "REMEMBERED", 2)
    for number in range(4):
        slic(picture[:40, number : number + 40], segments=4)
    assert len(superpixels._MADE) == 2


def test_the_view_is_grey_in_0_to_1() -> None:
    pixels = np.random.default_rng(0).normal(0, 500, (3, 8, 9)).astype(np.float32)
    grey = view(whyray.types.Frame(pixels, np.eye(3), (8, 9)))
    assert grey.shape == (8, 9) and grey.min() == 0 and grey.max() == 1
    flat = view(whyray.types.Frame(np.full((1, 8, 9), 3.0, np.float32), np.eye(3), (8, 9)))
    assert not flat.any()


def test_a_flat_picture_still_has_segments() -> None:
    check(slic(np.zeros((64, 64), np.float32), segments=16), (64, 64))
    check(quickshift(np.zeros((32, 32), np.float32)), (32, 32))


def test_what_cannot_be_cut_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(SettingError, match="segments=1 "):
        slic(picture, segments=1)
    with pytest.raises(SettingError, match=r"\[h, w\]"):
        slic(np.zeros((1, 8, 8)))
    with pytest.raises(SettingError, match="at least 1 x 1"):
        grid((8, 8), 0)


def test_the_callers_warning_filters_stay() -> None:
    before = list(warnings.filters)
    slic(np.random.default_rng(0).random((40, 40)), segments=9)
    assert warnings.filters == before
