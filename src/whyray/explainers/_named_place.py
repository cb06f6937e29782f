"""Side and zone that a learned sentence names, held against the map that it is given beside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..explanations import Attribution
from ..text.attributes import ZONES, Side, Zone, side_of, zones_of
from ._cited import words
from ._place import NEARLY_ALL, against, in_zones, on_grid
from ._template_words import Audience, percent, zones_named

if TYPE_CHECKING:
    from ..io.frontal import Chest

HALF = 0.5  # of a map's positive evidence: less on the named side, or in the named zones, speaks against them
WEAKER = 0.25  # the same for the weaker of two named sides


@dataclass(frozen=True)
class NamedPlace:
    """The side and the zones that a sentence names, and each one's share of a map's positive evidence, NaN where that
    cannot be measured; of both sides the weaker one's."""

    side: Side = ""
    side_share: float = math.nan
    zones: tuple[Zone, ...] = ()
    zone_share: float = math.nan

    def checks(self) -> dict[str, float]:
        """By their names on the statement, for what the sentence names."""
        return {
            **({"evidence_on_side": self.side_share} if self.side else {}),
            **({"evidence_in_zone": self.zone_share} if self.zones else {}),
        }

    def notes(self, audience: Audience) -> tuple[str, ...]:
        """What the map says of them, if anything."""
        table = words()[audience]
        told = [(_side_key(self.side, self.side_share), self.side_share), (_zone_key(self.zone_share), self.zone_share)]
        zones = zones_named(self.zones, audience) if self.zones else ""
        return tuple(
            table[key].format(side=self.side, zones=zones, share=percent(share))
            for key, share in told
            if key and table[key]
        )


def named_place(text: str, attribution: Attribution | None, chest: Chest | None) -> NamedPlace:
    """What a sentence names; all three zones together name no zone. A map that shows hardly any evidence for the
    finding measures nothing, and without a ``chest`` there are no zones to measure."""
    side, zones = side_of(text), zones_of(text)
    zones = () if len(zones) == len(ZONES) else zones
    if attribution is None or against(attribution) >= NEARLY_ALL or not on_grid(attribution).sum() > 0:
        return NamedPlace(side, zones=zones)
    share = in_zones(attribution, chest, zones) if zones and chest is not None else math.nan
    return NamedPlace(side, _on_side(side, attribution), zones, share)


def _on_side(side: Side, attribution: Attribution) -> float:
    """In a frontal radiograph the patient's right is on the picture's left."""
    if not side:
        return math.nan
    halves = np.array_split(on_grid(attribution).sum(axis=0), 2)
    right, left = (float(half.sum()) for half in halves)
    return {"right": right, "left": left, "both": min(right, left)}[side] / (right + left)


def _side_key(side: Side, share: float) -> str:
    if math.isnan(share):
        return ""
    if side == "both":
        return "both_against" if share < WEAKER else ""
    return "side" if share >= HALF else "side_against"


def _zone_key(share: float) -> str:
    if math.isnan(share):
        return ""
    return "zone" if share >= HALF else "zone_against"
