"""Assertion in ConText style: is a mention affirmed, denied, hedged, of the past, or compared with an earlier film?

Rules are rows of ``assertion.tsv``. A rule reaches forward or backward over a number of words, never past a stop, and a
denial and a hedge stop each other: the nearer one decides. After Harkema et al. (2009); the rules are our own.

A colon, a question mark and a dash part sentences, save where an answer follows a heading: "Pneumothorax: none.",
"Cardiomegaly? No.". Rules that look backward, and those of answers alone (``no``), then reach the heading. A question
mark at the end, or before a word ("?pneumonia"), is a hedge. A comma or dash parts what is a sentence of its own: "No
effusion, the heart is large.".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ._lexicon import WORD, Hit, Lexicon, lowered, rules

Polarity = Literal["positive", "negative", "uncertain"]
_BREAK = re.compile(
    r"[;:](?=\s)|[.!?](?=\s)"
    r"|(?:,|(?<=\s)[-–—]{1,2})(?=\s+(?:the|there)\s[^,;.?]*\b(?:is|are|was|were|has|have)\b)"
)
_ASKED = re.compile(r"(?P<before>(?:^|(?<=[\s(,;]))\?(?=\s?[a-z]))|\?(?=[\s).,;]*$)")
_ASKED_OF = 6  # words that a question mark reaches forward; backward it reaches what no comma parts from it
# what may stand between two findings of one list: commas, and, or, and up to three words of description
_LIST = re.compile(
    r"(?:[\s,/-]+|(?:and|or|nor|the|a|an|any)\b)*(?:(?!(?:no|not|with|without|but)\b)[a-z0-9'-]+\s+){0,3}"
)
# what stands between a heading and its answer, and what a heading may begin with
_MARK = re.compile(r"\s*(?:[:?](?=\s)|(?<=\s)[-–—]{1,2}(?=\s))\s*")
_BEFORE = re.compile(r"[\W\d]*(?:(?!(?:there|it|this|is|are|was|has|have|with|shows?|no|not|new)\b)[a-z'-]+\W+){0,3}")
_ENDED = re.compile(r"\s*(?:[.,;!?)]|$)")


@dataclass(frozen=True)
class Assertion:
    """What is said of one mention.

    state       "positive", "negative" or "uncertain".
    historical  it is of the past: history of, status post.
    comparison  it is set against an earlier film: unchanged, new, resolved.
    trace       the rules that decided, as ``state: phrase``; empty for a plain statement.
    """

    state: Polarity = "positive"
    historical: bool = False
    comparison: bool = False
    trace: tuple[str, ...] = ()


PLAIN = Assertion()


@dataclass(frozen=True)
class Cue:
    """A rule set off in a sentence: characters ``start`` to ``end``."""

    start: int
    end: int
    state: str
    direction: str
    reach: int
    name: str


def assertions(text: str, mentions: Sequence[tuple[int, int]]) -> tuple[Assertion, ...]:
    """What one sentence says of each of its mentions, given as (start, end) in their order."""
    low = lowered(text)
    return decide(low, mentions, cues(lexicon().find(low)))


@cache
def lexicon() -> Lexicon:
    """The rules of assertion, ready to be found."""
    return Lexicon(rules("assertion"))


def cues(hits: Iterable[Hit], offset: int = 0) -> list[Cue]:
    """The rules that count: none inside a longer one, save a stop. ``offset`` is the number of the first rule."""
    table = _table()
    kept: list[Cue] = []
    end, last = -1, (-1, -1)
    for hit in sorted(hits, key=lambda h: (h.start, -h.end)):
        state, direction, reach, name = table[hit.rule - offset]
        if state != "stop":
            if hit.end <= end and (hit.start, hit.end) != last:
                continue
            end, last = hit.end, (hit.start, hit.end)
        kept.append(Cue(hit.start, hit.end, state, direction, reach, name))
    return kept


@cache
def _table() -> tuple[tuple[str, str, int, str], ...]:
    return tuple((r.fields["state"], r.fields["direction"], int(r.fields["reach"]), r.name) for r in rules("assertion"))


def decide(low: str, mentions: Sequence[tuple[int, int]], found: Sequence[Cue]) -> tuple[Assertion, ...]:
    """Assertions of mentions in a sentence of small letters, given its cues."""
    found = [*found, *_questions(low)]
    if not found:
        return (PLAIN,) * len(mentions)
    walls = [(c.start, c.end) for c in found if c.state == "stop"] + [m.span() for m in _BREAK.finditer(low)]
    bearing = [c for c in found if c.state not in ("stop", "pseudo")]
    answers = {begin: mark for mark, begin in headings(low, mentions).values()}
    return tuple(_decide(low, number, mentions, bearing, walls, answers) for number in range(len(mentions)))


def _questions(low: str) -> list[Cue]:
    """Question marks that put what follows, or what the sentence ends with, in doubt."""
    if "?" not in low:
        return []
    out = []
    for mark in _ASKED.finditer(low):
        at = mark.start()
        forward = mark["before"] is not None
        words = sum(1 for _ in WORD.finditer(low, low.rfind(",", 0, at) + 1, at))
        reach = _ASKED_OF if forward else words - 1  # a mention is a word itself
        out.append(Cue(at, at + 1, "uncertain", "forward" if forward else "backward", reach, "?"))
    return out


def headings(low: str, mentions: Sequence[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Number of each mention that ends a heading or question -> where its mark begins, and where its answer does."""
    out = {}
    for number, (start, end) in enumerate(mentions):
        if mark := _MARK.match(low, end):
            begin = max((m.end() for m in _BREAK.finditer(low, 0, start)), default=0)
            first = min(s for s, _ in mentions if s >= begin)
            if "?" in mark[0] or _BEFORE.fullmatch(low, begin, first):
                out[number] = mark.span()
    return out


def _decide(
    low: str,
    number: int,
    mentions: Sequence[tuple[int, int]],
    bearing: Sequence[Cue],
    walls: Sequence[tuple[int, int]],
    answers: Mapping[int, int],
) -> Assertion:
    start, end = mentions[number]
    near: list[tuple[int, Cue]] = []
    for cue in bearing:
        distance = _distance(low, number, mentions, cue)
        if distance is None or distance > cue.reach:
            continue
        between = (cue.end, start) if cue.end <= start else (end, cue.start)
        if cue.start in answers and cue.start >= end and _ENDED.match(low, cue.end):
            between = (end, answers[cue.start])
        elif cue.direction == "answer":
            continue
        if not any(between[0] <= wall[0] and wall[1] <= between[1] for wall in walls):
            near.append((distance, cue))
    if not near:
        return PLAIN
    polar = [(d, c) for d, c in near if c.state in ("negative", "uncertain", "suggested")]
    ruling = _ruling(polar)
    flags = [c for _, c in near if c.state in ("historical", "comparison")]
    state: Polarity = "positive" if ruling is None else "negative" if ruling.state == "negative" else "uncertain"
    return Assertion(
        state,
        any(c.state == "historical" for c in flags),
        any(c.state == "comparison" for c in flags),
        tuple(dict.fromkeys(c.name for c in ([ruling] if ruling else []) + flags)),
    )


def _ruling(polar: list[tuple[int, Cue]]) -> Cue | None:
    """The nearest denial or hedge; a denial also overrides a weak hedge ("suggested") between it and the mention."""
    denied = [p for p in polar if p[1].state == "negative"]
    strong = [p for p in polar if p[1].state == "uncertain"]
    pool = denied + strong or polar
    return min(pool, key=lambda p: (p[0], p[1].state == "negative"))[1] if pool else None


def _distance(low: str, number: int, mentions: Sequence[tuple[int, int]], cue: Cue) -> int | None:
    """Words between cue and mention, 0 for a cue inside the mention, None where the cue looks the other way."""
    start, end = mentions[number]
    if start <= cue.start and cue.end <= end:
        return 0
    if cue.end <= start and cue.direction in ("forward", "both"):
        return sum(1 for _ in WORD.finditer(low, cue.end, start))
    if cue.start >= end and cue.direction in ("backward", "both", "answer") and _linked(low, number, mentions, cue):
        return sum(1 for _ in WORD.finditer(low, end, cue.start))
    return None


def _linked(low: str, number: int, mentions: Sequence[tuple[int, int]], cue: Cue) -> bool:
    """Whether a cue that looks backward reaches this mention: none after it stands outside one list with it."""
    at = mentions[number][1]
    for start, end in mentions[number + 1 :]:
        if start >= cue.start:
            break
        if start > at and not _LIST.fullmatch(low, at, start):
            return False
        at = max(at, end)
    return "," not in low[at : cue.start] or bool(_LIST.fullmatch(low, at, cue.start))
