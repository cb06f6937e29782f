"""Lay words of evidence: each row in its own sentence, and every phrase of the lay grammar in every form and cue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from whyray.datasets._phantom_nle import Phrase, phrases
from whyray.text._lexicon import Lexicon, Rule, lowered, rules
from whyray.text.lay_evidence import lay_evidence

RULES = rules("lay_evidence")
PLACES = {
    "side": "right",
    "lung": "the right lung",
    "place": "the lower part of the right lung",
    "spot": "bottom",
    "size": "2",
    "percent": "56",
    "device": "a breathing tube",
}


def of(part: str) -> Iterator[str]:
    return (p.text for p in phrases("lay") if p.part == part)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.name + r.fields["diagnosis"])
def test_a_row_holds_in_its_own_sentence(rule: Rule) -> None:
    example, finding = rule.fields["example"], rule.fields["finding"]
    assert list(Lexicon([rule]).find(lowered(example))), "the phrase is not in its example"
    found = lay_evidence(example, rule.fields["diagnosis"])
    assert found == set() if finding == "-" else finding in found


def test_every_row_is_said_once() -> None:
    assert len({(r.phrase, r.fields["diagnosis"]) for r in RULES}) == len(RULES)


@pytest.mark.parametrize("phrase", [p for p in phrases("lay") if p.part == "evidence"], ids=lambda p: p.key + p.text)
def test_what_a_phrase_of_the_grammar_cites_is_read(phrase: Phrase) -> None:
    diagnosis = phrase.key.partition(".")[0]
    named = [p for p in phrases("lay") if p.part in ("diagnosis", "graded")]
    names = [p.text.format(**PLACES) for p in named if p.key.partition(".")[0] == diagnosis]
    for form in of("form"):
        for cue in of("cue"):
            for name in names:
                text = form.format(evidence=phrase.text.format(**PLACES), cue=cue, diagnosis=name)
                assert lay_evidence(text, diagnosis) == phrase.cites, text


def test_what_is_denied_is_not_cited() -> None:
    assert lay_evidence("There is no haze in the right lung.", "edema") == frozenset()
    assert lay_evidence("There is a haze in the right lung.", "edema") == {"lung_opacity"}
    assert lay_evidence("A lung opacity may be pneumonia.", "pneumonia") == frozenset()  # those are clinicians' words
