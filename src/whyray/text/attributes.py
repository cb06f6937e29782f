"""What a sentence says of side, height and size of its finding, for clinicians' words and for plain ones.

Phrases are rows of ``attributes.tsv``, and for the height the zones of ``places.tsv`` too. They read one sentence about
one finding; a report has `whyray.text.labeller`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Literal, cast

from ._lexicon import Lexicon, Rule, longest, lowered, rules

Side = Literal["left", "right", "both", ""]
Severity = Literal["slight", "marked", ""]
Zone = Literal["upper", "middle", "lower"]
SIDES: tuple[Side, ...] = ("left", "right", "both")
SEVERITIES: tuple[Severity, ...] = ("slight", "marked")
ZONES: tuple[Zone, ...] = ("upper", "middle", "lower")
# A zone of places.tsv -> the thirds of the lungs' height where a frontal view shows it; others have no height, or all.
HEIGHTS: dict[str, str] = {
    "apex": "upper",
    "upper zone": "upper",
    "upper lobe": "upper middle",
    "middle zone": "middle",
    "middle lobe": "middle lower",
    "lingula": "middle lower",
    "lower lobe": "middle lower",
    "lower zone": "lower",
    "base": "lower",
    "costophrenic angle": "lower",
}


@lru_cache(maxsize=32768)
def side_of(text: str) -> Side:
    """The side that a sentence names for its finding, or "" for none. Left and right together are "both"."""
    found = _found(text, "side")
    for strength in ("most", "", "weak"):
        sides = {rule.fields["value"] for rule in found if rule.fields["strength"] == strength}
        if sides:
            return cast(Side, sides.pop() if len(sides) == 1 else "both")
    return ""


@lru_cache(maxsize=32768)
def zones_of(text: str) -> tuple[Zone, ...]:
    """The thirds of the lungs' height that a sentence names for its finding, from above; of several names all."""
    named = " ".join(HEIGHTS.get(value, value) for value in (rule.fields["value"] for rule in _found(text, "zone")))
    return tuple(zone for zone in ZONES if zone in named.split())


@lru_cache(maxsize=32768)
def severity_of(text: str) -> Severity:
    """Whether a sentence calls its finding slight or marked; "" where it says neither, or both."""
    found = {rule.fields["value"] for rule in _found(text, "severity")}
    return cast(Severity, found.pop()) if len(found) == 1 else ""


def _found(text: str, attribute: str) -> list[Rule]:
    """The rules that speak, those without a value left out; of overlapping phrases the earlier, then the longer."""
    lexicon = _lexicon(attribute)
    hits = longest(lexicon.find(lowered(text)))
    none = {(h.start, h.end) for h in hits if lexicon.rules[h.rule].fields["value"] == "-"}
    return [lexicon.rules[h.rule] for h in hits if (h.start, h.end) not in none]


@cache
def _lexicon(attribute: str) -> Lexicon:
    places = [rule for rule in rules("places") if attribute == "zone" and rule.fields["value"] in HEIGHTS]
    return Lexicon([*(rule for rule in rules("attributes") if rule.fields["attribute"] == attribute), *places])
