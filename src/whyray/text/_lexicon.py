"""Phrases from rule files, and one pass over a text that finds them all.

A phrase is words with blanks between: ``a|b`` is either word, ``word?`` may be missing, ``word*`` may go on, ``~3`` is
up to three words of any kind. Words are joined by blanks, hyphens or slashes. The first word must be literal: it is the
key under which the phrase waits, so that a text is read once however many phrases there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from ..errors import DataError

WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_JOIN = r"[\s/\-]+"
_ITEM = re.compile(r"~\d+|[a-z0-9'|]+\*?\??")


@dataclass(frozen=True)
class Rule:
    """One row of a rule file: what it says, its phrase, and the sentence that shows it.

    source   the file it came from, without its ending ("assertion").
    fields   every column of the row, by its heading; always holds "phrase" and "example".
    """

    source: str
    fields: Mapping[str, str]

    @property
    def phrase(self) -> str:
        """The phrase that sets the rule off."""
        return self.fields["phrase"]

    @property
    def name(self) -> str:
        """What a trace calls it: ``negative: no evidence of``."""
        return f"{next(iter(self.fields.values()))}: {self.phrase}"


class Hit(NamedTuple):
    """A phrase found: characters ``start`` to ``end`` of the text, and the number of its rule."""

    start: int
    end: int
    rule: int


def rows(name: str) -> tuple[dict[str, str], ...]:
    """The rows of ``name.tsv`` beside this file, by column. Lines that begin with ``#`` are remarks."""
    text = (files(__package__) / f"{name}.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    heading = lines[0].split("\t")
    out = []
    for line in lines[1:]:
        cells = line.split("\t")
        if len(cells) != len(heading):
            raise DataError(
                f"{name}.tsv: {line!r} has {len(cells)} cells; give it {len(heading)}: {', '.join(heading)}"
            )
        out.append(dict(zip(heading, cells)))
    return tuple(out)


@cache
def rules(name: str) -> tuple[Rule, ...]:
    """All rules of one file."""
    return tuple(Rule(name, row) for row in rows(name))


def pattern(phrase: str) -> tuple[tuple[str, ...], str]:
    """The words a phrase may begin with, and the regular expression of the whole. Raises DataError."""
    items = phrase.split(" ")
    if any(not _ITEM.fullmatch(item) for item in items) or not items[0].replace("|", "").replace("'", "").isalnum():
        raise DataError(f"phrase {phrase!r}: wanted words, a|b, word?, word* or ~3, a plain word first; correct it")
    return tuple(items[0].split("|")), _expression(items)


def _expression(items: list[str]) -> str:
    out = f"(?:{items[0]})"
    for item in items[1:]:
        if item.startswith("~"):
            out += rf"(?:{_JOIN}[a-z0-9']+){{0,{item[1:]}}}?"
            continue
        body = item.rstrip("?")
        words = f"{_JOIN}(?:{body.rstrip('*')}){'[a-z]*' if body.endswith('*') else ''}"
        out += f"(?:{words})?" if item.endswith("?") else words
    return out + r"(?![a-z0-9])"


class Lexicon:
    """Rules ready to be found; immutable once made."""

    def __init__(self, chosen: Iterable[Rule]) -> None:
        self.rules = tuple(chosen)
        waiting: dict[str, list[tuple[Callable[..., re.Match[str] | None] | None, int]]] = {}
        for number, rule in enumerate(self.rules):
            first, expression = pattern(rule.phrase)
            match = None if " " not in rule.phrase else re.compile(expression).match
            for word in first:
                waiting.setdefault(word, []).append((match, number))
        self._waiting = {word: tuple(entries) for word, entries in waiting.items()}

    def find(self, low: str) -> Iterator[Hit]:
        """Every phrase in a text of lower-case letters, by its first character; hits may overlap."""
        get = self._waiting.get
        for word in WORD.finditer(low):
            for match, number in get(word.group(), ()):
                if match is None:
                    yield Hit(word.start(), word.end(), number)
                elif found := match(low, word.start()):
                    yield Hit(word.start(), found.end(), number)


def lowered(text: str) -> str:
    """The text in lower case, of the same length: a letter whose lower case is longer stays."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def longest(hits: Iterable[Hit]) -> list[Hit]:
    """Hits without those that overlap an earlier one, or a longer one of the same start; equal spans all stay."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.start, -h.end)):
        if not kept or hit.start >= kept[-1].end or hit[:2] == kept[-1][:2]:
            kept.append(hit)
    return kept
