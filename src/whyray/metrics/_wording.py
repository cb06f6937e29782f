"""What the words themselves say of a generator: diversity, mentions of earlier films, readability."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..text._lexicon import lowered
from ..text.assertion import cues, lexicon
from ._overlap import ORDERS, _ngrams, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 20
EPSILON = 0.1  # for n-grams that no other text has, in self-BLEU
_VOWELS = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?<=[^aeiouyl])e$|(?<=[aeiouy]l)e$|(?<=[^aeiouytd])ed$|(?<=[^aeiouycsxzg])es$")
_HIATUS = re.compile(r"(?<![tscgx])i[ao]|eo|iu")
_EARLIER = re.compile(
    r"\b(?:prior|previous|earlier|last|preceding)\s+(?:chest\s+)?(?:study|studies|exam\w*|films?|radiographs?|x-?rays?)"
)


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams over all n-grams, 0..1 (Li et al., 2016); NaN without any."""
    held = [_grams(text, n) for text in texts]
    total = sum(grams.total() for grams in held)
    return len(set().union(*held)) / total if total else math.nan


def share_unique(texts: Sequence[str]) -> float:
    """Different texts (by their words) over all, 0..1; NaN without any."""
    return len({_tokens(t) for t in texts}) / len(texts) if texts else math.nan


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU-4 of each text against all others, 0..1; lower = more diverse (Zhu et al., 2018). NaN below two texts.

    Sentence BLEU as in that benchmark: n-grams that no other text has count ``EPSILON``.
    """
    kept = [t for t in texts if _tokens(t)]
    if len(kept) < 2:
        return math.nan
    logs = np.zeros(len(kept))
    for n in ORDERS:
        found, totals = _found_elsewhere([_grams(t, n) for t in kept])
        logs += np.log(np.where(found, found, EPSILON) / np.maximum(1, totals)) / len(ORDERS)
    lengths = Counter(len(_tokens(t)) for t in kept)
    brevity = {n: min(0.0, 1 - _closest(lengths, n) / n) for n in lengths}
    return float(np.exp(logs + [brevity[len(_tokens(t))] for t in kept]).mean())


def _found_elsewhere(held: Sequence[Counter[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each text how many of its n-grams another text has, at most as often as there; and how many it has at all."""
    number: dict[Any, int] = {}
    grams = np.array([number.setdefault(g, len(number)) for counts in held for g in counts], np.int64)
    counts = np.array([c for counts in held for c in counts.values()], np.int64)
    text = np.repeat(np.arange(len(held)), [len(counts) for counts in held])
    order = np.lexsort((-counts, grams))  # by n-gram, the most first
    first = np.searchsorted(grams[order], np.arange(len(number)))
    most, whose = counts[order[first]], text[order[first]]
    second = np.minimum(first + 1, len(order) - 1)
    next_most = np.where(grams[order[second]] == np.arange(len(number)), counts[order[second]], 0)
    next_most[first == second] = 0
    elsewhere = np.where(whose[grams] == text, next_most[grams], most[grams])
    found, totals = (np.bincount(text, c, len(held)).astype(np.int64) for c in (np.minimum(counts, elsewhere), counts))
    return found, totals


@lru_cache(maxsize=100_000)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(words(text))


@lru_cache(maxsize=100_000)
def _grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    """n-grams of a text, counted once: a jackknife asks for them again and again."""
    return _ngrams(_tokens(text), n)


def _closest(lengths: Counter[int], own: int) -> int:
    """The length of another text that is nearest to ``own``, which is one of them; the shorter of two."""
    others = (n for n, count in lengths.items() if n != own or count > 1)
    return min(others, key=lambda n: (abs(n - own), n))


def jackknife(
    measure: Callable[[Sequence[str]], float], texts: Sequence[str], patients: Sequence[str]
) -> tuple[float, float, float]:
    """(value, low, high): 95 % interval by the delete-a-group jackknife over patients, in at most 20 groups.

    For measures that count repetitions, which drawing with replacement would add.
    """
    value = measure(texts)
    names = sorted(set(patients))
    order = np.random.default_rng(0).permutation(len(names))
    groups = min(GROUPS, len(names))
    if groups < 2:
        return value, math.nan, math.nan
    group = {names[k]: i % groups for i, k in enumerate(order)}
    left = np.array(
        [measure([t for t, p in zip(texts, patients, strict=True) if group[p] != g]) for g in range(groups)]
    )
    spread = math.sqrt((groups - 1) / groups * float(((left - left.mean()) ** 2).sum()))
    return value, value - 1.96 * spread, value + 1.96 * spread


def speaks_of_earlier(text: str) -> bool:
    """Whether a sentence speaks of an earlier film or time: from one picture alone, no one can.

    "No prior study" speaks of none. By the rules "comparison" and "historical" of ``assertion.tsv``.
    """
    low = lowered(text)
    found = cues(lexicon().find(low))
    if any(c.state in ("comparison", "historical") for c in found):
        return True
    return any(not re.search(r"\bno\s+$", low[: m.start()]) for m in _EARLIER.finditer(low))


def reading_ease(text: str) -> float:
    """Flesch reading ease: about 0 (hard) to 100 (easy); NaN without a word."""
    counted = _counted(text)
    return math.nan if counted is None else flesch(*counted)[0]


def grade(text: str) -> float:
    """Flesch-Kincaid grade: years of school; NaN without a word."""
    counted = _counted(text)
    return math.nan if counted is None else flesch(*counted)[1]


def flesch(count: int, sentences: int, syllable_count: int) -> tuple[float, float]:
    """(reading ease, grade) of so many words, sentences and syllables (Flesch, 1948; Kincaid et al., 1975)."""
    long, heavy = count / sentences, syllable_count / count
    return 206.835 - 1.015 * long - 84.6 * heavy, 0.39 * long + 11.8 * heavy - 15.59


def _counted(text: str) -> tuple[int, int, int] | None:
    """Words, sentences, syllables."""
    tokens = [w for w in words(text) if any(c.isalpha() for c in w)]
    ends = len(re.findall(r"[.!?]+(?=\s|$)", text)) or 1
    return (len(tokens), ends, sum(map(syllables, tokens))) if tokens else None


def syllables(word: str) -> int:
    """Groups of vowels without a silent e, and one more for each hiatus (pneumonia); an estimate, one at least."""
    body = _SILENT.sub("", word.lower())
    return max(1, len(_VOWELS.findall(body)) + len(_HIATUS.findall(body)))
