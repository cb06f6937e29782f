"""Animations of a counterfactual: there and back, every frame labelled, each format readable again."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whyray.contracts import cells_to_pixels
from whyray.errors import MissingExtra, SettingError
from whyray.explanations import Counterfactual
from whyray.report import animation as a
from whyray.types import Provenance

MADE = Provenance("latent_shift", 1, {}, 0, "0" * 64, "0" * 64, "0" * 64, "torch/float32/cpu", 0.0, "0")


@pytest.fixture(scope="module")
def path() -> Counterfactual:
    """Five frames that brighten from left to right."""
    ramp = np.linspace(0, 1, 40, dtype=np.float32)[None].repeat(30, 0)
    return Counterfactual(
        finding="pleural_effusion",
        provenance=MADE,
        frames=np.stack([ramp * s for s in (0.2, 0.4, 0.6, 0.8, 1.0)]),
        lambdas=np.array([-2.0, -1.0, 0.0, 1.0, 2.0]),
        logits=np.array([[-3.0], [-1.0], [0.0], [1.0], [3.0]]),
        findings=("pleural_effusion",),
        probabilities=1 / (1 + np.exp(-np.array([-3.0, -1.0, 0.0, 1.0, 3.0]))),
        base=ramp,
        to_source=cells_to_pixels((30, 40), (300, 400)),
        source_shape=(300, 400),
    )


def frames_of(data: bytes) -> list[np.ndarray]:
    picture = Image.open(io.BytesIO(data))
    out = []
    for i in range(getattr(picture, "n_frames", 1)):
        picture.seek(i)
        out.append(np.asarray(picture.convert("RGB")))
    return out


def test_a_loop_goes_there_and_back_without_a_repeat() -> None:
    assert a.looped(4) == [0, 1, 2, 3, 2, 1] and a.looped(2) == [0, 1] and a.looped(1) == [0]


def test_frames_keep_the_grey_values_and_the_gauge_follows_the_prediction(path: Counterfactual) -> None:
    frames = [np.asarray(f) for f in a.drawn_frames(path, side=400)]
    assert frames[0].shape[:2] > (300, 399)
    assert abs(int(frames[4][150, -2, 0]) - 255) < 6 and abs(int(frames[0][150, -2, 0]) - 51) < 6
    filled = [int((np.abs(f[300:].astype(int) - a._FILL).sum(-1) < 12).any(0).sum()) for f in frames]
    assert filled == sorted(filled) and filled[4] - filled[0] > 300


def test_the_operating_point_is_marked(path: Counterfactual) -> None:
    plain = a.drawn_frames(path, side=300)
    marked = a.drawn_frames(path, threshold=0.9, side=300)
    changed = np.abs(np.asarray(plain[0], int) - np.asarray(marked[0], int)).sum((0, 2)).nonzero()[0]
    assert changed.min() > 0.85 * 300 and changed.max() < 0.95 * 300


@pytest.mark.parametrize("kind", [".webp", ".gif"])
def test_animations_loop_for_ever_there_and_back(path: Counterfactual, kind: str, tmp_path: Path) -> None:
    file = a.save_animation(path, tmp_path / f"x{kind}", side=120)
    with Image.open(file) as picture:
        assert picture.info["loop"] == 0 and picture.n_frames == 8  # type: ignore[attr-defined]
    shown = frames_of(file.read_bytes())
    assert np.abs(shown[3].astype(int) - shown[5]).mean() < 3 < np.abs(shown[0].astype(int) - shown[4]).mean()


def test_a_strip_holds_first_and_last(path: Counterfactual) -> None:
    frames = a.drawn_frames(path, side=100)
    (picture,) = frames_of(a.strip(frames, most=3))
    width = frames[0].width
    assert picture.shape[1] == 3 * width + 8
    assert np.array_equal(picture[:, :width], np.asarray(frames[0]))
    assert np.array_equal(picture[:, -width:], np.asarray(frames[-1]))


def test_mp4_is_written_or_the_missing_package_named(path: Counterfactual) -> None:
    frames = a.drawn_frames(path, side=64)
    try:
        import av
    except ImportError:
        with pytest.raises(MissingExtra, match=r"whyray\[video\]"):
            a.mp4(frames)
        return
    with av.open(io.BytesIO(a.mp4(frames, loops=2))) as video:
        assert sum(1 for _ in video.decode(video=0)) == 16


def test_another_ending_is_said(path: Counterfactual, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"ends in .webp, .gif"):
        a.save_animation(path, tmp_path / "x.avi")
