"""Estimates with their intervals, one a row, beside the numbers themselves (a forest plot)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .curves import ticks_of
from .drawing import DIM, RULE, Disc, Drawing, Line, Shape, Words

WIDTH, ROW, TOP = 820, 24, 46
LEFT, RIGHT = 230, 520  # where the axis begins and ends


@dataclass(frozen=True)
class Row:
    """One estimate with its 95 % interval (NaN: none); ``note`` stands at the right; ``open`` draws a ring."""

    label: str
    value: float
    low: float
    high: float
    note: str = ""
    open: bool = False


def forest(
    groups: Sequence[tuple[str, Sequence[Row]]],
    *,
    title: str,
    axis: str,
    reference: float = 0.0,
    limits: tuple[float, float] | None = None,
) -> Drawing:
    """Rows under the headings of their groups, against one axis with an upright line at ``reference``.

    limits  ends of the axis; None = round numbers that hold every interval and the reference.
    """
    rows = [r for _, members in groups for r in members]
    known = [v for r in rows for v in (r.value, r.low, r.high) if math.isfinite(v)] + [reference]
    marks = ticks_of(*(limits or (min(known), max(known))))
    bottom = TOP + ROW * (len(rows) + len(groups))

    def at(value: float) -> float:
        share = (value - marks[0]) / (marks[-1] - marks[0])
        return LEFT + min(1.0, max(0.0, share)) * (RIGHT - LEFT)

    shapes: list[Shape] = [Words(12, 20, title, size=15, room=WIDTH - 24)]
    shapes += [Line(at(v), TOP, at(v), bottom, 1.0, RULE) for v in marks]
    shapes.append(Line(at(reference), TOP, at(reference), bottom, 1.5, DIM))
    shapes += [Words(at(v), bottom + 12, f"{v:g}", "middle", 11, DIM) for v in marks]
    shapes.append(Words((LEFT + RIGHT) / 2, bottom + 30, axis, "middle", 12, DIM))
    y = TOP + ROW / 2
    for heading, members in groups:
        shapes.append(Words(12, y, heading, size=13, room=LEFT - 24))
        y += ROW
        for row in members:
            shapes += [Words(24, y, row.label, size=12, room=LEFT - 40), *_estimate(row, y, at)]
            shapes.append(Words(RIGHT + 16, y, told(row), size=12, room=WIDTH - RIGHT - 24))
            y += ROW
    return Drawing(WIDTH, bottom + 44, shapes, title, "; ".join(f"{r.label}: {told(r)}" for r in rows))


def told(row: Row) -> str:
    """``+0.41 [+0.20, +0.62]`` and the note."""
    if not math.isfinite(row.value):
        return " ".join(("none", row.note)).strip()
    interval = f" [{row.low:+.2f}, {row.high:+.2f}]" if math.isfinite(row.low) else ""
    return f"{row.value:+.2f}{interval} {row.note}".strip()


def _estimate(row: Row, y: float, place: Callable[[float], float]) -> list[Shape]:
    out: list[Shape] = []
    if math.isfinite(row.low) and math.isfinite(row.high):
        out.append(Line(place(row.low), y, place(row.high), y, 1.6))
    if math.isfinite(row.value):
        out.append(Disc(place(row.value), y, 4.5, not row.open))
    return out
