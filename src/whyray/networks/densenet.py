"""DenseNet (Huang et al., CVPR 2017), state-dict names of torchvision and torchxrayvision, no in-place operation.

One module serves DenseNet-121 with published weights and the small bundled network. Every ReLU is a module of its
own, used once, so that hooks and relevance rules see each step.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class DenseLayer(nn.Module):
    """norm-relu-conv1x1-norm-relu-conv3x3; returns only its own ``growth`` new channels."""

    def __init__(self, channels: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(channels, bottleneck * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck * growth)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(bottleneck * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))
        return out


class DenseBlock(nn.ModuleDict):
    """Layers that each read everything before them."""

    def __init__(self, layers: int, channels: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        for i in range(layers):
            self[f"denselayer{i + 1}"] = DenseLayer(channels + i * growth, growth, bottleneck)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.values():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transition(nn.Sequential):
    """Half the channels, half the resolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(channels),
                relu=nn.ReLU(),
                conv=nn.Conv2d(channels, out, 1, bias=False),
                pool=nn.AvgPool2d(2, 2),
            )
        )


class DenseNet(nn.Module):
    """``[b, c, h, w]`` -> logits ``[b, f]``; ``last_relu`` is the last map ``[b, d, h/s, w/s]``, after its ReLU.

    blocks   layers a block; (6, 12, 24, 16) is DenseNet-121 with s = 32; n blocks give s = 2 ** (n + 1).
    dropout  share of the pooled features dropped in training.
    """

    def __init__(
        self,
        findings: int,
        *,
        channels: int = 1,
        growth: int = 32,
        blocks: tuple[int, ...] = (6, 12, 24, 16),
        stem: int = 64,
        bottleneck: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv0=nn.Conv2d(channels, stem, 7, stride=2, padding=3, bias=False),
                norm0=nn.BatchNorm2d(stem),
                relu0=nn.ReLU(),
                pool0=nn.MaxPool2d(3, 2, 1),
            )
        )
        width = stem
        for i, layers in enumerate(blocks, start=1):
            self.features.add_module(f"denseblock{i}", DenseBlock(layers, width, growth, bottleneck))
            width += layers * growth
            if i < len(blocks):
                self.features.add_module(f"transition{i}", Transition(width, width // 2))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.last_relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width, findings)

    def maps(self, x: Tensor) -> Tensor:
        """The last map."""
        out: Tensor = self.last_relu(self.features(x))
        return out

    @property
    def head(self) -> nn.Linear:
        """What reads the pooled map."""
        return self.classifier

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.pool(self.maps(x)).flatten(1)))
        return logits
