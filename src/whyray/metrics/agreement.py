"""How far ratings of the same cases agree: ICC(2,1) and quadratic weighted kappa, between readers and between reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..io.ratings import Rating
from ._intervals import interval_of, patient_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

REPLICATES = 500


@dataclass(frozen=True)
class Agreement:
    """ICC(2,1) and quadratic weighted kappa of two raters (or two reads), with 95 % intervals over cases.

    n  what both rated; a case may have several findings and arms, and is drawn with all of them (``cases``: how many).
    """

    question: str
    between: str
    n: int
    cases: int
    icc: float
    icc_low: float
    icc_high: float
    kappa: float
    kappa_low: float
    kappa_high: float


def icc(ratings: Array) -> float:
    """ICC(2,1) of ``[cases, raters]``: absolute agreement of single ratings by random raters (Shrout, Fleiss, 1979)."""
    n, k = ratings.shape
    if n < 2 or k < 2:
        return float("nan")
    grand = ratings.mean()
    rows = k * ((ratings.mean(1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((ratings.mean(0) - grand) ** 2).sum() / (k - 1)
    rest = ratings - ratings.mean(1, keepdims=True) - ratings.mean(0, keepdims=True) + grand
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    return float((rows - error) / below) if abs(below) > 1e-12 else float("nan")


def weighted_kappa(first: Array, second: Array) -> float:
    """Cohen's kappa with quadratic weights of two raters' ratings ``[n]`` (Cohen, 1968); NaN where both are constant.

    With quadratic weights it needs no categories: 1 - mean squared gap / the gap expected of independent raters.
    """
    if not len(first):
        return float("nan")
    expected = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    return float(1 - ((first - second) ** 2).mean() / expected) if expected > 1e-12 else float("nan")


def agreements(
    ratings: Sequence[Rating], question: str, replicates: int = REPLICATES, seed: int = 0
) -> list[Agreement]:
    """Between each two readers (same case, finding and arm), and each reader's own reads (their arms may differ)."""
    asked = [r for r in ratings if r.question == question]
    readers = sorted({r.reader for r in asked})
    out = []
    for a, b in combinations(readers, 2):
        rows, cases = paired_ratings(asked, lambda r: r.reader, (a, b), lambda r: (r.case, r.finding, r.arm))
        out += [agreement(rows, cases, question, f"{a} and {b}", replicates, seed)]
    for reader in readers:
        own = [r for r in asked if r.reader == reader]
        for a, b in combinations(sorted({r.read for r in own}), 2):
            rows, cases = paired_ratings(own, lambda r: r.read, (a, b), lambda r: (r.case, r.finding))
            out += [agreement(rows, cases, question, f"{reader}, reads {a} and {b}", replicates, seed)]
    return [found for found in out if found.n > 1]


def agreement(
    rows: Array, cases: Sequence[str], question: str, between: str, replicates: int = REPLICATES, seed: int = 0
) -> Agreement:
    """Both measures of two columns of ratings ``[n, 2]`` of these cases ``[n]``; NaN for fewer than two rows.

    The interval draws cases again, each with all its rows.
    """
    count = len(set(cases))
    if len(rows) < 2:
        return Agreement(question, between, len(rows), count, *(float("nan"),) * 6)
    drawn = [_both(rows.repeat(w.astype(int), axis=0)) for ws in patient_weights(cases, replicates, seed) for w in ws]
    low, high = (ends.tolist() for ends in interval_of(np.array(drawn), "patient"))
    value = _both(rows)
    return Agreement(question, between, len(rows), count, value[0], low[0], high[0], value[1], low[1], high[1])


def paired_ratings(
    ratings: Sequence[Rating],
    who: Callable[[Rating], str],
    two: tuple[str, str],
    key: Callable[[Rating], tuple[str, ...]],
) -> tuple[Array, list[str]]:
    """Ratings ``[n, 2]`` of what both gave, and the case of each; ``key`` says what was rated, its case first."""
    held: dict[tuple[str, ...], dict[str, float]] = {}
    for r in ratings:
        held.setdefault(key(r), {})[who(r)] = r.rating
    both = {what: [row[t] for t in two] for what, row in held.items() if all(t in row for t in two)}
    return np.array(list(both.values()), np.float64).reshape(-1, 2), [case for case, *_ in both]


def _both(rows: Array) -> tuple[float, float]:
    return icc(rows), weighted_kappa(rows[:, 0], rows[:, 1])
