"""Reader studies: paired ratings of two arms, over-reliance on wrong predictions, power and sample size.

Crossover design: each reader rates each case with both arms, at different reads. Pure functions on arrays; one row of
an array is one (reader, case) that was rated with both arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..io.ratings import Rating
from ._intervals import REPLICATES, interval_of
from .significance import holm, least_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEW_READERS = 5
EFFICIENCY = 3 / np.pi  # of the signed-rank test against the t test under normal differences (Hodges and Lehmann, 1956)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Ratings of two arms by the same reader on the same case.

    first, second  float64 ``[n]``: mean rating with each arm (a reader may have rated a case more than once).
    readers, cases, findings  ``[n]``; right: bool ``[n]``, whether the prediction shown was right.
    unpaired       (reader, case) rated with one arm only: left out.
    """

    first: Array
    second: Array
    readers: NDArray[np.str_]
    cases: NDArray[np.str_]
    findings: NDArray[np.str_]
    right: NDArray[np.bool_]
    unpaired: int = 0

    def __len__(self) -> int:
        return len(self.first)

    def where(self, rows: NDArray[np.bool_]) -> Pairs:
        """These rows of every array."""
        kept = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "unpaired"}
        return replace(self, **kept)


@dataclass(frozen=True)
class Gain:
    """second - first: mean, standard deviation of the pairs, 95 % interval over readers and cases.

    p         of no gain (``crossed_p``): readers and cases are both a sample; p_holm among the findings.
    p_pairs   of Wilcoxon's signed-rank test, as published reader studies have it: it takes pairs as independent, and is
              too small where readers share cases; p_pairs_holm among the findings.
    effect    matched-pairs rank-biserial correlation, -1..1 (Kerby, 2014): share of rank sums for minus against.
    readers, cases  how many of each; ``note`` says when they are too few for the interval to speak of others.
    """

    question: str
    finding: str
    slice: str
    n: int
    readers: int
    cases: int
    first: float
    second: float
    difference: float
    sd: float
    low: float
    high: float
    p: float
    p_pairs: float
    effect: float
    p_holm: float = float("nan")
    p_pairs_holm: float = float("nan")
    note: str = ""


def pairs_of(ratings: Sequence[Rating], question: str, arms: tuple[str, str]) -> Pairs:
    """Each (reader, case, finding) rated with both arms. Raises DataError where there is none, or two truths."""
    held: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    truth: dict[tuple[str, str], bool] = {}
    for r in ratings:
        if r.question != question or r.arm not in arms:
            continue
        held.setdefault((r.reader, r.case, r.finding), {}).setdefault(r.arm, []).append(r.rating)
        if truth.setdefault((r.case, r.finding), r.right) != r.right:
            raise DataError(
                f"case {r.case!r} is given both as right and as wrong; one truth a case and finding is wanted"
            )
    both = {key: by for key, by in held.items() if len(by) == 2}
    if not both:
        raise DataError(f"no reader rated a case with both {arms[0]!r} and {arms[1]!r} on {question!r}; check the arms")
    values = np.array([[np.mean(by[arm]) for arm in arms] for by in both.values()])
    readers, cases, findings = (np.array(column) for column in zip(*both, strict=True))
    right = np.array([truth[c, f] for _, c, f in both])
    return Pairs(values[:, 0], values[:, 1], readers, cases, findings, right, len(held) - len(both))


def gain(
    pairs: Pairs,
    question: str = "",
    finding: str = "all",
    slice_: str = "all",
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Gain:
    """The paired result of some rows; NaN where there is nothing to compare."""
    gaps = pairs.second - pairs.first
    readers, cases = len(set(pairs.readers.tolist())), len(set(pairs.cases.tolist()))
    low, high = _interval(crossed_means(gaps, pairs, replicates, seed))
    few = f"{readers} readers: the interval says little about other readers" if 0 < readers < FEW_READERS else ""
    first, second, mean = (float(v.mean()) if len(gaps) else float("nan") for v in (pairs.first, pairs.second, gaps))
    return Gain(
        question=question,
        finding=finding,
        slice=slice_,
        n=len(gaps),
        readers=readers,
        cases=cases,
        first=first,
        second=second,
        difference=mean,
        sd=float(gaps.std(ddof=1)) if len(gaps) > 1 else float("nan"),
        low=low,
        high=high,
        p=crossed_p(gaps, pairs),
        p_pairs=signed_rank_p(gaps),
        effect=rank_biserial(gaps),
        note=few,
    )


def over_reliance(pairs: Pairs, question: str = "", replicates: int = REPLICATES, seed: int = 0) -> dict[str, Any]:
    """How much more confidence is gained on right than on wrong predictions; 95 % interval over the same draws.

    A gain on wrong predictions is over-reliance: an explanation that persuades whatever is true.
    """
    gaps = pairs.second - pairs.first
    drawn = [
        crossed_means(np.where(rows, gaps, np.nan), pairs, replicates, seed) for rows in (pairs.right, ~pairs.right)
    ]
    low, high = _interval(drawn[0] - drawn[1])
    right, wrong = (float(gaps[rows].mean()) if rows.any() else float("nan") for rows in (pairs.right, ~pairs.right))
    return {
        "question": question,
        "gain_on_right": right,
        "gain_on_wrong": wrong,
        "difference": right - wrong,
        "low": low,
        "high": high,
        "n_right": int(pairs.right.sum()),
        "n_wrong": int((~pairs.right).sum()),
    }


def crossed_means(values: Array, pairs: Pairs, replicates: int = REPLICATES, seed: int = 0) -> Array:
    """Means ``[r]`` with readers and cases drawn again independently, each pair counted by the product (Owen, 2007).

    NaN values are left out; a replicate without any is NaN.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones((replicates, len(values)))
    for names in (pairs.readers, pairs.cases):
        known, index = np.unique(names, return_inverse=True)
        share = np.full(len(known), 1 / max(1, len(known)))
        weights *= rng.multinomial(len(known), share, size=replicates)[:, index] if len(known) else 1
    present = np.isfinite(values)
    sums = weights @ np.where(present, values, 0.0)
    whole = weights @ present
    out: Array = np.divide(sums, whole, out=np.full(replicates, np.nan), where=whole > 0)
    return out


def signed_rank_p(gaps: Array) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (zeros left out, ties share their rank); NaN without pairs."""
    from scipy.stats import wilcoxon

    if not len(gaps):
        return float("nan")
    return float(wilcoxon(gaps).pvalue) if np.any(gaps) else 1.0


def crossed_p(gaps: Array, pairs: Pairs) -> float:
    """Two-sided p of "the mean gain is 0" for other readers and other cases than these; NaN without pairs.

    The mean over its standard error, with the variance between readers, and that between cases beyond the noise
    (Dorfman, Berbaum, Metz, 1992), on the degrees of freedom of Hillis (2007): pairs of one reader, or of one case, are
    not independent. Never below ``least_p`` of the readers or the cases.
    """
    from scipy.stats import t

    if not len(gaps):
        return float("nan")
    readers, cases = (np.unique(names, return_inverse=True)[1] for names in (pairs.readers, pairs.cases))
    few = int(min(readers.max(), cases.max())) + 1
    mean = float(gaps.mean())
    if few < 2 or not np.any(gaps):
        return 1.0
    apart = gaps - mean
    of_readers = _between(apart, readers)
    variance = of_readers + max(0.0, _between(apart, cases) - _noise(apart, readers, cases) / len(gaps))
    if variance <= (1e-12 * np.abs(gaps).max()) ** 2:
        return least_p(few) if mean else 1.0
    freedom = readers.max() * (variance / of_readers) ** 2 if of_readers > 0 else np.inf
    return max(least_p(few), float(2 * t.sf(abs(mean) / np.sqrt(variance), freedom)))


def _between(apart: Array, groups: NDArray[np.intp]) -> float:
    """Variance of the mean if it were drawn in whole groups; ``apart [n]``: deviations from the mean."""
    sums = np.bincount(groups, apart)
    return float((sums**2).sum()) * len(sums) / ((len(sums) - 1) * len(apart) ** 2)


def _noise(apart: Array, readers: NDArray[np.intp], cases: NDArray[np.intp]) -> float:
    """Variance of a pair beyond what its reader and its case add; 0 where nothing is left to tell it from."""
    design = np.concatenate([np.eye(readers.max() + 1)[readers], np.eye(cases.max() + 1)[cases]], axis=1)
    fitted, _, rank, _ = np.linalg.lstsq(design, apart, rcond=None)
    left = len(apart) - int(rank)
    return float(((apart - design @ fitted) ** 2).sum()) / left if left else 0.0


def rank_biserial(gaps: Array) -> float:
    """(sum of ranks of rises - of falls) / sum of all, zeros left out; 0 where no pair differs."""
    from scipy.stats import rankdata

    moved = gaps[gaps != 0]
    if not len(moved):
        return 0.0 if len(gaps) else float("nan")
    ranks = rankdata(np.abs(moved))
    return float((ranks * np.sign(moved)).sum() / ranks.sum())


def by_finding(pairs: Pairs, question: str, slice_: str, replicates: int = REPLICATES, seed: int = 0) -> list[Gain]:
    """All findings together, then each of them with p corrected by Holm among themselves."""
    every = gain(pairs, question, "all", slice_, replicates, seed)
    names = sorted(set(pairs.findings.tolist()))
    if len(names) < 2:
        return [every]
    each = [gain(pairs.where(pairs.findings == f), question, f, slice_, replicates, seed) for f in names]
    adjusted = zip(holm([g.p for g in each]), holm([g.p_pairs for g in each]), strict=True)
    return [
        every,
        *(replace(g, p_holm=float(q), p_pairs_holm=float(r)) for g, (q, r) in zip(each, adjusted, strict=True)),
    ]


def power(n: int, difference: float, sd: float, *, alpha: float = 0.05, design_effect: float = 1.0) -> float:
    """Chance that a two-sided signed-rank test on ``n`` pairs finds a mean difference (normal approximation)."""
    from scipy.stats import norm

    shift = abs(difference) / sd * np.sqrt(n * EFFICIENCY / design_effect)
    edge = norm.ppf(1 - alpha / 2)
    return float(norm.cdf(shift - edge) + norm.cdf(-shift - edge))


def pairs_needed(
    difference: float, sd: float, *, wanted: float = 0.8, alpha: float = 0.05, design_effect: float = 1.0
) -> int:
    """Fewest pairs with at least the wanted power; ``design_effect`` > 1 for pairs that share readers and cases."""
    if not (sd > 0 and difference != 0 and 0 < wanted < 1 and design_effect >= 1):
        raise DataError(
            f"difference={difference:g}, sd={sd:g}, power={wanted:g}, design effect={design_effect:g} came; give a "
            "difference other than 0, sd above 0, a power between 0 and 1 and a design effect of 1 or more"
        )
    low, high = 1, 2
    while power(high, difference, sd, alpha=alpha, design_effect=design_effect) < wanted:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        reached = power(middle, difference, sd, alpha=alpha, design_effect=design_effect) >= wanted
        low, high = (low, middle) if reached else (middle, high)
    return high


def design_effect(pairs: Pairs, replicates: int = REPLICATES, seed: int = 0) -> float:
    """How much the shared readers and cases inflate the variance of the mean gain; 1 at least."""
    gaps = pairs.second - pairs.first
    alone = gaps.var(ddof=1) / len(gaps) if len(gaps) > 1 else 0.0
    drawn = crossed_means(gaps, pairs, replicates, seed)
    return max(1.0, float(np.nanvar(drawn) / alone)) if alone > 0 else 1.0


def slices(pairs: Pairs) -> Mapping[str, Pairs]:
    """All predictions, those that were right, those that were wrong."""
    return {"all": pairs, "right": pairs.where(pairs.right), "wrong": pairs.where(~pairs.right)}


def _interval(replicates: Array) -> tuple[float, float]:
    low, high = interval_of(replicates[:, None], "patient")
    return float(low[0]), float(high[0])
