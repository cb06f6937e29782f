"""ResNet (He et al., CVPR 2016), torchvision's state-dict names, and no in-place operation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .surround import Surround


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
        self.downsample = _shortcut(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(out)))))
        result: Tensor = self.relu3(out + shortcut)
        return result


class BasicBlock(nn.Module):
    """3x3 (with the stride), 3x3, plus the shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        result: Tensor = self.relu2(out + shortcut)
        return result


def _shortcut(channels: int, out: int, stride: int) -> nn.Module | None:
    """What brings a block's input to the shape of its output; None where it has it."""
    if stride == 1 and channels == out:
        return None
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))


class ResNet(nn.Module):
    """``[b, c, h, w]`` -> logits ``[b, f]``; the last ``layerN`` is the last map ``[b, d, h/s, w/s]``, after its ReLU.

    blocks     blocks a stage; (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) is ResNet-101. n stages give
               s = stride * 2 ** (n - 1) and d = stem * 2 ** (n - 1) * expansion: 32 and 2048 of ResNet-50.
    stem       channels of the first convolution and width of the first stage.
    expansion  4 = bottlenecks; 1 = basic blocks: with (2, 2, 2, 2) ResNet-18, with (3, 4, 6, 3) ResNet-34.
    stride     pixels between cells that the first stage reads: 4, or 2 (no max-pooling) for findings of a few pixels.
    surround   widths in pixels: the first convolution also reads what a pixel differs by from its surround.
    dropout    share of the pooled features dropped in training.
    """

    def __init__(
        self,
        findings: int,
        *,
        channels: int = 1,
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        stem: int = 64,
        expansion: int = 4,
        stride: int = 4,
        surround: tuple[int, ...] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if expansion not in (1, 4) or stride not in (2, 4):
            raise ValueError(f"expansion = {expansion}, stride = {stride}; an expansion is 1 or 4, a stride 2 or 4")
        block = Bottleneck if expansion == 4 else BasicBlock
        self.surround = Surround(surround) if surround else nn.Identity()
        self.conv1 = nn.Conv2d(channels * (1 + len(surround)), stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stride == 4 else nn.Identity()
        self.stages = len(blocks)
        width = stem
        for i, count in enumerate(blocks):
            inner = stem * 2**i
            first = block(width, inner, stride=1 if i == 0 else 2)
            width = inner * expansion
            rest = [block(width, inner) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(first, *rest))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, findings)

    def maps(self, x: Tensor) -> Tensor:
        """The last map."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.surround(x)))))
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return x

    @property
    def head(self) -> nn.Linear:
        """What reads the pooled map."""
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(torch.flatten(self.avgpool(self.maps(x)), 1)))
        return logits
