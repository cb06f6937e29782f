"""AUC of a head with three states (negative, uncertain, positive) in two ways, macro over findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._intervals import known_mean
from ._terms import Term, share
from .classification import weighted_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def auc_terms(probabilities: Array, labels: Array) -> list[Term]:
    """ "auc_three_state" and "auc_binary", 0..1, from ``[n, f, 3]`` each (labels one-hot).

    auc_three_state  each state against the other two, weighted by how frequent it is; mean over findings.
    auc_binary       uncertain + positive against negative; mean over findings.
    A finding that has one state only is in neither mean.
    """
    live, truth = 1 - probabilities[..., 0], 1 - labels[..., 0]
    count = probabilities.shape[1]

    def binary(weights: Array) -> Array:
        return known_mean(np.stack([weighted_auc(live[:, f], truth[:, f], weights) for f in range(count)]), axis=0)

    def three(weights: Array) -> Array:
        each = [_against_rest(probabilities[:, f], labels[:, f], weights) for f in range(count)]
        return known_mean(np.stack(each), axis=0)

    return [
        Term("auc_three_state", "AUC|one against rest, by prevalence|states:negative,uncertain,positive|macro", three),
        Term("auc_binary", "AUC|uncertain+positive against negative|macro", binary),
    ]


def _against_rest(probabilities: Array, labels: Array, weights: Array) -> Array:
    """``[n, 3]`` each and weights ``[r, n]`` -> ``[r]``."""
    aucs = np.stack([weighted_auc(probabilities[:, c], labels[:, c], weights) for c in range(3)])
    frequent = np.where(np.isfinite(aucs), (weights @ labels).T, 0.0)
    return share((np.where(np.isfinite(aucs), aucs, 0.0) * frequent).sum(axis=0), frequent.sum(axis=0))
