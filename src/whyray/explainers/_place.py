"""Where the evidence of a map lies in the chest: the patient's side and the zones of the lungs, where it has any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..explanations import Attribution, resample
from ..text.attributes import ZONES, Zone

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..io.frontal import Chest
    from ..types import Radiograph

    Floats = NDArray[np.float64]

Side = Literal["", "left", "right", "both", "middle"]
GRID = 192  # samples along each side of the picture; cells of a map of 224 are all seen
NEARLY_ALL = 0.9  # of all evidence against the finding: what is left for it explains nothing
MUCH = 1 / 3  # of the positive evidence, outside the chest: told beside the place
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
    why     why nothing is said: "empty" map, "against" (nearly all evidence is), "outside" the chest, "view" (no
            upright frontal chest), "spread", or "".
    """

    side: Side = ""
    zones: tuple[Zone, ...] = ()
    share: float = 0.0
    inside: float = 0.0
    why: Literal["", "empty", "against", "outside", "view", "spread"] = ""

    @property
    def astray(self) -> bool:
        """Whether much of the positive evidence lies outside the chest although a place is named."""
        return self.why in ("", "spread") and 1 - self.inside >= MUCH


def lungs(radiograph: Radiograph) -> Chest | None:
    """Where the lungs lie in a radiograph; None for what is not an upright frontal one."""
    from ..io.frontal import chest

    return None if radiograph.view == "LATERAL" else chest(radiograph.pixels)


def place(attribution: Attribution, chest: Chest | None, sided: bool = True) -> Place:
    """The narrowest side and zones that hold half of the positive evidence, if any do; ``sided`` is False for findings
    that have no side.

    chest  where the lungs lie in the picture (``io.frontal.chest``), None for what is no frontal radiograph. In a
    frontal radiograph the patient's left is on the picture's right.
    """
    if against(attribution) >= NEARLY_ALL:
        return Place(why="against")
    if not on_grid(attribution).sum() > 0:
        return Place(why="empty")
    if chest is None:
        return Place(why="view")
    mass, across, down = _over(attribution, chest)
    inside = float(mass.sum())
    if inside < INSIDE:
        return Place(inside=inside, why="outside")
    side = _side(mass, across[0]) if sided else ""
    here, all_over = (_zones(mass * _half(s, across), down[:, 0]) for s in (side, ""))
    narrowest_first: list[tuple[Side, tuple[Zone, ...]]] = [(side, here), (side, ()), ("", all_over)]
    for some_side, some_zones in narrowest_first:
        rows = np.isin(_thirds(down[:, 0]), [ZONES.index(z) for z in some_zones or ZONES])
        share = float((mass * _half(some_side, across))[rows].sum())
        if share >= NAMED and (some_side or some_zones):
            return Place(some_side, some_zones, share, inside)
    return Place(inside=inside, why="spread")


def in_zones(attribution: Attribution, chest: Chest, zones: tuple[Zone, ...]) -> float:
    """Share of a map's positive evidence, all of which is not 0, that lies over these thirds of the chest."""
    mass, _, down = _over(attribution, chest)
    return float(mass[np.isin(_thirds(down[:, 0]), [ZONES.index(z) for z in zones])].sum())


def against(attribution: Attribution) -> float:
    """Share of all evidence in a map that speaks against the finding; 0 of a map without a sign, or of an empty one."""
    if not attribution.signed:
        return 0.0
    values = _sampled(attribution)
    total = float(np.abs(values).sum())
    return float(np.maximum(-values, 0).sum()) / total if total > 0 else 0.0


def on_grid(attribution: Attribution) -> Floats:
    """The positive part of a map, sampled on ``GRID x GRID`` points spread over the picture; 0 outside the crop."""
    return np.maximum(_sampled(attribution), 0)


def _over(attribution: Attribution, chest: Chest) -> tuple[Floats, Floats, Floats]:
    """The share of all positive evidence at each point, 0 off the chest; the points' ``across [1, GRID]`` (-1 and 1 at
    the lungs' outer edges) and ``down [GRID, 1]`` (0 at their top, 1 at their bottom)."""
    positive = on_grid(attribution)
    middle = (np.arange(GRID) + 0.5) / GRID
    across = ((middle - chest.middle) / chest.half)[None, :]
    down = ((middle - chest.top) / (chest.bottom - chest.top))[:, None]
    over = (np.abs(across) <= 1 + MARGIN) & (down >= -MARGIN) & (down <= 1 + MARGIN)
    return np.where(over, positive, 0) / positive.sum(), across, down


def _sampled(attribution: Attribution) -> Floats:
    h, w = attribution.source_shape
    scale = np.array([[GRID / w, 0, (GRID / w - 1) / 2], [0, GRID / h, (GRID / h - 1) / 2], [0, 0, 1]])
    values = resample(attribution.values, scale @ attribution.to_source, (GRID, GRID))
    return np.nan_to_num(values.astype(np.float64))


def alike(first: Attribution, second: Attribution) -> float:
    """Correlation of the positive evidence of two maps of one picture, on a 24 x 24 grid; NaN for a constant one."""
    from ..io.frontal import thumbnail

    a, b = (thumbnail(on_grid(m).astype(np.float32)).ravel() for m in (first, second))
    if not (a.std() > 0 and b.std() > 0):
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _side(mass: Floats, across: Floats) -> Side:
    """Of the shares ``[GRID, GRID]`` of the positive evidence at points ``across [GRID]`` the chest."""
    columns = mass.sum(axis=0)
    right, left = float(columns[across < -CENTRAL].sum()), float(columns[across > CENTRAL].sum())
    beside = right + left
    if columns.sum() - beside >= IN_THE_MIDDLE:
        return "middle"
    if max(right, left) >= ONE_SIDE * beside:
        return "right" if right > left else "left"
    return "both" if min(right, left) >= BOTH_SIDES * beside else ""


def _half(side: Side, across: Floats) -> NDArray[np.bool_]:
    """Which columns ``[1, GRID]`` belong to a side; both sides are all of them."""
    if side == "middle":
        return np.abs(across) <= CENTRAL
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
