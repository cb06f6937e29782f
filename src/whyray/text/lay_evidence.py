"""What a lay sentence rests on, in plain words ("a solid white area"): the finding labeller reads clinicians' words.

Phrases are rows of ``lay_evidence.tsv``; what is said of one is `whyray.text.assertion`. They know the words of our own
lay grammar and read one sentence about one diagnosis: what they miss in other texts was not measured.
"""

from __future__ import annotations

from functools import cache, lru_cache

from ._lexicon import Lexicon, longest, lowered, rules
from .assertion import cues, decide
from .assertion import lexicon as assertions


@lru_cache(maxsize=32768)
def lay_evidence(text: str, diagnosis: str) -> frozenset[str]:
    """The evidence that a lay sentence on ``diagnosis`` states or hedges; what it explains is none for itself."""
    lexicon, low = _lexicon(diagnosis), lowered(text)
    hits = longest(lexicon.find(low))
    none = {(h.start, h.end) for h in hits if lexicon.rules[h.rule].fields["finding"] == "-"}
    seen = [h for h in hits if (h.start, h.end) not in none]
    said = decide(low, [(h.start, h.end) for h in seen], cues(assertions().find(low)))
    found = (
        lexicon.rules[hit.rule].fields["finding"]
        for hit, what in zip(seen, said, strict=True)
        if what.state != "negative" and not what.historical
    )
    return frozenset(found) - {diagnosis}


@cache
def _lexicon(diagnosis: str) -> Lexicon:
    return Lexicon(rule for rule in rules("lay_evidence") if rule.fields["diagnosis"] in ("", diagnosis))
