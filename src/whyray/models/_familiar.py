"""How far an input lies from the training data, in the space of the embedding (Lee et al., NeurIPS 2018)."""

from __future__ import annotations

import torch
from torch import Tensor


def distance(embedding: Tensor, mean: Tensor, whitening: Tensor) -> Tensor:
    """Root mean square ``[b]`` of the whitened embedding ``[b, d]``: 1 on average over the training data."""
    white = (embedding.double() - mean.to(embedding.device).double()) @ whitening.to(embedding.device).double()
    return white.square().mean(1).sqrt()


def fit_unfamiliar(embeddings: Tensor, shrinkage: float = 0.1) -> tuple[Tensor, Tensor]:
    """(mean ``[d]``, whitening ``[d, d]``) of training embeddings ``[n, d]``, whose mean squared distance is then 1.

    The covariance is shrunk towards its mean variance, so that directions the training data never used count as far,
    and not as infinitely far.
    """
    rows = embeddings.double()
    mean = rows.mean(0)
    centred = rows - mean
    covariance = centred.T @ centred / max(1, len(rows) - 1)
    scale = covariance.diagonal().mean().clamp(min=1e-12)
    covariance = (1 - shrinkage) * covariance + shrinkage * scale * torch.eye(len(mean), dtype=rows.dtype)
    values, vectors = torch.linalg.eigh(covariance)
    whitening = vectors / values.clamp(min=1e-12).sqrt()
    return mean.float(), (whitening / (centred @ whitening).square().mean().sqrt().clamp(min=1e-12)).float()
