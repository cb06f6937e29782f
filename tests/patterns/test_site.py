"""Where patterns are read: the read-out is exact, and a tap that is not linear is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import whyray
from whyray.errors import UnmetNeed
from whyray.models._resolve import load_model
from whyray.patterns.site import Basis, read_tokens, site_from, site_of, site_tensors


class Small(nn.Module):
    """A convolution, pooling, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3, stride=8), nn.ReLU())
        self.classifier = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def small() -> whyray.Classifier:
    return whyray.wrap(Small(), findings=["edema", "mass"], size=64, name="small", layer="features")


def bent(taps: tuple[str, ...]) -> whyray.Classifier:
    """The same, with a head that is not linear in its features (and linear in the embedding, where that is a tap)."""
    classifier = small()
    straight = classifier.head

    def head(tap: str, value: torch.Tensor) -> torch.Tensor:
        found = straight("features", value if value.ndim == 4 else value[:, :, None, None])
        return found if tap == "embedding" else found**3

    def run(x: torch.Tensor, asked: tuple[str, ...]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        logits, seen = type(classifier).run(classifier, x, ("features",))
        values = {"features": seen["features"], "embedding": seen["features"].mean((2, 3))}
        return logits, {tap: values[tap] for tap in asked}

    return Bent(classifier, taps, head, run)


class Bent:
    """Stands in for a classifier: its taps, and a head of its own."""

    def __init__(self, classifier: whyray.Classifier, taps: tuple[str, ...], head: object, run: object) -> None:
        self.name, self.card, self.findings = classifier.name, classifier.card, classifier.findings
        self.taps, self.head, self.run = dict.fromkeys(taps, ""), head, run


def test_logits_follow_from_the_mean_of_the_cells() -> None:
    mini = load_model("mini")
    site = site_of(mini)
    x = torch.rand(3, 1, 224, 224, generator=torch.Generator().manual_seed(5))
    tokens, out, logits = read_tokens(mini, site, x)
    assert tokens.shape == (3, site.cells, site.d_in) and out is not None
    np.testing.assert_allclose(site.bias + out.mean(1) @ site.weights.T, logits, atol=1e-4)


def test_the_read_out_is_the_linear_layer() -> None:
    classifier = small()
    site = site_of(classifier)
    layer = classifier.module.classifier
    np.testing.assert_allclose(site.weights, layer.weight.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(site.bias, layer.bias.detach().numpy(), atol=1e-6)
    assert (site.tap_in, site.tap_out, site.grid, site.d_in) == ("features", "features", (8, 8), 6)


def test_a_bent_head_is_refused_and_read_behind_the_bend_where_that_is_a_tap() -> None:
    with pytest.raises(UnmetNeed, match=r"not linear .* name another tap"):
        site_of(bent(("features",)))
    site = site_of(bent(("features", "embedding")))
    assert (site.tap_in, site.tap_out, site.grid, site.d_in) == ("embedding", "embedding", (1, 1), 6)


def test_taps_of_two_grids_and_unknown_taps_are_refused() -> None:
    mini = load_model("mini")
    with pytest.raises(UnmetNeed, match="one grid"):
        site_of(mini, "features", "embedding")
    with pytest.raises(UnmetNeed, match="no tap 'hidden'"):
        site_of(mini, "hidden")


def test_the_classifier_is_left_as_it_was() -> None:
    classifier = small()
    module = classifier.module.train()
    site_of(classifier)
    assert module.training and all(p.requires_grad and p.grad is None for p in module.parameters())


def test_a_site_comes_back_from_its_facts_and_tensors() -> None:
    site = site_of(load_model("mini"), "embedding")
    again = site_from(site.facts, site_tensors(site))
    assert again.facts == site.facts
    np.testing.assert_array_equal(again.weights, site.weights)


def test_a_basis_projects_what_is_left_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    rows = np.linalg.qr(rng.normal(size=(6, 6)))[0][:3].astype(np.float32)
    basis = Basis(rng.normal(size=6).astype(np.float32), rows)
    tokens = rng.normal(size=(2, 4, 6))
    slow = [[[float(r @ (t - basis.mean)) for r in rows] for t in picture] for picture in tokens]
    np.testing.assert_allclose(basis.project(tokens), slow, atol=1e-5)
