"""What a sentence says of the side and of the size of its finding, for clinicians' words and for plain ones.

Phrases are rows of ``attributes.tsv``. They read one sentence about one finding; a report has `whyray.text.labeller`.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Literal, cast

from ._lexicon import Lexicon, Rule, longest, lowered, rules

Side = Literal["left", "right", "both", ""]
Severity = Literal["slight", "marked", ""]
SIDES: tuple[Side, ...] = ("left", "right", "both")
SEVERITIES: tuple[Severity, ...] = ("slight", "marked")


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
    return Lexicon(rule for rule in rules("attributes") if rule.fields["attribute"] == attribute)
