"""Finding labels of reports by rules: four states over CheXpert-14, with side and place.

Phrases are rows of ``findings.tsv``, places of ``places.tsv``; what is said of a mention is `whyray.text.assertion`.
States of a report are put together as CheXpert does (Irvin et al., 2019): positive before uncertain before negative;
"no finding" is positive where nothing but a device is positive or uncertain. The rules are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal, Protocol

from ..findings import crosswalk
from ._lexicon import WORD, Hit, Lexicon, longest, lowered, rules
from .assertion import Assertion, Polarity, cues, decide, headings
from .sections import split
from .sentences import Sentence, sentences

State = Literal["positive", "negative", "uncertain", "absent"]
CHEXPERT = tuple(crosswalk("chexpert-14").values())
# finer findings that one of CheXpert-14 stands for
GENERAL = {
    "nodule": "lung_lesion",
    "mass": "lung_lesion",
    "infiltration": "lung_opacity",
    "pleural_thickening": "pleural_other",
}
_ORDER: dict[State, int] = {"positive": 0, "uncertain": 1, "negative": 2, "absent": 3}
_NEAR = 8


class Labeller(Protocol):
    """What gives a text its labels: these rules, or a model of the CheXbert kind behind the same two names."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The canonical ids of its labels, in their order."""

    def label(self, text: str) -> Mapping[str, State]:
        """The state of every finding of the vocabulary in a sentence or a report's findings and impression."""


@dataclass(frozen=True)
class Mention:
    """A finding named in a text at characters ``start`` to ``end``.

    finding    canonical id, as fine as the words are ("nodule").
    state      of this mention, historical ones included.
    side       "left", "right", "bilateral" or "" where nothing near says.
    zones      "lower lobe", "base" ... in the order of the text.
    assertion  flags, and the rules that decided.
    """

    finding: str
    start: int
    end: int
    state: Polarity
    side: str
    zones: tuple[str, ...]
    assertion: Assertion
    rule: str

    @property
    def counts(self) -> bool:
        """Whether it says something of this film: not of the past, unless it is a device, which stays."""
        return not self.assertion.historical or self.finding == "support_devices"


@dataclass(frozen=True)
class Labelled:
    """A text's sentences, the mentions in each (offsets in the text), and its states over a vocabulary."""

    sentences: tuple[Sentence, ...]
    mentions: tuple[tuple[Mention, ...], ...]
    states: Mapping[str, State]


@dataclass(frozen=True)
class RuleLabeller:
    """The labeller of this file. ``vocabulary`` holds canonical ids; CheXpert-14 by default."""

    vocabulary: tuple[str, ...] = CHEXPERT

    def label(self, text: str) -> Mapping[str, State]:
        """States of a sentence or of several."""
        return self.read(text).states

    def read(self, text: str) -> Labelled:
        """Sentences, mentions and states of one text without headings."""
        parts = sentences(text)
        found = tuple(_moved(mentions(s.text), s.start) for s in parts)
        return Labelled(parts, found, states((m for ms in found for m in ms), self.vocabulary))

    def report(self, text: str) -> Labelled:
        """Findings and impression of a report of any layout; the whole text where neither section is there."""
        parts: list[Sentence] = []
        found: list[tuple[Mention, ...]] = []
        sections = split(text)
        for section in sections.named("findings", "impression") or sections.named("last_paragraph", "full report"):
            for s in sentences(section.text):
                parts.append(Sentence(s.text, s.start + section.start, s.end + section.start))
                found.append(_moved(mentions(s.text), s.start + section.start))
        return Labelled(tuple(parts), tuple(found), states((m for ms in found for m in ms), self.vocabulary))


def states(found: Iterable[Mention], vocabulary: tuple[str, ...] = CHEXPERT) -> dict[str, State]:
    """One state a finding: the strongest of its mentions that count, finer findings standing for their general one."""
    out: dict[str, State] = {finding: "absent" for finding in vocabulary}
    best: dict[str, State] = {}
    for mention in found:
        if not mention.counts:
            continue
        for name in {mention.finding, GENERAL.get(mention.finding, mention.finding)}:
            if _ORDER[mention.state] < _ORDER[best.get(name, "absent")]:
                best[name] = mention.state
    out.update({name: state for name, state in best.items() if name in out and name != "no_finding"})
    if "no_finding" in out:
        others = {best.get(f, "absent") for f in CHEXPERT if f not in ("no_finding", "support_devices")}
        out["no_finding"] = "absent" if {"positive", "uncertain"} & others else "positive"
    return out


@lru_cache(maxsize=32768)
def mentions(sentence: str) -> tuple[Mention, ...]:
    """The mentions of one sentence, offsets within it. Results are kept: reports repeat themselves."""
    low = lowered(sentence)
    named: list[Hit] = []
    bearing: list[Hit] = []
    places: list[Hit] = []
    of_findings, of_assertion = len(rules("findings")), len(rules("assertion"))
    for hit in _lexicon().find(low):
        if hit.rule < of_findings:
            named.append(hit)
        elif hit.rule < of_findings + of_assertion:
            bearing.append(hit)
        else:
            places.append(hit)
    if not named:
        return ()
    whole = [h for h in named if _facts()[h.rule][0] == "no_finding"]
    named = sorted(_distinct(longest(h for h in named if _facts()[h.rule][0] != "no_finding")) + longest(whole))
    spans = [(h.start, h.end) for h in named]
    said = decide(low, spans, cues(bearing, of_findings))
    where = _places(low, spans, places, of_findings + of_assertion)
    found = [_mention(h, a, w, " not " in low[h.start : h.end]) for h, a, w in zip(named, said, where)]
    for number in headings(low, spans):
        found[number] = _headed(found[number], found[number + 1 :])
    return tuple(m for m in found if m.finding != "-")


def _headed(heading: Mention, after: list[Mention]) -> Mention:
    """A heading whose finding is named again after it says what is said there: "Effusion: no effusion."."""
    same = [m for m in after if m.finding == heading.finding]
    if not same or heading.state != "positive":
        return heading
    told = min(same, key=lambda m: _ORDER[m.state])
    return replace(heading, state=told.state, assertion=told.assertion)


def _mention(hit: Hit, said: Assertion, where: tuple[str, tuple[str, ...]], denied: bool) -> Mention:
    """A hit with what is said of it; ``denied``: the words of a normal statement hold a \"not\"."""
    finding, given, name = _facts()[hit.rule]
    state: Polarity = said.state
    if given == "negative" and denied:
        state = "positive"
    elif given == "negative" or (given == "uncertain" and state == "positive"):
        state = given
    if finding == "no_finding":
        state = "positive"
    return Mention(finding, hit.start, hit.end, state, *where, said, name)


@cache
def _facts() -> tuple[tuple[str, Literal["", "negative", "uncertain"], str], ...]:
    given: dict[str, Literal["", "negative", "uncertain"]] = {"": "", "negative": "negative", "uncertain": "uncertain"}
    return tuple((r.fields["finding"], given[r.fields["state"]], r.name) for r in rules("findings"))


@cache
def _lexicon() -> Lexicon:
    return Lexicon((*rules("findings"), *rules("assertion"), *rules("places")))


def _distinct(hits: list[Hit]) -> list[Hit]:
    """One hit a span and finding; a span that is none for one phrase is none for all."""
    kept: dict[tuple[int, int, str], Hit] = {}
    for hit in hits:
        kept.setdefault((hit.start, hit.end, _facts()[hit.rule][0]), hit)
    none = {(start, end) for start, end, finding in kept if finding == "-"}
    return [h for (start, end, finding), h in kept.items() if finding == "-" or (start, end) not in none]


def _moved(found: tuple[Mention, ...], by: int) -> tuple[Mention, ...]:
    if not by or not found:
        return found
    return tuple(
        Mention(m.finding, m.start + by, m.end + by, m.state, m.side, m.zones, m.assertion, m.rule) for m in found
    )


def _places(
    low: str, spans: list[tuple[int, int]], places: list[Hit], offset: int
) -> list[tuple[str, tuple[str, ...]]]:
    """Side and zones of each mention: the nearest words of place that no other finding or semicolon parts from it."""
    if not places:
        return [("", ())] * len(spans)
    table = rules("places")
    out = []
    for span in spans:
        near = sorted((d, p) for p in places if (d := _apart(low, span, p, spans)) is not None and d <= _NEAR)
        facts = [table[p.rule - offset].fields for _, p in near]
        sides = [f["value"] for f in facts if f["kind"] == "side"]
        zones = dict.fromkeys(f["value"] for f in facts if f["kind"] == "zone")
        both = "left" in sides[:2] and "right" in sides[:2] and _joined(low)
        out.append(("bilateral" if both else sides[0] if sides else "", tuple(zones)))
    return out


def _joined(low: str) -> bool:
    return "left and right" in low or "right and left" in low


def _apart(low: str, span: tuple[int, int], place: Hit, spans: list[tuple[int, int]]) -> int | None:
    """Words between a mention and a place, or None where something parts them."""
    start, end = span
    if place.start < end and place.end > start:
        return 0
    gap = (place.end, start) if place.end <= start else (end, place.start)
    if any(gap[0] <= s and e <= gap[1] and (s, e) != span for s, e in spans) or ";" in low[gap[0] : gap[1]]:
        return None
    return sum(1 for _ in WORD.finditer(low, *gap))
