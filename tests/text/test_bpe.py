"""Byte-pair tokens: there and back, what is merged, GPT-2's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyray.errors import WeightsError
from whyray.text.bpe import _shown_bytes, from_json, learned, published

TEXTS = ["low low low low low", "lower lower", "newest newest newest newest newest newest", "widest widest widest"]
SMALL = learned(TEXTS, 280)


def test_the_most_frequent_pair_is_merged_first() -> None:
    made = learned(TEXTS, 262)
    assert [made.decode([256 + k]) for k in range(4)] == ["es", "est", "lo", "low"]


def test_frequent_words_become_one_token() -> None:
    tokenizer = learned(["opacity may represent pneumonia"] * 3, 400)
    assert len(tokenizer.encode("opacity may represent pneumonia")) == 4
    assert len(tokenizer) == 258 + len(tokenizer.merges) and tokenizer.end == len(tokenizer) - 1


@given(st.text())
def test_text_comes_back(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()
    assert SMALL.decode(SMALL.encode(text)) == text
    assert SMALL.decode([SMALL.bar, *SMALL.encode(text), SMALL.end]) == text


def test_json_there_and_back() -> None:
    tokenizer = learned(TEXTS, 280)
    assert from_json(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer
    for wrong in ({}, {"base": [1], "merges": []}, {"base": list(range(256)), "merges": [[300, 2]]}):
        with pytest.raises(WeightsError, match="came"):
            from_json(wrong)


def test_the_published_files_are_read(tmp_path: Path) -> None:
    shown = {byte: word for word, byte in _shown_bytes().items()}
    words = [shown[byte] for byte in [*range(33, 127), *range(161, 173), *range(174, 256)]]
    words += [shown[byte] for byte in range(256) if shown[byte] not in words]
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he")]
    numbers = {word: token for token, word in enumerate([*words, *(a + b for a, b in merges)])}
    (tmp_path / "vocab.json").write_text(json.dumps({**numbers, "<|endoftext|>": 259}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges))
    tokenizer = published(tmp_path)
    assert tokenizer.encode("in the") == [words.index("i"), words.index("n"), 258]
    assert tokenizer.decode(tokenizer.encode("déjà vu, 2 cm")) == "déjà vu, 2 cm"
    (tmp_path / "merges.txt").write_text("h e\n")
    with pytest.raises(WeightsError, match="name another folder"):
        published(tmp_path)
