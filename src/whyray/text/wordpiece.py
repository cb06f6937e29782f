"""WordPiece tokens of a published BERT (Wu et al., 2016; Devlin et al., 2019), from its ``vocab.txt`` alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import WeightsError

MOST_LETTERS = 100  # a longer word is unknown, as published
NAMES = ("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]")
_NO_SPACE = re.compile(r"(?<=\d)\s+(\.)\s+(?=\d)|\s+([.,;:!?%)\]])|([(\[])\s+|\s*([-/'])\s*")


@dataclass(frozen=True)
class WordPieces:
    """Text to tokens and back; ``words``: the vocabulary in order; ``lower``: case and accents are taken off."""

    words: tuple[str, ...] = field(repr=False)
    lower: bool = True

    def __post_init__(self) -> None:
        missing = [name for name in NAMES if name not in self._numbers]
        if missing or len(self._numbers) != len(self.words):
            what = f"without {missing[0]}" if missing else "that names a word twice"
            raise WeightsError(f"a vocabulary {what} came; give the vocab.txt of a BERT")

    def __len__(self) -> int:
        return len(self.words)

    @property
    def start(self) -> int:
        """Before the text."""
        return self._numbers["[CLS]"]

    @property
    def bar(self) -> int:
        """Behind a text, or between two."""
        return self._numbers["[SEP]"]

    @property
    def end(self) -> int:
        """Behind what is written; in the place of what is missing."""
        return self._numbers["[PAD]"]

    @property
    def blank(self) -> int:
        """In the place of a token that is hidden."""
        return self._numbers["[MASK]"]

    def encode(self, text: str) -> list[int]:
        """Tokens of a text."""
        return [token for word in self._split(text) for token in self._pieces(word)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones left out, with no spaces before signs, in numbers and at hyphens."""
        special = {self._numbers[name] for name in NAMES}
        told = " ".join(self.words[t] for t in tokens if t not in special).replace(" ##", "")
        return _NO_SPACE.sub(lambda m: m[m.lastindex or 0], told).strip()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"words": list(self.words), "lower": self.lower}

    def _split(self, text: str) -> list[str]:
        """Words and single signs, as BERT's basic tokenizer."""
        if self.lower:
            text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        return "".join(f" {c} " if _is_sign(c) else c for c in text).split()

    def _pieces(self, word: str) -> list[int]:
        """The longest known beginning, again and again; the whole word is unknown where a rest is."""
        out: list[int] = []
        place = 0
        while place < len(word):
            ends = range(len(word), place, -1) if len(word) <= MOST_LETTERS else ()
            prefix = "##" if place else ""
            stop = next((e for e in ends if prefix + word[place:e] in self._numbers), None)
            if stop is None:
                return [self._numbers["[UNK]"]]
            out.append(self._numbers[prefix + word[place:stop]])
            place = stop
        return out

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}


def from_json(data: Mapping[str, Any]) -> WordPieces:
    """What ``to_json`` gave. Raises WeightsError for anything else."""
    try:
        return WordPieces(tuple(map(str, data["words"])), bool(data["lower"]))
    except (KeyError, TypeError):
        raise WeightsError("a tokenizer without words and lower came; write it again") from None


def published(folder: Path) -> WordPieces:
    """``vocab.txt`` of a folder; lower case unless ``tokenizer_config.json`` says otherwise. Raises WeightsError."""
    import json

    try:
        words = tuple((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
        config = folder / "tokenizer_config.json"
        told = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    except (OSError, ValueError):
        raise WeightsError(f"{folder.name} has no vocab.txt of BERT's form; download the release whole") from None
    return WordPieces(words, bool(told.get("do_lower_case", True)))


def _is_sign(c: str) -> bool:
    """Punctuation, as BERT sees it: every printable ASCII character that is no letter or digit, and Unicode's."""
    return (c.isascii() and c.isprintable() and not c.isalnum() and c != " ") or unicodedata.category(c)[0] == "P"
