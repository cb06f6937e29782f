"""Every rule of every rule file holds in its own sentence, and is what decides there."""

from __future__ import annotations

import pytest

from whyray.errors import DataError
from whyray.text._lexicon import Lexicon, Rule, lowered, pattern, rows, rules
from whyray.text.assertion import assertions
from whyray.text.labeller import mentions

ASSERTION, FINDINGS, PLACES = rules("assertion"), rules("findings"), rules("places")


def named(rule: Rule) -> str:
    return rule.name


@pytest.mark.parametrize("rule", ASSERTION, ids=named)
def test_assertion(rule: Rule) -> None:
    example = rule.fields["example"]
    start, end = example.index("["), example.index("]") - 1
    plain = example.replace("[", "").replace("]", "")
    (said,) = assertions(plain, [(start, end)])
    state = rule.fields["state"]
    if state in ("pseudo", "stop"):
        assert said.state == "positive", said
        assert Lexicon([rule]).find(lowered(plain)) and list(Lexicon([rule]).find(lowered(plain)))
    elif state in ("historical", "comparison"):
        assert getattr(said, state) and said.state == "positive", said
        assert rule.name in said.trace, said
    else:
        assert said.state == ("uncertain" if state == "suggested" else state), said
        assert list(Lexicon([rule]).find(lowered(plain))), "the phrase is not in its example"


@pytest.mark.parametrize("rule", FINDINGS, ids=named)
def test_finding(rule: Rule) -> None:
    finding, state = rule.fields["finding"], rule.fields["state"] or "positive"
    assert list(Lexicon([rule]).find(lowered(rule.fields["example"]))), "the phrase is not in its example"
    found = mentions(rule.fields["example"])
    if finding == "-":
        assert found == ()
    else:
        assert state in {m.state for m in found if m.finding == finding}, found


@pytest.mark.parametrize("rule", PLACES, ids=named)
def test_place(rule: Rule) -> None:
    (found,) = mentions(rule.fields["example"])
    value = rule.fields["value"]
    assert found.side == value if rule.fields["kind"] == "side" else value in found.zones


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
