"""The published searches for the far end of lambda: one step at a time, and the same end found in batches.

"gif" are the rules of Gifsplanation's first release, "later" those of the package that followed it. Both walk from 0 to
negative lambda along the gradient of the probability, and return the first lambda that breaks a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Look = Callable[[Sequence[float]], tuple["Array", "Array"]]
"""lambdas ``[k]`` -> (probabilities ``[k]``, share of the picture's grey that has changed ``[k]``)"""
INSIDE = 5  # places looked at inside a bracket, each round


@dataclass(frozen=True)
class Rules:
    """grid: the lambdas of the walk, in order, without 0; drop, floor, distortion end it, besides turning back."""

    grid: tuple[float, ...]
    drop: float
    floor: float = 0.0
    distortion: float = np.inf


def rules_of(name: Literal["gif", "later"]) -> Rules:
    """The published rules by name."""
    if name == "gif":
        return Rules((*range(-1, -11, -1), *range(-20, -1001, -10)), drop=0.15)
    grid = [-10]
    while grid[-1] > -3000:
        grid.append(grid[-1] - 10 + grid[-1] // 10)
    return Rules(tuple(float(g) for g in grid), drop=0.8, floor=0.05, distortion=0.05)


def walk(look: Look, rules: Rules) -> tuple[float, int]:
    """(first lambda that breaks a rule, or the last of the grid; places looked at), one at a time."""
    ((first,), _) = look([0.0])
    last = first
    for i, lam in enumerate(rules.grid):
        (current,), (changed,) = look([lam])
        if broken(first, last, current, changed, rules):
            return lam, i + 2
        last = current
    return rules.grid[-1], len(rules.grid) + 1


def batched(look: Look, rules: Rules) -> tuple[float, int, bool]:
    """(the walk's end, places looked at, whether the prediction turned back inside), by doubling and then narrowing.

    Where the prediction only falls along the way, this is the walk's own end; what turns back and falls again between
    two places that were looked at is missed.
    """
    n = len(rules.grid)
    doubling = [i for i in (2**k - 1 for k in range(16)) if i < n - 1] + [n - 1]
    values, changes = look([0.0, *(rules.grid[i] for i in doubling)])
    seen = {-1: (values[0], 0.0), **{i: (p, c) for i, p, c in zip(doubling, values[1:], changes[1:], strict=True)}}
    while True:
        before, end = _bracket(seen, rules)
        if end - before <= 1:
            return rules.grid[end], len(seen), _turns(seen, end)
        inside = sorted({before + round((end - before) * k / (INSIDE + 1)) for k in range(1, INSIDE + 1)} - set(seen))
        if not inside:
            return rules.grid[end], len(seen), _turns(seen, end)
        values, changes = look([rules.grid[i] for i in inside])
        seen.update({i: (p, c) for i, p, c in zip(inside, values, changes, strict=True)})


def broken(first: float, last: float, current: float, changed: float, rules: Rules) -> bool:
    """Whether the walk ends at a place, seen from the one before."""
    return bool(last < current or first - rules.drop > current or current < rules.floor or changed > rules.distortion)


def _bracket(seen: dict[int, tuple[float, float]], rules: Rules) -> tuple[int, int]:
    """(last place that keeps the rules, first that breaks one) of those looked at; the grid's end breaks all."""
    places = sorted(seen)
    first = seen[-1][0]
    for before, here in pairwise(places):
        if broken(first, seen[before][0], *seen[here], rules):
            return before, here
    return places[-2], places[-1]


def _turns(seen: dict[int, tuple[float, float]], end: int) -> bool:
    """Whether the prediction rises anywhere up to the end."""
    values = [seen[i][0] for i in sorted(seen) if i <= end]
    return any(b > a for a, b in pairwise(values))
