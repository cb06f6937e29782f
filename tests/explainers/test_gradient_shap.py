"""GradientShap: captum at the same draws, integrated gradients in expectation, completeness within its error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whyray
from whyray.contracts import Context
from whyray.errors import SettingError
from whyray.explainers._gradient_paths import baseline
from whyray.explainers.gradient_shap import GradientShap, drawn
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


@pytest.fixture(scope="module")
def picture() -> whyray.Radiograph:
    return sample_radiographs(1)[0]


def draws_of(explainer: GradientShap, classifier: whyray.Classifier, picture: whyray.Radiograph):
    frame = classifier.prepare(picture)
    fill = baseline(classifier, frame, explainer.baseline)
    return frame.pixels, drawn(frame.pixels, fill, explainer, Context().rng(picture))


def test_equals_captum_at_the_same_draws(
    smooth: whyray.Classifier, picture: whyray.Radiograph, monkeypatch: pytest.MonkeyPatch
) -> None:
    from captum.attr._core import gradient_shap as peer

    explainer = GradientShap(samples=11, baselines=3, spread=0.5)
    made = explain_checked(explainer, smooth, [picture], FINDINGS)[0]
    x, draws = draws_of(explainer, smooth, picture)
    monkeypatch.setattr(peer.np.random, "uniform", lambda *_: draws.alphas.astype(np.float64))
    inputs = torch.from_numpy(np.repeat(x[None], 11, 0)).requires_grad_()
    base = torch.from_numpy(draws.baselines[draws.of])
    for j, finding in enumerate(FINDINGS):
        each = peer.InputBaselineXGradient(smooth.module).attribute(inputs, base, target=j)
        wanted = each.detach().numpy().mean(0)[0]
        np.testing.assert_allclose(made[finding].values, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())


def test_checks_are_the_formula(smooth: whyray.Classifier, picture: whyray.Radiograph) -> None:
    explainer = GradientShap(samples=7, baselines=2)
    made = explain_checked(explainer, smooth, [picture], ["edema"])[0]["edema"]
    x, draws = draws_of(explainer, smooth, picture)
    rows, falls = [], []
    for alpha, k in zip(draws.alphas, draws.of, strict=True):
        away = torch.from_numpy(x - draws.baselines[k])
        at = (torch.from_numpy(draws.baselines[k]) + float(alpha) * away)[None].requires_grad_()
        (gradient,) = torch.autograd.grad(smooth.module(at)[0, 1], at)
        rows.append((gradient[0] * away).sum(0).detach().numpy())
        ends = torch.from_numpy(np.stack([x, draws.baselines[k]]))
        top, bottom = smooth.logits(ends)[:, 1].tolist()
        falls.append(top - bottom)
    np.testing.assert_allclose(made.values, np.mean(rows, 0), rtol=1e-3, atol=1e-5 * np.abs(rows).max())
    miss = np.array(falls) - np.sum(rows, axis=(1, 2), dtype=float)
    assert made.checks["completeness_gap"] == pytest.approx(miss.mean(), abs=1e-4)
    assert made.checks["completeness_error"] == pytest.approx(miss.std(ddof=1) / np.sqrt(7), abs=1e-4)
    assert made.checks["relative_error"] > 0


def test_one_baseline_without_noise_is_integrated_gradients(
    classifier: whyray.Classifier, picture: whyray.Radiograph
) -> None:
    shap = GradientShap(samples=512, baselines=1, spread=0.0)
    from whyray.explainers.integrated_gradients import IntegratedGradients

    sampled = explain_checked(shap, classifier, [picture], FINDINGS)[0]
    exact = explain_checked(IntegratedGradients(steps=256, tolerance=0), classifier, [picture], FINDINGS)[0]
    for finding in FINDINGS:
        gap = np.sqrt(np.square(sampled[finding].values - exact[finding].values).mean())
        assert gap < 0.02 * np.sqrt(np.square(exact[finding].values).mean())
        assert abs(sampled[finding].checks["completeness_gap"]) < 1e-2


def test_captum_agrees_in_expectation(classifier: whyray.Classifier, picture: whyray.Radiograph) -> None:
    from captum.attr import GradientShap as Peer

    ours = explain_checked(GradientShap(samples=600, baselines=60, spread=1.0), classifier, [picture], ["mass"])[0][
        "mass"
    ]
    x, draws = draws_of(GradientShap(samples=600, baselines=60, spread=1.0), classifier, picture)
    torch.manual_seed(0)
    np.random.seed(0)
    base = torch.from_numpy(draws.baselines)
    wanted = Peer(classifier.module).attribute(torch.from_numpy(x)[None], base, n_samples=600, stdevs=0.0, target=0)
    theirs = wanted.detach().numpy()[0, 0]
    error = ours.checks["relative_error"] * np.sqrt(np.square(ours.values).mean())
    assert np.sqrt(np.square(ours.values - theirs).mean()) < 2 * error


def test_the_gap_lies_within_its_error(classifier: whyray.Classifier) -> None:
    pictures = sample_radiographs(4)
    results = explain_checked(GradientShap(samples=24, baselines=6), classifier, pictures, FINDINGS)
    ratios = [m.checks["completeness_gap"] / m.checks["completeness_error"] for r in results for m in r.values()]
    assert np.abs(ratios).max() < 4 and np.abs(ratios).min() > 0


def test_points_are_spread_evenly_over_each_baselines_line() -> None:
    x = np.random.default_rng(0).random((1, 8, 8), np.float32)
    draws = drawn(x, np.zeros_like(x), GradientShap(samples=12, baselines=3), np.random.default_rng(1))
    for k in range(3):
        assert sorted((draws.alphas[draws.of == k] * 4).astype(int)) == [0, 1, 2, 3]
    assert (draws.baselines <= 0.1 * x.max() + 1e-6).all() and draws.baselines.std() > 0


def test_settings_out_of_range() -> None:
    for wrong in ({"samples": 0}, {"samples": 4, "baselines": 5}, {"spread": 1.5}, {"baseline": "pink"}):
        with pytest.raises(SettingError):
            GradientShap(**wrong)
