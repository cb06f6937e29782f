"""One training step of a transcoder, with gradients that touch only the codes that are there.

Equal to autograd through ``networks/transcoder.py`` plus the AuxK loss (tests say so), without a dense decode and
without a dense gradient of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as nf

from ..networks.transcoder import BAND, Shape
from ._codes import ROWS, ByLatent, Codes, chosen, select

Precision = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True)
class Loss:
    """What is made small: ``mean over tokens of |error|^2 + aux * AuxK + l1 * sum of codes``.

    aux         weight of the AuxK loss: dead latents rebuild what the others leave, relative to its variance.
    aux_k       dead latents that may fire at once.
    dead_after  tokens without a code after which a latent is dead.
    l1          weight of the codes ("jumprelu").
    precision   in which the encoder chooses ("jumprelu": float32); the chosen are computed in float32 all the same.
    """

    aux: float = 1 / 32
    aux_k: int = 32
    dead_after: int = 100_000
    l1: float = 0.0
    precision: Precision = "float32"


@dataclass(frozen=True, eq=False)
class Weights:
    """A transcoder's tensors; names as in ``networks.transcoder.Transcoder``. ``log_threshold``: "jumprelu" only."""

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    log_threshold: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Gradients:
    """Loss, its gradients by name of the weight, the squared error, and how many codes each latent had ``[width]``."""

    loss: float
    squared: float
    fired: Tensor
    by_name: dict[str, Tensor]


def gradients(weights: Weights, shape: Shape, loss: Loss, x: Tensor, y: Tensor, dead: Tensor) -> Gradients:
    """Of one batch: ``x [n, d_in]``, ``y [n, d_out]``, float32; ``dead`` = indices of dead latents."""
    codes, before, active = encoded(weights, shape, loss, x)
    there, nested = codes.by_latent(), _Nested(shape, codes)
    errors = nested.errors(weights, y)
    scale = 1 / (len(errors) * len(x))
    pulls = [2 * scale * error for error in errors]  # gradient of the loss by the output of each level
    d_codes, d_decoder = nested.pulled(weights, there, pulls)
    d_codes += loss.l1 / len(x)
    found = {"decoder": d_decoder, "decoder_bias": torch.stack([pull.sum(0) for pull in pulls]).sum(0)}
    if weights.log_threshold is not None:
        found["log_threshold"] = _threshold_gradient(weights.log_threshold, codes.latents, before, d_codes)
    d_before = d_codes * active
    found["encoder"] = there.gradient(d_before, x)
    found["encoder_bias"] = torch.zeros(shape.width).index_add_(0, codes.latents, d_before)
    squared = [squares(error) for error in errors]
    value = scale * sum(squared) + loss.l1 * float(codes.values.sum()) / len(x)
    if loss.aux and len(dead):
        value += loss.aux * _auxiliary(weights, loss, x, errors[-1], dead, found)
    fired = torch.bincount(codes.latents[active], minlength=shape.width)
    return Gradients(value, squared[-1], fired, found)


def encoded(weights: Weights, shape: Shape, loss: Loss, x: Tensor) -> tuple[Codes, Tensor, Tensor]:
    """Codes of a batch; at each of their places ``[nnz]`` what came before the non-linearity, and if it is active.

    A few tokens at a time: what is chosen from them is chosen while they are in the cache.
    """
    limit = None if weights.log_threshold is None else weights.log_threshold.exp()
    product, places, found = pre_activations(weights, loss), [], []
    for start in range(0, len(x), ROWS):
        before = product(x[start : start + ROWS])
        here = select(before, shape.k) if limit is None else (before > limit - BAND / 2).view(-1).nonzero()[:, 0]
        places.append(here + start * shape.width)
        found.append(before.view(-1)[here])
    latents, offsets = chosen(torch.cat(places), shape.width, len(x))
    codes = Codes(latents, torch.cat(found), offsets, shape.width)
    values = codes.values
    if loss.precision != "float32":
        values = codes.products(weights.encoder, x) + weights.encoder_bias[latents]
    active = values > (0 if limit is None else limit[latents])
    return codes.with_values(values * active), values, active


def pre_activations(weights: Weights, loss: Loss) -> Callable[[Tensor], Tensor]:
    """``x [n, d_in]`` to ``[n, width]``; float32 by oneDNN where this build has it (on some machines twice as fast)."""
    encoder, bias = weights.encoder, weights.encoder_bias
    if loss.precision == "int8":
        return _in_bytes(encoder, bias)
    if loss.precision == "bfloat16":
        half, half_bias = encoder.bfloat16(), bias.bfloat16()
        return lambda x: nf.linear(x.bfloat16(), half, half_bias)
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, encoder, bias, "none", [], "")
    return lambda x: nf.linear(x, encoder, bias)


def _in_bytes(encoder: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """The same by whole numbers of 8 bits, of which the largest number of a token, and of a latent, is 127."""
    latent_bytes, latent_sizes = _bytes(encoder)

    def product(x: Tensor) -> Tensor:
        token_bytes, token_sizes = _bytes(x)
        counted = torch._int_mm(token_bytes, latent_bytes.T).float()
        return torch.addcmul(bias, counted.mul_(token_sizes), latent_sizes.T, out=counted)

    return product


def _bytes(values: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 ``[n, d]``, size of a step of each row ``[n, 1]``)."""
    sizes = values.abs().amax(1, keepdim=True).clamp(min=1e-30) / 127
    return (values / sizes).round_().to(torch.int8), sizes


def squares(values: Tensor) -> float:
    """The sum of their squares, without a copy of them."""
    return float(torch.dot(values.reshape(-1), values.reshape(-1)))


class _Nested:
    """Codes by the level of the nested dictionaries at which they come in; one level, where nothing is nested."""

    def __init__(self, shape: Shape, codes: Codes) -> None:
        self.levels = shape.levels if shape.kind == "matryoshka" else (shape.width,)
        self.parts = [codes]
        if len(self.levels) > 1:
            group = torch.bucketize(codes.latents, torch.tensor(self.levels), right=True)
            self.parts = [codes.with_values(codes.values * (group == level)) for level in range(len(self.levels))]
            self.inside = [(group == level).float() for level in range(len(self.levels))]

    def errors(self, weights: Weights, y: Tensor) -> list[Tensor]:
        """Error ``[n, d_out]`` of the output of each level."""
        out, errors = weights.decoder_bias - y, []
        for part in self.parts:
            out = part.decoded(weights.decoder).add_(out)
            errors.append(out)
        return errors

    def pulled(self, weights: Weights, there: ByLatent, pulls: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Gradients of the codes ``[nnz]`` and of the decoder: a latent is pulled by its level and all wider ones."""
        if len(self.parts) == 1:
            codes = self.parts[0]
            return codes.products(weights.decoder, pulls[0]), there.gradient(codes.values, pulls[0])
        d_codes, d_decoder = torch.zeros_like(self.parts[0].values), torch.zeros_like(weights.decoder)
        pull = torch.zeros_like(pulls[0])
        for part, inside, own in zip(reversed(self.parts), reversed(self.inside), reversed(pulls), strict=True):
            pull = pull + own
            d_codes += inside * part.products(weights.decoder, pull)
            d_decoder += there.gradient(part.values, pull)
        return d_codes, d_decoder


def _threshold_gradient(log_threshold: Tensor, latents: Tensor, before: Tensor, d_codes: Tensor) -> Tensor:
    """Of the logarithm of each threshold: by the codes that lie within the band around it."""
    threshold = log_threshold.exp()
    near = (before - threshold[latents]).abs() < BAND / 2
    summed = torch.zeros_like(threshold).index_add_(0, latents, d_codes * near)
    return -(threshold**2 / BAND) * summed


def _auxiliary(weights: Weights, loss: Loss, x: Tensor, error: Tensor, dead: Tensor, found: dict[str, Tensor]) -> float:
    """The AuxK loss (Gao et al., arXiv 2406.04093) of the dead latents; its gradients are added to ``found``."""
    target = -error
    before = nf.linear(x, weights.encoder[dead], weights.encoder_bias[dead])
    codes = before.relu()
    if len(dead) > loss.aux_k:
        kept = torch.zeros_like(codes).view(-1)
        places = select(codes, loss.aux_k)
        kept[places] = codes.view(-1)[places]
        codes = kept.view_as(codes)
    rows = weights.decoder[dead]
    missed = codes @ rows - target
    spread = squares(target - target.mean(0))
    if spread <= 0:
        return 0.0
    pull = 2 * loss.aux / spread * missed
    d_before = (pull @ rows.T) * (codes > 0)
    found["decoder"].index_add_(0, dead, codes.T @ pull)
    found["encoder"].index_add_(0, dead, d_before.T @ x)
    found["encoder_bias"].index_add_(0, dead, d_before.sum(0))
    return squares(missed) / spread
