"""WordPiece: known answers, what comes back, and the published implementation where it is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from whyray.errors import WeightsError
from whyray.text import wordpiece
from whyray.text.wordpiece import WordPieces

WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "small",
    "effusion",
    "##s",
    "left",
    "-",
    "sided",
    ".",
    "pneumo",
    "##thorax",
    "##x",
    "1",
    ",",
    "5",
)


def shown(pieces: WordPieces, text: str) -> list[str]:
    return [pieces.words[t] for t in pieces.encode(text)]


def test_the_longest_known_beginning_is_taken_and_a_word_with_an_unknown_rest_is_unknown() -> None:
    pieces = WordPieces(WORDS)
    assert shown(pieces, "A small left-sided pneumothorax.") == [
        "a",
        "small",
        "left",
        "-",
        "sided",
        "pneumo",
        "##thorax",
        ".",
    ]
    assert shown(pieces, "Effusions, pneumothorac, Éffusion") == ["effusion", "##s", ",", "[UNK]", ",", "effusion"]
    assert shown(pieces, "a" * 101) == ["[UNK]"]
    assert shown(WordPieces(WORDS, lower=False), "A small") == ["[UNK]", "small"]


def test_a_text_comes_back_without_special_tokens() -> None:
    pieces = WordPieces(WORDS)
    for text in ("a small left-sided pneumothorax.", "effusions, small 1.5."):
        assert pieces.decode([pieces.start, *pieces.encode(text), pieces.bar, pieces.end]) == text
    assert {pieces.start, pieces.bar, pieces.end, pieces.blank} == {0, 2, 3, 4} and len(pieces) == len(WORDS)


def test_it_is_written_and_read_and_what_is_none_is_refused(tmp_path: Path) -> None:
    pieces = WordPieces(WORDS, lower=False)
    assert wordpiece.from_json(json.loads(json.dumps(pieces.to_json()))) == pieces
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    assert wordpiece.published(tmp_path) == WordPieces(WORDS)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert wordpiece.published(tmp_path) == pieces
    with pytest.raises(WeightsError, match=r"without \[CLS\]"):
        WordPieces(("[PAD]", "a"))
    with pytest.raises(WeightsError, match="names a word twice"):
        WordPieces((*WORDS, "a"))
    with pytest.raises(WeightsError, match="words and lower"):
        wordpiece.from_json({"words": 3, "lower": True})
    with pytest.raises(WeightsError, match=r"vocab\.txt"):
        wordpiece.published(tmp_path / "nothing")


def test_it_splits_as_the_published_tokenizer(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    theirs = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    ours = wordpiece.published(tmp_path)
    for text in ("A small left-sided pneumothorax.", "Effusions, 1.5 pneumothoraxs; Éffusion", "(a) small/left"):
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
