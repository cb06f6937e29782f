"""The linear model that LIME fits: its samples, its weights, how sure they are. Pure functions.

A sample is a row of ``keep``, bool ``[n, segments]``: which segments stay. All findings are fitted at once: they share
the samples, so they share the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

REDRAWS = 64  # simulated draws behind one figure of stability


@dataclass(frozen=True, eq=False)
class Fit:
    """A weighted ridge of each finding on the segments.

    weights    ``[segments, f]``: what keeping a segment adds; 0 where the values do not vary.
    intercept  ``[f]``.
    r2         ``[f]`` weighted, at most 1; NaN where the values do not vary.
    errors     ``[segments, f]`` standard errors; infinite where there are no more draws than segments.
    """

    weights: Floats
    intercept: Floats
    r2: Floats
    errors: Floats


def nearness(keep: Bools, width: float) -> Floats:
    """Weight ``[n]`` of each sample in 0..1: exponential kernel on its cosine distance to the whole picture, as in the
    package ``lime`` (which takes the square root of the kernel it names)."""
    distance = 1 - np.sqrt(keep.mean(1))  # of a 0/1 row to the row of ones
    return np.asarray(np.exp(-(distance**2) / (2 * width**2)))


def independent(rng: np.random.Generator, samples: int, segments: int) -> Bools:
    """Each segment stays with probability 1/2, each sample by itself: the draw of ``lime``."""
    return rng.integers(0, 2, (samples, segments)).astype(bool)


def block(segments: int) -> int:
    """Pairs of one block of ``antithetic``: the least power of two above ``segments``, at least 64."""
    return max(64, 1 << segments.bit_length())


def antithetic(rng: np.random.Generator, pairs: int, segments: int) -> Bools:
    """Samples ``[2 pairs, segments]``; rows 2i and 2i + 1 complement each other.

    Each row by itself is a draw as of ``independent``. Within a block the segments are orthogonal to one another: rows
    of a Hadamard matrix, columns chosen, ordered and flipped at random. What two segments do only together falls out of
    a pair's difference (a folded-over screening design: Plackett and Burman, Biometrika 1946).
    """
    from scipy.linalg import hadamard

    size = block(segments)
    table, rows = hadamard(size) > 0, []
    for start in range(0, pairs, size):
        columns = 1 + rng.permutation(size - 1)[:segments]  # column 0 is constant
        chosen = table[rng.permutation(size)][:, columns] ^ (rng.random(segments) < 0.5)
        rows.append(chosen[: pairs - start])
    first = np.concatenate(rows) if rows else np.zeros((0, segments), bool)
    return np.stack([first, ~first], 1).reshape(-1, segments)


def fitted(keep: Bools, values: NDArray[np.floating[Any]], near: Floats, alpha: float, together: int = 1) -> Fit:
    """Ridge of ``values [n, f]`` on ``keep [n, segments]`` with sample weights ``near [n]``; the intercept is free.

    Minimises ``sum(near * (values - intercept - keep @ weights)^2) + alpha * |weights|^2``, as scikit-learn's Ridge.
    ``together``: rows that were drawn as one (2 for pairs), for the standard errors (sandwich estimator, by draw).
    """
    x, y = keep.astype(np.float64), np.asarray(values, np.float64)
    total = near.sum()
    x_mean, y_mean = near @ x / total, near @ y / total
    x, y = x - x_mean, y - y_mean
    weighted = x * near[:, None]  # [n, segments]
    inverse = np.linalg.pinv(weighted.T @ x + alpha * np.eye(x.shape[1]), hermitian=True)
    spread = near @ y**2
    varies = spread > 1e-12 * (near @ (y + y_mean) ** 2)
    weights = inverse @ (weighted.T @ y) * varies
    residual = y - x @ weights
    missed = near @ residual**2
    r2 = np.where(varies, 1 - missed / np.where(varies, spread, 1), np.nan)
    errors = _errors(weighted @ inverse, residual, together)
    return Fit(weights, y_mean - x_mean @ weights, r2, errors)


def _errors(influence: Floats, residual: Floats, together: int) -> Floats:
    """Standard errors ``[segments, f]`` from each row's influence on the weights and its residual."""
    draws, segments = len(influence) // together, influence.shape[1]
    if draws <= segments:
        return np.full((segments, residual.shape[1]), np.inf)
    moved = [
        (influence * one[:, None])[: draws * together].reshape(draws, together, segments).sum(1) for one in residual.T
    ]
    scale = draws / (draws - segments)  # residuals of a fit are smaller than errors
    return np.asarray(np.sqrt(scale * np.stack([(m**2).sum(0) for m in moved], 1)))


def stability(weights: Floats, errors: Floats) -> Floats:
    """``[f]``: the rank correlation to expect between these weights ``[segments, f]`` and those of another draw.

    The variance that standard errors account for is taken out of the weights, then two draws are simulated, 64 times.
    NaN where all weights are equal or the errors are not known, 0 where nothing is left beside the errors.
    """
    segments, findings = weights.shape
    out = np.full(findings, np.nan)
    noise = np.random.default_rng(0).standard_normal((2, REDRAWS, segments))
    for j in range(findings):
        seen = weights[:, j].var(ddof=1) if segments > 1 else 0.0
        if not seen > 0 or not np.isfinite(errors[:, j]).all():
            continue
        share = max(0.0, 1 - float((errors[:, j] ** 2).mean()) / seen)
        if share == 0:
            out[j] = 0.0
            continue
        truth = np.sqrt(share) * (weights[:, j] - weights[:, j].mean())
        first, second = truth + errors[:, j] * noise
        out[j] = rank_correlation(first, second).mean()
    return out


def rank_correlation(first: Floats, second: Floats) -> Floats:
    """Spearman's correlation ``[...]`` of the last axes of two arrays without ties."""
    a, b = (np.argsort(np.argsort(v, axis=-1), axis=-1) for v in (first, second))
    n = a.shape[-1]
    return np.asarray(1 - 6 * ((a - b) ** 2).sum(-1) / (n * (n**2 - 1)))
