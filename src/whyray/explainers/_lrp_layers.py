"""The linear layers of a program: convolution, fully connected, and the affine layer of each channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from ._lrp_graph import Step
    from ._lrp_rules import Layer


@dataclass(eq=False)
class Affine:
    """What the three share: the weight's positive and negative part, made once and held with the step."""

    weight: Tensor
    bias: Tensor | None
    held: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def diagonal(self) -> bool:
        return False

    def alike(self, r: Tensor) -> tuple[Tensor, Tensor]:
        return r, torch.ones_like(self.weight)

    def positive(self) -> Tensor:
        return self._made("positive", lambda: self.weight.clamp(min=0))

    def negative(self) -> Tensor:
        return self._made("negative", lambda: self.weight.clamp(max=0))

    def _made(self, name: str, make: Any) -> Tensor:
        if name not in self.held:
            self.held[name] = make()
        made: Tensor = self.held[name]
        return made


@dataclass(eq=False)
class Convolution(Affine):
    """2-D convolution of ``[b, c, h, w]``; ``shape`` is the input's."""

    shape: tuple[int, ...] = ()
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def back(self, s: Tensor, weight: Tensor) -> Tensor:
        """The transposed convolution; with stride 1 as a plain convolution, which is the faster kernel."""
        flat = s.flatten(0, 1)
        sides = list(zip(weight.shape[2:], self.padding, self.dilation, strict=True))
        around = [d * (k - 1) - p for k, p, d in sides]
        if self.groups == 1 and self.stride == (1, 1) and min(around) >= 0:
            out = functional.conv2d(flat, self._flipped(weight), None, 1, around, self.dilation)
        else:
            sizes = zip(self.shape[2:], flat.shape[2:], self.stride, sides, strict=True)
            rest = [n - ((m - 1) * st - 2 * p + d * (k - 1) + 1) for n, m, st, (k, p, d) in sizes]
            out = functional.conv_transpose2d(
                flat, weight, None, self.stride, self.padding, rest, self.groups, self.dilation
            )
        return out.reshape(*s.shape[:2], *out.shape[1:])

    def over_outputs(self, s: Tensor) -> Tensor:
        return s.sum((1, 3, 4))

    def alike(self, r: Tensor) -> tuple[Tensor, Tensor]:
        if self.groups > 1:
            return super().alike(r)
        return r.sum(2, keepdim=True), torch.ones_like(self.weight[:1])

    def _flipped(self, weight: Tensor) -> Tensor:
        def flip() -> Tensor:
            return weight.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)

        for name in ("positive", "negative"):
            if self.held.get(name) is weight:
                return self._made(name + " flipped", flip)
        return self._made("flipped", flip) if weight is self.weight else flip()


@dataclass(eq=False)
class Connected(Affine):
    """A fully connected layer on ``[b, ..., c]``."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(x, weight, bias)

    def back(self, s: Tensor, weight: Tensor) -> Tensor:
        return s @ weight

    def over_outputs(self, s: Tensor) -> Tensor:
        return s.flatten(1, -2).sum(1)


@dataclass(eq=False)
class PerChannel(Affine):
    """``weight[c] x + bias[c]`` on ``[b, c, ...]``: normalisation in evaluation mode."""

    @property
    def diagonal(self) -> bool:
        return True

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        z = x * along(weight, x)
        return z if bias is None else z + along(bias, x)

    def back(self, s: Tensor, weight: Tensor) -> Tensor:
        return s * along(weight, s[0])

    def over_outputs(self, s: Tensor) -> Tensor:
        return s.sum([i for i in range(1, s.ndim) if i != 2])


def along(v: Tensor, x: Tensor) -> Tensor:
    """``v [c]`` so that it broadcasts to ``x [b, c, ...]``."""
    return v.reshape(-1, *([1] * (x.ndim - 2)))


def layer_of(step: Step, x: Tensor) -> Layer:
    """The linear layer that a step is, for an input like ``x``."""
    if step.op == "linear":
        return Connected(step.args[1], step.arg(2, "bias"), step.held)
    if step.op == "batch_norm":
        weight, bias = folded_norm(step)
        return PerChannel(weight, bias, step.held)
    stride, padding, dilation = (pair(step.arg(i, n, d)) for i, n, d in CONV_ARGUMENTS)
    groups = int(step.arg(6, "groups", 1))
    shape = tuple(x.shape)
    return Convolution(step.args[1], step.arg(2, "bias"), step.held, shape, stride, padding, dilation, groups)


CONV_ARGUMENTS = ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))


def pair(value: Any) -> tuple[int, int]:
    """(rows, columns) of an argument given once or twice."""
    both = (value, value) if isinstance(value, int) else tuple(value) * (2 if len(value) == 1 else 1)
    return int(both[0]), int(both[1])


def folded_norm(step: Step) -> tuple[Tensor, Tensor]:
    """Scale and shift ``[c]`` of a batch normalisation in evaluation mode."""
    _, weight, bias, mean, variance, _, _, small = step.args[:8]
    scale = torch.rsqrt(variance.double() + small)
    scale = scale * weight.double() if weight is not None else scale
    shift = -mean.double() * scale
    shift = shift + bias.double() if bias is not None else shift
    return scale.to(mean.dtype), shift.to(mean.dtype)
