"""LRP against zennit 0.5.1: DenseNet-121 as it stands, VGG, and ResNet with zennit's canonizer."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whyray
from whyray._torchvision import ensure_torchvision
from whyray.contracts import Context
from whyray.explainers._lrp_canon import canonical
from whyray.explainers._lrp_graph import recorded
from whyray.explainers._lrp_rules import Stabiliser
from whyray.explainers._lrp_run import composite, relevance
from whyray.explainers.lrp import Lrp
from whyray.findings import crosswalk
from whyray.networks.densenet import DenseNet

ensure_torchvision()
composites = pytest.importorskip("zennit.composites")
attribution = pytest.importorskip("zennit.attribution")
canonizers = pytest.importorskip("zennit.torchvision")
FINDINGS = list(crosswalk("xrv-18").values())


def calibrated(module: nn.Module, size: int) -> nn.Module:
    """Normalisation that fits random pictures: activations of order one."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    with torch.no_grad():
        module.train()(torch.rand(2, 1, size, size))
    return module.eval().requires_grad_(False)


def zennit(module: nn.Module, composite: object, x: Tensor, columns: range) -> np.ndarray:
    """One call a finding, seeded with its logit."""
    logits = module(x).detach()
    maps = []
    for column in columns:
        seed = torch.zeros_like(logits)
        seed[0, column] = logits[0, column]
        with attribution.Gradient(model=module, composite=composite) as attributor:
            maps.append(attributor(x.clone(), seed)[1][0].sum(0).numpy())
    return np.stack(maps)


def ours(module: nn.Module, findings: list[str], size: int, settings: Lrp) -> tuple[np.ndarray, Tensor]:
    model = whyray.wrap(module, findings=findings, size=size)
    picture = whyray.testing.sample_radiographs(1, size)[0]
    (made,) = settings.explain(model, [picture], findings, Context())
    maps = [a.values for a in made.values() if isinstance(a, whyray.Attribution)]
    return np.stack(maps), torch.from_numpy(model.prepare(picture).pixels.copy())[None]


def assert_equal(mine: np.ndarray, theirs: np.ndarray, tolerance: float) -> None:
    for a, b in zip(mine, theirs, strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


def test_densenet121_as_it_stands_18_findings() -> None:
    """The network of the field; 64 pixels keep the test short (the benchmark does it at 224)."""
    torch.manual_seed(0)
    module = calibrated(DenseNet(18), 64)
    mine, x = ours(module, FINDINGS, 64, Lrp(canonise=False))
    assert_equal(mine, zennit(module, composites.EpsilonPlusFlat(), x, range(18)), 1e-6)


def vgg() -> nn.Module:
    """Blocks of two convolutions, pooled by maximum, and two connected layers."""
    layers: list[nn.Module] = []
    for wide, narrow in ((1, 8), (8, 16)):
        layers += [nn.Conv2d(wide, narrow, 3, padding=1), nn.ReLU(), nn.Conv2d(narrow, narrow, 3, padding=1)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(16 * 64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 3)
    ).eval()


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        (Lrp(), lambda: composites.EpsilonPlusFlat()),
        (Lrp(composite="gamma_box"), lambda: composites.EpsilonGammaBox(low=0.0, high=1.0)),
        (Lrp(composite="epsilon_alpha2_beta1_flat"), lambda: composites.EpsilonAlpha2Beta1Flat()),
    ],
)
def test_vgg(settings: Lrp, theirs: object) -> None:
    torch.manual_seed(1)
    module = vgg()
    mine, x = ours(module, FINDINGS[:3], 32, settings)
    assert_equal(mine, zennit(module, theirs(), x, range(3)), 1e-5)  # type: ignore[operator]


def test_resnet_with_its_canonizer() -> None:
    """In float64: sums of a residual that nearly cancel turn float32 rounding into 1e-3, zennit's own too."""
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(2)
    module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    module = calibrated(module, 64).double()
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_var += norm.eps  # what zennit leaves of a merged normalisation would still divide by it
        norm.eps = 0.0
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    chosen = composite("epsilon_plus_flat", Stabiliser(1e-6), (x, x), merge=True)
    mine, _, _ = relevance(canonical(recorded(module, x)), chosen, x, range(3), lambda _: None)
    theirs = zennit(module, composites.EpsilonPlusFlat(canonizers=[canonizers.ResNetCanonizer()]), x, range(3))
    assert_equal(mine.sum(1).numpy(), theirs, 1e-6)


def test_a_hidden_identity_changes_nothing() -> None:
    torch.manual_seed(1)
    plain = vgg()
    torch.manual_seed(1)
    parts = OrderedDict((f"l{i}", m) for i, m in enumerate(vgg().children()))
    parts["l2"] = nn.Sequential(parts["l2"], nn.Identity(), nn.Dropout())
    a, _ = ours(plain, FINDINGS[:3], 32, Lrp())
    b, _ = ours(nn.Sequential(parts).eval(), FINDINGS[:3], 32, Lrp())
    np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(a).max())
