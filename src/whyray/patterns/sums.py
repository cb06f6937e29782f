"""A prediction as a sum: logit = bias + named patterns + unnamed latents + residual, for every finding at once.

With tokens h(p) of a linear read-out, logit = b + mean_p w.h(p), and each member writes h(p) as its decoder bias, its
latents z_i(p) d_i and an error. So a latent adds mean_p z_i(p) (w.d_i) to a logit, an ensemble adds the mean of its
members (one dictionary with weights 1 / members), and nothing is left but the error, which is computed from the tokens,
not from the logit: that the parts meet the logit can be checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .bank import PatternBank

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sum:
    """The parts of the logits of one image, all in logits, ``f`` findings in the order of the bank.

    named     ``[patterns, f]``.
    bias      ``[f]``: of the read-out and of the decoders: what an image without any activity would get.
    unnamed   ``[f]``: latents that no gate let through; ``unnamed_for``: its latents that speak for the finding.
    residual  ``[f]``: what transcoders and basis did not reproduce; ``residual_for``: its cells that speak for it.
    codes     sparse ``[latents, cells]``, by latent; error ``[cells, f]``: the residual of each cell.
    """

    bank: PatternBank = field(repr=False)
    named: Array
    bias: Array
    unnamed: Array
    unnamed_for: Array
    residual: Array
    residual_for: Array
    codes: Any = field(repr=False)
    error: Array = field(repr=False)

    @property
    def logits(self) -> Array:
        """``[f]``: the sum of all parts."""
        return np.asarray(self.bias + self.named.sum(axis=0) + self.unnamed + self.residual)

    def maps(self, patterns: Sequence[int] | NDArray[np.int64], column: int) -> Array:
        """``[len(patterns), cells]``: what each pattern adds to one logit in each cell; rows sum to ``named``."""
        bank, cells = self.bank, self.codes.shape[1]
        out = np.zeros((len(patterns), cells))
        for row, pattern in enumerate(patterns):
            latents = self._latents(pattern)
            share = bank.readout[latents, column].astype(np.float64) / (bank.members * cells)
            out[row] = self.codes[latents].T @ share
        return out

    def rest(self, patterns: Sequence[int] | NDArray[np.int64], column: int) -> Array:
        """``[cells]``: everything but these patterns and the bias; with ``maps`` it sums to logit - bias."""
        bank, cells = self.bank, self.codes.shape[1]
        share = bank.readout[:, column].astype(np.float64) / (bank.members * cells)
        whole = self.codes.T @ share + self.error[:, column]
        return np.asarray(whole - self.maps(patterns, column).sum(axis=0))

    def _latents(self, pattern: int) -> NDArray[np.int64]:
        order, starts = self.bank.by_pattern
        return order[starts[pattern] : starts[pattern + 1]]


def decompose(bank: PatternBank, tokens: NDArray[np.floating[Any]], outputs: NDArray[np.floating[Any]]) -> Sum:
    """The sum of one image from what the encoders read ``tokens [cells, d_in]`` and what the head reads ``outputs
    [cells, d_out]`` (the same array where both taps are one). Accumulated in float64."""
    codes = bank.codes(tokens).T.tocsr()  # [latents, cells]
    cells = codes.shape[1]
    mean = np.asarray(codes.sum(axis=1, dtype=np.float64)).ravel() / cells
    readout = bank.readout.astype(np.float64)
    added = mean[:, None] * readout / bank.members  # [latents, f]
    loose = bank.cluster < 0
    named = bank.grouping.astype(bool).astype(np.float64) @ added
    weights = np.asarray(bank.site.weights, np.float64)
    told = codes.T @ readout / bank.members + bank.base  # [cells, f]
    error = (np.asarray(outputs, np.float64) @ weights.T - told) / cells
    return Sum(
        bank=bank,
        named=np.asarray(named),
        bias=np.asarray(bank.site.bias, np.float64) + bank.base,
        unnamed=added[loose].sum(axis=0),
        unnamed_for=np.maximum(added[loose], 0).sum(axis=0),
        residual=error.sum(axis=0),
        residual_for=np.maximum(error, 0).sum(axis=0),
        codes=codes,
        error=error,
    )


def carriers(parts: Array, unnamed: float, residual: float, mass: float = 0.9) -> tuple[NDArray[np.int64], float]:
    """(patterns of the smallest set that reaches ``mass`` of the positive mass of parts ``[patterns]`` + unnamed +
    residual, largest first; the share that the set reaches, unnamed and residual included where they belong to it)."""
    terms = np.maximum(np.r_[parts, unnamed, residual], 0)
    whole = terms.sum()
    if whole <= 0:
        return np.empty(0, np.int64), float("nan")
    order = np.argsort(-terms, kind="stable")
    reached = np.cumsum(terms[order]) / whole
    chosen = order[: int(np.searchsorted(reached, mass - 1e-12)) + 1]
    return chosen[chosen < len(parts)], float(reached[len(chosen) - 1])
