"""Where the evidence lies, in words: the text alternative of a map.

Where the chest is found, a place is that of the statements (``explainers/_place.py``): side and zones of the lungs,
with the same numbers. Else it is a part of the picture, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..explainers._place import NEARLY_ALL, Place, against, place
from ..explainers._template_facts import UNSIDED
from ..explainers._template_words import percent, where
from .figures import NOTHING, on_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..explanations import Attribution
    from ..io.frontal import Chest

THIRDS = ("upper third", "middle third", "lower third")
FRONTAL = ("PA", "AP")
OTHER = {"left": "right", "right": "left"}
_GRID = 180  # a multiple of 2 and 3


def summary(
    attribution: Attribution, chest: Chest | None = None, view: str | None = None, what: str = "positive evidence"
) -> str:
    """One or two sentences: where most of what the map shows (``what``) lies, what speaks against.

    chest  where the lungs lie (``lungs`` of ``explainers/_place.py``); None = parts of the picture are named.
    view   for "PA" and "AP" the patient's side is the one opposite the picture's; for others that is an assumption,
           which is said, and parts of the picture are not given a patient's side.
    """
    values = np.nan_to_num(on_grid(attribution, _GRID))
    if np.abs(values).max(initial=0) <= NOTHING:
        return f"The map is empty: it shows no {what.split()[-1]}."
    contra = against(attribution)
    if contra >= NEARLY_ALL:
        return _nearly_all(contra)
    found = place(attribution, chest, attribution.finding not in UNSIDED)
    if found.why == "empty":
        return f"The map shows no {what}."
    here = _part_of_picture(shares(values), view, what) if found.why == "view" else _place_in_chest(found, view, what)
    return here if contra < 0.005 else f"{here} Of all evidence, {percent(contra)} speaks against the finding."


def _nearly_all(contra: float) -> str:
    """What is left for the finding explains nothing, and is not placed."""
    if contra == 1:
        return "All the evidence in this map speaks against the finding."
    share = percent(contra) if contra < 0.999 else "more than 99.9 %"
    return f"Nearly all the evidence in this map, {share}, speaks against the finding."


def _place_in_chest(found: Place, view: str | None, what: str) -> str:
    """The place that a statement names."""
    outside = percent(1 - found.inside)
    if found.why == "outside":
        return f"Only {percent(found.inside)} of the {what} lies over the chest, too little to name a place there."
    if found.why == "spread":
        return f"The {what} is spread over the chest" + (f", {outside} of it outside." if found.astray else ".")
    here = where(found, "clinician")
    if found.side in OTHER:
        here += f" (picture's {OTHER[found.side]}{'' if view in FRONTAL else '; frontal view assumed'})"
    beyond = f", {outside} outside the chest" if found.astray else ""
    return f"{percent(found.share)} of the {what} lies {here}{beyond}."


def shares(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Share of the positive evidence ``[3, 2]`` by picture third (top to bottom) and half (left, right); sums to 1.

    Raises ValueError where nothing is positive.
    """
    positive = np.maximum(np.nan_to_num(np.asarray(values, np.float64)), 0)
    if not positive.sum() > 0:
        raise ValueError("the map has no positive value; shares of nothing do not exist")
    rows, columns = _overlap(values.shape[0], 3), _overlap(values.shape[1], 2)
    return np.asarray(rows @ positive @ columns.T / positive.sum())


def _overlap(cells: int, parts: int) -> NDArray[np.float64]:
    """``[parts, cells]``: which share of each cell lies in each of equal parts."""
    edges = np.arange(cells + 1) / cells * parts
    part = np.arange(parts)[:, None]
    return np.asarray(np.clip(np.minimum(edges[1:], part + 1) - np.maximum(edges[:-1], part), 0, None) * cells / parts)


def _part_of_picture(share: NDArray[np.float64], view: str | None, what: str) -> str:
    """The narrowest part of it that holds at least half, else the strongest sixth; what is evenly spread is called
    so."""
    third, half = np.unravel_index(int(share.argmax()), share.shape)
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    both_sides = share[int(rows.argmax())].min() >= 0.25 * rows.max()
    if share.max() >= 0.5 and not both_sides:
        return _most(share.max(), what, f"{THIRDS[third]} of the picture, {_side(int(half), view)}")
    if rows.max() >= 0.5 and both_sides:
        return _most(rows.max(), what, f"{THIRDS[int(rows.argmax())]} of the picture, in both halves")
    if columns.max() >= 0.65:
        return _most(columns.max(), what, f"{_side(int(columns.argmax()), view)}, at all heights")
    if share.max() <= 0.25:
        most = percent(share.max())
        return f"The {what} is spread over the whole picture: no sixth of it holds more than {most}."
    part = f"{THIRDS[third]} of the picture, {_side(int(half), view)}"
    return f"The {what} is spread; the largest part, {percent(share.max())}, lies in the {part}."


def _most(share: float, what: str, part: str) -> str:
    return f"{percent(share)} of the {what} lies in the {part}."


def _side(half: int, view: str | None) -> str:
    picture = f"picture's {('left', 'right')[half]} half"
    return picture + (f" (patient's {('right', 'left')[half]})" if view in FRONTAL else "")
