"""LAS: does an explanation help to simulate a model beyond giving its label away? (Hase et al., EMNLP Findings 2020)"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._terms import Term, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Right = NDArray[np.bool_]


def las_term(picture: Right, both: Right, text: Right, signature: str) -> Term:
    """Leakage-adjusted simulatability, -1..1, of whether three simulators are right ``[n, f]``.

    picture  the one that sees the picture alone (X); ``both``: picture and text (XE); ``text``: text alone (E).
    The gain acc(XE) - acc(X) where the text alone gives the label away (E right), and where it does not, averaged
    with equal weight; NaN where one of the two has no case.
    """
    gain = both.astype(np.float64) - picture
    groups = [text.astype(np.float64), 1.0 - text]
    sums = [((gain * g).sum(axis=1), g.sum(axis=1)) for g in groups]

    def measure(weights: Array) -> Array:
        leaked, kept = (share(weights @ gained, weights @ count) for gained, count in sums)
        return np.asarray((leaked + kept) / 2)

    return Term("las", f"LAS|subsets:leaked, not leaked|{signature}", measure)
