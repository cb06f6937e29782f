"""Maximum mean discrepancy of two samples of vectors (Gretton et al., JMLR 2012)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
LEAST = 1e-3  # of the squared bandwidth: rows of length 1 that are all alike have a median distance of 0


def mmd(x: Tensor, y: Tensor, bandwidth: Tensor | float | None = None) -> Tensor:
    """Biased squared MMD of rows ``x [n, d]`` and ``y [m, d]``, in 0..2; 0 where both are the same.

    Rows are brought to length 1. The kernel is the mean of five Gaussians exp(-distance^2 / bandwidth^2) with
    bandwidth^2 = ``bandwidth`` x 1/4, 1/2, 1, 2, 4; ``bandwidth`` is the median squared distance of all pairs where
    none is given. Biased: a sample may be as small as one row. Differentiable; the bandwidth is taken as a constant.
    """
    import torch

    both = torch.nn.functional.normalize(torch.cat([x, y]).float(), dim=1)
    distances = squared_distances(both)
    scale = median_distance(distances.detach()) if bandwidth is None else bandwidth
    kernel = torch.stack([torch.exp(-distances / (factor * scale)) for factor in FACTORS]).mean(0)
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def squared_distances(rows: Tensor) -> Tensor:
    """``[n, d]`` -> ``[n, n]``."""
    inner = rows @ rows.T
    square = inner.diagonal()
    return (square[:, None] + square[None] - 2 * inner).clamp(min=0)


def median_distance(distances: Tensor) -> Tensor:
    """Median of the distances ``[n, n]`` of different rows, at least ``LEAST``."""
    import torch

    n = len(distances)
    above = torch.triu_indices(n, n, 1)
    pairs = distances[above[0], above[1]]
    return pairs.median().clamp(min=LEAST) if len(pairs) else distances.new_tensor(1.0)
