"""How much of a text comes back through its vector: BLEU-4 and the share that is equal, with intervals by text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics._intervals import REPLICATES, interval
from ..metrics._overlap import bleu_terms, words
from ..metrics._terms import Term, mean_term

if TYPE_CHECKING:
    from ..models._text_autoencoders import TextCoder

BATCH = 64


def reconstruction(
    coder: TextCoder, texts: Sequence[str], check: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """{"bleu_4": corpus BLEU-4, "equal": share of equal words in equal order}, each 0..1."""
    made = rebuilt(coder, texts, check)
    ones = np.ones((1, len(texts)))
    return {term.name: float(term.measure(ones)[0]) for term in terms(made, texts)}


@dataclass(frozen=True)
class Held:
    """Texts that no training text is equal to, and what a table calls them."""

    name: str
    texts: tuple[str, ...]


def measured(coder: TextCoder, held: Sequence[Held]) -> list[dict[str, Any]]:
    """One row a set of texts and measure, and "all" for them together, with 95 % intervals by text."""
    made = [rebuilt(coder, part.texts) for part in held]
    named = [(part.name, texts, part.texts) for part, texts in zip(held, made, strict=True)]
    if len(named) > 1:
        named.append(("all", [t for part in made for t in part], tuple(t for part in held for t in part.texts)))
    return [row for name, texts, wanted in named for row in _rows(name, texts, wanted)]


def rebuilt(coder: TextCoder, texts: Sequence[str], check: Callable[[], None] = lambda: None) -> list[str]:
    """What is written from the vector of each text."""
    made: list[str] = []
    for start in range(0, len(texts), BATCH):
        made += coder.texts(coder.encoded(texts[start : start + BATCH]))
        check()
    return made


def terms(made: Sequence[str], texts: Sequence[str]) -> list[Term]:
    """BLEU-4 and the share of equal texts."""
    bleu = next(t for t in bleu_terms(made, texts) if t.name == "bleu_4")
    equal = [float(words(a) == words(b)) for a, b in zip(made, texts, strict=True)]
    return [bleu, mean_term("equal", "share equal|tok:words", equal)]


def _rows(name: str, made: Sequence[str], texts: Sequence[str]) -> list[dict[str, Any]]:
    ones, each = np.ones((1, len(texts))), [str(i) for i in range(len(texts))]
    out = []
    for term in terms(made, texts):
        low, high = interval(term.measure, each, replicates=REPLICATES)
        value = float(term.measure(ones)[0])
        out.append({"data": name, "metric": term.name, "value": value, "low": low, "high": high, "n": len(texts)})
    return out
