"""LRP on the modules people have: torchxrayvision's own DenseNet-121, and BiomedCLIP's image tower under open_clip."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whyray
from whyray._torchvision import ensure_torchvision
from whyray.contracts import Context
from whyray.explainers.lrp import Lrp
from whyray.networks.densenet import DenseNet
from whyray.networks.tower import TowerClassifier, TwoLayers

SIDE = 64  # keeps the tests short; the layers are those of 224 pixels
DEFAULT = Lrp()
BOOKED = ("bias", "stabiliser", "attention")
CLIP = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]


def explained(
    net: nn.Module, findings: Sequence[str], size: int, few: int = 3, settings: Lrp = DEFAULT, **preparation: float
) -> Mapping[str, whyray.Attribution]:
    """Maps of the first ``few`` findings, and that every logit is accounted for."""
    model = whyray.wrap(net, findings=findings, size=size, **preparation)  # type: ignore[arg-type]
    picture = whyray.testing.sample_radiographs(1)[0]
    (made,) = settings.explain(model, [picture], model.findings[:few], Context())
    logits = {p.finding: p.logit for p in whyray.predict(model, picture)}
    for finding, found in made.items():
        assert isinstance(found, whyray.Attribution)
        told = float(found.values.sum(dtype=np.float64)) + sum(found.checks[k] for k in found.checks if k in BOOKED)
        assert abs(told - logits[finding]) < 1e-4 * max(1.0, abs(logits[finding]))
        assert abs(found.checks["conservation_gap"]) < 1e-4 and np.abs(found.values).max() > 1e-9
    return {f: a for f, a in made.items() if isinstance(a, whyray.Attribution)}


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """torchxrayvision's module, random weights, statistics of its normalisations from noise in its own range."""
    ensure_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = pytest.importorskip("torchxrayvision").models
        torch.manual_seed(0)
        net: nn.Module = models.DenseNet(num_classes=18, weights=None)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None
    with torch.no_grad():
        net.train().features(torch.rand(4, 1, SIDE, SIDE) * 2048 - 1024)
    return net.eval()


def names() -> list[str]:
    """Eighteen findings, whichever."""
    return [*whyray.load_model("mini").findings, "hernia", "fracture", "lung_lesion"]


@pytest.mark.parametrize(
    "settings",
    [Lrp(), Lrp(composite="epsilon_alpha2_beta1_flat"), Lrp(composite="gamma_box"), Lrp(composite="epsilon")],
    ids=lambda s: s.composite,
)
def test_torchxrayvisions_densenet_accounts_for_every_logit(published: nn.Module, settings: Lrp) -> None:
    explained(published, names(), SIDE, settings=settings, low=-1024, high=1024)


def test_it_is_the_map_of_our_network_with_the_same_weights(published: nn.Module) -> None:
    ours = DenseNet(18)
    ours.load_state_dict(published.state_dict())
    theirs = explained(published, names(), SIDE, low=-1024, high=1024)
    for finding, found in explained(ours.eval(), names(), SIDE, low=-1024, high=1024).items():
        assert np.abs(found.values - theirs[finding].values).max() < 1e-5 * np.abs(found.values).max()


class Finding(nn.Module):
    """open_clip's image tower with the head of CXR-LanIC, its embedding at unit length."""

    def __init__(self, tower: nn.Module, width: int) -> None:
        super().__init__()
        self.visual, self.head = tower, TwoLayers(width, 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(nn.functional.normalize(self.visual(x), dim=-1))
        return logits


@pytest.fixture(scope="module")
def clip() -> nn.Module:
    ensure_torchvision()
    pytest.importorskip("open_clip")
    from open_clip.timm_model import TimmModel

    torch.manual_seed(0)
    return Finding(TimmModel("vit_tiny_patch16_224", 24, pool="", proj="linear"), 24).eval()


@pytest.mark.parametrize("composite", ["epsilon_plus_flat", "epsilon"])
def test_open_clips_tower_accounts_for_every_logit(clip: nn.Module, composite: str) -> None:
    for found in explained(clip, CLIP, 224, 2, Lrp(composite=composite)).values():  # type: ignore[arg-type]
        assert found.checks["attention"] != 0 and "softmax" in found.notes[-1]


def test_it_is_the_map_of_our_tower_with_the_same_weights(clip: nn.Module) -> None:
    ours = TowerClassifier(5, hidden=16, projection=24, width=192, heads=3)
    ours.load_state_dict(clip.state_dict())
    theirs = explained(clip, CLIP, 224, 2)
    for finding, found in explained(ours.eval(), CLIP, 224, 2).items():
        assert np.abs(found.values - theirs[finding].values).max() < 1e-4 * np.abs(found.values).max()


class UnitLength(nn.Module):
    """Pixels at unit length, weighed: the relevance of pixel i is ``w_i x_i / |x|``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Linear(32 * 32, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(nn.functional.normalize(x.flatten(1), dim=-1))
        return logits


def test_a_length_counts_as_a_constant() -> None:
    net, findings = UnitLength(), ["mass", "edema", "hernia"]
    model = whyray.wrap(net, findings=findings, size=32)
    x = model.prepare(whyray.testing.sample_radiographs(1)[0]).pixels[0].astype(np.float64)
    made = explained(net, findings, 32, settings=Lrp(composite="epsilon", epsilon=1e-12))
    for row, found in zip(net.head.weight.detach().double().numpy(), made.values(), strict=True):
        wanted = row.reshape(32, 32) * x / np.linalg.norm(x)
        np.testing.assert_allclose(found.values, wanted, atol=1e-5 * np.abs(wanted).max())
        assert abs(found.checks["bias"]) < 1e-6


class LengthItself(nn.Module):
    """A length as a feature: it is handed to the pixels by their squares."""

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x.flatten(1), dim=1, keepdim=True)
        return torch.cat([length, 2 * length, -length], 1)


def test_a_length_as_a_feature_goes_to_the_pixels_by_their_squares() -> None:
    findings = ["mass", "edema", "hernia"]
    model = whyray.wrap(LengthItself(), findings=findings, size=32, channels=1)
    x = model.prepare(whyray.testing.sample_radiographs(1)[0]).pixels[0].astype(np.float64)
    (first, *_) = explained(LengthItself(), findings, 32).values()
    np.testing.assert_allclose(first.values, x**2 / np.linalg.norm(x), atol=1e-5)
