"""Byte-pair tokens (Sennrich et al., ACL 2016), as GPT-2 splits text: learned here, or a published vocabulary.

Tokens 0..255 are the bytes; each merge adds one. Two more stand behind them: ``bar`` and ``end``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import WeightsError

# GPT-2's pattern without the package regex: \p{L} is [^\W\d_], \p{N} is \d
_PIECE = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
MOST = 200_000


@dataclass(frozen=True)
class BytePairs:
    """Text to tokens and back.

    base    the byte of each of the tokens 0..255.
    merges  pairs of tokens; the pair at place k is token 256 + k, and earlier ones are merged first.
    bar, end  tokens that no text has: between the parts of a prompt, and behind the text.
    """

    base: tuple[int, ...]
    merges: tuple[tuple[int, int], ...] = field(repr=False)

    def __post_init__(self) -> None:
        known = all(0 <= a < 256 + k and 0 <= b < 256 + k for k, (a, b) in enumerate(self.merges))
        if sorted(self.base) != list(range(256)) or not known or len(self.merges) > MOST:
            raise WeightsError("a tokenizer came whose bytes or merges do not fit together; write it again")

    def __len__(self) -> int:
        return 256 + len(self.merges) + 2

    @property
    def bar(self) -> int:
        """Between the parts of a prompt."""
        return len(self) - 2

    @property
    def end(self) -> int:
        """Behind the text."""
        return len(self) - 1

    @property
    def start(self) -> int:
        """Before the text."""
        return self.bar

    @property
    def blank(self) -> int:
        """In the place of a token that is hidden."""
        return self.end

    def encode(self, text: str) -> list[int]:
        """Tokens of a text."""
        return [token for piece in _PIECE.findall(text) for token in self._of_piece(piece)]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, ``bar`` and ``end`` left out; bytes that are no text become U+FFFD."""
        return b"".join(self._bytes[t] for t in tokens if t < self.bar).decode("utf-8", "replace")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"base": list(self.base), "merges": [list(pair) for pair in self.merges]}

    def _of_piece(self, piece: str) -> list[int]:
        """As ``_merged``, which common pieces are given to once."""
        if piece not in self._seen:
            if len(self._seen) >= MOST:
                self._seen.clear()
            self._seen[piece] = self._merged(piece)
        return self._seen[piece]

    def _merged(self, piece: str) -> list[int]:
        tokens = [self._numbers[byte] for byte in piece.encode()]
        while len(tokens) > 1:
            ranked = [self._ranks.get(pair, MOST) for pair in pairwise(tokens)]
            best = min(ranked)
            if best == MOST:
                break
            tokens = _joined(tokens, self.merges[best], 256 + best)
        return tokens

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {byte: token for token, byte in enumerate(self.base)}

    @cached_property
    def _seen(self) -> dict[str, list[int]]:
        return {}

    @cached_property
    def _ranks(self) -> dict[tuple[int, int], int]:
        return {pair: k for k, pair in enumerate(self.merges)}

    @cached_property
    def _bytes(self) -> list[bytes]:
        out = [bytes([byte]) for byte in self.base]
        for a, b in self.merges:
            out.append(out[a] + out[b])
        return out


def learned(texts: Sequence[str], size: int) -> BytePairs:
    """At most ``size`` tokens: the most frequent pair is merged, again and again; of equals the lower tokens first."""
    counted = Counter(piece for text in texts for piece in _PIECE.findall(text))
    words, times = [list(piece.encode()) for piece in counted], list(counted.values())
    pairs: Counter[tuple[int, int]] = Counter()
    holds: dict[tuple[int, int], set[int]] = {}
    for i, tokens in enumerate(words):
        _count(pairs, holds, tokens, times[i], i)
    merges: list[tuple[int, int]] = []
    while pairs and 256 + len(merges) + 2 < size:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        for i in sorted(holds.pop(best)):
            for pair in pairwise(words[i]):
                pairs[pair] -= times[i]
            words[i] = _joined(words[i], best, 256 + len(merges))
            _count(pairs, holds, words[i], times[i], i)
        pairs = +pairs  # those that are left
        merges.append(best)
    return BytePairs(tuple(range(256)), tuple(merges))


def _count(
    pairs: Counter[tuple[int, int]], holds: dict[tuple[int, int], set[int]], tokens: list[int], times: int, word: int
) -> None:
    """Book the pairs of one word, which the texts have so many ``times``."""
    for pair in pairwise(tokens):
        pairs[pair] += times
        holds.setdefault(pair, set()).add(word)


def from_json(data: Mapping[str, Any]) -> BytePairs:
    """What ``to_json`` gave. Raises WeightsError for anything else."""
    try:
        return BytePairs(tuple(map(int, data["base"])), tuple((int(a), int(b)) for a, b in data["merges"]))
    except (KeyError, TypeError, ValueError):
        raise WeightsError("a tokenizer without base and merges came; write it again") from None


def published(folder: Path) -> BytePairs:
    """GPT-2's vocabulary: ``vocab.json`` and ``merges.txt`` of a folder. Raises WeightsError where they do not fit."""
    try:
        numbers = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        pairs = [tuple(line.split()) for line in lines if line.strip() and not line.startswith("#version")]
        merges = tuple((int(numbers[a]), int(numbers[b])) for a, b in pairs)
        shown = {int(token): word for word, token in numbers.items()}
        base = tuple(_shown_bytes()[shown[token]] for token in range(256))
        if any(numbers[a + b] != 256 + k for k, (a, b) in enumerate(pairs)):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(
            f"{folder.name} has no vocab.json and merges.txt of GPT-2's form; name another folder"
        ) from None
    return BytePairs(base, merges)


def _joined(tokens: Sequence[int], pair: tuple[int, int], new: int) -> list[int]:
    """Each occurrence of ``pair``, from the left, replaced by ``new``."""
    out: list[int] = []
    place = 0
    while place < len(tokens):
        if tuple(tokens[place : place + 2]) == pair:
            out.append(new)
            place += 2
        else:
            out.append(tokens[place])
            place += 1
    return out


def _shown_bytes() -> dict[str, int]:
    """The printable character that stands for each byte in GPT-2's files -> the byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + k): b for k, b in enumerate(rest)}
