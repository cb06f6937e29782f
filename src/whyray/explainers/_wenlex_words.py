"""The notes of a sentence of wenlex, by the words of ``wenlex.toml``: for a clinician, or for a lay reader."""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from ..explanations import Attribution
from ._place import on_grid
from ._template_words import Audience, percent

if TYPE_CHECKING:
    from ._round_trip import Said

HALF = 0.5  # of a map's positive evidence: less on the named side speaks against it
WEAKER = 0.25  # the same for the weaker of two named sides


@cache
def words() -> dict[str, dict[str, str]]:
    """The tables of ``wenlex.toml``."""
    return tomllib.loads((files(__package__) / "wenlex.toml").read_text(encoding="utf-8"))


def notes(said: Said, side: str, share: float, called: bool, audience: Audience) -> tuple[str, ...]:
    """What a reader ought to know of a sentence; ``side`` it names and that side's ``share`` of a map's evidence."""
    trip, example = said.trip, said.example
    keys = [
        "" if called else "uncalled",
        "trip_only" if math.isnan(trip.kept) else "trip",
        "same" if trip.same else "changed",
        _side_key(side, share),
        "verbatim" if example.verbatim else "nearest",
        "learned",
    ]
    filled = {
        "words": f"{trip.words:.2f}",
        "label": f"{trip.label:.2f}",
        "kept": "" if math.isnan(trip.kept) else percent(trip.kept),
        "side": side,
        "share": "" if math.isnan(share) else percent(share),
        "count": "1 example" if example.count == 1 else f"{example.count} examples",
        "similarity": f"{example.similarity:.2f}",
        "example": example.text.rstrip("."),
    }
    table = words()[audience]
    return tuple(table[key].format(**filled) for key in keys if key and table[key])


def side_notes(side: str, share: float, audience: Audience) -> tuple[str, ...]:
    """What a map says of the side that a sentence names, if anything."""
    text = words()[audience].get(_side_key(side, share), "")
    return (text.format(side=side, share=percent(share)),) if text else ()


def side_share(side: str, attribution: Attribution | None) -> float:
    """Share 0..1 of a map's positive evidence that lies on the patient's ``side``; of "both" on the weaker one. NaN
    where there is no side, map or evidence. In a frontal radiograph the patient's right is on the picture's left."""
    if not side or attribution is None:
        return math.nan
    columns = on_grid(attribution).sum(axis=0)
    total = float(columns.sum())
    if not total > 0:
        return math.nan
    right, left = (float(half.sum()) / total for half in np.array_split(columns, 2))
    return {"right": right, "left": left, "both": min(right, left)}[side]


def _side_key(side: str, share: float) -> str:
    if math.isnan(share):
        return ""
    if side == "both":
        return "both_against" if share < WEAKER else ""
    return "side" if share >= HALF else "side_against"
