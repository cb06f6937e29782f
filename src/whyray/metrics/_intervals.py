"""Patient-level bootstrap: whole patients are drawn again, with all their pictures (Efron and Tibshirani, 1993)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPLICATES = 2000
Weighted = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]
"""weights ``[r, n]`` -> one value a replicate ``[r]``; NaN where it is undefined"""


def patient_weights(
    patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0, most: int = 4_000_000
) -> Iterator[NDArray[np.float64]]:
    """How often each picture is drawn, ``[r, n]`` a piece of at most ``most`` numbers; ``replicates`` rows in all."""
    names, index = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    rng = np.random.default_rng(seed)
    rows = max(1, most // max(1, len(index)))
    share = np.full(len(names), 1 / max(1, len(names)))
    for start in range(0, replicates if len(names) else 0, rows):
        counts = rng.multinomial(len(names), share, size=min(rows, replicates - start))
        yield counts[:, index].astype(np.float64)


def interval(
    measure: Weighted, patients: Sequence[str], *, replicates: int = REPLICATES, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of ``measure``; replicates in which it is undefined are left out. NaN where all are."""
    pieces = [measure(weights) for weights in patient_weights(patients, replicates, seed)]
    values = np.concatenate(pieces) if pieces else np.empty(0)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
