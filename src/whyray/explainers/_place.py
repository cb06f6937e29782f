"""Where the evidence of a map lies in the chest: the patient's side and the zones of the lungs, where it has any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..explanations import Attribution, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..io.frontal import Chest

    Floats = NDArray[np.float64]

Side = Literal["", "left", "right", "both", "middle"]
Zone = Literal["upper", "middle", "lower"]
ZONES: tuple[Zone, ...] = ("upper", "middle", "lower")
GRID = 96  # samples along each side of the picture
MARGIN = 0.05  # the chest is a little larger than the lungs, and they are not found to the pixel
INSIDE = 0.5  # least share of the evidence over the chest for a place to be named
NAMED = 0.5  # least share of the evidence that a named place holds
CENTRAL, IN_THE_MIDDLE = 0.25, 0.5  # of the half width of the chest; of the evidence
ONE_SIDE, BOTH_SIDES = 0.7, 0.35  # of what does not lie in the middle
ONE_ZONE, TWO_ZONES = 0.6, 0.8


@dataclass(frozen=True)
class Place:
    """What a map supports saying of where its positive evidence lies.

    side    of the patient, not of the picture; "" = the map supports none.
    zones   neighbouring thirds of the lungs' height; () = the map supports none.
    share   of all positive evidence: what lies there.
    inside  of all positive evidence: what lies over the chest.
    why     why nothing is said: "empty" map, "outside" the chest, "view" (no upright frontal chest), "spread", or "".
    """

    side: Side = ""
    zones: tuple[Zone, ...] = ()
    share: float = 0.0
    inside: float = 0.0
    why: Literal["", "empty", "outside", "view", "spread"] = ""


def place(attribution: Attribution, chest: Chest | None, sided: bool = True) -> Place:
    """The narrowest side and zones that hold half of the positive evidence, if any do; ``sided`` is False for findings
    that have no side.

    chest  where the lungs lie in the picture (``io.frontal.chest``), None for what is no frontal radiograph. In a
    frontal radiograph the patient's left is on the picture's right.
    """
    positive = on_grid(attribution)
    total = positive.sum()
    if not total > 0:
        return Place(why="empty")
    if chest is None:
        return Place(why="view")
    middle = (np.arange(GRID) + 0.5) / GRID
    across = ((middle - chest.middle) / chest.half)[None, :]
    down = ((middle - chest.top) / (chest.bottom - chest.top))[:, None]
    over = (np.abs(across) <= 1 + MARGIN) & (down >= -MARGIN) & (down <= 1 + MARGIN)
    mass = np.where(over, positive, 0) / total
    inside = float(mass.sum())
    if inside < INSIDE:
        return Place(inside=inside, why="outside")
    side = _side(mass, across[0]) if sided else ""
    zones = _zones(mass * _half(side, across), down[:, 0])
    narrowest_first: list[tuple[Side, tuple[Zone, ...]]] = [(side, zones), (side, ()), ("", zones)]
    for some_side, some_zones in narrowest_first:
        rows = np.isin(_thirds(down[:, 0]), [ZONES.index(z) for z in some_zones or ZONES])
        share = float((mass * _half(some_side, across))[rows].sum())
        if share >= NAMED and (some_side or some_zones):
            return Place(some_side, some_zones, share, inside)
    return Place(inside=inside, why="spread")


def on_grid(attribution: Attribution) -> Floats:
    """The positive part of a map, sampled on ``GRID x GRID`` points spread over the picture; 0 outside the crop."""
    h, w = attribution.source_shape
    scale = np.array([[GRID / w, 0, (GRID / w - 1) / 2], [0, GRID / h, (GRID / h - 1) / 2], [0, 0, 1]])
    values = resample(attribution.values, scale @ attribution.to_source, (GRID, GRID))
    return np.maximum(np.nan_to_num(values.astype(np.float64)), 0)


def alike(first: Attribution, second: Attribution) -> float:
    """Correlation of the positive evidence of two maps of one picture, on a 24 x 24 grid; NaN for a constant one."""
    from ..io.frontal import thumbnail

    a, b = (thumbnail(on_grid(m).astype(np.float32)).ravel() for m in (first, second))
    if not (a.std() > 0 and b.std() > 0):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _side(mass: Floats, across: Floats) -> Side:
    columns = mass.sum(axis=0)
    right, left = float(columns[across < -CENTRAL].sum()), float(columns[across > CENTRAL].sum())
    beside = right + left
    if beside <= (1 - IN_THE_MIDDLE) * columns.sum():
        return "middle"
    if max(right, left) >= ONE_SIDE * beside:
        return "right" if right > left else "left"
    return "both" if min(right, left) >= BOTH_SIDES * beside else ""


def _half(side: Side, across: Floats) -> NDArray[np.bool_]:
    """Which columns ``[1, GRID]`` belong to a side; the middle and both sides are all of them."""
    if side == "right":
        return across < 0
    return across > 0 if side == "left" else np.ones_like(across, bool)


def _zones(mass: Floats, down: Floats) -> tuple[Zone, ...]:
    """The third that holds most of it, or two neighbours; nothing where it is spread."""
    held = np.array([mass[_thirds(down) == i].sum() for i in range(3)]) / mass.sum()
    if held.max() >= ONE_ZONE:
        return (ZONES[int(held.argmax())],)
    first = int(held[2] > held[0])
    return ZONES[first : first + 2] if held[first] + held[first + 1] >= TWO_ZONES else ()


def _thirds(down: Floats) -> NDArray[np.int64]:
    """0, 1, 2 from the top of the lungs to their bottom; what lies above or below counts to the nearest."""
    return np.clip(np.floor(3 * down), 0, 2).astype(np.int64)
