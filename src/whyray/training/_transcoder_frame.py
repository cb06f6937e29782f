"""In which numbers an ensemble learns: principal components of the tokens, scaled to a mean square of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..patterns.activations import ActivationStore
from ..patterns.members import Member
from ..patterns.site import Basis
from ._sparse_step import Weights
from ._transcoder_plan import TranscodersPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """From tokens to what transcoders learn from, and back.

    basis, scale  of what is read: ``x = basis.rows @ (h - basis.mean) / scale``.
    out_mean, out_scale  of what is written, where that is another tap; else it is ``x`` as well, and they are None.
    """

    basis: Basis
    scale: float
    out_mean: NDArray[np.float32] | None = field(default=None, repr=False)
    out_scale: float = 1.0

    @property
    def d_in(self) -> int:
        """Numbers that an encoder reads."""
        return len(self.basis.rows)

    @property
    def d_out(self) -> int:
        """Numbers that a decoder writes."""
        return self.d_in if self.out_mean is None else len(self.out_mean)

    def examples(self, store: ActivationStore, images: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """(x ``[n * cells, d_in]``, y ``[n * cells, d_out]``) of pictures of a store, token by token."""
        mean, rows = _copied(self.basis.mean), _copied(self.basis.rows)
        tokens = _copied(store.tokens(images)).flatten(0, 1)
        x = (tokens - mean) @ rows.T / self.scale
        if self.out_mean is None:
            return x, x
        outputs = _copied(store.outputs(images)).flatten(0, 1)
        return x, (outputs - _copied(self.out_mean)) / self.out_scale

    def member(self, weights: Weights, plan: TranscodersPlan) -> Member:
        """The transcoder in the numbers of the classifier: its codes grow by the scale, its decoder rows stay unit."""
        scale = self.scale if self.out_mean is None else self.out_scale
        decoder, shift = weights.decoder, scale * weights.decoder_bias
        if self.out_mean is None:
            rows = _copied(self.basis.rows)
            decoder, shift = decoder @ rows, _copied(self.basis.mean) + shift @ rows
        else:
            shift = _copied(self.out_mean) + shift
        limit = None if weights.log_threshold is None else (scale * weights.log_threshold.exp()).numpy()
        encoder, bias = weights.encoder * (scale / self.scale), scale * weights.encoder_bias
        four = encoder.numpy(), bias.numpy(), decoder.numpy(), shift.numpy()
        return Member(*four, plan.k, plan.kind, limit)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All of it, for a file."""
        found = {"mean": _copied(self.basis.mean), "rows": _copied(self.basis.rows)}
        found["scales"] = torch.tensor([self.scale, self.out_scale], dtype=torch.float64)
        return found if self.out_mean is None else {**found, "out_mean": _copied(self.out_mean)}


def frame_from(tensors: dict[str, Tensor]) -> Frame:
    """The inverse of ``Frame.tensors``."""
    scale, out_scale = tensors["scales"].tolist()
    out_mean = tensors["out_mean"].numpy() if "out_mean" in tensors else None
    return Frame(Basis(tensors["mean"].numpy(), tensors["rows"].numpy()), scale, out_mean, out_scale)


def fit_frame(store: ActivationStore, images: NDArray[np.int64], plan: TranscodersPlan) -> Frame:
    """Mean, principal components and scales of the tokens of these pictures, in one pass over them."""
    site = store.site
    inputs = _Moments(site.d_in)
    outputs = _Moments(site.d_out)
    two = site.tap_in != site.tap_out
    for part in parts(images, max(1, plan.part // store.cells)):
        inputs.add(store.tokens(part))
        if two:
            outputs.add(store.outputs(part))
    rows = inputs.components(plan.basis) if plan.basis else np.eye(site.d_in, dtype=np.float32)
    basis = Basis(inputs.mean.astype(np.float32), rows)
    scale = inputs.spread(rows)
    if not two:
        return Frame(basis, scale)
    return Frame(basis, scale, outputs.mean.astype(np.float32), outputs.spread(np.eye(site.d_out)))


def parts(images: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """The pictures, ``size`` at a time."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


class _Moments:
    """Running mean and covariance of tokens, float64."""

    def __init__(self, width: int) -> None:
        self.count, self.total, self.square = 0, np.zeros(width), np.zeros((width, width))

    def add(self, tokens: NDArray[np.float32]) -> None:
        flat = _copied(tokens).flatten(0, -2)
        self.count += len(flat)
        self.total += flat.sum(0, dtype=torch.float64).numpy()
        self.square += (flat.T @ flat).double().numpy()

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.total / self.count

    @property
    def covariance(self) -> NDArray[np.float64]:
        return self.square / self.count - np.outer(self.mean, self.mean)

    def components(self, count: int) -> NDArray[np.float32]:
        """The first principal components as rows; the largest entry of each is above 0."""
        _, vectors = torch.linalg.eigh(torch.from_numpy(self.covariance))  # by torch: in one thread
        rows = vectors.numpy().T[::-1][:count]
        signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(1)])
        return np.ascontiguousarray(rows * signs[:, None], np.float32)

    def spread(self, rows: NDArray[np.floating]) -> float:
        """Root of the mean square of the projection on ``rows``; 1 where nothing varies."""
        mean_square = float(np.einsum("ij,jk,ik->", rows, self.covariance, rows)) / len(rows)
        return mean_square**0.5 if mean_square > 0 else 1.0


def _copied(array: NDArray[np.float32]) -> Tensor:
    """In torch's own memory, whose alignment is always the same: sums then come out the same bit for bit."""
    return torch.empty(array.shape, dtype=torch.float32).copy_(torch.from_numpy(np.asarray(array, np.float32)))
