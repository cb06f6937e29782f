"""Convolutional autoencoders: ``encode``, ``decode``, and both.

``ResNetAE`` is that of Gifsplanation (Cohen et al., MIDL 2021), with torchxrayvision's state-dict names: encoder
``[b, 1, 224, 224]`` -> ``[b, 512, 3, 3]``, decoder back. Each bottleneck has a ReLU also after its third norm, before
the sum: unusual, and kept, since the published weights were trained with it. ``SmallAE`` goes with small classifiers.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Step(nn.Module):
    """Bottleneck of the encoder or the decoder: 1x1, 3x3, 1x1, each with norm and ReLU, plus the shortcut, ReLU."""

    def __init__(self, channels: int, width: int, out: int, middle: nn.Module, **shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = middle
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu3 = nn.ReLU()
        self.relu = nn.ReLU()
        self.shortcut = next(iter(shortcut), "")  # "downsample", "upsample", or the input itself
        for name, part in shortcut.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.get_submodule(self.shortcut)(x) if self.shortcut else x
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu3(self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(out))))))
        result: Tensor = self.relu(out + shortcut)
        return result


class ResNetAE(nn.Module):
    """``encode``, ``decode`` and both; ``blocks`` (3, 4, 23, 2) is the published one."""

    def __init__(self, *, blocks: Sequence[int] = (3, 4, 23, 2)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for i, (width, stride) in enumerate(((64, 1), (128, 2), (256, 2), (128, 6)), start=1):
            self.add_module(f"layer{i}", _down(channels, width, blocks[i - 1], stride))
            channels = width * 4
        for i, (width, stride) in enumerate(((128, 6), (64, 2), (32, 2), (16, 2)), start=1):
            self.add_module(f"uplayer{i}", _up(channels, width, blocks[4 - i], stride))
            channels = width * 2
        self.uplayer_top = Step(channels, 64, 64, _wider(64, 64, 3, 2), upsample=_enlarging(channels, 64, 2))
        self.conv1_1 = nn.ConvTranspose2d(64, 1, 1, bias=False)

    def encode(self, x: Tensor) -> Tensor:
        """``[b, 1, 224, 224]`` -> latent ``[b, 512, 3, 3]``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(1, 5):
            x = self.get_submodule(f"layer{i}")(x)
        return x

    def decode(self, z: Tensor) -> Tensor:
        """Latent ``[b, 512, 3, 3]`` -> ``[b, 1, 224, 224]`` in the range of the input."""
        for i in range(1, 5):
            z = self.get_submodule(f"uplayer{i}")(z)
        out: Tensor = self.conv1_1(self.uplayer_top(z))
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Residual(nn.Module):
    """x + 1x1, 3x3, 1x1 at half the width, each before its norm; ReLU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU()),
            *(nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half), nn.ReLU()),
            *(nn.Conv2d(half, channels, 1, bias=False), nn.BatchNorm2d(channels)),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(x + self.body(x))
        return out


class Smooth(nn.Module):
    """Each pixel with its neighbours, weights 1 2 1 both ways: no chequerboard is left of interleaved pixels."""

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        return nn.functional.avg_pool2d(nn.functional.avg_pool2d(x, 2, 1), 2, 1)


class SmallAE(nn.Module):
    """``[b, 1, h, w]`` -> latent ``[b, latent, h/s, w/s]``, s = 2 ** len(widths), and back; no activation on either.

    widths    channels after each halving; 5 of them take 224 to 7.
    straight  beside the network one linear layer each way, on overlapping squares of 2 s pixels: it draws the coarse
              picture within minutes of training, and the network learns the rest.
    """

    def __init__(
        self, *, widths: Sequence[int] = (24, 64, 128, 192, 256), latent: int = 128, straight: int = 0
    ) -> None:
        super().__init__()
        down: list[nn.Module] = []
        for before, width in zip((1, *widths[:-1]), widths, strict=True):
            down += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            down += [Residual(width)] if before > 1 else []
        up: list[nn.Module] = [nn.Conv2d(latent, widths[-1], 1, bias=False), nn.BatchNorm2d(widths[-1]), nn.ReLU()]
        for width, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up += [Residual(width), nn.Upsample(scale_factor=2), nn.Conv2d(width, after, 3, padding=1, bias=False)]
            up += [nn.BatchNorm2d(after), nn.ReLU()]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], latent, 1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(widths[0], 4, 3, padding=1), nn.PixelShuffle(2), Smooth())
        s = 2 ** len(widths)
        self.straight = bool(straight)
        if straight:
            self.squares = nn.Conv2d(1, latent, 2 * s, stride=s, padding=s // 2, padding_mode="replicate")
            self.drawn = nn.ConvTranspose2d(latent, 1, 2 * s, stride=s, padding=s // 2)

    def encode(self, x: Tensor) -> Tensor:
        """``[b, 1, h, w]`` -> ``[b, latent, h/s, w/s]``."""
        z: Tensor = self.encoder(x)
        return z + self.squares(x) if self.straight else z

    def decode(self, z: Tensor) -> Tensor:
        """``[b, latent, h', w']`` -> ``[b, 1, h' * s, w' * s]``."""
        x: Tensor = self.decoder(z)
        return x + self.drawn(z) if self.straight else x

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def _down(channels: int, width: int, count: int, stride: int) -> nn.Sequential:
    """A stage of the encoder; the first step has the stride."""
    out = width * 4
    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))
    first = Step(channels, width, out, _same(width, stride), downsample=shortcut)
    return nn.Sequential(first, *(Step(out, width, out, _same(width)) for _ in range(count - 1)))


def _up(channels: int, width: int, count: int, stride: int) -> nn.Sequential:
    """A stage of the decoder; the last step enlarges."""
    out = width * 2
    last = Step(channels, width, out, _wider(width, width, 3, stride), upsample=_enlarging(channels, out, stride))
    return nn.Sequential(*(Step(channels, width, channels, _same(width)) for _ in range(count - 1)), last)


def _same(width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)


def _wider(channels: int, out: int, kernel: int, stride: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out, kernel, stride=stride, padding=kernel // 2, output_padding=1, bias=False)


def _enlarging(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_wider(channels, out, 1, stride), nn.BatchNorm2d(out))
