"""Autoencoders: shapes, the way to and from grey, what is kept of a prediction, a run that resumes, its artefact."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import whyray
from whyray.cards import Preparation
from whyray.errors import FingerprintError, SettingError, Stopped, WeightsError
from whyray.io.weights import load_weights
from whyray.models._autoencoders import build, from_grey, load_autoencoder, sized, to_grey
from whyray.networks.autoencoder import SmallAE
from whyray.training.autoencoder import AutoencoderPlan, AutoencoderTask, plan_from, squares, train_autoencoder
from whyray.training.fidelity import correlation, logits_before_and_after, ssim

TABLE = {
    "name": "tiny",
    "classifier": "mini",
    "architecture": {"network": "small", "widths": [4, 8, 8, 8, 8], "latent": 4, "straight": 1},
    "data": [{"name": "phantom", "spec": "phantom:train=12,val=4,test=4"}],
    "loop": {"epochs": 2, "batch": 4, "every": 1},
    "features": 0.1,
    "logits": 0.1,
    "noise": 0.1,
    "size": 64,
    "sizes": [32, 64],
    "stored": 72,
}


def test_the_small_one_halves_as_often_as_it_has_widths() -> None:
    x = torch.randn(2, 1, 48, 64)
    for straight in (0, 1):
        module = SmallAE(widths=(4, 8, 8), latent=5, straight=straight).eval()
        assert module.encode(x).shape == (2, 5, 6, 8)
        assert module(x).shape == x.shape
    assert sum(p.numel() for p in SmallAE().parameters()) * 4 < 10e6


@pytest.mark.parametrize(
    "architecture",
    [
        {"network": "other"},
        {"network": "small", "depth": 3},
        {"network": "small", "latent": 0},
        {"network": "resnet", "blocks": ["a"]},
    ],
)
def test_an_unknown_network_is_said(architecture: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="came; "):
        build(architecture)


@pytest.mark.parametrize(
    "preparation",
    [Preparation(low=-1024, high=1024), Preparation(channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))],
)
def test_grey_there_and_back(preparation: Preparation) -> None:
    grey = torch.rand(2, 1, 8, 8)
    x = from_grey(grey, preparation)
    assert x.shape[1] == preparation.channels
    assert torch.allclose(to_grey(x, preparation), grey, atol=1e-6)


def test_from_grey_is_what_prepare_does() -> None:
    from whyray.models._prepare import prepare
    from whyray.testing import sample_radiographs

    (picture,) = sample_radiographs(1, side=64)
    wanted = Preparation(size=(64, 64), channels=3, low=-5, high=3, mean=(1.0, 2.0, 3.0), std=(2.0, 1.0, 0.5))
    grey = torch.from_numpy(np.array(picture.pixels))[None, None]
    assert np.allclose(from_grey(grey, wanted)[0].numpy(), prepare(picture, wanted).pixels, atol=1e-5)


def test_squares_lie_inside_and_move() -> None:
    pictures = torch.arange(64.0).reshape(1, 1, 8, 8).expand(3, -1, -1, -1)
    drawn = np.full((3, 13), -1, np.float32)
    drawn[1, 11:13], drawn[2, 11] = 1, 1
    cut = squares(pictures, drawn, 4)
    assert [float(c[0, 0, 0]) for c in cut] == [0, 36, 32]
    assert squares(pictures, drawn, 8) is pictures


def test_correlation_is_pearsons_also_with_weights() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    counts = rng.integers(0, 3, 30)
    expected = np.corrcoef(np.repeat(a, counts), np.repeat(b, counts))[0, 1]
    assert correlation(a, b)[0] == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(a, b, counts[None].astype(float))[0] == pytest.approx(expected)
    assert np.isnan(correlation(a, np.ones(30))[0])


def test_ssim_is_that_of_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(1)
    a = rng.random((40, 50))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    expected = structural_similarity(a, b, gaussian_weights=True, use_sample_covariance=False, data_range=1.0)
    ours = ssim(*(torch.from_numpy(v)[None, None] for v in (a, b)))
    assert float(ours) == pytest.approx(expected, abs=1e-9)
    assert float(ssim(*[torch.from_numpy(a)[None, None]] * 2)) == pytest.approx(1.0)


def test_a_perfect_reconstruction_keeps_every_logit() -> None:
    mini = whyray.load_model("mini")
    pictures = np.random.default_rng(0).integers(0, 255, (3, 224, 224), dtype=np.uint8)
    before, after, errors = logits_before_and_after(torch.nn.Identity(), Preparation(), mini, pictures)
    assert np.allclose(before, after, atol=1e-4) and np.allclose(errors, [[0, 1]] * 3, atol=1e-5)


def test_a_stopped_run_goes_on_to_the_same_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_from(TABLE)
    straight = train_autoencoder(plan, tmp_path / "a", cache=tmp_path / "cache")

    def stop(done: int, total: int, facts: str) -> None:
        if done == 4:
            raise Stopped("here")

    with pytest.raises(Stopped):
        train_autoencoder(plan_from({**TABLE, "loop": {**TABLE["loop"], "save_s": 0.0001}}), tmp_path / "b", stop)  # type: ignore[dict-item]
    resumed = train_autoencoder(plan_from({**TABLE, "loop": {**TABLE["loop"], "save_s": 0.0001}}), tmp_path / "b")  # type: ignore[dict-item]
    mini = whyray.load_model("mini")
    first, second = (load_autoencoder(folder, mini.fingerprint) for folder in (straight, resumed))
    stored = load_weights(straight / "artefact.safetensors")
    assert {v.dtype for v in stored.values() if v.is_floating_point()} == {torch.float16}, "half the size"
    x = torch.rand(1, 1, 64, 64)
    assert torch.equal(first.decode(first.encode(x)), second.decode(second.encode(x)))
    task = AutoencoderTask(plan_from({**TABLE, "init": str(straight)}), mini, tmp_path / "cache")
    assert torch.allclose(task.build().eval()(x), first.module(x), atol=1e-6)
    rows = json.loads((straight / "artefact.json").read_text())["facts"]["results"]
    assert {r["metric"] for r in rows} == {"fidelity", "logit_change", "mae", "ssim"}
    with pytest.raises(FingerprintError, match="train one for this classifier"):
        load_autoencoder(straight, "0" * 64)


def test_a_source_without_a_correlation_is_left_out_of_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two sources, one whose logits never vary: fidelity is that of the other, not NaN."""
    from whyray.training import fidelity

    sources = [{"name": name, "spec": "phantom:train=4,val=3,test=3"} for name in ("first", "second")]
    plan = plan_from({**TABLE, "data": sources})
    task = AutoencoderTask(plan, whyray.load_model("mini"), tmp_path)
    logits = np.array([[0.0], [1.0], [2.0], [5.0], [5.0], [5.0]])
    made = logits, logits + np.array([[0.0], [0.5], [-0.2], [0.1], [0.2], [0.3]]), np.ones((6, 2))
    monkeypatch.setattr(fidelity, "logits_before_and_after", lambda *_, **__: made)
    numbers = task.validate(task.build(), lambda: None)
    assert np.isnan(numbers["fidelity-second"]) and numbers["fidelity"] == numbers["fidelity-first"] > 0.5


def test_another_size_is_resampled_and_gradients_pass() -> None:
    grey = torch.rand(1, 1, 50, 50, requires_grad=True)
    sized(grey, (64, 64)).sum().backward()
    assert grey.grad is not None and sized(grey, (50, 50)) is grey


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": []}, "at least one data set"),
        ({"squared": 0.0, "absolute": 0.0}, "above 0"),
        ({"sizes": [16]}, "sides from 32"),
        ({"noise": 3.0}, "from 0 to 2"),
        ({"featurs": 1.0}, "did you mean features"),
    ],
)
def test_a_plan_that_cannot_be_is_said(change: dict[str, object], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        plan_from({**TABLE, **change})


def test_the_published_network_is_a_plan_too() -> None:
    plan = AutoencoderPlan("full", "mini", plan_from(TABLE).data, {"network": "resnet"}, summed=True)
    assert build(plan.architecture).encode(torch.zeros(1, 1, 224, 224)).shape == (1, 512, 3, 3)  # type: ignore[operator]
