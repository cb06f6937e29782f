"""How a linear layer hands relevance down: epsilon, z+, alpha-beta, gamma, flat and the box rule at the pixels.

Bach et al., PLoS ONE 2015; Montavon et al., Pattern Recognition 2017 (z+, box) and 2019 (gamma); Lapuschkin et al.,
Nature Communications 2019 (flat). Every rule is ``x * back(R / z)`` with its own weights. Relevance is
``[f, b, ...]``, activations are ``[b, ...]``; what a rule hands to a bias or loses to its stabiliser is written into
the ledger, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Layer(Protocol):
    """A layer ``z = W x + b``: forward with any weight and bias, and the transposed weight on ``[f, b, ...]``."""

    @property
    def weight(self) -> Tensor: ...
    @property
    def bias(self) -> Tensor | None: ...
    @property
    def diagonal(self) -> bool: ...  # each unit reads one value
    def alike(self, r: Tensor) -> tuple[Tensor, Tensor]: ...  # r over units that see the same, and a weight of ones
    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor: ...
    def back(self, s: Tensor, weight: Tensor) -> Tensor: ...
    def over_outputs(self, s: Tensor) -> Tensor: ...  # [f, b, ...] summed to [f, out] as the bias is laid out
    def positive(self) -> Tensor: ...
    def negative(self) -> Tensor: ...


@dataclass
class Ledger:
    """Where relevance went that is in no map: name -> float64 ``[f]``."""

    shares: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, share: Tensor) -> None:
        share = share.detach().double()
        self.shares[name] = self.shares[name] + share if name in self.shares else share


@dataclass(frozen=True)
class Stabiliser:
    """``z`` moved away from zero by ``epsilon``, or by ``epsilon`` times the layer's mean ``|z|``."""

    epsilon: float
    relative: bool = False

    def size(self, z: Tensor) -> float:
        return max(1e-12, self.epsilon * float(z.abs().mean())) if self.relative else self.epsilon

    def __call__(self, z: Tensor) -> Tensor:
        size = self.size(z)
        return z + torch.where(z >= 0, size, -size)

    def lost(self, s: Tensor, z: Tensor) -> Tensor:
        """The share ``[f]`` of ``R = s * stabilised(z)`` that belongs to no input."""
        return self.size(z) * inner(s, torch.where(z >= 0, 1.0, -1.0).to(z.dtype))


def inner(s: Tensor, v: Tensor) -> Tensor:
    """``sum over all but the first axis of s [f, b, ...] * v [b, ...]``, without a product of their size."""
    if s.ndim == 5:  # channels_last: flat views of the memory order
        s, v = s.permute(0, 1, 3, 4, 2), v.permute(0, 2, 3, 1)
    return s.reshape(len(s), -1) @ v.expand(s.shape[1:]).reshape(-1)


@dataclass(frozen=True, eq=False)
class Place:
    """A layer with what it read, ``x``, and what it gave, ``z``."""

    layer: Layer
    x: Tensor
    z: Tensor
    stabiliser: Stabiliser
    ledger: Ledger

    @cached_property
    def signed(self) -> bool:
        """False behind a ReLU: only half of the work is left there."""
        return bool((self.x < 0).any())

    def clamped(self, sign: int) -> Tensor:
        """The positive or the negative part of ``x``."""
        return clamped(self.x, sign) if self.signed else self.x

    def of_sign(self, sign: int) -> Weights:
        """The weights of contributions ``x_i w_ij`` of one sign, for positive and for negative ``x``."""
        positive, negative = self.layer.positive(), self.layer.negative()
        bias = None if self.layer.bias is None else clamped(self.layer.bias, sign)
        return (positive, negative, bias) if sign > 0 else (negative, positive, bias)

    def sum(self, weights: Weights) -> Tensor:
        """The contributions summed at each unit."""
        z = self.layer.forward(self.clamped(1), weights[0], weights[2])
        return z + self.layer.forward(self.clamped(-1), weights[1]) if self.signed else z

    def hand(self, r: Tensor, weights: Weights, z: Tensor, *, positive: bool = False) -> Tensor:
        """``r`` (used up) in proportion to the contributions, whose sum is ``z``; ``positive`` where they all are."""
        if self.layer.diagonal:
            return self._hand_each(r, weights, z)
        s = r / self.stabiliser(z)
        self.book(s, z, weights[2], positive=positive)
        out = self.layer.back(s, weights[0]).mul_(self.clamped(1))
        return out.add_(self.layer.back(s, weights[1]).mul_(self.clamped(-1))) if self.signed else out

    def _hand_each(self, r: Tensor, weights: Weights, z: Tensor) -> Tensor:
        """The same where each unit reads one value: a factor for all findings together."""
        firm = self.stabiliser(z)
        own = self.sum((weights[0], weights[1], None))
        told = torch.stack([z - own, firm - z]) / firm  # the shares of the bias and of the stabiliser
        self.ledger.add("bias", inner(r, told[0]))
        self.ledger.add("stabiliser", inner(r, told[1]))
        return r.mul_(own / firm)

    def book(self, s: Tensor, z: Tensor, bias: Tensor | None, *, positive: bool = False) -> None:
        """Write down what the bias takes of ``R = s * stabilised(z)`` and what the stabiliser does."""
        outputs = self.layer.over_outputs(s) if positive or bias is not None else None
        if outputs is not None and bias is not None:
            self.ledger.add("bias", outputs @ bias)
        lost = self.stabiliser.size(z) * outputs.sum(1) if positive and outputs is not None else None
        self.ledger.add("stabiliser", self.stabiliser.lost(s, z) if lost is None else lost)


Weights = tuple["Tensor", "Tensor", "Tensor | None"]  # for positive x, for negative x, bias
Rule = Callable[[Place, "Tensor"], "Tensor"]


def epsilon(at: Place, r: Tensor) -> Tensor:
    """``x_i w_ij / (z_j + epsilon) R_j``; at epsilon = 0 and without biases, gradient x input."""
    if at.layer.diagonal:
        return at.hand(r, (at.layer.weight, at.layer.weight, at.layer.bias), at.z)
    s = r / at.stabiliser(at.z)
    at.book(s, at.z, at.layer.bias)
    return at.layer.back(s, at.layer.weight).mul_(at.x)


def zplus(at: Place, r: Tensor) -> Tensor:
    """In proportion to the positive contributions, the positive bias among them."""
    weights = at.of_sign(1)
    return at.hand(r, weights, at.sum(weights), positive=True)


def alpha2beta1(at: Place, r: Tensor) -> Tensor:
    """Twice the positive contributions' relevance, less once the negative ones'.

    A unit with contributions of one sign only hands ``r`` as it is: the other share would have nowhere to go.
    """
    ours, theirs = at.of_sign(1), at.of_sign(-1)
    above, below = at.sum(ours), at.sum(theirs)
    both, only_below = (above > 0) & (below < 0), (above <= 0) & (below < 0)
    positive = torch.where(both, 2.0, torch.where(only_below, 0.0, 1.0))
    negative = torch.where(both, -1.0, torch.where(only_below, 1.0, 0.0))
    return at.hand(r * positive, ours, above, positive=True).add_(at.hand(r * negative, theirs, below))


def gamma(at: Place, r: Tensor, more: float = 0.25) -> Tensor:
    """Contributions of the sign of ``z_j`` weigh ``1 + more`` times as much (the generalised gamma rule)."""
    out: Tensor | None = None
    for sign, mine in ((1, at.z >= 0), (-1, at.z < 0)):
        part = torch.where(mine, r, 0.0)
        if sign < 0 and out is not None and not bool(part.any()):
            break  # behind a ReLU nothing negative has relevance
        extra, plain = at.of_sign(sign), at.layer.bias
        bias = None if plain is None or extra[2] is None else plain + more * extra[2]
        weights = (at.layer.weight + more * extra[0], at.layer.weight + more * extra[1], bias)
        handed = at.hand(part, weights, at.sum(weights))
        out = handed if out is None else out.add_(handed)
    assert out is not None
    return out


def flat(at: Place, r: Tensor) -> Tensor:
    """Evenly over everything the unit sees, whatever its weights."""
    summed, ones = at.layer.alike(r)
    count = at.layer.forward(torch.ones_like(at.x), ones)
    return at.layer.back(summed / count, ones)


def box(at: Place, r: Tensor, bounds: tuple[Tensor, Tensor]) -> Tensor:
    """For inputs between ``bounds`` (they broadcast to x): contributions measured from the wall they lean on."""
    low, high = (b.expand_as(at.x).contiguous() for b in bounds)
    layer, positive, negative = at.layer, at.layer.positive(), at.layer.negative()
    z = layer.forward(at.x, layer.weight) - layer.forward(low, positive) - layer.forward(high, negative)
    s = r / at.stabiliser(z)
    at.book(s, z, None)
    return layer.back(s, layer.weight) * at.x - layer.back(s, positive) * low - layer.back(s, negative) * high


def clamped(value: Tensor, sign: int) -> Tensor:
    """Its positive or its negative part."""
    return value.clamp(min=0) if sign > 0 else value.clamp(max=0)
