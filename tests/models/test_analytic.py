"""The formula classifier: its true maps are true, and the contract of TorchClassifier holds on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whyray.errors import InputError, UnknownName
from whyray.models import analytic
from whyray.models._torch import TorchClassifier
from whyray.types import Radiograph


@pytest.fixture
def classifier() -> TorchClassifier:
    return analytic.load("")


@pytest.fixture
def x(classifier: TorchClassifier) -> torch.Tensor:
    pictures = np.random.default_rng(0).random((2, 150, 190)).astype(np.float32)
    return torch.from_numpy(np.stack([classifier.prepare(Radiograph(p)).pixels for p in pictures]))


def test_true_maps_sum_to_the_logit(classifier: TorchClassifier, x: torch.Tensor) -> None:
    logits = classifier.logits(x)
    for picture, row in zip(x.numpy(), logits, strict=True):
        for finding, logit in zip(classifier.findings, row.tolist(), strict=True):
            assert analytic.true_maps(picture)[finding].sum() + analytic.BIAS == pytest.approx(logit, abs=1e-5)


def test_features_times_gradient_is_the_true_map(classifier: TorchClassifier, x: torch.Tensor) -> None:
    logits, taps = classifier.run(x, ("features",))
    for column, finding in enumerate(classifier.findings):
        (gradient,) = torch.autograd.grad(logits[:, column].sum(), taps["features"], retain_graph=True)
        maps = (gradient * taps["features"]).sum(1).detach().numpy()
        truth = np.stack([analytic.true_maps(p)[finding] for p in x.numpy()])
        assert np.abs(maps - truth).max() < 1e-6


def test_heads_give_the_logits(classifier: TorchClassifier, x: torch.Tensor) -> None:
    logits, taps = classifier.run(x, ("features", "embedding"))
    for name, value in taps.items():
        assert torch.equal(classifier.head(name, value), logits)


def test_evidence_lies_in_its_box(classifier: TorchClassifier) -> None:
    dark = torch.full((1, 1, 128, 128), 0.2)
    lit = dark.clone()
    lit[..., 24:48, 24:48] = 1  # the nodule's box
    change = classifier.logits(lit) - classifier.logits(dark)
    assert change[0, 0] > 5 and change[0, 1:].abs().max() == 0


def test_refusals(classifier: TorchClassifier) -> None:
    with pytest.raises(UnknownName, match="tap of analytic"):
        classifier.run(torch.zeros(1, 1, 128, 128), ("hidden",))
    with pytest.raises(InputError, match="shape"):
        classifier.logits(torch.zeros(1, 3, 128, 128))
    with pytest.raises(UnknownName):
        analytic.load("hard")
