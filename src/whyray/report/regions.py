"""Where the evidence lies, in words: the text alternative of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .figures import NOTHING, on_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..explanations import Attribution

THIRDS = ("upper third", "middle third", "lower third")
_GRID = 180  # a multiple of 2 and 3


def summary(attribution: Attribution, view: str | None = None, what: str = "positive evidence") -> str:
    """One or two sentences: which part of the picture holds most of what the map shows (``what``), what speaks against.

    Sides are the picture's; the patient's side is added only for a view known to be frontal ("PA" or "AP").
    """
    values = np.nan_to_num(on_grid(attribution, _GRID))
    if np.abs(values).max(initial=0) <= NOTHING:
        return f"The map is empty: it shows no {what.split()[-1]}."
    pro, contra = float(np.maximum(values, 0).sum()), float(np.maximum(-values, 0).sum())
    if pro <= NOTHING * values.size:
        return "All the evidence in this map speaks against the finding."
    against = contra / (pro + contra)
    place = _place(shares(values), view, what)
    if not attribution.signed or against < 0.005:
        return place
    return f"{place} Of all evidence, {_part(against)} speaks against the finding."


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


def _place(share: NDArray[np.float64], view: str | None, what: str) -> str:
    """The narrowest part that holds at least half, else the strongest sixth; what is evenly spread is called so."""
    third, half = np.unravel_index(int(share.argmax()), share.shape)
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    both_sides = share[int(rows.argmax())].min() >= 0.25 * rows.max()
    if share.max() >= 0.5 and not both_sides:
        return _most(share.max(), what, f"{THIRDS[third]}, {_side(int(half), view)}")
    if rows.max() >= 0.5 and both_sides:
        return _most(rows.max(), what, f"{THIRDS[int(rows.argmax())]}, on both sides")
    if columns.max() >= 0.65:
        return _most(columns.max(), what, f"{_side(int(columns.argmax()), view)}, at all heights")
    if share.max() <= 0.25:
        most = _part(share.max())
        return f"The {what} is spread over the whole picture: no sixth of it holds more than {most}."
    where = f"{THIRDS[third]}, {_side(int(half), view)}"
    return f"The {what} is spread; the largest part, {_part(share.max())}, lies in the {where}."


def _most(share: float, what: str, where: str) -> str:
    return f"{_part(share)} of the {what} lies in the {where}."


def _part(share: float) -> str:
    return f"{100 * share:.0f} %"


def _side(half: int, view: str | None) -> str:
    picture = f"picture's {('left', 'right')[half]} half"
    return picture + (f" (patient's {('right', 'left')[half]})" if view in ("PA", "AP") else "")
