"""Sparse transcoders: few codes a token, whose decoder rows add up to another layer's (or the same layer's) values.

TopK with unit decoder rows (Gao et al., arXiv 2406.04093), JumpReLU with an L1 penalty (Rajamanoharan et al., arXiv
2407.14435) and nested ("Matryoshka") dictionaries (Bussmann et al., arXiv 2503.17547). Dense and differentiable: the
trainer's sparse steps are tested against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from ..errors import SettingError

Kind = Literal["topk", "jumprelu", "matryoshka"]
BAND = 0.1  # width in which a JumpReLU's threshold has a gradient
FIRST_THRESHOLD = 0.05


@dataclass(frozen=True)
class Shape:
    """A transcoder's sizes.

    d_in, d_out, width  numbers read, numbers written, latents.
    k       codes kept a token (not used by "jumprelu").
    levels  "matryoshka": widths of the nested dictionaries, rising, the last one ``width``.
    """

    d_in: int
    d_out: int
    width: int
    k: int
    kind: Kind = "topk"
    levels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.d_in, self.d_out, self.width) < 1 or not 1 <= self.k <= self.width:
            raise SettingError(f"width={self.width}, k={self.k} came; give 1 <= k <= width")
        rising = all(a < b for a, b in zip((0, *self.levels), self.levels))
        if self.kind == "matryoshka" and (not self.levels or not rising or self.levels[-1] != self.width):
            raise SettingError(f"levels={list(self.levels)} came; give rising widths that end with {self.width}")


class Transcoder(nn.Module):
    """``decode(encode(x))``: encoder rows ``[width, d_in]``, decoder rows ``[width, d_out]`` of length 1."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = nn.Parameter(torch.empty(shape.width, shape.d_in))
        self.encoder_bias = nn.Parameter(torch.zeros(shape.width))
        self.decoder = nn.Parameter(torch.randn(shape.width, shape.d_out))
        self.decoder_bias = nn.Parameter(torch.zeros(shape.d_out))
        if shape.kind == "jumprelu":
            self.log_threshold = nn.Parameter(torch.full((shape.width,), FIRST_THRESHOLD).log())
        with torch.no_grad():
            self.normalise()
            tied = shape.d_in == shape.d_out
            self.encoder.copy_(self.decoder if tied else nf.normalize(torch.randn_like(self.encoder), dim=1))

    def normalise(self) -> None:
        """Scale each decoder row to length 1, in place."""
        self.decoder.div_(self.decoder.norm(dim=1, keepdim=True).clamp(min=1e-12))

    def before(self, x: Tensor) -> Tensor:
        """What codes are chosen from: ``[n, d_in]`` -> ``[n, width]``."""
        return nf.linear(x, self.encoder, self.encoder_bias)

    def encode(self, x: Tensor) -> Tensor:
        """Codes ``[n, width]``, 0 or above; nearly all are 0."""
        before = self.before(x)
        if self.shape.kind == "jumprelu":
            codes: Tensor = _Jump.apply(before, self.log_threshold.exp())  # type: ignore[no-untyped-call]
            return codes
        values, chosen = before.topk(self.shape.k, dim=1)
        return torch.zeros_like(before).scatter(1, chosen, values.relu())

    def decode(self, codes: Tensor) -> Tensor:
        """Values ``[n, d_out]`` of codes ``[n, width]``."""
        return codes @ self.decoder + self.decoder_bias

    def nested(self, codes: Tensor) -> Sequence[Tensor]:
        """What the first latents of each level decode to; of a transcoder without levels, ``decode`` alone."""
        levels = self.shape.levels or (self.shape.width,)
        return [codes[:, :n] @ self.decoder[:n] + self.decoder_bias for n in levels]

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class _Jump(torch.autograd.Function):
    """``x`` where it is above its threshold, else 0; the threshold has the gradient of a step smeared over ``BAND``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(x, threshold)
        return x * (x > threshold)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, threshold = ctx.saved_tensors
        near = ((x - threshold).abs() < BAND / 2).to(x.dtype)
        return gradient * (x > threshold), -(threshold / BAND) * (near * gradient).sum(0)
