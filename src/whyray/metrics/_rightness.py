"""Do sentences with one label differ where their pictures do, and do they say what was planted? Beside chance.

Units are sentences in groups (one a finding); chance is always that of the same sentences dealt out anew within their
group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._terms import Term, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Codes = NDArray[np.int64]

DEALS = 2000


def codes(values: Sequence[str]) -> Codes:
    """Whole numbers ``[m]``, one a different value, from 1; 0 for "" (nothing said, nothing known)."""
    names = {v: i for i, v in enumerate(sorted(set(values) - {""}), start=1)}
    return np.array([names.get(v, 0) for v in values], np.int64)


def agreeing(said: Sequence[str], true: Sequence[str], group: Sequence[str]) -> tuple[Term, Term, float]:
    """(share of sentences that say what is true, the share expected of the same sentences dealt out anew, p).

    said, true  ``[m]``; a sentence counts where both are known. p is one-sided, of ``DEALS`` deals.
    """
    every = codes([*said, *true])
    a, b, g = every[: len(said)], every[len(said) :], codes(group)
    known = (a > 0) & (b > 0)
    right = ((a == b) & known).astype(np.float64)
    cells = [((a == c) & known & (g == k), (b == c) & known & (g == k), known & (g == k))
             for k in np.unique(g[known]) for c in np.unique(every[every > 0])]  # fmt: skip

    def chance(weights: Array) -> Array:
        sums = [share((weights @ x) * (weights @ y), weights @ whole) for x, y, whole in cells]
        found = np.nansum(sums, axis=0) if sums else np.zeros(len(weights))
        return share(found, weights @ known)

    def value(weights: Array) -> Array:
        return share(weights @ right, weights @ known)

    p = _dealt(lambda order: float((a == b[order])[known].sum()), np.where(known, g, 0))
    return Term("right", "share", value), Term("chance", "expected of a deal within its group", chance), p


def differing(texts: Sequence[str], true: Sequence[str], group: Sequence[str]) -> tuple[Term, Term, float]:
    """(share of pairs with different texts where the truth differs, the same where it does not, p of the gap).

    Pairs lie within a group. A unit whose truth is "" is in no pair; p is one-sided, the truth dealt out anew.
    """
    t, b, g = codes([f" {text}" for text in texts]), codes(true), codes(group)
    blocks = [np.flatnonzero((g == k) & (b > 0)) for k in np.unique(g)]
    apart = [t[i][:, None] != t[i][None] for i in blocks]

    def shares(truth: Codes, other: bool, weights: Array) -> Array:
        found, whole = np.zeros(len(weights)), np.zeros(len(weights))
        for i, differs in zip(blocks, apart, strict=True):
            pairs = (truth[i][:, None] != truth[i][None]) == other
            np.fill_diagonal(pairs, False)
            w = weights[:, i]
            found += ((w @ (pairs & differs)) * w).sum(axis=1)
            whole += ((w @ pairs) * w).sum(axis=1)
        return share(found, whole)

    one = np.ones((1, len(t)))

    def gap(order: Codes) -> float:
        return float((shares(b[order], True, one) - shares(b[order], False, one))[0])

    p = _dealt(gap, np.where(b > 0, g, 0))
    signature = "share of pairs of one group with different texts"
    return (
        Term("other", signature, lambda w: shares(b, True, w), "none"),
        Term("same", signature, lambda w: shares(b, False, w), "none"),
        p,
    )


def ordered(said: Sequence[float], true: Sequence[float], group: Sequence[str]) -> tuple[Term, float]:
    """(share of pairs said to differ that truly differ that way, p); ties of the truth half, chance 0.5.

    said, true  numbers ``[m]``, NaN where nothing is said or known; pairs lie within a group.
    """
    a, b, g = np.asarray(said, np.float64), np.asarray(true, np.float64), codes(group)
    known = np.isfinite(a) & np.isfinite(b)
    blocks = [np.flatnonzero((g == k) & known) for k in np.unique(g[known])]

    def shares(truth: Array, weights: Array) -> Array:
        right, whole = np.zeros(len(weights)), np.zeros(len(weights))
        for i in blocks:
            above = (a[i][:, None] > a[i][None]).astype(np.float64)
            gap = truth[i][:, None] - truth[i][None]
            w = weights[:, i]
            right += ((w @ (above * np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0)))) * w).sum(axis=1)
            whole += ((w @ above) * w).sum(axis=1)
        return share(right, whole)

    one = np.ones((1, len(a)))
    p = _dealt(lambda order: float(np.nan_to_num(shares(b[order], one)[0])), np.where(known, g, 0))
    return Term("ordered", "share of pairs in the right order", lambda w: shares(b, w)), p


def _dealt(measure: Callable[[Codes], float], group: Codes, deals: int = DEALS) -> float:
    """One-sided p of ``measure`` at the true order against orders drawn anew within each group (0: stays in place)."""
    rng, order = np.random.default_rng(0), np.arange(len(group))
    value, above = measure(order), 0
    if not np.isfinite(value) or not (group > 0).any():
        return float("nan")
    members = [np.flatnonzero(group == k) for k in np.unique(group[group > 0])]
    for _ in range(deals):
        dealt = order.copy()
        for i in members:
            dealt[i] = rng.permutation(i)
        above += measure(dealt) >= value - 1e-12
    return (above + 1) / (deals + 1)
