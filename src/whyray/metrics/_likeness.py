"""How far generated sentences lie, as a set, from sentences that people wrote: MMD of their encodings, and the nearest.

The same quantity as in ``_mmd.py``, with weights, so that a bootstrap can draw pictures again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._intervals import known_mean
from ._mmd import FACTORS, LEAST
from ._terms import Term, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Values = NDArray[np.floating[Any]]

FEWEST = 2


def unit(values: Values) -> Array:
    """Rows ``[n, w]`` at length 1."""
    v = np.asarray(values, np.float64)
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12))


def kernel(first: Array, second: Array, median: float) -> Array:
    """Mean of five Gaussians ``[n, m]`` whose squared bandwidths are ``FACTORS`` times ``median``."""
    squared = ((first[:, None] - second[None]) ** 2).sum(axis=2)
    return np.asarray(np.mean([np.exp(-squared / (factor * median)) for factor in FACTORS], axis=0))


def mmd(first: Values, second: Values) -> float:
    """Biased squared MMD of two sets of encodings ``[n, w]``, ``[m, w]`` put to length 1; 0: the same, at most 2."""
    measure = _mmd(unit(first), unit(second))
    return float(measure(np.ones((1, len(first))))[0])


def mmd_term(encoded: Values, rows: NDArray[np.int64], groups: Sequence[str], written: Mapping[str, Values]) -> Term:
    """Mean over groups (diagnoses) of the MMD between generated encodings and those of ``written`` sentences.

    encoded, rows, groups  ``[m, w]``, the case of each, its group; weights are those of cases. A group counts where it
    has at least ``FEWEST`` generated and as many written sentences.
    """
    names = np.asarray(groups, dtype=str)
    held = [(np.flatnonzero(names == g), v) for g, v in sorted(written.items()) if len(v) >= FEWEST]
    held = [(mine, v) for mine, v in held if len(mine) >= FEWEST]
    parts = [(rows[mine], _mmd(unit(np.asarray(encoded)[mine]), unit(v))) for mine, v in held]

    def measure(weights: Array) -> Array:
        values = np.array([one(weights[:, cases]) for cases, one in parts]).reshape(len(parts), len(weights))
        return known_mean(values, axis=0)

    return Term("mmd", f"MMD^2|biased|gaussian x {len(FACTORS)}|groups:{len(parts)}|encodings:unit", measure, "lower")


def nearest(encoded: Values, known: Values) -> tuple[Array, NDArray[np.int64]]:
    """(cosine ``[m]`` with the nearest of the known encodings, which one ``[m]``)."""
    alike = unit(encoded) @ unit(known).T
    return alike.max(axis=1), alike.argmax(axis=1)


def _mmd(mine: Array, theirs: Array) -> Any:
    """Weights ``[r, n]`` of the first set -> values ``[r]``; the bandwidth is that of both sets, unweighted."""
    whole = np.concatenate([mine, theirs])
    apart = ((whole[:, None] - whole[None]) ** 2).sum(axis=2)[np.triu_indices(len(whole), 1)]
    median = max(LEAST, float(np.quantile(apart, 0.5, method="lower")))
    inside, across = kernel(mine, mine, median), kernel(mine, theirs, median).mean(axis=1)
    constant = float(kernel(theirs, theirs, median).mean())

    def measure(weights: Array) -> Array:
        total = weights.sum(axis=1)
        quadratic = share(((weights @ inside) * weights).sum(axis=1), total * total)
        return np.asarray(quadratic - 2 * share(weights @ across, total) + constant)

    return measure
