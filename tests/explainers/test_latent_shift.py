"""Latent Shift on the bundled classifier: targets are met, checks tell the truth, nothing is claimed that is not so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whyray
from whyray.cards import Preparation
from whyray.contracts import Context
from whyray.datasets.phantom import phantom
from whyray.errors import FingerprintError, SettingError, UnmetNeed
from whyray.explainers._latent_path import rising
from whyray.explainers.latent_shift import LatentShift
from whyray.explanations import Counterfactual
from whyray.models import _autoencoders
from whyray.models._autoencoders import Autoencoder
from whyray.types import Radiograph


class Mirror(nn.Module):
    """The picture is its own latent; ``blur`` > 1 averages it, so that the reconstruction loses detail."""

    def __init__(self, blur: int = 1) -> None:
        super().__init__()
        self.blur = blur

    def encode(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, self.blur)

    def decode(self, z: Tensor) -> Tensor:
        return nn.functional.interpolate(z, scale_factor=self.blur)


def context(blur: int = 1) -> Context:
    mirror = Autoencoder("mirror", Mirror(blur), Preparation(size=(224, 224)))
    return Context(artefact=lambda _kind, _fingerprint: mirror)


@pytest.fixture(scope="module")
def mini() -> whyray.Classifier:
    return whyray.load_model("mini")


@pytest.fixture(scope="module")
def picture() -> Radiograph:
    return Radiograph(phantom(2000044, size=224).pixels)


def explained(
    mini: whyray.Classifier, picture: Radiograph, ctx: Context, *findings: str, **settings: float | str
) -> list[Counterfactual]:
    (made,) = LatentShift(**settings).explain(mini, [picture], findings, ctx)  # type: ignore[arg-type]
    assert list(made) == list(findings) and all(isinstance(e, Counterfactual) for e in made.values())
    return list(made.values())  # type: ignore[arg-type]


def test_both_targets_are_met_on_the_calibrated_probability(mini: whyray.Classifier, picture: Radiograph) -> None:
    for made in explained(mini, picture, context(4), "pleural_effusion", "edema", removal=0.5, exaggeration=2):
        p, zero = made.probabilities, made.zero
        assert made.stop == ("target", "target") and made.lambdas[0] < 0 < made.lambdas[-1] and len(p) == 11
        assert 0.47 * p[zero] < p[0] <= 0.5 * p[zero] * 1.0001
        odds = p / (1 - p)
        assert 2 * 0.999 <= odds[-1] / odds[zero] < 2.1
        assert np.all(np.diff(p) >= 0)
        assert made.checks["trimmed"] == 0 and 1 <= made.checks["reached_removal"] < 1.1
        assert "drawn by a model" in made.notes[0]


def test_frames_and_logits_belong_together(mini: whyray.Classifier, picture: Radiograph) -> None:
    (made,) = explained(mini, picture, context(), "pleural_effusion", frames=5)
    for frame, logits in zip(made.frames, made.logits, strict=True):
        again = mini.logits(torch.from_numpy((frame - 0.5) / 0.25)[None, None])[0].detach().numpy()
        assert np.allclose(again, logits, atol=1e-4)
    assert made.checks["reconstruction_error"] < 1e-6 and made.checks["kept"] == pytest.approx(1, abs=1e-4)
    assert made.alignment()["pleural_effusion"] == 1 and made.attribution().values.max() > 0


def test_one_side_alone(mini: whyray.Classifier, picture: Radiograph) -> None:
    (made,) = explained(mini, picture, context(), "pleural_effusion", removal=1, frames=4)
    assert made.lambdas[0] == 0 and len(made.lambdas) == 4 and np.isnan(made.checks["reached_removal"])


def test_a_poor_reconstruction_is_said(mini: whyray.Classifier, picture: Radiograph) -> None:
    (made,) = explained(mini, picture, context(blur=56), "pleural_effusion")
    assert made.checks["reconstruction_error"] > 0.02
    kept = made.checks["kept"]
    assert (kept < 0.6 or kept > 1 / 0.6) and "do not trust it" in made.notes[1]


def test_a_side_that_stops_short_says_why(mini: whyray.Classifier, picture: Radiograph) -> None:
    (made,) = explained(mini, picture, context(), "pleural_effusion", distortion=0.001)
    assert "distortion" in made.stop and any("would have changed too much" in note for note in made.notes)


def test_nothing_changes_outside_of_a_region(mini: whyray.Classifier) -> None:
    large = Radiograph(np.kron(phantom(2000044, size=224).pixels, np.ones((2, 2), np.float32)))
    (made,) = explained(mini, large, context(4), "pleural_effusion", region="0;224;224;448", removal=0.7)
    changed = np.ptp(made.frames, axis=0) > 0
    assert changed[115:, :109].mean() > 0.5 and not changed[:112].any() and not changed[:, 112:].any()
    inverse = np.linalg.inv(made.to_source)
    assert np.allclose((inverse @ [0, 224, 1])[:2], [0, 112], atol=0.5)
    column = mini.findings.index("pleural_effusion")
    assert np.all(np.diff(made.logits[:, column]) >= -0.02)


def test_a_mixed_picture_keeps_its_share_of_the_radiograph(mini: whyray.Classifier, picture: Radiograph) -> None:
    (plain,) = explained(mini, picture, context(8), "pleural_effusion")
    (mixed,) = explained(mini, picture, context(8), "pleural_effusion", mix=0.5)
    half = (plain.frames[plain.zero] + plain.base) / 2
    assert np.allclose(mixed.frames[mixed.zero], half, atol=1e-5)
    assert mixed.checks["reconstruction_error"] == pytest.approx(plain.checks["reconstruction_error"] / 2, rel=1e-3)


def test_a_way_of_several_steps_still_rises(mini: whyray.Classifier, picture: Radiograph) -> None:
    (made,) = explained(mini, picture, context(8), "pleural_effusion", steps=4, exaggeration=1, distortion=0.3)
    values = made.logits[:, mini.findings.index("pleural_effusion")]
    assert len(values) == 11 and values[-1] - values[0] > 2 and np.all(np.diff(values) >= -0.02)
    assert made.provenance.settings["steps"] == 4


def test_frames_rise_with_lambda_for_every_finding(mini: whyray.Classifier, picture: Radiograph) -> None:
    for made in explained(mini, picture, context(16), *mini.findings[::3], frames=7):
        assert np.all(np.diff(made.logits[:, mini.findings.index(made.finding)]) >= -0.02)
        assert made.checks["looked"] <= 60


def test_rising_keeps_the_frames_around_the_reconstruction() -> None:
    assert rising(np.array([0.5, 0.1, 0.4, 1.0, 2.0, 1.5]), 3).tolist() == [False, True, True, True, True, False]
    assert rising(np.array([0.0]), 0).tolist() == [True]


def test_a_classifier_without_an_autoencoder_is_a_skip_with_the_way_out(picture: Radiograph) -> None:
    analytic = whyray.load_model("analytic")
    with pytest.raises(UnmetNeed, match="analytic has no autoencoder: train one"):
        LatentShift().explain(analytic, [picture], ["nodule"], Context())


def test_an_autoencoder_of_another_classifier_is_refused(picture: Radiograph, tmp_path: Path) -> None:
    from whyray.io.artefacts import Artefact, save_artefact

    save_artefact(tmp_path / "ae", Artefact("autoencoder", "0" * 64, {"a": torch.zeros(1)}, {}))
    with pytest.raises(FingerprintError, match="train one for this classifier"):
        LatentShift(autoencoder=str(tmp_path / "ae")).explain(whyray.load_model("mini"), [picture], ["mass"], Context())


@pytest.mark.parametrize(
    "settings",
    [{"removal": 0}, {"removal": 1, "exaggeration": 1}, {"frames": 1}, {"distortion": 0}, {"steps": 0}, {"mix": 1}],
)
def test_settings_that_cannot_be(settings: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        LatentShift(**settings)  # type: ignore[arg-type]


def test_a_report_plays_it(
    mini: whyray.Classifier, picture: Radiograph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Autoencoder("mirror", Mirror(), Preparation(size=(224, 224)))
    monkeypatch.setattr(_autoencoders, "autoencoder_for", lambda *_: mirror)
    made = whyray.explain(mini, picture, findings=["pleural_effusion"], explainers=["latent_shift:frames=5"])
    folder = made.save(tmp_path)
    text = (folder / "report.html").read_text()
    assert text.count('class="frame') == 5 and "Model-made picture, not a radiograph" in text
    assert any(p.name.endswith("latent_shift_frames_5.npz") or "latent_shift" in p.name for p in folder.glob("*.npz"))
