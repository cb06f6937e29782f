"""How far to go along a direction: to the change that was asked for, or to what ends the way before it.

All findings and both sides share the batches of a round. A side is looked at in a few places; then the place where it
ends is estimated from those (a straight line, a parabola) and looked at, until it is known closely enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ._latent import NEVER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._latent import Leg, Shift, Side

    Array = NDArray[np.float64]

Stop = Literal["target", "monotone", "distortion", "range", "flat"]
FIRST = (0.3, 0.9)  # where to look first, times the lambda that a straight line would need
FARTHEST = 64.0  # times the same, where there is no grid
WIDTH = 0.02  # of lambda: a bracket this narrow is not narrowed
NEAR = 0.5  # of lambda: a summit is believed to be the parabola's in a bracket this narrow
ROUNDS = 24
TOLERANCE = 0.02  # logits: how far a prediction may turn back before it counts as turning back
ACCURACY = 0.05  # logits


@dataclass(frozen=True)
class Rules:
    """What ends a side, besides its target, and how closely it is found.

    distortion  largest mean change of grey, as a share of ``size``: a function of the picture at lambda = 0.
    tolerance   how far the value may turn back; accuracy: how far the end may lie beyond the target; units of value.
    value       what is followed, a function of logits.
    grid        the only |lambda|s there are, ascending, and the end is the first that breaks a rule; () = all, and the
                end is the last that keeps them.
    """

    distortion: float
    tolerance: float = TOLERANCE
    accuracy: float = ACCURACY
    value: Callable[[Array], Array] = lambda logits: logits
    size: Callable[[NDArray[np.float32]], float] = lambda grey: float(np.abs(grey).mean())
    grid: tuple[float, ...] = ()


@dataclass(frozen=True)
class Target:
    """Side ``side`` of finding ``row`` (output ``column``): its value is to move by more than ``wanted``."""

    row: int
    column: int
    side: Side
    wanted: float


@dataclass
class Bound:
    """Where a side ends and why, and what was looked at: |lambda| -> (progress of the value, distortion).

    lam  signed, 0 = nowhere.  start: the way is straight from there on.
    """

    lam: float = 0.0
    stop: Stop = "flat"
    start: float = 0.0
    seen: dict[float, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    """The first of the places ``far [k]`` (``far[0]`` = 0) that ends a side is number ``at``."""

    at: int
    why: Stop


def search(shift: Shift, targets: Sequence[Target], rules: Rules, bounds: Sequence[Bound] | None = None) -> list[Bound]:
    """Where each side ends; what ``bounds`` have seen before is not looked at again.

    A side that has no gradient stays at 0 ("flat"); so does one with nothing wanted, unless there is a grid.
    """
    found = list(bounds) if bounds is not None else [Bound() for _ in targets]
    legs = {side: shift.legs(side) for side in {t.side for t in targets}}
    slopes = [(float(legs[t.side][0].rates[t.row]), float(_last(legs[t.side], t.row))) for t in targets]
    asked = {
        k: _more(found[k], target, rules, *slopes[k])
        for k, target in enumerate(targets)
        if min(slopes[k]) > 0 and np.isfinite(slopes[k]).all() and (target.wanted > 0 or rules.grid)
    }
    for _ in range(ROUNDS):
        asked = {k: places for k, places in asked.items() if places}
        if not asked:
            break
        look(shift, targets, found, rules, asked)
        asked = {k: _more(found[k], targets[k], rules, *slopes[k]) for k in asked}
    for bound, target in zip(found, targets, strict=True):
        if bound.seen:
            settle(bound, target, rules)
    return found


def relinearised(shift: Shift, targets: Sequence[Target], rules: Rules, steps: int) -> tuple[Shift, list[Bound]]:
    """The way in ``steps`` equal parts of what is wanted, each along the gradient where the one before it ended."""
    bounds = [Bound() for _ in targets]
    for step in range(1, steps):
        parts = [replace(target, wanted=target.wanted * step / steps) for target in targets]
        bounds = search(shift, parts, rules, bounds)
        for side in {target.side for target in targets}:
            ended = [
                (t, b)
                for t, b in zip(targets, bounds, strict=True)
                if t.side == side and b.lam and b.stop != "distortion"
            ]
            shift = shift.bent(side, {target.row: abs(bound.lam) for target, bound in ended})
            for _, bound in ended:
                bound.start = abs(bound.lam)
                bound.seen = {far: found for far, found in bound.seen.items() if far <= bound.start}
    return shift, search(shift, targets, rules, bounds)


def _last(legs: Sequence[Leg], row: int) -> float:
    """How fast the value grows at the start of the last leg that the finding has."""
    return next(float(leg.rates[row]) for leg in reversed(legs) if leg.start[row] < NEVER)


def look(
    shift: Shift, targets: Sequence[Target], bounds: Sequence[Bound], rules: Rules, asked: Mapping[int, Sequence[float]]
) -> None:
    """Evaluate the asked |lambda|s of every side in one go."""
    pairs = [(k, far) for k, places in asked.items() for far in places]
    rows, lambdas = [targets[k].row for k, _ in pairs], [targets[k].side * far for k, far in pairs]
    grey, logits = shift.frames(rows, lambdas)
    base = shift.base[0, 0].float().cpu().numpy()
    size = max(rules.size(base), 1e-6)
    values, zero = rules.value(logits), rules.value(shift.logits)
    for (k, far), picture, row in zip(pairs, grey, values, strict=True):
        moved = targets[k].side * float(row[targets[k].column] - zero[targets[k].column])
        if not np.isfinite(moved):
            moved = -np.inf  # a prediction that is no number has turned back
        bounds[k].seen[far] = moved, float(np.abs(picture - base).mean()) / size


def points(bound: Bound) -> tuple[Array, Array, Array]:
    """|lambda|, progress and distortion of what was seen, ascending from (0, 0, 0)."""
    rows = [(0.0, 0.0, 0.0), *((far, *bound.seen[far]) for far in sorted(bound.seen))]
    far, moved, changed = np.array(rows).T
    return far, moved, changed


def first_end(moved: Array, changed: Array, wanted: float, rules: Rules) -> End | None:
    """The first place, going outward, that ends the way; None where nothing does."""
    best = 0.0
    for k in range(1, len(moved)):
        if changed[k] > rules.distortion:
            return End(k, "distortion")
        if moved[k] < best - rules.tolerance:
            return End(k, "monotone")
        if moved[k] > wanted or (moved[k] == wanted and not rules.grid):
            return End(k, "target")
        best = max(best, moved[k])
    return None


def settle(bound: Bound, target: Target, rules: Rules) -> None:
    """The final lambda and the reason: on a grid the end itself, else the target's or the best before the end."""
    far, moved, changed = points(bound)
    end = first_end(moved, changed, target.wanted, rules)
    bound.stop = end.why if end else "range"
    if rules.grid or (end and end.why == "target"):
        bound.lam = target.side * (far[end.at] if end else far[-1])
    else:
        bound.lam = target.side * far[int(np.argmax(moved[: end.at if end else None]))]


def _more(bound: Bound, target: Target, rules: Rules, slope: float, rate: float) -> list[float]:
    """|lambda|s to look at next; none when the end is known. ``slope`` at 0, ``rate`` where the last leg starts."""
    far, moved, changed = points(bound)
    end = first_end(moved, changed, target.wanted, rules)
    straight = max(target.wanted, 0.0) / slope
    farthest = rules.grid[-1] if rules.grid else bound.start + FARTHEST * straight
    if end is None and far[-1] >= farthest:
        return []
    if end is None and far[-1] <= bound.start:
        left = max(target.wanted - moved[-1], 0.0) / rate
        places = [bound.start + share * left for share in FIRST]
    elif end is None:
        places = beyond(far, moved, target.wanted)
    elif rules.grid:
        places = _inside_grid(far, moved, changed, end, target.wanted, slope, rules)
    else:
        places = _inside(far, moved, changed, end, target.wanted, slope, rules)
    places = [min(place, farthest) for place in places]
    if rules.grid:
        places = [
            rules.grid[int(np.searchsorted(rules.grid, place - 1e-9).clip(0, len(rules.grid) - 1))] for place in places
        ]
    return sorted(set(places) - set(bound.seen) - {0.0})


def beyond(far: Array, moved: Array, wanted: float) -> list[float]:
    """Where nothing has ended the way: along the last secant to the target, at most four times as far."""
    last, rate = far[-1], (moved[-1] - moved[-2]) / (far[-1] - far[-2])
    aim = last + (wanted - moved[-1]) / rate if rate > 0 else np.inf
    aim = float(np.clip(aim, 1.25 * last, 4 * last))
    return [aim, (last + aim) / 2] if aim > 2 * last else [aim]


def estimate(far: Array, moved: Array, changed: Array, end: End, wanted: float, slope: float, rules: Rules) -> float:
    """Where the end is likely to be: of a target or a distortion, the crossing; else the summit before it."""
    k = end.at
    if end.why == "distortion":
        return crossing(far, changed, k, rules.distortion, changed[1] / far[1])
    if end.why == "target":
        return crossing(far, moved, k, wanted, slope)
    return summit(far, moved, k, slope)[0]


def crossing(far: Array, value: Array, k: int, level: float, slope: float) -> float:
    """Where a curve through places k - 1 (below) and k (above) crosses ``level``; ``slope``: its slope at 0."""
    a, b = far[k - 1], far[k]
    width, low, high = b - a, value[k - 1], value[k]
    before = slope if k == 1 else (low - value[k - 2]) / (a - far[k - 2])  # the slope at a, about
    rate = (high - low) / width
    if k > 1:
        before = (before * width + rate * (a - far[k - 2])) / (b - far[k - 2])
    bend = (rate - before) / width  # low + before t + bend t^2 = level
    root = before**2 - 4 * bend * (low - level)
    at = 2 * (level - low) / (before + np.sqrt(root)) if root >= 0 and before > 0 else (level - low) / rate
    if not 0 < at < width:
        at = (level - low) / rate
    return float(a + np.clip(at, 0, width))


def summit(far: Array, moved: Array, k: int, slope: float) -> tuple[float, float]:
    """(place, height) of the top of a parabola through the last three places up to k, or of one that starts at 0."""
    top = int(np.argmax(moved[:k]))
    if top == 0:
        left, bend = slope, (moved[1] / far[1] - slope) / far[1]
        at = -left / (2 * bend) if bend < 0 else far[1] / 2
        at = float(np.clip(at, 0.02 * far[1], 0.98 * far[1]))
        return at, left * at + bend * at * at
    a, b, c = far[top - 1], far[top], far[min(top + 1, k)]
    fa, fb, fc = moved[top - 1], moved[top], moved[min(top + 1, k)]
    left, right = (fb - fa) / (b - a), (fc - fb) / (c - b)
    bend = (right - left) / (c - a)
    if bend >= 0:
        return float((a + c) / 2), float(fb)
    at = float(np.clip((a + b) / 2 - left / (2 * bend), a + 0.02 * (c - a), c - 0.02 * (c - a)))
    return at, float(fb + (at - b) * ((fb - fa) / (b - a) + bend * (at - a)))


def _inside(
    far: Array, moved: Array, changed: Array, end: End, wanted: float, slope: float, rules: Rules
) -> list[float]:
    """Places inside the bracket of a side without a grid; none when it is narrow enough."""
    good, last = far[end.at - 1], far[end.at]
    if last - good <= WIDTH * last:
        return []
    at = estimate(far, moved, changed, end, wanted, slope, rules)
    if end.why == "target":
        if moved[end.at] - wanted <= rules.accuracy:
            return []
        return [float(np.clip(at + 0.01 * (last - good), good + 0.02 * (last - good), last - 0.02 * (last - good)))]
    if end.why == "distortion":
        if changed[end.at - 1] >= (1 - WIDTH) * rules.distortion:
            return []
        return [float(np.clip(at * (1 - WIDTH / 2), good + 0.02 * (last - good), last - 0.02 * (last - good)))]
    top = int(np.argmax(moved[: end.at]))
    a, b, c = far[max(top - 1, 0)], far[top], far[top + 1]
    if c - a <= NEAR * c and summit(far, moved, end.at, slope)[1] - moved[top] <= rules.accuracy:
        return []
    return [at if abs(at - b) > 0.05 * (c - a) else float((b + c) / 2 if c - b > b - a else (a + b) / 2)]


def _inside_grid(
    far: Array, moved: Array, changed: Array, end: End, wanted: float, slope: float, rules: Rules
) -> list[float]:
    """Grid places inside the bracket: the two next to the estimate, else the middle one; none when none is left."""
    k, grid = end.at, np.array(rules.grid)
    low = far[k - 2] if end.why == "monotone" and k > 1 else far[k - 1]
    left = [g for g in grid[(grid > low) & (grid < far[k])].tolist() if g not in far]
    if not left:
        return []
    at = estimate(far, moved, changed, end, wanted, slope, rules)
    i = int(np.searchsorted(grid, at))
    near = [g for g in grid[max(i - 1, 0) : i + 1 + (end.why == "monotone")].tolist() if g in left]
    return near or [left[len(left) // 2]]
