"""Is a picture made from a sentence, to a classifier, the picture that the sentence is about?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._likeness import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Values = NDArray[np.floating[Any]]

AMONG = 100


def cosines(made: Values, real: Values) -> Array:
    """Cosine ``[n]`` of features of made pictures and of real ones ``[n, d]``; -1..1, 0 where one is all zeros."""
    return np.asarray((unit(made) * unit(real)).sum(axis=1))


def ranks(made: Values, real: Values, among: int = AMONG, seed: int = 0) -> NDArray[np.int64]:
    """Rank ``[n]`` (1 = best) of the own real picture among ``among`` by cosine with the made one.

    made, real  ``[n, d]``. The others are drawn without replacement for each picture; all there are where fewer.
    Ties count against it.
    """
    alike = unit(made) @ unit(real).T
    n, rng = len(alike), np.random.default_rng(seed)
    out = np.ones(n, np.int64)
    for i in range(n):
        others = rng.permutation(n - 1)[: among - 1]
        others += others >= i
        out[i] += np.count_nonzero(alike[i, others] >= alike[i, i])
    return out
