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

DEALS, PIECE = 2000, 250


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

    blocks = [np.flatnonzero(known & (g == k)) for k in np.unique(g[known])]
    p = _dealt(blocks, lambda i, order: (a[i] == b[order]).sum(axis=1))
    return Term("right", "share", value), Term("chance", "expected of a deal within its group", chance), p


def differing(texts: Sequence[str], true: Sequence[str], group: Sequence[str]) -> tuple[Term, Term, float]:
    """(share of pairs with different texts where the truth differs, the same where it does not, p of the gap).

    Pairs lie within a group. A unit whose truth is "" is in no pair; p is one-sided, the truth dealt out anew.
    """
    t, b, g = codes([f" {text}" for text in texts]), codes(true), codes(group)
    blocks = [np.flatnonzero((g == k) & (b > 0)) for k in np.unique(g[b > 0])]
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

    p = _dealt(blocks, lambda i, order: _alike(t[i], b[order]))
    signature = "share of pairs of one group with different texts"
    return (
        Term("other", signature, lambda w: shares(b, True, w), "none"),
        Term("same", signature, lambda w: shares(b, False, w), "none"),
        p,
    )


def ordered(above: Sequence[bool | None], true: Sequence[float], group: Sequence[str]) -> tuple[Term, float]:
    """(share of pairs, one said to lie above the other, that truly do, p); ties of the truth half, chance 0.5.

    above  ``[m]``: said to lie above, said not to, or None where nothing is said; true ``[m]``, NaN where unknown.
    Pairs lie within a group; p is one-sided, the truth dealt out anew.
    """
    b, g = np.asarray(true, np.float64), codes(group)
    high, low = (np.array([a is not None and a == want for a in above], bool) for want in (True, False))
    known = (high | low) & np.isfinite(b)
    blocks = [np.flatnonzero((g == k) & known) for k in np.unique(g[known])]
    over = [(b[i[high[i]]][:, None] > b[i[low[i]]]) + 0.5 * (b[i[high[i]]][:, None] == b[i[low[i]]]) for i in blocks]

    def value(weights: Array) -> Array:
        right, whole = np.zeros(len(weights)), np.zeros(len(weights))
        for i, c in zip(blocks, over, strict=True):
            w, v = weights[:, i[high[i]]], weights[:, i[low[i]]]
            right += ((w @ c) * v).sum(axis=1)
            whole += w.sum(axis=1) * v.sum(axis=1)
        return share(right, whole)

    from scipy.stats import rankdata

    rank = np.zeros(len(b))
    for i in blocks:
        rank[i] = rankdata(b[i])
    p = _dealt(blocks, lambda i, order: (rank[order] * high[i]).sum(axis=1))
    return Term("ordered", "share of pairs in the right order", value), p if any(c.size for c in over) else np.nan


def _alike(texts: Codes, truth: Codes) -> Array:
    """How many ordered pairs share text and truth, ``[r]``, of texts ``[m]`` and truths ``[r, m]``; more of them is a
    larger gap between the two shares, whose pairs no deal changes in number."""
    out = np.zeros(len(truth))
    for c in np.unique(truth):
        hit = (truth == c).astype(np.float64)
        out += ((hit @ (texts[:, None] == np.unique(texts)).astype(np.float64)) ** 2).sum(axis=1)
    return out


def _dealt(blocks: Sequence[Codes], statistic: Callable[[Codes, Codes], NDArray[np.generic]]) -> float:
    """One-sided p of a sum over groups, against ``DEALS`` deals; NaN without any member.

    statistic  (members ``[m]``, whose truth they get ``[r, m]``) -> ``[r]``.
    """
    rng = np.random.default_rng(0)
    value, dealt = 0.0, np.zeros(DEALS)
    for i in blocks:
        value += float(statistic(i, i[None])[0])
        for start in range(0, DEALS, PIECE):
            order = rng.permuted(np.tile(i, (min(PIECE, DEALS - start), 1)), axis=1)
            dealt[start : start + PIECE] += np.asarray(statistic(i, order), np.float64)
    return (np.count_nonzero(dealt >= value - 1e-9) + 1) / (DEALS + 1) if len(blocks) else float("nan")
