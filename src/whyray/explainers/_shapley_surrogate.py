"""Fewer passes for the same Shapley values: a surrogate of the game as control variate. Pure functions on arrays.

What neighbouring segments do together is smooth: a kernel ridge regression (linear, plus a cubic in each neighbourhood)
predicts most of what a linear one leaves. Its own Shapley values are a formula, so only its errors have to be
estimated from the pairs. Each pair's error comes from the surrogate fitted without that pair, in closed form, so the
estimate stays unbiased up to the choice of the ridge, and the standard errors are those of errors never fitted (in the
manner of Witter, Liu and Musco, Regression-Adjusted Monte Carlo Estimators for Shapley Values, 2025).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._shapley import Pairs, constrained, kernel_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

LINEAR = 1e4  # prior variance of the linear part against 1 of the cubic one: as good as free
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
SHARED = 1.05  # standard errors are raised by this: left-out errors of different pairs are not quite independent
FITTED = 1000  # random pairs that the surrogate learns from; more only enter the correction


def windows(centres: Floats, side: float) -> Floats:
    """Neighbourhoods ``[players, players]`` of segments with these centres ``[players, 2]``: Gaussian weights of one
    mean segment's ``side`` in pixels, each row summing to 1."""
    squared = ((centres[:, None] - centres[None]) ** 2).sum(2)
    weights = np.exp(-squared / (2 * side**2))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def adjusted(gain: Floats, fixed: Pairs, drawn: Pairs, near: Floats) -> tuple[Floats, Floats]:
    """Shapley values and standard errors ``[players, f]`` from random pairs; the values sum to ``gain``.

    near  neighbourhoods ``[c, players]``, rows summing to 1.
    """
    pairs, learnt, beyond = len(drawn), drawn[:FITTED], drawn[FITTED:]
    points = 2 * np.concatenate([learnt.x, fixed.x, np.full((1, near.shape[1]), 0.5)])  # last: everybody, nobody
    half = np.concatenate([learnt.half, fixed.half, gain[None] / 2])
    inverse = _fitted(_gram(points, points, near), half, len(learnt))
    dual, own = inverse @ half, _shapley_of(points, near)
    left_out = dual[: len(learnt)] / np.diag(inverse)[: len(learnt), None]
    mean_dual = dual - inverse[:, : len(learnt)] @ left_out / pairs  # of the surrogates that predict the pairs
    free, split = constrained(kernel_matrix(near.shape[1]))
    pull = drawn.moments() @ free / pairs  # [n, players]: what one pair's error moves
    errors = np.concatenate([left_out, beyond.half - _gram(2 * beyond.x, points, near) @ dual])
    missed = fixed.half - _gram(2 * fixed.x, points, near) @ mean_dual
    own_values = own.T @ mean_dual
    values = own_values + pull.T @ errors + free @ (fixed.moments().T @ missed)
    return values + np.outer(split, gain - own_values.sum(0)), SHARED * np.sqrt(pull.T**2 @ errors**2)


def _fitted(gram: Floats, half: Floats, learnt: int) -> Floats:
    """The inverse of ``gram + ridge`` for the ridge with the smallest left-out errors of all findings, each in units
    of its own spread."""
    values, vectors = np.linalg.eigh(gram)
    rotated, spread, scores = vectors.T @ half, half.std(0) + 1e-300, []
    shares = [1 / (np.maximum(values, 0) + ridge) for ridge in RIDGES]
    for share in shares:
        left_out = (vectors @ (share[:, None] * rotated))[:learnt] / (vectors[:learnt] ** 2 @ share)[:, None]
        scores.append(float(((left_out / spread) ** 2).mean()))
    return np.asarray(vectors * shares[int(np.argmin(scores))] @ vectors.T)


def _gram(a: Floats, b: Floats, near: Floats) -> Floats:
    """The kernel between coalitions of +1 and -1, ``[n, players]`` and ``[m, players]`` -> ``[n, m]``."""
    total = LINEAR / a.shape[1] * (a @ b.T)
    for window in near:
        part = (a * window) @ b.T
        total += part * part * part / len(near)
    return np.asarray(total)


def _shapley_of(points: Floats, near: Floats) -> Floats:
    """Shapley values ``[m, players]`` of the games "kernel between a coalition and this point".

    Of ``(sum_i a_i z_i)^3`` with z = +1 or -1 they are ``2 a_i (2 sum(a^2) + s^2 - 2 s a_i)``, s = sum(a).
    """
    whole = points @ near.T  # [m, c]
    bracket = 2 * (near**2).sum(1) + whole**2
    cubic = 2 * points * (bracket @ near) - 4 * whole @ near**2
    return np.asarray(cubic / len(near) + 2 * LINEAR / points.shape[1] * points)
