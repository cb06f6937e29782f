"""Phrases: what may follow what, and other sides, heights and degrees of a sentence."""

from __future__ import annotations

import pytest

from whyray.text._lexicon import rows
from whyray.text.nle_database import read_database
from whyray.text.phrases import MOST, Phrases, phrases_of, varied

END = 0


def letters(text: str) -> list[int]:
    return [ord(c) for c in text]


def every(phrases: Phrases, longest: int) -> set[str]:
    """All texts that the phrases allow, up to a length."""
    done, live = set(), [""]
    for _ in range(longest):
        grown = [(text, token) for text in live for token in phrases.next(letters(text))]
        done |= {text for text, token in grown if token == END}
        live = [text + chr(token) for text, token in grown if token != END]
    return done


@pytest.mark.parametrize("run", [2, 3, 4])
def test_runs_are_put_together_anew_and_nothing_else_is(run: int) -> None:
    shared, short = "klm"[: run - 1], "klm"[: run - 2]
    ends = [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]
    assert every(phrases_of([f"a{shared}c", f"b{shared}d"], letters, run, END), 9) == {
        f"{x}{shared}{y}" for x, y in ends
    }
    assert every(phrases_of([f"a{short}c", f"b{short}d"], letters, run, END), 9) == {f"a{short}c", f"b{short}d"}


def test_what_was_never_seen_ends() -> None:
    phrases = phrases_of(["ab"], letters, 3, END)
    assert phrases.next(letters("")) == (ord("a"),) and phrases.next(letters("zz")) == (END,)


@pytest.mark.parametrize("row", rows("exchange"), ids=lambda row: row["words"])
def test_each_rule_of_exchange_does_what_its_example_says(row: dict[str, str]) -> None:
    found = varied(row["example"])
    assert found[0] == row["example"] and row["becomes"] in found
    assert len(set(found)) == len(found)


def test_a_sentence_is_told_on_the_other_side_too() -> None:
    assert varied("A nodule in the right apex.") == ("A nodule in the right apex.", "A nodule in the left apex.")
    assert varied("No side, no degree.") == ("No side, no degree.",)


@pytest.mark.parametrize("audience", ["clinician", "lay"])
def test_the_shipped_sentences_have_a_bounded_number_of_forms(audience: str) -> None:
    counts = [len(varied(entry.nle)) for entry in read_database(audience)]
    assert max(counts) <= MOST + 1 and sum(n > 1 for n in counts) > 0.7 * len(counts)
