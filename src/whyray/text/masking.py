"""Sentences without the names of findings and without words of probability: what a reader can still learn from them.

A reader who foretells a classifier's answer from its sentences must not be handed the answer. All names are hidden,
whichever finding the sentence is about: what is evidence for one is the name of another. Rules: ``masks.tsv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from ..findings import FINDINGS
from ._lexicon import Hit, Lexicon, Rule, lowered, rules

MASK = "[MASK]"
NONE = frozenset(["no_finding", "other_disease", "other_lesion"])  # their names are everyday words
# numbers that tell a probability, an operating point or a prevalence
_NUMBERS = re.compile(
    r"\b(?:probability|operating point|cut-off|score)\b(?:\s+(?:is|of))?\s*\d+(?:\.\d+)?"
    r"|\b\d+(?:\.\d+)?\s?%|\b\d+ (?:out of|in) 100\b|\b\d+ would\b|\bof 100 people\b"
    r"|\b(?:probability|operating point|cut-off|likelihood)\b"
)
_BETWEEN = re.compile(r"\s*(?:\b(?:a|an|the|be|is|are|or|and)\b\s*)*")


def masked(text: str) -> str:
    """The text with every name of a finding and every word of probability behind ``MASK``; neighbours share one."""
    spans = [(h.start, h.end) for h in _hits(text)]
    spans += [m.span() for m in _NUMBERS.finditer(lowered(text))]
    out, at = [], 0
    for start, end in _joined(text, spans):
        out += [text[at:start], MASK]
        at = end
    return "".join([*out, text[at:]])


def named(text: str) -> frozenset[str]:
    """Canonical ids of the findings whose names the text holds, in medical or in plain words."""
    lexicon = _lexicon()
    return frozenset(f for h in _hits(text) for f in lexicon.rules[h.rule].fields["value"].split())


def _hits(text: str) -> list[Hit]:
    """All hits, those left out that a rule of the kind "none" covers."""
    lexicon = _lexicon()
    found = list(lexicon.find(lowered(text)))
    free = [h for h in found if lexicon.rules[h.rule].fields["kind"] == "none"]
    return [h for h in found if not any(f.start <= h.start and h.end <= f.end for f in free)]


def _joined(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans in their order, those that overlap or have only small words between them as one."""
    held: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if held and (start <= held[1] or _BETWEEN.fullmatch(lowered(text), held[1], start)):
            held = held[0], max(held[1], end)
            continue
        if held:
            yield held
        held = start, end
    if held:
        yield held


@cache
def _lexicon() -> Lexicon:
    devices = [r for r in rules("findings") if r.fields["finding"] == "support_devices"]
    return Lexicon(
        [*rules("masks"), *(_rule("support_devices", r.phrase) for r in devices), *(_rule(*n) for n in _vocabulary())]
    )


def _vocabulary() -> Iterator[tuple[str, str]]:
    """(finding, phrase) for every name and alias of the vocabulary."""
    for finding in FINDINGS:
        if finding.id not in NONE:
            for name in (finding.name, *finding.aliases):
                yield finding.id, " ".join(re.findall(r"[a-z0-9]+", name.lower()))


def _rule(finding: str, phrase: str) -> Rule:
    return Rule("masks", {"kind": "name", "value": finding, "phrase": phrase})
