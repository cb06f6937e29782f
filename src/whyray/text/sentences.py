"""Sentences of a report: a splitter that knows reports, and the exact sentences of MIMIC-NLE."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ._lexicon import rows
from ._sentencizer import sentence_starts
from .sections import mimic_cxr

# an end: stop marks, with quotes or brackets that close after them; or a blank line; or a line that opens a list item
_END = re.compile(
    r"[.!?]+[\"')\]]*(?=\s|$)"
    r"|(?<=[a-z)\]][a-z)\]])\.(?=[A-Z][a-z])"
    r"|\n[ \t]*\n\s*"
    r"|\n(?=[ \t]*(?:\d{1,2}[.)]|[-*•])[ \t])"
)
# what answers a question within its sentence: "Cardiomegaly? No."
_ANSWER = re.compile(
    r"\s+(?:no|nil|none|yes|absent|negative|unlikely|possible|possibly|probable|probably|likely|not seen|none seen)"
    r"(?=[.,;]|\s*$)",
    re.IGNORECASE,
)
_LIST_NUMBER = re.compile(r"\s*\(?\d{1,2}[.)]")
_LAST_WORD = re.compile(r"(?:[A-Za-z]\.)*[A-Za-z]+\.$|[A-Za-z]+\.$")


@dataclass(frozen=True)
class Sentence:
    """One sentence, and where it lies: ``text == whole[start:end]``, without blanks at its ends."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class MimicSentence:
    """One sentence as MIMIC-NLE numbers it: ``id`` is ``"{study}#{index}"``; its text is that of the published set."""

    id: str
    text: str


def sentences(text: str) -> tuple[Sentence, ...]:
    """Sentences in their order; what lies between two is white space only.

    A list number belongs to the sentence it opens. Abbreviations, decimals, times, initials and the blanks of
    anonymised text (``___``, ``XXXX``) do not end a sentence; a line break does before a list item or a blank line.
    """
    out: list[Sentence] = []
    start = 0
    for end in _END.finditer(text):
        if end[0][0] == "\n":
            cut = end.start()
        elif _goes_on(text, start, end):
            continue
        else:
            cut = end.end()
        _add(out, text, start, cut)
        start = cut
    _add(out, text, start, len(text))
    return tuple(out)


def mimic_nle_text(report: str) -> str:
    """The text MIMIC-NLE splits: findings and impression, line breaks gone without a blank, joined without one, two
    blanks made one once. "" where a report has neither section."""
    kept = [s.text.replace("\n", "") for s in mimic_cxr(report) if s.name in ("impression", "findings")]
    return "".join(kept).replace("  ", " ")


def mimic_nle(study: str, report: str) -> tuple[MimicSentence, ...]:
    """The sentences of one MIMIC-CXR report under the ids of the published query files.

    study   file name without ending ("s12345678").
    report  the file's text with line ends as ``\\n``.
    Equal to spaCy 2.3.5's blank English pipeline with its sentencizer on the text of `mimic_nle_text`; see
    `whyray.text._sentencizer` for what is equal and how that is shown.
    """
    text = mimic_nle_text(report)
    starts = sentence_starts(text)
    out = []
    for index, (start, end) in enumerate(zip(starts, [*starts[1:], len(text)])):
        piece = text[start:end]
        # a blank that the last word owns is not part of a sentence; several blanks are a token, which is
        piece = piece[:-1] if piece.endswith(" ") and piece[-2:-1].strip() else piece
        out.append(MimicSentence(f"{study}#{index}", piece.lstrip(" ")))
    return tuple(out)


def _add(out: list[Sentence], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    body = piece.strip()
    if body:
        start += len(piece) - len(piece.lstrip())
        out.append(Sentence(body, start, start + len(body)))


def _goes_on(text: str, start: int, end: re.Match[str]) -> bool:
    """Whether the sentence goes on after this stop mark."""
    mark = end[0]
    if mark == "?":
        asks_on = not text[end.start() - 1 : end.start()].strip() and text[end.end() :].lstrip()[:1].islower()
        return asks_on or bool(_ANSWER.match(text, end.end()))
    if mark[0] != "." or len(mark.rstrip("\"')]")) > 1:
        return False
    before = text[start : end.start() + 1]
    rest = text[end.end() :].lstrip(" \t\n") if end.end() < len(text) else ""
    following = rest[:1]
    if not following:
        return False
    if _LIST_NUMBER.fullmatch(before):
        return True
    word = _LAST_WORD.search(before)
    if word is None:
        return following.islower()
    low = word[0].lower()
    if low in _abbreviations("always") or (len(low) == 2 and word[0].isupper() and not _alone(before)):
        return True
    if low in _abbreviations("number"):
        return following.isdigit() or following.islower() or following in "_#"
    return following.islower()


def _alone(before: str) -> bool:
    """A single capital that is the last word of a sentence ("vitamin C.") rather than an initial ("J. Smith")."""
    return not re.search(r"(?:^|[A-Z]\.|Dr\.|Mr\.|Ms\.|Mrs\.)\s*[A-Z]\.$", before)


@cache
def _abbreviations(kind: str) -> frozenset[str]:
    return frozenset(row["abbreviation"] for row in rows("abbreviations") if row["kind"] == kind)
