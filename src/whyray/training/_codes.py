"""Sparse codes of a batch, and everything that is done with them without a dense ``[n, width]`` product.

A batch has few codes a token, so decoding and all gradients touch ``n * k`` rows. ``embedding_bag`` sums weighted rows
of a table: over the codes of a token it decodes, over the tokens of a latent it makes a weight's gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 256  # tokens of a product and of a selection at once: they stay in the cache
COLUMNS = 128  # columns of a table of rows at once, likewise
GROUPS = 8  # groups of columns for each code that is looked for
DEEP = 4  # fewest columns a group: with fewer, sorting all is as fast


@dataclass(frozen=True, eq=False)
class Codes:
    """Places and values of the codes of ``n`` tokens, token by token.

    latents  int64 ``[nnz]``: which latent; ``values [nnz]``: its code (0 where what was selected is not above 0).
    offsets  int64 ``[n + 1]``: where each token's codes begin.
    """

    latents: Tensor
    values: Tensor
    offsets: Tensor
    width: int

    def decoded(self, rows: Tensor) -> Tensor:
        """``[n, d]``: for each token the sum of its latents' ``rows [width, d]`` times their codes."""
        return _bag(rows, self.latents, self.offsets, self.values)

    def with_values(self, values: Tensor) -> Codes:
        """The same places with other values ``[nnz]``."""
        return Codes(self.latents, values, self.offsets, self.width)

    def products(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """``[nnz]``: ``rows[latent] . tokens[token]`` at each place; rows ``[width, d]``, tokens ``[n, d]``."""
        owners = torch.repeat_interleave(torch.arange(len(tokens)), self.offsets.diff())
        found: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            tokens, rows, self.latents, self.offsets[:-1], owners, 0
        )
        return found

    def by_latent(self) -> ByLatent:
        """The same places, latent by latent."""
        from scipy.sparse import csr_matrix

        order = np.arange(len(self.latents), dtype=np.int32)
        shape = (len(self.offsets) - 1, self.width)
        there = csr_matrix((order, self.latents.numpy(), self.offsets.numpy()), shape).tocsc()
        return ByLatent(*(torch.from_numpy(a.astype(np.int64)) for a in (there.indices, there.data, there.indptr)))


@dataclass(frozen=True, eq=False)
class ByLatent:
    """Codes latent by latent: ``tokens [nnz]`` and the place ``order [nnz]`` in ``Codes``; ``offsets [width + 1]``."""

    tokens: Tensor
    order: Tensor
    offsets: Tensor

    def gradient(self, values: Tensor, tokens: Tensor) -> Tensor:
        """``[width, d]``: for each latent the sum of ``tokens [n, d]`` times ``values [nnz]`` (ordered as in Codes)."""
        return _bag(tokens, self.tokens, self.offsets, values[self.order])


def select(before: Tensor, k: int) -> Tensor:
    """Places of the ``k`` largest a row, as indices into the flat ``[n, width]``, ascending: int64 ``[n * k]``.

    float32 or bfloat16. Of equal values at the limit the first columns are taken; what is not a number is none of the
    largest. bfloat16 is compared by its bits, which keeps the order above 0.
    """
    values: NDArray[Any] = (before.view(torch.int16) if before.dtype == torch.bfloat16 else before).numpy()
    width = values.shape[1]
    if k >= width:
        return torch.arange(values.size)
    found = [_largest(values[i : i + ROWS], k) + i * width for i in range(0, len(values), ROWS)]
    return torch.from_numpy(np.concatenate(found))


def chosen(places: Tensor, width: int, rows: int) -> tuple[Tensor, Tensor]:
    """(latents ``[nnz]``, offsets ``[rows + 1]``) of ascending flat places."""
    counts = torch.bincount(torch.div(places, width, rounding_mode="floor"), minlength=rows)
    return places % width, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _largest(values: NDArray[Any], k: int) -> NDArray[np.int64]:
    rows, width = values.shape
    bound = _reached_by_k(values, k)
    places = np.flatnonzero(values >= bound)
    if len(places) == k * rows:
        return places
    owners, candidates = places // width, values.ravel()[places]
    counts = np.bincount(owners, minlength=rows)
    if counts.min() < k:
        return _largest(np.where(np.isnan(values), -np.inf, values), k)
    most = int(counts.max())
    table = np.repeat(bound, most, axis=1)
    table[np.arange(most) < counts[:, None]] = candidates
    limit = np.partition(table, most - k, axis=1)[owners, most - k]
    above, tied = candidates > limit, candidates == limit
    before = np.cumsum(tied) - tied  # equal ones, in this row and in those above it
    room = k - np.bincount(owners[above], minlength=rows)
    upto = before[np.cumsum(counts) - counts] + room
    kept: NDArray[np.bool_] = above | (tied & (before < upto[owners]))
    return places[kept]


def _reached_by_k(values: NDArray[Any], k: int) -> NDArray[Any]:
    """For each row ``[n, 1]`` a value that at least ``k`` columns reach and, but for equal ones, few others.

    Of wide rows, columns are dealt into groups and it is the k-th largest of the groups' maxima.
    """
    groups, width = GROUPS * k, values.shape[1]
    if width >= DEEP * groups:
        values = values[:, : width // groups * groups].reshape(len(values), -1, groups).max(1)
    return np.partition(values, -k, axis=1)[:, -k, None]


def _bag(table: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    parts = torch.split(table, COLUMNS, 1)
    return torch.cat([torch.embedding_bag(p, indices, offsets, False, 0, False, weights, True)[0] for p in parts], 1)
