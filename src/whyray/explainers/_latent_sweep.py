"""Frames between the ends that a search has found, and what they say of it.

A search that looks here and there can pass a place where the prediction turns back, at which a walk would have ended.
The frames look at more places; where they contradict the search, it looks again, and the frames follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._latent_search import Bound, Rules, Target, look, search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._latent import Shift

    Array = NDArray[np.float64]
    Lambdas = Callable[[float, float], Array]  # the two ends -> lambdas of the frames, ascending, 0 among them

REVISIONS = 4  # times that frames may make the search look again
SLOW = 0.3  # times the mean change from frame to frame


def confirmed(
    shift: Shift, targets: Sequence[Target], rules: Rules, bounds: Sequence[Bound], lambdas: Lambdas
) -> tuple[list[Bound], list[int]]:
    """The ends after the frames had their say, and how often they moved an end of each finding."""
    found, revised = list(bounds), [0] * (1 + max(target.row for target in targets))
    for _ in range(REVISIONS):
        steps = swept(targets, found, lambdas)
        owner = np.repeat(list(steps), [len(s) for s in steps.values()])
        _, logits = shift.frames(owner.tolist(), np.concatenate(list(steps.values())).tolist())
        values, zero = rules.value(logits), rules.value(shift.logits)
        again = {}
        for k, target in enumerate(targets):
            moved = target.side * (values[owner == target.row, target.column] - zero[target.column])
            far = target.side * steps[target.row]
            order = np.flatnonzero(far >= 0)[:: target.side]
            near = doubtful(far[order], moved[order], rules)
            if near := [place for place in near if place not in found[k].seen]:
                again[k] = near
        if not again:
            break
        look(shift, targets, found, rules, again)
        before = [bound.lam for bound in found]
        found = search(shift, targets, rules, found)
        for target, bound, lam in zip(targets, found, before, strict=True):
            revised[target.row] += bound.lam != lam
    return found, revised


def swept(targets: Sequence[Target], bounds: Sequence[Bound], lambdas: Lambdas) -> dict[int, Array]:
    """Finding -> lambdas of its frames."""
    ends: dict[int, list[float]] = {target.row: [0.0, 0.0] for target in targets}
    for target, bound in zip(targets, bounds, strict=True):
        ends[target.row][target.side > 0] = bound.lam
    return {row: lambdas(low, high) for row, (low, high) in ends.items()}


def doubtful(far: Array, moved: Array, rules: Rules) -> list[float]:
    """The |lambda|s to look at once more, from the progress at the frames ``far`` of a side, ascending from 0.

    Where the prediction turns back before the last frame of a walk: its steps next to there. Where it hardly moves over
    many steps, it may turn back among them: a few of those. Without a grid, the frames themselves if it turns back.
    """
    if not rules.grid:
        turned = moved < np.maximum.accumulate(moved) - rules.tolerance
        return [float(place) for place in far[1:]] if turned.any() else []
    grid = rules.grid
    rises = np.diff(moved[:-1])
    turns = np.flatnonzero(rises < 0)
    if len(turns):
        at = np.searchsorted(grid, far[turns[0] : turns[0] + 2])
        return sorted({grid[i] for i in np.clip([*at - 1, *at], 0, len(grid) - 1)})
    slow = np.flatnonzero(rises < SLOW * rises.sum() / max(len(rises), 1))
    inside = [[g for g in grid if far[k] < g < far[k + 1]] for k in slow]
    return [g for steps in inside if len(steps) > 3 for g in steps[len(steps) // 4 :: max(len(steps) // 3, 1)]]
