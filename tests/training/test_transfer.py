"""Transfer from other networks: every tensor but the head arrives, three colours summed into one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from whyray._torchvision import ensure_torchvision
from whyray.errors import SettingError
from whyray.networks.densenet import DenseNet
from whyray.networks.resnet import ResNet
from whyray.training.transfer import start_from


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """timm's DenseNet-121 with random weights in place of the published ones, which would have to be fetched."""
    ensure_torchvision()
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    made = timm.create_model("densenet121", pretrained=False)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: made)
    return made


def test_from_timm(source: torch.nn.Module) -> None:
    module = DenseNet(5)
    head = module.classifier.weight.detach().clone()
    start_from(module, "timm:densenet121", ["a", "b", "c", "d", "e"])
    theirs, ours = source.state_dict(), module.state_dict()
    first = "features.conv0.weight"
    torch.testing.assert_close(ours[first], theirs[first].sum(1, keepdim=True))
    same = [k for k in ours if k != first and not k.startswith("classifier.")]
    assert all(torch.equal(ours[k], theirs[k]) for k in same) and len(same) > 600
    assert torch.equal(ours["classifier.weight"], head)


def test_a_resnet_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = ResNet(5, channels=3, blocks=(1, 1), stem=8).state_dict()
    save_file({k: v.contiguous() for k, v in theirs.items()}, tmp_path / "theirs.safetensors")
    module = ResNet(5, blocks=(1, 1), stem=8)
    head = module.fc.weight.detach().clone()
    start_from(module, str(tmp_path / "theirs.safetensors"), ["a", "b", "c", "d", "e"])
    ours = module.state_dict()
    torch.testing.assert_close(ours["conv1.weight"], theirs["conv1.weight"].sum(1, keepdim=True))
    same = [k for k in ours if k != "conv1.weight" and not k.startswith("fc.")]
    assert all(torch.equal(ours[k], theirs[k]) for k in same) and torch.equal(ours["fc.weight"], head)


def test_another_architecture_is_refused_with_the_first_tensor_that_does_not_fit(source: torch.nn.Module) -> None:
    with pytest.raises(SettingError, match="fits"):
        start_from(DenseNet(2, growth=8, blocks=(2, 2)), "timm:densenet121", ["a", "b"])
