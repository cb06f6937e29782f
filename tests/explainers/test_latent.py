"""Latent Shift's steps on formulas: the direction is the gradient, the search ends where it must and says why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import whyray
from whyray.cards import Preparation
from whyray.explainers._latent import TOLERANCE, Shift, search, shift_of
from whyray.models._autoencoders import Autoencoder
from whyray.networks.autoencoder import SmallAE
from whyray.networks.densenet import DenseNet


def formula(curve: Callable[[Tensor], Tensor], brightness: float = 0.0) -> Shift:
    """One finding whose logit is ``curve(lambda)``; the picture brightens by ``brightness`` a unit of lambda."""
    z, direction = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    base = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)

    def decode(latent: Tensor) -> Tensor:
        return torch.cat([base + latent * brightness, latent.expand(-1, 1, 4, 4)], dim=1)

    def predict(pictures: Tensor) -> Tensor:
        return curve(pictures[:, 1, 0, 0])[:, None]

    return Shift(z, direction, base, predict(decode(z))[0].numpy(), decode, predict)


def test_a_straight_line_is_met_at_once() -> None:
    (bound,) = search(formula(lambda lam: 2 + lam), [0], [1.7], sign=-1, distortion=1.0)
    assert bound.stop == "target" and bound.lam == pytest.approx(-1.7, abs=0.06) and bound.lam <= -1.7
    assert len(bound.seen) <= 8


@pytest.mark.parametrize(("bend", "wanted"), [(0.2, 3.0), (5.0, 1.0), (0.05, 2.5)])
def test_a_bent_curve_is_followed_to_the_accuracy_asked_for(bend: float, wanted: float) -> None:
    def curve(lam: Tensor) -> Tensor:
        return torch.sinh(lam * bend) / bend

    (bound,) = search(formula(curve), [0], [wanted], sign=1, distortion=1e9, accuracy=0.02)
    reached = float(curve(torch.tensor(bound.lam)))
    assert bound.stop == "target" and wanted <= reached <= wanted + 0.02 + 0.02 * wanted


def test_where_the_prediction_turns_back_the_walk_ends() -> None:
    (bound,) = search(formula(lambda lam: 2 - torch.cos(lam * np.pi / 2)), [0], [3.0], sign=1, distortion=1e9)
    assert bound.stop == "monotone" and bound.lam > 1.6
    assert bound.seen[bound.lam][0] >= 2 - TOLERANCE  # the summit is at 2


def test_a_picture_that_changes_too_much_ends_it() -> None:
    (bound,) = search(formula(lambda lam: lam, brightness=0.05), [0], [4.0], sign=1, distortion=0.1)
    assert bound.stop == "distortion" and bound.lam == pytest.approx(1.0, abs=0.03) and bound.lam <= 1.0


def test_what_never_gets_there_ends_at_the_range() -> None:
    (bound,) = search(formula(lambda lam: torch.tanh(lam)), [0], [1.5], sign=1, distortion=1e9)
    assert bound.stop == "range" and bound.lam > 20


def test_no_gradient_no_shift_and_nothing_asked_nothing_done() -> None:
    flat = formula(lambda lam: lam * 0)
    flat.directions.zero_()
    (bound,) = search(flat, [0], [1.0], sign=-1, distortion=1.0)
    assert bound.lam == 0 and bound.stop == "flat"
    (bound,) = search(formula(lambda lam: lam), [0], [0.0], sign=-1, distortion=1.0)
    assert bound.lam == 0 and not bound.seen


def test_directions_are_the_finite_differences_of_each_logit() -> None:
    torch.manual_seed(0)
    network = DenseNet(3, growth=4, blocks=(1, 1), stem=4).double()
    classifier = whyray.wrap(network, findings=["mass", "edema", "hernia"], size=32)
    module = SmallAE(widths=(4, 8, 8), latent=3).double().eval()
    autoencoder = Autoencoder("tiny", module, Preparation(size=(32, 32), mean=(0.5,), std=(0.25,)))
    grey = torch.rand(1, 1, 32, 32, dtype=torch.float64)
    shift = shift_of(classifier, autoencoder, grey, [2, 0])
    assert shift.directions.shape == (2, 3, 4, 4)
    assert np.allclose(shift.predict(shift.base)[0].detach().numpy(), shift.logits, atol=1e-5)
    chosen = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    step = 1e-3
    both = [shift.predict(shift.decode(shift.z + sign * step * chosen))[0, [2, 0]] for sign in (1, -1)]
    slopes = (both[0] - both[1]) / (2 * step)
    expected = (shift.directions * chosen).flatten(1).sum(1)
    assert torch.allclose(slopes.double(), expected, rtol=0.02, atol=2e-4)
    assert all(p.requires_grad for p in network.parameters()) and grey.grad is None


def test_frames_are_the_same_alone_and_in_company() -> None:
    shift = formula(lambda lam: lam**2, brightness=0.1)
    lambdas = np.linspace(-2, 2, 40)
    pictures, logits = shift.frames([0] * 40, lambdas.tolist())
    assert np.allclose(logits[:, 0], lambdas**2) and pictures.shape == (40, 4, 4)
    alone, _ = shift.frames([0], [lambdas[7]])
    assert np.array_equal(alone[0], pictures[7])
