"""The gradient, SmoothGrad and guided backpropagation: formula, captum, and a classifier whose reason is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whyray
from whyray.errors import SettingError
from whyray.explainers._gradient_paths import mean_and_error
from whyray.explainers.gradient import Gradient
from whyray.models.analytic import CELLS, SIZE, true_weights
from whyray.networks.densenet import DenseNet
from whyray.testing import explain_checked, sample_radiographs

FINDINGS = ("mass", "edema", "hernia")


@pytest.fixture(scope="module")
def classifier() -> whyray.Classifier:
    torch.manual_seed(0)
    network = DenseNet(3, growth=4, blocks=(2, 2), stem=8)
    with torch.no_grad():
        network.train()(torch.rand(4, 1, 64, 64))
    return whyray.wrap(network.eval().double(), findings=FINDINGS, size=64)  # in single, rounding switches ReLUs


@pytest.fixture(scope="module")
def pictures() -> list[whyray.Radiograph]:
    return sample_radiographs(2)


def maps_of(results: list[dict[str, whyray.Explanation]]) -> np.ndarray:
    return np.stack([[made.values for made in result.values()] for result in results])


def inputs(classifier: whyray.Classifier, pictures: list[whyray.Radiograph]) -> torch.Tensor:
    return torch.from_numpy(np.stack([classifier.prepare(p).pixels for p in pictures])).double()


@pytest.mark.parametrize("times_input", [False, True])
def test_equals_captum(classifier: whyray.Classifier, pictures: list[whyray.Radiograph], times_input: bool) -> None:
    from captum.attr import InputXGradient, Saliency

    ours = maps_of(explain_checked(Gradient(times_input=times_input), classifier, pictures, FINDINGS))
    x = inputs(classifier, pictures).requires_grad_()
    for j in range(3):
        if times_input:
            theirs = InputXGradient(classifier.module).attribute(x, target=j)
        else:
            theirs = Saliency(classifier.module).attribute(x, target=j, abs=False)
        theirs = theirs.detach().numpy()[:, 0]
        np.testing.assert_allclose(ours[:, j], theirs, rtol=1e-3, atol=1e-5 * np.abs(theirs).max())


def test_smooth_is_the_mean_over_its_noise(classifier: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    explainer = Gradient(samples=5, noise=0.2)
    made = explain_checked(explainer, classifier, pictures[:1], FINDINGS[1:2])[0]["edema"]
    x = classifier.prepare(pictures[0]).pixels
    rows = []
    for seed in whyray.contracts.Context().rng(pictures[0]).integers(2**63, size=5):
        noise = np.random.default_rng(seed).standard_normal(x.shape, np.float32)
        noisy = torch.from_numpy(x + np.float32(0.2 * np.ptp(x)) * noise)[None].double().requires_grad_()
        rows.append(torch.autograd.grad(classifier.module(noisy)[0, 1], noisy)[0].numpy()[0, 0])
    np.testing.assert_allclose(made.values, np.mean(rows, 0), rtol=1e-3, atol=1e-5 * np.abs(rows).max())
    error = np.sqrt(np.var(rows, axis=0, ddof=1).mean() / 5 / np.square(np.mean(rows, 0)).mean())
    assert made.checks["relative_error"] == pytest.approx(error, rel=1e-3)


def test_no_noise_is_the_plain_gradient(classifier: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    plain = maps_of(explain_checked(Gradient(), classifier, pictures, FINDINGS))
    smooth = maps_of(explain_checked(Gradient(samples=3, noise=0.0), classifier, pictures, FINDINGS))
    np.testing.assert_allclose(plain, smooth, rtol=1e-4, atol=1e-6 * np.abs(plain).max())


def test_error_of_a_mean() -> None:
    maps = np.random.default_rng(0).normal(1, 2, (50, 3, 8, 8))
    mean, error = mean_and_error(maps.sum(0), (maps**2).sum(0), 50)
    np.testing.assert_allclose(mean, maps.mean(0))
    standard = maps.std(0, ddof=1) / np.sqrt(50)
    np.testing.assert_allclose(error, np.sqrt((standard**2).mean((1, 2)) / (mean**2).mean((1, 2))))
    assert np.isnan(mean_and_error(maps[0], maps[0] ** 2, 1)[1]).all()
    assert np.isnan(mean_and_error(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), 2)[1]).all()


@pytest.mark.parametrize("spec", ["gradient", "gradient:times_input=true", "guided_backprop", "gradient:samples=4"])
def test_only_the_boxes_that_are_read_count(spec: str) -> None:
    model, picture = whyray.load_model("analytic"), sample_radiographs(1, side=SIZE)[0]
    result = whyray.explain(model, picture, findings=model.findings, explainers=[spec])
    for finding in model.findings:
        weights = np.kron(true_weights(finding), np.ones((SIZE // CELLS, SIZE // CELLS)))
        values = result[finding, spec].values
        assert not values[weights == 0].any()
        assert (np.sign(values[weights != 0]) == np.sign(weights[weights != 0])).mean() > 0.99


def test_guided_equals_captum(classifier: whyray.Classifier, pictures: list[whyray.Radiograph]) -> None:
    from captum.attr import GuidedBackprop

    results = whyray.explain(classifier, pictures, findings=FINDINGS, explainers=["guided_backprop"])
    x = inputs(classifier, pictures)
    with pytest.warns(UserWarning, match="backward hooks"):
        theirs = [GuidedBackprop(classifier.module).attribute(x.clone().requires_grad_(), target=j) for j in range(3)]
    for i, result in enumerate(results):
        for j, finding in enumerate(FINDINGS):
            made, wanted = result[finding, "guided_backprop"], theirs[j][i, 0].numpy()
            np.testing.assert_allclose(made.values, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())
            assert made.checks["relus"] == 11


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingError):
        Gradient(samples=-1)
    with pytest.raises(SettingError):
        Gradient(noise=2)


def test_the_cost_grows_with_findings_and_samples() -> None:
    assert Gradient().passes(1) < Gradient().passes(18) < Gradient(samples=10).passes(18)
