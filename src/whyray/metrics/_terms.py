"""Measures of texts that a bootstrap can draw again: a term maps weights of pairs to values, and carries its signature.

Two values may be compared where their signatures are equal, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import DataError
from ._intervals import Weighted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """One measure of n texts.

    name       "bleu_4", "clev" ...; ``signature``: everything that its value depends on besides the texts.
    measure    weights ``[r, n]`` -> values ``[r]``; NaN where nothing is weighted.
    better     which direction is.
    """

    name: str
    signature: str
    measure: Weighted
    better: Literal["higher", "lower", "none"] = "higher"


def mean_term(
    name: str, signature: str, values: Sequence[float] | Array, better: Literal["higher", "lower", "none"] = "higher"
) -> Term:
    """The mean of one value a text."""
    held = np.asarray(values, np.float64)
    return Term(name, signature, lambda weights: share(weights @ held, weights.sum(axis=-1)), better)


def share(part: Array, whole: Array) -> Array:
    """part / whole; NaN where whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0))


def comparable(one: Term, other: Term) -> None:
    """Raises DataError where two terms must not be compared: their signatures differ."""
    if one.signature != other.signature:
        raise DataError(
            f"{one.name} was measured in two ways ({one.signature} and {other.signature}); measure both in one way"
        )
