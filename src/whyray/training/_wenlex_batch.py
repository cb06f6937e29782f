"""Which sentences one step writes, and what pictures are made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Sentences of one step.

    rows       pictures ``[k]``; ``whose [b]``: place among them of each sentence, in rising order.
    diagnosis  index ``[b]``; ``audience``: index ``[b]``.
    """

    rows: tuple[int, ...]
    whose: Tensor
    diagnosis: Tensor
    audience: Tensor

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(picture, diagnosis) of each sentence: what indexes ``[n, d]``."""
        return np.asarray(self.rows)[self.whose.cpu().numpy()], self.diagnosis.cpu().numpy()

    def to(self, device: str) -> Batch:
        """The same, with its tensors on a device."""
        return Batch(self.rows, self.whose.to(device), self.diagnosis.to(device), self.audience.to(device))


def batch_of(rows: Sequence[int], called: NDArray[np.bool_], audiences: int, most: int, seed: Sequence[int]) -> Batch:
    """Of each picture at most so many of its diagnoses ``called [n, d]``, all for one audience; by the seed only."""
    triples = []
    for k, row in enumerate(rows):
        rng = np.random.default_rng([*seed, k, int(row)])
        audience = int(rng.integers(audiences))
        triples += [(k, int(d), audience) for d in rng.permutation(np.flatnonzero(called[row]))[:most]]
    whose, diagnosis, audience_of = torch.tensor(triples).T
    return Batch(tuple(int(r) for r in rows), whose, diagnosis, audience_of)


def balanced(called: NDArray[np.bool_], draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """So many pictures (0 = as many as are called anything), each diagnosis as often as the others."""
    counts = called.astype(np.float64)
    weights = (counts / np.maximum(counts.sum(0), 1)).sum(1)
    return rng.choice(len(weights), draws or int((weights > 0).sum()), p=weights / weights.sum())


def rebuilt_from(z: Tensor, whose: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """(vectors that pictures are made from ``[m, w]``, place of the picture of each ``[m]``).

    z ``[b, w]`` and whose ``[b]`` as in ``Batch``. how: "mean" of each picture's, that of "some" of them drawn at
    random, or each by itself ("label").
    """
    if how == "label":
        return z, whose
    count = int(whose.max()) + 1
    kept = torch.ones(len(z)) if how == "mean" else (torch.rand(len(z)) < 0.5).float()
    kept = kept.to(z)
    empty = torch.zeros(count).to(z).index_add(0, whose, kept) == 0
    first = torch.cat([whose.new_ones(1), (whose[1:] != whose[:-1]).long()])
    kept = torch.maximum(kept, (empty[whose] * first).to(z))
    total = torch.zeros(count, z.shape[1]).to(z).index_add(0, whose, z * kept[:, None])
    number = torch.zeros(count).to(z).index_add(0, whose, kept)
    return total / number[:, None], torch.arange(count, device=z.device)
