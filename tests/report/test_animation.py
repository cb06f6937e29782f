"""Animations of a counterfactual: there and back, every frame labelled, each format readable again."""

from __future__ import annotations

import sys
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


def counterfactual(frames: np.ndarray) -> Counterfactual:
    """A path of these frames, its logit from -3 to 3."""
    k, h, w = frames.shape
    logits = np.linspace(-3, 3, k) if k > 1 else np.zeros(1)
    return Counterfactual(
        finding="pleural_effusion",
        provenance=MADE,
        frames=frames,
        lambdas=logits,
        logits=logits[:, None],
        findings=("pleural_effusion",),
        probabilities=1 / (1 + np.exp(-logits)),
        base=frames[k // 2],
        to_source=cells_to_pixels((h, w), (10 * h, 10 * w)),
        source_shape=(10 * h, 10 * w),
    )


@pytest.fixture(scope="module")
def path() -> Counterfactual:
    """Five frames that brighten from left to right."""
    ramp = np.linspace(0, 1, 40, dtype=np.float32)[None].repeat(30, 0)
    return counterfactual(np.stack([ramp * s for s in (0.2, 0.4, 0.6, 0.8, 1.0)]))


def decoded(file: Path) -> list[tuple[np.ndarray, float]]:
    """(RGB, milliseconds on the screen) of every picture of a file."""
    if file.suffix == ".mp4":
        av = pytest.importorskip("av")
        with av.open(str(file)) as video:
            stream = video.streams.video[0]
            times = [(f.to_ndarray(format="rgb24"), 1000 * float(f.pts * f.time_base)) for f in video.decode(stream)]
            end = 1000 * float(stream.duration * stream.time_base)
        starts = [t for _, t in times]
        return [(p, after - t) for (p, t), after in zip(times, [*starts[1:], end], strict=True)]
    out = []
    with Image.open(file) as picture:
        for i in range(getattr(picture, "n_frames", 1)):
            picture.seek(i)
            picture.load()
            out.append((np.asarray(picture.convert("RGB")), float(picture.info.get("duration", 0))))
    return out


def nearest(picture: np.ndarray, drawn: list[np.ndarray]) -> int:
    """Which drawn frame a decoded one shows."""
    h, w = picture.shape[:2]
    return int(np.argmin([np.abs(picture.astype(int) - d[:h, :w]).mean() for d in drawn]))


def gauge(picture: np.ndarray, height: int) -> float:
    """Share of the gauge below a picture of ``height`` pixels that is filled."""
    panel = picture[height:].astype(int)
    filled = np.abs(panel - a._FILL).sum(-1) < 60
    row = int(filled.sum(1).argmax())
    track = filled[row] | (np.abs(panel[row] - a._LINE).sum(-1) < 40)
    return float(filled[row].sum() / track.sum())


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


@pytest.mark.parametrize(("kind", "loops"), [(".webp", 1), (".gif", 1), (".mp4", 4)])
def test_what_is_read_back_goes_there_and_back_with_its_gauge(
    path: Counterfactual, kind: str, loops: int, tmp_path: Path
) -> None:
    drawn = [np.asarray(f) for f in a.drawn_frames(path, side=240)]
    read = decoded(a.save_animation(path, tmp_path / f"x{kind}", side=240))
    shown: list[list[float]] = []
    for picture, milliseconds in read:
        i = nearest(picture, drawn)
        assert np.abs(picture[:180].astype(int) - drawn[i][:180, : picture.shape[1]]).mean() < 3, (kind, i)
        assert gauge(picture, 180) == pytest.approx(path.probabilities[i], abs=0.03), (kind, i)
        if kind == ".mp4" and shown and shown[-1][0] == i:
            shown[-1][1] += milliseconds  # a frame that is held is written several times
        else:
            shown.append([i, milliseconds])
    ends, inner = 5 * a.MILLISECONDS, a.MILLISECONDS
    once = [(0, ends), (1, inner), (2, inner), (3, inner), (4, ends), (3, inner), (2, inner), (1, inner)]
    assert [i for i, _ in shown] == [i for i, _ in once] * loops
    assert [m for _, m in shown] == pytest.approx([m for _, m in once] * loops, abs=2)


@pytest.mark.parametrize("kind", [".webp", ".gif"])
def test_animations_loop_for_ever(path: Counterfactual, kind: str, tmp_path: Path) -> None:
    with Image.open(a.save_animation(path, tmp_path / f"x{kind}", side=120)) as picture:
        assert picture.info["loop"] == 0 and picture.n_frames == 8  # type: ignore[attr-defined]


def test_slow_changes_are_not_lost_in_webp(tmp_path: Path) -> None:
    """A change of a few grey levels a frame is the finding: no block of a frame may keep what an earlier one showed."""
    y, x = np.mgrid[:120, :120]
    spot = np.exp(-((x - 60) ** 2 + (y - 60) ** 2) / 400).astype(np.float32)
    path = counterfactual(np.stack([0.5 + 0.01 * k * spot for k in range(9)]))
    drawn = [np.asarray(f)[:120, :120, 0].astype(int) for f in a.drawn_frames(path, side=120)]
    for i, (picture, _) in zip(
        a.looped(9), decoded(a.save_animation(path, tmp_path / "x.webp", side=120)), strict=True
    ):
        error = (picture[:120, :120, 0].astype(int) - drawn[i]).reshape(15, 8, 15, 8).mean((1, 3))
        assert np.abs(error).max() < 3, i


def test_a_strip_holds_first_and_last(path: Counterfactual, tmp_path: Path) -> None:
    frames = a.drawn_frames(path, side=100)
    (tmp_path / "x.png").write_bytes(a.strip(frames, most=3))
    ((picture, _),) = decoded(tmp_path / "x.png")
    width = frames[0].width
    assert picture.shape[1] == 3 * width + 8
    for k, i in enumerate((0, 2, 4)):
        assert np.array_equal(picture[:, k * (width + 4) : k * (width + 4) + width], np.asarray(frames[i]))


def test_without_av_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"whyray\[video\]"):
        a.check_kind("mp4")
    for kind in ("webp", "gif", "png", "none"):
        a.check_kind(kind)
    with pytest.raises(SettingError, match="webp, gif, mp4, png or none"):
        a.check_kind("avi")


def test_one_frame_alone_is_an_animation_too(path: Counterfactual, tmp_path: Path) -> None:
    alone = counterfactual(path.frames[2:3])
    for kind in a.MAKERS:
        assert decoded(a.save_animation(alone, tmp_path / f"x.{kind}", side=64))


def test_another_ending_is_said(path: Counterfactual, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"ends in .webp, .gif"):
        a.save_animation(path, tmp_path / "x.avi")
