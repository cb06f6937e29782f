"""Integrated gradients: captum, a closed form, completeness, and the doubling of steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whyray
from whyray.errors import SettingError
from whyray.explainers._gradient_paths import baseline, quadrature
from whyray.explainers.integrated_gradients import IntegratedGradients
from whyray.models.analytic import BIAS, CELLS, SIZE, true_maps
from whyray.networks.densenet import DenseNet
from whyray.testing import explain_checked, sample_radiographs

FINDINGS = ("mass", "edema", "hernia")


class Smooth(torch.nn.Module):
    """No kinks: in a network of ReLUs rounding switches one here and there, and two right programs differ."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Conv2d(1, 6, 5, stride=2), torch.nn.Conv2d(6, 8, 3, stride=2)
        self.linear = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = torch.tanh(3 * self.second(torch.nn.functional.softplus(4 * self.first(x))))
        out: torch.Tensor = self.linear((maps * maps.roll(1, 1)).mean((2, 3)))
        return 10 * out


@pytest.fixture(scope="module")
def smooth() -> whyray.Classifier:
    return whyray.wrap(Smooth(), findings=FINDINGS, size=64)


@pytest.fixture(scope="module")
def classifier() -> whyray.Classifier:
    torch.manual_seed(0)
    network = DenseNet(3, growth=4, blocks=(2, 2), stem=8)
    with torch.no_grad():
        network.train()(torch.rand(4, 1, 64, 64))
    return whyray.wrap(network.eval(), findings=FINDINGS, size=64)


@pytest.mark.parametrize(("rule", "method"), [("gauss", "gausslegendre"), ("midpoint", "riemann_middle")])
@pytest.mark.parametrize("fill", ["black", "blur"])
def test_equals_captum(smooth: whyray.Classifier, rule: str, method: str, fill: str) -> None:
    from captum.attr import IntegratedGradients as Peer

    picture = sample_radiographs(1)[0]
    explainer = IntegratedGradients(baseline=fill, steps=13, rule=rule, tolerance=0)
    made = explain_checked(explainer, smooth, [picture], FINDINGS)[0]
    frame = smooth.prepare(picture)
    x, base = (torch.from_numpy(a)[None] for a in (frame.pixels, baseline(smooth, frame, fill)))
    for j, finding in enumerate(FINDINGS):
        theirs = Peer(smooth.module).attribute(x, base, target=j, n_steps=13, method=method)
        wanted = theirs.detach().numpy()[0, 0]
        np.testing.assert_allclose(made[finding].values, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_the_gap_is_what_is_missing(classifier: whyray.Classifier) -> None:
    picture = sample_radiographs(1)[0]
    made = explain_checked(IntegratedGradients(steps=4, tolerance=0), classifier, [picture], FINDINGS)[0]
    frame = classifier.prepare(picture)
    ends = torch.from_numpy(np.stack([frame.pixels, baseline(classifier, frame, "blur")]))
    top, bottom = classifier.logits(ends).detach().numpy().astype(float)
    for j, finding in enumerate(FINDINGS):
        total = made[finding].values.sum(dtype=float) + made[finding].checks["completeness_gap"]
        assert total == pytest.approx(top[j] - bottom[j], abs=1e-5)
        assert made[finding].unit == "logit" and made[finding].signed


def test_a_known_map_is_found() -> None:
    """Within a cell the formula depends on the mean alone: each pixel has its share of the cell's brightness."""
    model, picture = whyray.load_model("analytic"), sample_radiographs(1, side=SIZE)[0]
    spec = "integrated_gradients:baseline=black,tolerance=0.0001"
    result = whyray.explain(model, picture, findings=model.findings, explainers=[spec])
    pixels = model.prepare(picture).pixels
    side = SIZE // CELLS
    cells = pixels[0].reshape(CELLS, side, CELLS, side)
    share = (cells / cells.sum((1, 3), keepdims=True)).reshape(SIZE, SIZE)
    truth, dark = true_maps(pixels), true_maps(np.zeros_like(pixels))
    for finding in model.findings:
        made = result[finding, spec]
        wanted = np.kron(truth[finding] - dark[finding], np.ones((side, side))) * share
        np.testing.assert_allclose(made.values, wanted, atol=1e-4 * np.abs(wanted).max())
        whole = BIAS + dark[finding].sum() + made.values.sum(dtype=float)
        assert whole == pytest.approx(
            float(model.logits(torch.from_numpy(pixels)[None])[0][model.findings.index(finding)]), abs=1e-3
        )


def test_steps_are_doubled_for_each_finding_alone(classifier: whyray.Classifier) -> None:
    picture = sample_radiographs(1)[0]
    once = explain_checked(IntegratedGradients(steps=2, tolerance=0), classifier, [picture], FINDINGS)[0]
    gaps = sorted(abs(made.checks["completeness_gap"]) for made in once.values())
    explainer = IntegratedGradients(steps=2, tolerance=(gaps[0] + gaps[1]) / 2, most=16)
    made = explain_checked(explainer, classifier, [picture], FINDINGS)[0]
    steps = {f: m.checks["steps"] for f, m in made.items()}
    assert sorted(steps.values())[0] == 2 and sorted(steps.values())[1] > 2
    for finding, count in steps.items():
        assert abs(made[finding].checks["completeness_gap"]) <= explainer.tolerance or count == 16
        alone = explain_checked(explainer, classifier, [picture], [finding])[0][finding]
        np.testing.assert_allclose(alone.values, made[finding].values, rtol=1e-4, atol=1e-7)
        assert alone.checks["steps"] == count


def test_progress_only_grows(classifier: whyray.Classifier) -> None:
    seen: list[float] = []
    context = whyray.contracts.Context(progress=seen.append)
    explainer = IntegratedGradients(steps=2, tolerance=1e-9, most=8)
    explain_checked(explainer, classifier, sample_radiographs(2), FINDINGS, context)
    assert seen == sorted(seen) and 0 < seen[0] < seen[-1] <= 1


def test_quadrature() -> None:
    for rule in ("gauss", "midpoint"):
        points, weights = quadrature(rule, 7)
        assert weights.sum() == pytest.approx(1) and 0 < points.min() < points.max() < 1
    points, weights = quadrature("gauss", 7)
    assert weights @ points**13 == pytest.approx(1 / 14)
    points, weights = quadrature("midpoint", 7)
    assert weights @ points == pytest.approx(1 / 2)


def test_baselines(classifier: whyray.Classifier) -> None:
    prepared = whyray.wrap(
        DenseNet(1, growth=4, blocks=(1, 1), stem=4), findings=["mass"], size=64, mean=(0.5,), std=(0.25,)
    )
    frame = prepared.prepare(sample_radiographs(1)[0])
    assert np.unique(baseline(prepared, frame, "black")) == -2 and np.unique(baseline(prepared, frame, "white")) == 2
    assert np.unique(baseline(prepared, frame, "0.5")) == 0.5
    assert np.unique(baseline(prepared, frame, "mean")) == pytest.approx(frame.pixels.mean(), abs=1e-5)
    blurred = baseline(prepared, frame, "blur")
    assert blurred.shape == frame.pixels.shape and 0 < blurred.std() < frame.pixels.std()


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"rule": "simpson"}, {"baseline": "pink"}, {"baseline": "nan"}, {"tolerance": -1}]
)
def test_settings_out_of_range(wrong: dict) -> None:
    with pytest.raises(SettingError):
        IntegratedGradients(**wrong)
