"""Our networks: published names, shapes, and no operation in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whyray._torchvision import ensure_torchvision
from whyray.networks.autoencoder import ResNetAE
from whyray.networks.densenet import DenseNet
from whyray.networks.resnet import ResNet
from whyray.networks.surround import Surround


def models() -> object:
    if ensure_torchvision() == "absent":
        pytest.skip("torchvision is not installed")
    return pytest.importorskip("torchvision.models")


FINE = ResNet(2, blocks=(1, 2), stem=8, expansion=1, stride=2, surround=(5, 13))


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


@pytest.mark.parametrize(
    ("name", "expansion", "blocks"), [("resnet18", 1, (2, 2, 2, 2)), ("resnet50", 4, (3, 4, 6, 3))]
)
def test_resnet_equals_torchvision(name: str, expansion: int, blocks: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 64)
    theirs = settled(getattr(models(), name)(num_classes=5), x)
    ours = ResNet(5, channels=3, expansion=expansion, blocks=blocks).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        gap = (ours(x) - theirs(x)).abs().max()
        assert gap < 1e-5 * theirs(x).abs().max()
        assert torch.allclose(ours.head(ours.maps(x).mean((2, 3))), ours(x), atol=1e-5)


def test_a_resnet_without_max_pooling_keeps_twice_the_cells() -> None:
    x = torch.rand(1, 1, 64, 64)
    made = [ResNet(2, blocks=(1, 1), stem=8, expansion=1, stride=stride).eval().maps(x).shape for stride in (4, 2)]
    assert made == [(1, 16, 8, 8), (1, 16, 16, 16)]


def test_the_surround_is_the_mean_of_the_square_as_far_as_there_is_a_picture() -> None:
    x = torch.rand(2, 2, 9, 12)
    made = Surround((3, 7))(x)
    assert made.shape == (2, 6, 9, 12) and torch.equal(made[:, :2], x)
    for k, width in enumerate((3, 7)):
        half = width // 2
        for row, column in ((0, 0), (4, 5), (8, 11), (2, 10)):
            square = x[:, :, max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
            wanted = 64 / width * (x[:, :, row, column] - square.mean((2, 3)))
            assert torch.allclose(made[:, 2 + 2 * k : 4 + 2 * k, row, column], wanted, atol=1e-4)
    with pytest.raises(ValueError, match="odd"):
        Surround((4,))


def test_full_size_names_and_shapes() -> None:
    for ours, theirs in (
        (DenseNet(18, channels=3), models().densenet121(num_classes=18)),  # type: ignore[attr-defined]
        (ResNet(18, channels=3), models().resnet50(num_classes=18)),  # type: ignore[attr-defined]
        (ResNet(18, channels=3, blocks=(2, 2, 2, 2), expansion=1), models().resnet18(num_classes=18)),  # type: ignore[attr-defined]
    ):
        wanted = {k: v.shape for k, v in theirs.state_dict().items()}
        assert {k: v.shape for k, v in ours.state_dict().items()} == wanted


@pytest.mark.parametrize(
    "module",
    [
        DenseNet(2, growth=4, blocks=(1, 2), stem=8),
        ResNet(2, blocks=(1, 2), stem=8),
        FINE,
        ResNetAE(blocks=(1, 1, 1, 2)),
    ],
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
