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


def test_the_head_is_kept_only_where_it_answers_alike_everywhere() -> None:
    torch.manual_seed(0)
    body = [torch.nn.Conv2d(1, 6, 5, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    bends = torch.nn.Sequential(*body, torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3)).eval()
    straight = torch.nn.Sequential(*body, torch.nn.Linear(6, 5), torch.nn.Linear(5, 3)).eval()
    picture = sample_radiographs(1, 64)[0]
    for module, kept in ((bends, False), (straight, True)):
        model = whyray.wrap(module, findings=FINDINGS, size=64, channels=1)
        program = feature_program(model)
        assert (program.head is not None) is kept
        specs = [f"gradcam:relu=false,backend={b}" for b in ("torch", "openvino")]
        made = whyray.explain(model, picture, FINDINGS[1:], specs)
        for finding in FINDINGS[1:]:
            own, mine = (made[finding, spec].values for spec in specs)  # type: ignore[attr-defined]
            np.testing.assert_allclose(mine, own, atol=1e-5 * max(1, np.abs(own).max()))
