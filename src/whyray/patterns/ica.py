"""Independent components of tokens: FastICA with all components at once (Hyvarinen, IEEE Trans. Neural Networks, 1999).

A control of patterns: directions that are as little Gaussian as may be, learned from the tokens alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

STEPS = 400
TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Components:
    """Sources are ``rows @ (h - mean)``, of mean 0 and variance 1 on the tokens they were found in; signs mean nothing.

    mean, rows  float64 ``[d]`` and ``[u, d]``.
    steps       how many were taken; ``settled``: whether the directions stood still within the tolerance before.
    """

    mean: Array = field(repr=False)
    rows: Array = field(repr=False)
    steps: int
    settled: bool

    def project(self, tokens: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Tokens ``[..., d]`` -> float32 ``[..., u]``."""
        return np.asarray((tokens - self.mean) @ self.rows.T, np.float32)


def independent_components(
    tokens: NDArray[np.floating[Any]], count: int, *, seed: int = 0, steps: int = STEPS, tolerance: float = TOLERANCE
) -> Components:
    """``count`` independent components of tokens ``[n, d]``, within their ``count`` first principal components.

    Contrast log cosh, symmetric decorrelation. Raises SettingError where the tokens do not vary in so many directions.
    """
    mean = tokens.mean(axis=0, dtype=np.float64)
    centred = tokens - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(tokens))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    if len(values) < count or not values[-1] > 1e-10 * values[0]:
        raise SettingError(f"{count} components were asked for, and the tokens vary in fewer directions; ask for fewer")
    whitening = (vectors / np.sqrt(values)).T
    white = centred @ whitening.T
    turn = _decorrelated(np.random.default_rng(seed).normal(size=(count, count)))
    for step in range(1, steps + 1):
        bent = np.tanh(white @ turn.T)
        after = _decorrelated(bent.T @ white / len(white) - (1 - bent**2).mean(axis=0)[:, None] * turn)
        moved = float(np.abs(np.abs((after * turn).sum(axis=1)) - 1).max())
        turn = after
        if moved < tolerance:
            return Components(mean, turn @ whitening, step, True)
    return Components(mean, turn @ whitening, steps, False)


def _decorrelated(rows: Array) -> Array:
    """The nearest orthonormal rows."""
    left, _, right = np.linalg.svd(rows)
    return np.asarray(left @ right)
