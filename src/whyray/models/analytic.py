"""A classifier that is a formula: each finding reads known boxes, so its true map is known. For tests and audits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..cards import Card, Preparation
from ..errors import UnknownName
from ._taps import Tap
from ._torch import Head, TorchClassifier, Wiring

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE, CELLS = 128, 16
LEVEL, SHARPNESS = 0.5, 12.0
# finding -> [(top, left, bottom, right) in cells, weight], on a grid of CELLS x CELLS that covers the input.
RULES: dict[str, list[tuple[tuple[int, int, int, int], float]]] = {
    "nodule": [((3, 3, 6, 6), 8.0)],
    "cardiomegaly": [((8, 6, 13, 12), 6.0), ((2, 6, 4, 10), -6.0)],
    "pleural_effusion": [((12, 1, 15, 5), 5.0), ((12, 11, 15, 15), 5.0)],
}
BIAS = -2.0


class BrightBoxes(nn.Module):
    """``logit = bias + mean of (weight map * sigmoid(sharpness * (brightness - level)))`` over cells, as a network.

    Its last spatial map ``cells`` ``[b, f, 16, 16]`` holds, per finding, the soft indicator of a bright cell times
    that finding's weights; then pooling and a linear layer. So the closed form of Grad-CAM is the truth.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        findings = len(weights)
        self.blur = nn.AvgPool2d(SIZE // CELLS)
        self.register_buffer("weights", weights)  # [f, 16, 16]
        self.cells = nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(findings, findings)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.eye(findings))
            self.classifier.bias.fill_(BIAS)

    def forward(self, x: Tensor) -> Tensor:
        bright = torch.sigmoid(SHARPNESS * (self.blur(x) - LEVEL))  # [b, 1, 16, 16]
        maps = self.cells(bright * self.get_buffer("weights"))
        logits: Tensor = self.classifier(self.pool(maps).flatten(1))
        return logits


def load(argument: str = "") -> TorchClassifier:
    """The formula classifier; ``argument`` must be empty."""
    if argument:
        raise UnknownName("variant of analytic", argument, ("(none)",))
    weights = torch.from_numpy(np.stack([true_weights(f) for f in RULES]) * CELLS * CELLS)
    module = BrightBoxes(weights).eval().requires_grad_(False)
    taps = {"features": Tap("cells"), "embedding": Tap("classifier", "input", "flat")}
    heads: dict[str, Head] = {
        "features": lambda v: module.classifier(module.pool(v).flatten(1)),
        "embedding": module.classifier,
    }
    card = Card(
        name="analytic",
        licence="Apache-2.0",
        training="none: a formula",
        preparation=Preparation(size=(SIZE, SIZE)),
        limits=("Reads brightness in fixed boxes; it knows nothing of disease.",),
    )
    return TorchClassifier(module, tuple(RULES), card, architecture="bright-boxes", wiring=Wiring(taps, heads))


def true_weights(finding: str) -> NDArray[np.float32]:
    """float32 ``[16, 16]``: what a fully bright cell adds to the logit; zero where the finding does not read."""
    if finding not in RULES:
        raise UnknownName("finding of analytic", finding, tuple(RULES))
    out = np.zeros((CELLS, CELLS), np.float32)
    for (top, left, bottom, right), weight in RULES[finding]:
        out[top:bottom, left:right] += weight / ((bottom - top) * (right - left))
    return out


def true_maps(pixels: NDArray[np.float32]) -> Mapping[str, NDArray[np.float64]]:
    """finding -> float64 ``[16, 16]``: each cell's exact part of ``logit - bias`` of an input ``[1, 128, 128]``."""
    side = SIZE // CELLS
    bright = np.asarray(pixels[0], np.float64).reshape(CELLS, side, CELLS, side).mean((1, 3))
    indicator = 1 / (1 + np.exp(-SHARPNESS * (bright - LEVEL)))
    return {f: true_weights(f) * indicator for f in RULES}
