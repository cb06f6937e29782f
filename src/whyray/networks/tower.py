"""CLIP's image tower (Radford et al., ICML 2021) with open_clip's state-dict names, and the two-layer head on it."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from .vit import VisionTransformer


class Tower(nn.Module):
    """``[b, c, s, s]`` -> embedding ``[b, projection]`` of unit length.

    The class token of a vision transformer through a linear map without bias, as open_clip's wrapper of timm has it.
    """

    def __init__(
        self,
        *,
        projection: int = 512,
        channels: int = 3,
        size: int = 224,
        patch: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
    ) -> None:
        super().__init__()
        self.trunk = VisionTransformer(channels=channels, size=size, patch=patch, width=width, depth=depth, heads=heads)
        self.head = nn.Sequential(OrderedDict(proj=nn.Linear(width, projection, bias=False)))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(self.head(self.trunk(x)), dim=-1)


class TwoLayers(nn.Module):
    """Embedding ``[b, d]`` -> fc1, ReLU (``[b, hidden]``), fc2 -> logits ``[b, f]``."""

    def __init__(self, width: int, hidden: int, findings: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.fc1 = nn.Linear(width, hidden)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden, findings)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc2(self.relu(self.fc1(self.drop(x))))
        return logits


class TowerClassifier(nn.Module):
    """``[b, c, s, s]`` -> logits ``[b, f]``: a tower, and ``hidden`` units between its embedding and the findings."""

    def __init__(self, findings: int, *, hidden: int = 256, projection: int = 512, **tower: int) -> None:
        super().__init__()
        self.visual = Tower(projection=projection, **tower)
        self.head = TwoLayers(projection, hidden, findings)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.visual(x))
        return logits
