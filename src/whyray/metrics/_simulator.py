"""A reader who sees words alone and says what the classifier said: logistic regression, fitted across patients.

Simulatability (Doshi-Velez and Kim, 2017): an explanation is worth something where it lets a reader foresee the model.
What is fitted never sees the patients that it is scored on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._intervals import known_mean
from ._overlap import _ngrams, words
from ._terms import Term, share
from .classification import weighted_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Reader = Callable[["NDArray[np.bool_]"], "Array"]
"""which of n cases are for fitting ``[n]`` -> what the reader sees of all of them ``[n, d]``"""

FOLDS = 5
PENALTY = 1.0
LEAST = 5  # cases with a label, and without it, below which it is in no mean
TWICE = 2  # texts for fitting that a word must stand in
ORDERS = (1, 2)


def folds_of(patients: Sequence[str], folds: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """The fold ``[n]`` of each case: whole patients, of about equal number."""
    names, index = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names)) % max(1, min(folds, len(names)))
    return np.asarray(fold[index], np.int64)


def of_words(texts: Sequence[str]) -> Reader:
    """Words and pairs of words: log(1 + count), each text to length 1; a text without a word is all zeros."""
    held = [Counter({g: c for n in ORDERS for g, c in _ngrams(words(t), n).items()}) for t in texts]

    def read(fitting: NDArray[np.bool_]) -> Array:
        seen = Counter(g for grams, on in zip(held, fitting, strict=True) if on for g in grams)
        column = {g: i for i, g in enumerate(sorted(g for g, count in seen.items() if count >= TWICE))}
        out = np.zeros((len(held), len(column)))
        for row, grams in zip(out, held, strict=True):
            for gram, count in grams.items():
                if gram in column:
                    row[column[gram]] = np.log1p(count)
        return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12))

    return read


def of_vectors(vectors: NDArray[np.floating[Any]]) -> Reader:
    """Vectors ``[n, d]`` from elsewhere, to mean 0 and variance 1 over the cases for fitting, divided by sqrt(d)."""
    values = np.asarray(vectors, np.float64)

    def read(fitting: NDArray[np.bool_]) -> Array:
        spread = values[fitting].std(axis=0)
        scale = np.where(spread > 1e-9, spread, 1.0) * np.sqrt(values.shape[1])
        return np.asarray((values - values[fitting].mean(axis=0)) / scale)

    return read


def both(first: Reader, second: Reader) -> Reader:
    """What two readers see, side by side."""
    return lambda fitting: np.concatenate([first(fitting), second(fitting)], axis=1)


def simulated(reader: Reader, labels: NDArray[np.floating[Any]], fold: NDArray[np.int64]) -> Array:
    """Log-odds ``[n, f]`` of labels ``[n, f]`` (1 or 0), each fold by a regression fitted on the other folds."""
    labels = np.asarray(labels, np.float64)
    out = np.zeros(labels.shape)
    for k in np.unique(fold):
        fitting = fold != k
        if not fitting.any():
            continue
        x = reader(fitting)
        weights, bias = logistic(x[fitting], labels[fitting])
        out[~fitting] = x[~fitting] @ weights + bias
    return out


def logistic(x: Array, y: Array, penalty: float = PENALTY) -> tuple[Array, Array]:
    """Weights ``[d, f]`` and biases ``[f]`` of f logistic regressions: summed log-loss + penalty / 2 * |weights|^2.

    A bias has a thousandth of that penalty, so that a label which all cases share has a finite one. With fewer cases
    than columns the weights are sought among combinations of the cases, where the minimum lies.
    """
    if x.shape[1] <= len(x):
        return _minimum(x, y, penalty)
    basis, part = np.linalg.qr(x.T)
    weights, bias = _minimum(part.T, y, penalty)
    return basis @ weights, bias


def _minimum(x: Array, y: Array, penalty: float) -> tuple[Array, Array]:
    from scipy.optimize import minimize

    d, f = x.shape[1], y.shape[1]
    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    strength = np.full((d + 1, 1), penalty)
    strength[d] = penalty / 1000

    def loss(flat: Array) -> tuple[float, Array]:
        w = flat.reshape(d + 1, f)
        z = wide @ w
        value = (np.logaddexp(0, z) - y * z).sum() + 0.5 * (strength * w * w).sum()
        slope = wide.T @ (0.5 * (1 + np.tanh(z / 2)) - y) + strength * w
        return float(value), slope.ravel()

    found = minimize(loss, np.zeros((d + 1) * f), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    w = np.asarray(found.x, np.float64).reshape(d + 1, f)
    return w[:d], w[d]


def simulated_term(name: str, signature: str, scores: Array, labels: Array, fold: NDArray[np.int64]) -> Term:
    """Macro AUC of cross-fitted scores ``[n, f]``: the mean over labels that at least ``LEAST`` cases have and lack.

    Only cases of one fold are compared: scores of two regressions have no common zero. What is fitted stays as it is
    while patients are drawn again.
    """
    labels = np.asarray(labels, np.float64)
    count = labels.sum(axis=0)
    columns = np.flatnonzero((count >= LEAST) & (len(labels) - count >= LEAST))

    def measure(weights: Array) -> Array:
        found = [auc_within(scores[:, c], labels[:, c], fold, weights) for c in columns]
        rows = np.reshape(np.array(found, np.float64), (len(columns), len(weights)))  # also where no label is left
        return known_mean(rows, axis=0)

    told = f"{signature}|labels:{len(columns)}|folds:{len(np.unique(fold))}|penalty:{PENALTY:g}"
    return Term(name, told, measure)


def auc_within(scores: Array, labels: Array, fold: NDArray[np.int64], weights: Array) -> Array:
    """AUC ``[r]`` over pairs of cases of one fold, ties half, for each row of weights ``[r, n]``."""
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for k in np.unique(fold):
        mine = fold == k
        part = weights[:, mine]
        there = (part @ labels[mine]) * (part @ (1 - labels[mine]))
        right += np.where(there > 0, weighted_auc(scores[mine], labels[mine], part), 0.0) * there
        pairs += there
    return share(right, pairs)
