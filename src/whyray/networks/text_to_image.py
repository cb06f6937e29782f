"""From the vector of a text to a picture: a linear layer to a small map, then blocks that double its side."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as nf


class Doubling(nn.Module):
    """Twice the side: two 3x3 convolutions beside a 1x1 shortcut, norms by groups (no batch is remembered)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.GroupNorm(_groups(channels), channels), nn.ReLU(), nn.Upsample(scale_factor=2)),
            *(nn.Conv2d(channels, out, 3, padding=1), nn.GroupNorm(_groups(out), out), nn.ReLU()),
            nn.Conv2d(out, out, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        larger: Tensor = nf.interpolate(self.shortcut(x), scale_factor=2.0)
        return larger + self.body(x)  # type: ignore[no-any-return]


class TextToImage(nn.Module):
    """z ``[b, width]`` -> grey picture ``[b, 1, s, s]`` in 0..1, s = start * 2 ** len(widths).

    widths  channels of each block; the first also those of the map that the linear layer makes.
    """

    def __init__(self, width: int, *, widths: Sequence[int] = (512, 256, 128, 64, 32), start: int = 4) -> None:
        super().__init__()
        self.start, self.first = start, widths[0]
        self.map = nn.Linear(width, widths[0] * start * start)
        before = (widths[0], *widths[:-1])
        self.blocks = nn.Sequential(*(Doubling(a, b) for a, b in zip(before, widths, strict=True)))
        self.last = nn.Sequential(
            nn.GroupNorm(_groups(widths[-1]), widths[-1]), nn.ReLU(), nn.Conv2d(widths[-1], 1, 3, padding=1), nn.Tanh()
        )

    def forward(self, z: Tensor) -> Tensor:
        x = self.map(z).reshape(len(z), self.first, self.start, self.start)
        made: Tensor = self.last(self.blocks(x))
        return (made + 1) / 2


def _groups(channels: int) -> int:
    """Eight groups where they divide the channels."""
    return 8 if channels % 8 == 0 else 1
