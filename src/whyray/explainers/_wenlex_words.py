"""The notes of a sentence of wenlex, by the words of ``wenlex.toml``: for a clinician, or for a lay reader."""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from ._template_words import Audience, percent

if TYPE_CHECKING:
    from ._round_trip import Said


@cache
def words() -> dict[str, dict[str, str]]:
    """The tables of ``wenlex.toml``."""
    return tomllib.loads((files(__package__) / "wenlex.toml").read_text(encoding="utf-8"))


def notes(said: Said, of_place: tuple[str, ...], called: bool, audience: Audience) -> tuple[str, ...]:
    """What a reader ought to know of a sentence; ``of_place``: what a map says of the place that it names."""
    trip, example = said.trip, said.example
    before = ["" if called else "uncalled", "trip_only" if math.isnan(trip.kept) else "trip"]
    before += ["same" if trip.same else "changed"]
    after = ["verbatim" if example.verbatim else "nearest", "learned"]
    filled = {
        "words": f"{trip.words:.2f}",
        "label": f"{trip.label:.2f}",
        "kept": "" if math.isnan(trip.kept) else percent(trip.kept),
        "count": "1 example" if example.count == 1 else f"{example.count} examples",
        "similarity": f"{example.similarity:.2f}",
        "example": example.text.rstrip("."),
    }
    table = words()[audience]
    first, last = ([table[key].format(**filled) for key in keys if key and table[key]] for keys in (before, after))
    return (*first, *of_place, *last)
