"""Feature maps on OpenVINO: those of the classifier, once compiled, and refused where they would be others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whyray
from whyray.engine import features
from whyray.engine.features import feature_program
from whyray.errors import MissingExtra, SettingError, UnmetNeed
from whyray.explainers.gradcam import GradCam
from whyray.explanations import Attribution
from whyray.networks.densenet import DenseNet
from whyray.testing import explain_checked, sample_radiographs, snapshot

pytest.importorskip("openvino")
FINDINGS = ("mass", "edema", "hernia")


@pytest.fixture(scope="module")
def classifier() -> whyray.Classifier:
    torch.manual_seed(0)
    network = DenseNet(3, growth=4, blocks=(2, 2), stem=8)
    with torch.no_grad():
        network.train()(torch.rand(4, 1, 64, 64))
    return whyray.wrap(network.eval(), findings=FINDINGS, size=64)


def test_equals_torch_and_leaves_the_classifier(classifier: whyray.Classifier) -> None:
    pictures = sample_radiographs(3)
    before = snapshot(classifier, pictures)
    program = feature_program(classifier)
    assert program is feature_program(classifier)
    x = torch.rand(3, 1, 64, 64)
    logits, maps = program(x)
    with torch.no_grad():
        own, taps = classifier.run(x, ("features",))
    torch.testing.assert_close(logits, own, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(maps, taps["features"], atol=1e-4, rtol=1e-4)
    after = snapshot(classifier, pictures)
    assert before["hooks"] == after["hooks"] and before["weights"] == after["weights"]


def test_gradcam_takes_them(classifier: whyray.Classifier) -> None:
    pictures = sample_radiographs(2)
    ours = explain_checked(GradCam(relu=False), classifier, pictures, FINDINGS)
    fast = explain_checked(GradCam(relu=False, backend="openvino"), classifier, pictures, FINDINGS)
    for a, b in zip(ours, fast, strict=True):
        for finding in FINDINGS:
            scale = np.abs(a[finding].values).max()
            np.testing.assert_allclose(b[finding].values, a[finding].values, atol=1e-4 * scale)
            assert abs(b[finding].checks["completeness_gap"]) < 1e-3


def test_a_program_that_computes_something_else_is_refused(
    classifier: whyray.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "EXACT", -1.0)
    with pytest.raises(UnmetNeed, match="differ from torch"):
        features.FeatureProgram(classifier, "float32", 1)


def test_what_it_cannot_do(classifier: whyray.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError):
        GradCam(precision="bfloat16")
    with pytest.raises(SettingError):
        GradCam(backend="tensorrt")  # type: ignore[arg-type]
    monkeypatch.setattr(features, "installed", lambda: False)
    with pytest.raises(MissingExtra, match="openvino"):
        feature_program(classifier)


class Head(torch.nn.Module):
    """A network in the manner of timm, whose ``forward_head`` bends, or is straight."""

    def __init__(self, bends: bool) -> None:
        super().__init__()
        self.body, self.bends = torch.nn.Conv2d(1, 6, 5, stride=4), bends
        self.hidden, self.linear = torch.nn.Linear(6, 5), torch.nn.Linear(5, 3)

    def forward_head(self, features: torch.Tensor) -> torch.Tensor:
        hidden = self.hidden(features.mean((2, 3)))
        logits: torch.Tensor = self.linear(hidden.relu() if self.bends else hidden)
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.body(x))


@pytest.mark.parametrize("bends", [False, True])
def test_the_head_is_kept_only_where_it_answers_alike_everywhere(bends: bool) -> None:
    torch.manual_seed(0)
    model = whyray.wrap(Head(bends).eval(), findings=FINDINGS, size=64, channels=1)
    assert (feature_program(model).head is None) is bends
    specs = [f"gradcam:relu=false,backend={b}" for b in ("torch", "openvino")]
    picture = sample_radiographs(1, 64)[0]
    made = whyray.explain(model, picture, findings=FINDINGS[1:], explainers=specs)
    for finding in FINDINGS[1:]:
        own, mine = (made[finding, spec] for spec in specs)
        assert isinstance(own, Attribution) and isinstance(mine, Attribution)
        np.testing.assert_allclose(mine.values, own.values, atol=1e-5 * np.abs(own.values).max())
        assert mine.checks["completeness_gap"] == pytest.approx(own.checks["completeness_gap"], abs=1e-5)
