"""ResNet with bottlenecks (He et al., CVPR 2016), torchvision's state-dict names, and no in-place operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to four times the width, plus the shortcut."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu3 = nn.ReLU()
        if stride != 1 or channels != out:
            self.downsample: nn.Module | None = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )
        else:
            self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(out)))))
        result: Tensor = self.relu3(out + shortcut)
        return result


class ResNet(nn.Module):
    """``[b, c, h, w]`` -> logits ``[b, f]``; ``layer4`` is the last map ``[b, 2048, h/32, w/32]``, after its ReLU.

    blocks  bottlenecks a stage; (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) is ResNet-101.
    stem    channels of the first convolution and width of the first stage.
    """

    def __init__(
        self, findings: int, *, channels: int = 1, blocks: tuple[int, ...] = (3, 4, 6, 3), stem: int = 64
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        width = stem
        for i, count in enumerate(blocks):
            inner = stem * 2**i
            first = Bottleneck(width, inner, stride=1 if i == 0 else 2)
            width = inner * Bottleneck.expansion
            rest = [Bottleneck(width, inner) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(first, *rest))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, findings)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits
