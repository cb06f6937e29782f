"""Our networks: published names, shapes, and no operation in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whyray._torchvision import ensure_torchvision
from whyray.networks.autoencoder import ResNetAE
from whyray.networks.densenet import DenseNet
from whyray.networks.resnet import ResNet


def models() -> object:
    if ensure_torchvision() == "absent":
        pytest.skip("torchvision is not installed")
    return pytest.importorskip("torchvision.models")


def settled(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """Norms that saw the pictures."""
    with torch.no_grad():
        module.train()(x)
    return module.eval()


def test_densenet_equals_torchvision() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 64)
    theirs = settled(models().DenseNet(8, (2, 3, 2), 16, num_classes=5), x)  # type: ignore[attr-defined]
    ours = DenseNet(5, channels=3, growth=8, blocks=(2, 3, 2), stem=16).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        assert (ours(x) - theirs(x)).abs().max() < 1e-6


def test_full_size_names_and_shapes() -> None:
    for ours, theirs in (
        (DenseNet(18, channels=3), models().densenet121(num_classes=18)),  # type: ignore[attr-defined]
        (ResNet(18, channels=3), models().resnet50(num_classes=18)),  # type: ignore[attr-defined]
    ):
        wanted = {k: v.shape for k, v in theirs.state_dict().items()}
        assert {k: v.shape for k, v in ours.state_dict().items()} == wanted


@pytest.mark.parametrize(
    "module",
    [DenseNet(2, growth=4, blocks=(1, 2), stem=8), ResNet(2, blocks=(1, 2), stem=8), ResNetAE(blocks=(1, 1, 1, 2))],
)
def test_each_relu_is_a_module_of_its_own_used_once_and_not_in_place(module: nn.Module) -> None:
    counts = {name: 0 for name, part in module.named_modules() if isinstance(part, nn.ReLU)}
    handles = [
        part.register_forward_hook(lambda *_given, name=name: counts.__setitem__(name, counts[name] + 1))
        for name, part in module.named_modules()
        if name in counts
    ]
    module.eval()(torch.rand(1, 1, 224, 224))
    [h.remove() for h in handles]
    assert counts and set(counts.values()) == {1}
    assert not any(getattr(part, "inplace", False) for part in module.modules())


def test_autoencoder_shapes() -> None:
    module = ResNetAE(blocks=(1, 1, 1, 1)).eval()
    z = module.encode(torch.rand(1, 1, 224, 224))
    assert z.shape == (1, 512, 3, 3) and module.decode(z).shape == (1, 1, 224, 224)


def test_shim_says_what_it_did() -> None:
    found = ensure_torchvision()
    assert found in ("absent", "works", "patched") and ensure_torchvision() == found
