"""Explanations learned without pairs: of this picture or not, foretelling the classifier or not, parroted or not.

Cases are pictures, and a sentence belongs to one: every `Term` takes weights of pictures, so that all measures of all
writers rest on the same draws of patients. Definitions: docs/metrics-weak-language.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..contracts import Metric
from ._las import las_term
from ._likeness import mmd, mmd_term, nearest
from ._regenerated import AMONG, cosines, ranks
from ._rightness import agreeing, differing, ordered
from ._simulator import both, folds_of, of_vectors, of_words, simulated, simulated_term
from ._terms import Term, mean_term, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Values = NDArray[np.floating[Any]]

__all__ = [
    "METRICS",
    "agreeing",
    "both",
    "by_case",
    "differing",
    "faithful_terms",
    "folds_of",
    "kept_term",
    "las_term",
    "mmd",
    "mmd_term",
    "nearest",
    "of_rows",
    "of_vectors",
    "of_words",
    "ordered",
    "simulated",
    "simulated_term",
]
TOP = (1, 10)


def of_rows(
    name: str,
    signature: str,
    values: Sequence[float] | Array,
    case: NDArray[np.int64],
    cases: int,
    better: Literal["higher", "lower", "none"] = "higher",
) -> Term:
    """The mean of one value a sentence ``[m]`` over what is not NaN; ``case [m]``: the picture of each."""
    held = np.asarray(values, np.float64)
    known = np.isfinite(held)
    sums = np.bincount(case[known], held[known], cases)
    counts = np.bincount(case[known], minlength=cases).astype(np.float64)
    return Term(name, signature, lambda weights: share(weights @ sums, weights @ counts), better)


def by_case(term: Term, case: NDArray[np.int64]) -> Term:
    """A term of sentences as one of pictures: each sentence weighs what its picture ``case [m]`` weighs."""
    return Term(term.name, term.signature, lambda weights: term.measure(weights[:, case]), term.better)


def faithful_terms(
    made: Values, real: Values, called: NDArray[np.bool_], again: NDArray[np.bool_], seed: int = 0
) -> list[Term]:
    """What a classifier makes of pictures regenerated from sentences, beside the real ones.

    made, real     features ``[n, d]``; a row of ``made`` that is not finite is a picture that no sentence was there
                   for: it counts 0 everywhere.
    called, again  the labels ``[n, f]`` that the classifier gives the real and the regenerated picture.
    """
    there = np.asarray(np.isfinite(made).all(axis=1))
    filled = np.where(there[:, None], made, 0.0)
    kept = np.where(there[:, None], called & again, False).sum(axis=1) / np.maximum(1, called.sum(axis=1))
    same = np.where(there, (called == again).mean(axis=1), 0.0)
    return [
        *_alike(filled, np.asarray(real, np.float64), there, "", seed),
        *_alike(filled - real.mean(axis=0), np.asarray(real - real.mean(axis=0), np.float64), there, "_centred", seed),
        mean_term("label_agreement", "share of the called labels that are called again|missing:0", kept),
        mean_term("label_agreement_all", "share of all labels that are the same|missing:0", same),
    ]


def _alike(made: Array, real: Array, there: NDArray[np.bool_], way: str, seed: int) -> list[Term]:
    """Cosine and retrieval; ``way``: "_centred" where the mean of the real features was taken off both."""
    told = f"features:pooled{way.replace('_', ', ')}|missing:0"
    values = np.where(there, cosines(made, real), 0.0)
    place = np.where(there, ranks(made, real, AMONG, seed), len(real) + AMONG)
    among = f"own picture among the first K of {min(AMONG, len(real))}|by:cosine|{told}"
    shares = [
        mean_term(f"retrieval_at_{k}{way}", among.replace("K", str(k)), np.where(place <= k, 1.0, 0.0)) for k in TOP
    ]
    return [mean_term(f"feature_cosine{way}", f"cosine|{told}", values), *shares]


def kept_term(words: Term, latent: Term, label: Term, name: str = "gain_kept") -> Term:
    """The share of a gain that is left: (words - label alone) / (latent - label alone); NaN where there is no gain."""

    def measure(weights: Array) -> Array:
        base = label.measure(weights)
        gain = latent.measure(weights) - base
        return np.asarray(np.where(gain > 0, (words.measure(weights) - base) / np.where(gain > 0, gain, 1.0), np.nan))

    return Term(name, f"share of the gain over the label alone that the words keep|{latent.signature}", measure)


def _mean_cosine(made: Values, real: Values) -> float:
    return float(cosines(made, real).mean())


_WENLEX = "Rio-Torto et al., WeNLEX, arXiv 2603.18752"
METRICS: tuple[Metric, ...] = (
    Metric("feature_cosine", _mean_cosine, "higher", (-1.0, 1.0), paper=_WENLEX),
    Metric("mmd", mmd, "lower", (0.0, 2.0), paper="Gretton et al., A Kernel Two-Sample Test, JMLR 2012"),
)
