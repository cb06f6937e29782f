"""What goes with a pattern more often than with other images: log-odds within each source, and the category they say.

Haldane (1956) adds one half to each count; Woolf (1955) pools the sources by the inverse of their variances. Whether
there is anything is asked exactly, as by Fisher (1935); Benjamini and Hochberg (1995) bound the share of false finds
over all patterns and attributes of a bank.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .attributes import Attributes
from .galleries import Fired, strongest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CATEGORIES = ("cardiac", "pulmonary", "pleural", "structural", "device", "artifact")
UNASSIGNED = "unassigned"
MOST = 100  # images of a pattern that are compared with the rest
LEVEL = 0.05
LEAD = float(np.log(1.5))  # by which the best category must lead the next, in log-odds
Z95 = 1.959964


@dataclass(frozen=True)
class Enriched:
    """One attribute of one pattern: log-odds with 95 % interval, q after Benjamini-Hochberg, and the counts.

    with_it, firing  images with the attribute among those where the pattern fires and the attribute is known.
    others_with_it, others  the same among the other images.
    """

    attribute: str
    log_odds: float
    low: float
    high: float
    q: float
    with_it: int
    firing: int
    others_with_it: int
    others: int


def enrichments(
    made: Fired, known: Attributes, patients: Sequence[str], *, most: int = MOST, seed: int = 0
) -> list[list[Enriched]]:
    """For each pattern the attributes that are enriched at q <= 0.05, the surest (highest lower end) first.

    Compared are the ``most`` images on which it fires most, one a patient, at the cell where it fires, and all images
    of other patients, each at one cell drawn at random.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(patients))
    background = known.at(rows, rng.integers(0, known.places.shape[2], len(rows)))
    names = np.asarray(patients, dtype=str)
    tables = []
    for p in range(made.strengths.shape[1]):
        top = np.asarray(strongest(made.strengths[:, p], patients, most), np.int64)
        rest = rows[~np.isin(names, names[top])]
        inside = known.at(top, made.peaks[top, p].astype(np.int64))
        tables.append(counts(inside, top, background[rest], rest, known))
    every = np.stack(tables) if tables else np.zeros((0, len(known.names), 1, 4))
    odds, error = pooled(every)
    q = adjusted(p_values(every))
    return [_enriched(known.names, every[p].sum(axis=1), odds[p], error[p], q[p]) for p in range(len(every))]


def counts(
    inside: NDArray[np.float32],
    top: NDArray[np.int64],
    outside: NDArray[np.float32],
    rest: NDArray[np.int64],
    known: Attributes,
) -> Array:
    """``[attributes, sources, 4]``: firing with and without, others with and without. The attributes "source:..." are
    counted over all sources at once."""
    sources = np.asarray(known.sources, dtype=str)
    strata = np.unique(sources)
    out = np.zeros((inside.shape[1], len(strata), 4))
    for s, name in enumerate(strata):
        for values, column, rows in ((inside, 0, top), (outside, 2, rest)):
            here = values[sources[rows] == name]
            out[:, s, column], out[:, s, column + 1] = (here == 1).sum(axis=0), (here == 0).sum(axis=0)
    of_sources = [i for i, name in enumerate(known.names) if name.startswith("source:")]
    out[of_sources, 0] = out[of_sources].sum(axis=1)
    out[of_sources, 1:] = 0
    return out


def log_odds(tables: Array) -> tuple[Array, Array]:
    """(log-odds ratio, its variance) of tables ``[..., 4]`` (a, b, c, d), one half added to each count."""
    a, b, c, d = np.moveaxis(np.asarray(tables, np.float64) + 0.5, -1, 0)
    return np.log(a * d / (b * c)), 1 / a + 1 / b + 1 / c + 1 / d


def pooled(tables: Array) -> tuple[Array, Array]:
    """(log-odds, standard error) over the sources of tables ``[..., sources, 4]``; NaN where no source can tell.

    A source tells where it has images on both sides, and the attribute both is and is not there.
    """
    odds, variance = log_odds(tables)
    weight = np.where(_tells(tables), 1 / variance, 0)
    total = weight.sum(axis=-1)
    safe = np.where(total > 0, total, np.nan)
    return (weight * odds).sum(axis=-1) / safe, np.sqrt(1 / safe)


def p_values(tables: Array) -> Array:
    """Two-sided p of tables ``[..., sources, 4]``, exact whatever the counts; NaN where no source can tell.

    With the margins of each source given, images with the attribute fall among those that fire as balls drawn from an
    urn do; p is twice the smaller tail of their number over all sources, at most 1.
    """
    tables = np.asarray(tables, np.float64)
    tells = _tells(tables)
    out = np.full(tables.shape[:-2], np.nan)
    for at in np.ndindex(out.shape):
        if tells[at].any():
            out[at] = _exact(tables[at][tells[at]].astype(np.int64))
    return out


def _tells(tables: Array) -> NDArray[np.bool_]:
    a, b, c, d = np.moveaxis(np.asarray(tables), -1, 0)
    told: NDArray[np.bool_] = (a + b > 0) & (c + d > 0) & (a + c > 0) & (b + d > 0)
    return told


def _exact(tables: NDArray[np.int64]) -> float:
    """p of tables ``[sources, 4]`` that tell."""
    chances, seen = np.ones(1), 0
    for a, b, c, d in tables.tolist():
        fewest, most = max(0, a - d), min(a + b, a + c)
        x = np.arange(fewest, most + 1)
        ways = _log_choose(a + c, x) + _log_choose(b + d, a + b - x) - _log_choose(a + b + c + d, np.array(a + b))
        chances, seen = np.convolve(chances, np.exp(ways)), seen + a - fewest
    return min(1.0, 2 * float(min(chances[: seen + 1].sum(), chances[seen:].sum())))


def _log_choose(n: int, k: NDArray[np.int64]) -> Array:
    from scipy.special import gammaln

    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def adjusted(p: Array) -> Array:
    """Benjamini-Hochberg q over all p that are not NaN, in the shape of ``p``."""
    from scipy.stats import false_discovery_control

    out = np.full(p.shape, np.nan)
    asked = ~np.isnan(p)
    if asked.any():
        out[asked] = false_discovery_control(p[asked])
    return out


def category_of(found: Sequence[Enriched]) -> str:
    """The category that the enriched attributes speak for, else "unassigned".

    Labels, places and metadata each vote with the lower end of their surest attribute of a category; the best category
    must lead the next by a factor of 1.5 in odds.
    """
    votes: dict[str, dict[str, float]] = {}
    for one in found:
        kind = one.attribute.partition(":")[0]
        category = rules().get(one.attribute, rules().get(kind, ""))
        if category:
            kinds = votes.setdefault(category, {})
            kinds[kind] = max(kinds.get(kind, 0.0), one.low)
    scores = sorted(((sum(kinds.values()), category) for category, kinds in votes.items()), reverse=True)
    if not scores or (len(scores) > 1 and scores[0][0] - scores[1][0] < LEAD):
        return UNASSIGNED
    return scores[0][1]


@cache
def rules() -> Mapping[str, str]:
    """Attribute, or kind of attribute ("source"), -> category, from ``categories.tsv``."""
    with open(Path(__file__).with_name("categories.tsv"), newline="", encoding="utf-8") as file:
        return {row["attribute"]: row["category"] for row in csv.DictReader(file, delimiter="\t")}


def _enriched(names: Sequence[str], tables: Array, odds: Array, error: Array, q: Array) -> list[Enriched]:
    found = [
        Enriched(
            attribute=names[i],
            log_odds=float(odds[i]),
            low=float(odds[i] - Z95 * error[i]),
            high=float(odds[i] + Z95 * error[i]),
            q=float(q[i]),
            with_it=int(tables[i, 0]),
            firing=int(tables[i, 0] + tables[i, 1]),
            others_with_it=int(tables[i, 2]),
            others=int(tables[i, 2] + tables[i, 3]),
        )
        for i in np.flatnonzero((q <= LEVEL) & (odds > 0)).tolist()
    ]
    return sorted((one for one in found if one.low > 0), key=lambda one: -one.low)
