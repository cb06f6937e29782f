"""Sentences out of phrases that somebody wrote: which token may come next, if every run is to occur in texts.

A small network that writes freely writes what no one would say. Held to the runs of known sentences on one finding it
puts these together anew: the words are a person's, the choice is the network's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from ._lexicon import rows
from .nle_database import cased, mirrored

MOST = 256  # ways of saying one sentence


@dataclass(frozen=True, eq=False)
class Phrases:
    """Runs of ``run`` tokens that occur: the last ones but one (-1 before the first) -> those that may come next."""

    run: int
    end: int
    after: Mapping[tuple[int, ...], tuple[int, ...]] = field(repr=False)

    def next(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """What may follow ``tokens``, a text's from its first; the end where nothing else does."""
        last = (*[-1] * (self.run - 1), *tokens)[-(self.run - 1) :]
        return self.after.get(last, (self.end,))


def phrases_of(texts: Iterable[str], encode: Callable[[str], Sequence[int]], run: int, end: int) -> Phrases:
    """The phrases of texts, ``run`` tokens long (2 or more)."""
    after: dict[tuple[int, ...], set[int]] = {}
    for text in texts:
        tokens = (*[-1] * (run - 1), *encode(text), end)
        for i in range(run - 1, len(tokens)):
            after.setdefault(tokens[i - run + 1 : i], set()).add(tokens[i])
    return Phrases(run, end, {before: tuple(sorted(found)) for before, found in after.items()})


def varied(text: str) -> tuple[str, ...]:
    """The sentence itself, and with other sides, heights and degrees by the rules of ``exchange.tsv``; 256 at most."""
    found = [text]
    for pattern, words in _exchanges():
        found = [
            other
            for one in found
            for other in (
                (pattern.sub(lambda m, w=word: cased(w, m.group()), one) for word in words)  # type: ignore[misc]
                if pattern.search(one)
                else (one,)
            )
        ][: MOST // 2]
    return tuple(dict.fromkeys((text, *found, *map(mirrored, found))))


@cache
def _exchanges() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    """Each group of words with the pattern that finds one of them."""
    groups = [tuple(row["words"].split("|")) for row in rows("exchange")]
    return tuple((re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE), words) for words in groups)
