"""A picture beside what it differs by from its surround, for findings that are small, faint and lie on bright things.

Centre minus surround is the oldest step of computer-aided detection (the difference image of Giger et al., Medical
Physics 1988). A network can learn it, but from a picture of chest-wide contrasts it does so slowly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

GAIN = 64.0  # over the width: what differs from few pixels differs by little


class Surround(nn.Module):
    """``[b, c, h, w]`` -> ``[b, c (1 + n), h, w]``: the picture, then for each of ``widths`` (odd, in pixels) the
    picture less the mean of a square of so many pixels, times 64 / width. Nothing is learned; beyond the border is
    nothing, so that a mean there is one of fewer pixels."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        if any(width < 3 or width % 2 == 0 for width in self.widths):
            raise ValueError(f"surround = {list(widths)}; give odd widths of 3 pixels and more")

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, *(GAIN / width * (x - _mean(x, width)) for width in self.widths)], 1)


def _mean(x: Tensor, width: int) -> Tensor:
    """Of the square around each pixel: of rows, then of columns. One channel at a time: many at once are slower."""
    half = width // 2
    rows = nf.avg_pool2d(x.flatten(0, 1), (1, width), 1, (0, half), count_include_pad=False)
    return nf.avg_pool2d(rows, (width, 1), 1, (half, 0), count_include_pad=False).reshape(x.shape)
