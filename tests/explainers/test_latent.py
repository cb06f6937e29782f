"""Latent Shift's steps on formulas: the direction is the gradient, the search ends where it must and says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import whyray
from whyray.cards import Preparation
from whyray.explainers._latent import Canvas, Shift, Side, shift_of
from whyray.explainers._latent_search import TOLERANCE, Bound, Rules, Target, relinearised, search
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


def bound_of(shift: Shift, wanted: float, side: Side = 1, distortion: float = 1e9, accuracy: float = 0.05) -> Bound:
    (found,) = search(shift, [Target(0, 0, side, wanted)], Rules(distortion, accuracy=accuracy))
    return found


def test_a_straight_line_is_met_at_once() -> None:
    bound = bound_of(formula(lambda lam: 2 + lam), 1.7, side=-1)
    assert bound.stop == "target" and bound.lam == pytest.approx(-1.7, abs=0.06) and bound.lam <= -1.7
    assert len(bound.seen) <= 8


@pytest.mark.parametrize(("bend", "wanted"), [(0.2, 3.0), (5.0, 1.0), (0.05, 2.5)])
def test_a_bent_curve_is_followed_to_the_accuracy_asked_for(bend: float, wanted: float) -> None:
    def curve(lam: Tensor) -> Tensor:
        return torch.sinh(lam * bend) / bend

    bound = bound_of(formula(curve), wanted, accuracy=0.02)
    reached = float(curve(torch.tensor(bound.lam)))
    assert bound.stop == "target" and wanted <= reached <= wanted + 0.02 + 0.02 * wanted


def test_where_the_prediction_turns_back_the_walk_ends() -> None:
    bound = bound_of(formula(lambda lam: 2 - torch.cos(lam * np.pi / 2)), 3.0)
    assert bound.stop == "monotone" and bound.lam > 1.6
    assert bound.seen[bound.lam][0] >= 2 - TOLERANCE  # the summit is at 2


def test_a_picture_that_changes_too_much_ends_it() -> None:
    bound = bound_of(formula(lambda lam: lam, brightness=0.05), 4.0, distortion=0.1)
    assert bound.stop == "distortion" and bound.lam == pytest.approx(1.0, abs=0.03) and bound.lam <= 1.0


def test_what_never_gets_there_ends_at_the_range() -> None:
    bound = bound_of(formula(lambda lam: torch.tanh(lam)), 1.5)
    assert bound.stop == "range" and bound.lam > 20


def test_no_gradient_no_shift_and_nothing_asked_nothing_done() -> None:
    flat = formula(lambda lam: lam * 0)
    flat.directions.zero_()
    bound = bound_of(flat, 1.0, side=-1)
    assert bound.lam == 0 and bound.stop == "flat"
    bound = bound_of(formula(lambda lam: lam), 0.0, side=-1)
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


def bending() -> Shift:
    """A logit that saturates along its first direction; beyond, it grows along another one. Latent ``[1, 2, 1, 1]``."""

    def curve(latents: Tensor) -> Tensor:
        a, b = latents[:, 0, 0, 0], latents[:, 1, 0, 0]
        return 4 * torch.sigmoid(2 * a) + 4 * b * torch.sigmoid(8 * (a - 1))

    def gradients(latents: Tensor, _which: Sequence[int]) -> Tensor:
        here = latents.detach().requires_grad_()
        return torch.autograd.grad(curve(here).sum(), here)[0]

    z = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    first = gradients(z, [0])

    def decode(latents: Tensor) -> Tensor:
        return latents.reshape(-1, 1, 2, 1)

    def predict(pictures: Tensor) -> Tensor:
        return curve(pictures.reshape(-1, 2, 1, 1))[:, None]

    return Shift(z, first, decode(z), predict(decode(z))[0].numpy(), decode, predict, gradients)


def test_a_way_of_several_steps_gets_where_a_straight_one_does_not() -> None:
    targets, rules = [Target(0, 0, 1, 6.0), Target(0, 0, -1, 1.0)], Rules(1e9)
    _, (straight, down) = relinearised(bending(), targets, rules, 1)
    assert straight.stop != "target" and down.stop == "target"
    shift, (bent, again) = relinearised(bending(), targets, rules, 6)
    assert bent.stop == "target" and again.stop == "target"
    lambdas = np.linspace(0, bent.lam, 30)
    _, logits = shift.frames([0] * 30, lambdas.tolist())
    assert np.all(np.diff(logits[:, 0]) > -TOLERANCE) and 6 <= logits[-1, 0] - logits[0, 0] <= 6.1
    way = shift.latents([0] * 30, lambdas.tolist()).flatten(1)
    steps = way.diff(dim=0).norm(dim=1)
    unit = float(shift.directions.norm()) * lambdas[1]
    assert steps.max() <= unit * 1.0001 and steps.sum() > 0.97 * 29 * unit  # lambda is the length of the way


def test_a_bent_way_keeps_what_was_paid_for_before_the_bend() -> None:
    shift = bending()
    before = shift.latents([0, 0], [0.2, -0.2])
    shift.frames([0, 0, 0], [0.2, 0.9, -0.2])
    bent = shift.bent(1, {0: 0.5})
    assert set(bent.paid) == {(0, 0.2), (0, -0.2)} and torch.equal(bent.latents([0, 0], [0.2, -0.2]), before)
    assert not torch.allclose(bent.latents([0], [0.9]), shift.latents([0], [0.9]))
    assert shift.bent(1, {}) is shift


def test_a_place_is_paid_for_once() -> None:
    shift = formula(lambda lam: lam)
    calls = []
    counted = replace(shift, decode=lambda z: (calls.append(len(z)), shift.decode(z))[1])
    counted.frames([0, 0, 0, 0], [0.0, 1.0, 2.0, 1.0])
    counted.frames([0, 0], [2.0, 0.0])
    assert sum(calls) == 2


def test_a_canvas_mixes_and_keeps_to_its_region() -> None:
    original, first, made = (torch.full((1, 1, 2, 2), v) for v in (0.2, 0.4, 1.4))
    region = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    assert torch.allclose(Canvas(original, first, mix=0.25).shown(made), torch.full((1, 1, 2, 2), 1.0))
    inside = Canvas(original, first, region=region).shown(made)[0, 0]
    assert torch.allclose(inside, torch.tensor([[1.0, 0.9], [0.4, 0.4]]))
    assert float(Canvas(original, first, clip=False).shown(made).max()) == pytest.approx(1.4)
