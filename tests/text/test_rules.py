"""Every rule of every rule file holds in its own sentence, which without it would be read in another way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from whyray.errors import DataError
from whyray.text import labeller
from whyray.text._lexicon import Hit, Lexicon, Rule, lowered, pattern, rows, rules
from whyray.text.assertion import PLAIN, Assertion, cues, decide, lexicon
from whyray.text.labeller import mentions

ASSERTION, FINDINGS, PLACES = rules("assertion"), rules("findings"), rules("places")


def said_of(rule: Rule, without: int | None = None) -> Assertion:
    """What is said of the bracketed mention of a rule's example, by all rules or by all but one."""
    example = rule.fields["example"]
    start, end = example.index("["), example.index("]") - 1
    low = lowered(example.replace("[", "").replace("]", ""))
    (said,) = decide(low, [(start, end)], cues(hit for hit in lexicon().find(low) if hit.rule != without))
    return said


def facts_of(said: Assertion) -> tuple[str, bool, bool]:
    return said.state, said.historical, said.comparison


@pytest.mark.parametrize("number", range(len(ASSERTION)), ids=lambda i: ASSERTION[i].name)
def test_assertion(number: int) -> None:
    rule = ASSERTION[number]
    said, state = said_of(rule), rule.fields["state"]
    if state in ("pseudo", "stop"):
        assert said.state == "positive", said
    elif state in ("historical", "comparison"):
        assert getattr(said, state) and said.state == "positive" and rule.name in said.trace, said
    else:
        assert said.state == ("uncertain" if state == "suggested" else state) and rule.name in said.trace, said
    assert facts_of(said_of(rule, without=number)) != facts_of(said), "other rules say the same: the rule is not needed"


class Without:
    """The lexicon of the labeller without one rule."""

    def __init__(self, number: int) -> None:
        self.whole, self.number = labeller._lexicon(), number

    def find(self, low: str) -> Iterator[Hit]:
        return (hit for hit in self.whole.find(low) if hit.rule != self.number)


def needed(rule: Rule, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether its example is read in another way without it; ``number`` among the rules of all three files."""
    rest, found = Without(number), mentions(rule.fields["example"])
    monkeypatch.setattr(labeller, "_lexicon", lambda: rest)
    left = mentions.__wrapped__(rule.fields["example"])
    return [replace(m, rule="", assertion=PLAIN) for m in left] != [replace(m, rule="", assertion=PLAIN) for m in found]


@pytest.mark.parametrize("number", range(len(FINDINGS)), ids=lambda i: FINDINGS[i].name)
def test_finding(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = FINDINGS[number]
    finding, state = rule.fields["finding"], rule.fields["state"] or "positive"
    assert list(Lexicon([rule]).find(lowered(rule.fields["example"]))), "the phrase is not in its example"
    found = mentions(rule.fields["example"])
    if finding == "-":
        assert found == ()
    else:
        assert state in {m.state for m in found if m.finding == finding}, found
    assert needed(rule, number, monkeypatch), "other rules say the same: the rule is not needed"


@pytest.mark.parametrize("number", range(len(PLACES)), ids=lambda i: PLACES[i].name)
def test_place(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = PLACES[number]
    (found,) = mentions(rule.fields["example"])
    value = rule.fields["value"]
    assert found.side == value if rule.fields["kind"] == "side" else value in found.zones
    assert needed(rule, len(FINDINGS) + len(ASSERTION) + number, monkeypatch), "other rules say the same"


def test_every_rule_is_said_once() -> None:
    for name in ("assertion", "findings", "places", "headings", "abbreviations", "exceptions"):
        table = [tuple(row.values())[:-1] if "example" in row else tuple(row.values()) for row in rows(name)]
        assert len(set(table)) == len(table), name


@pytest.mark.parametrize(
    "phrase", ["", "a  b", "~2 effusion", "no? effusion", "effusion*", "no (effusion)", "No effusion"]
)
def test_bad_phrases_are_refused(phrase: str) -> None:
    with pytest.raises(DataError, match="wanted words"):
        pattern(phrase)


def test_lower_case_keeps_every_place() -> None:
    text = "İmpression: ẞ no EFFUSION"
    assert len(lowered(text)) == len(text) and "effusion" in lowered(text)
