"""Masked sentences hold no name of a finding and no word of probability, and keep what is evidence."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import numpy as np
import pytest

from whyray.datasets._phantom_corpus import drawn_facts
from whyray.datasets._phantom_factors import PREVALENCE
from whyray.datasets._phantom_nle import Audience, explaining, phrases
from whyray.findings import FINDINGS
from whyray.text._lexicon import Lexicon, Rule, lowered, rules
from whyray.text.masking import MASK, NONE, masked, named
from whyray.text.nle_database import SHIPPED, read_database

# written down apart from the rules: what must never be left
NAMES = re.compile(
    r"atelecta|cardiomegal|consolidat|edema|emphysem|fibro|infiltrat|opacit|\bmass(?:es)?\b|nodul|effusion|pneumoni|pneumothora"
    r"|thickening of the pleura|pleural thick|catheter|pacemaker|\btube\b|infection|fluid|scar|air sacs|large heart",
    re.IGNORECASE,
)
LIKELY = re.compile(
    r"\b(?:may|might|could|likely|unlikely|probabl[ey]|possibl[ey]|perhaps|suggests?|represents?|reflects?|favors?"
    r"|consistent|compatible|suspicious|concerning|fits?|points? to|due to|certain)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("rule", rules("masks"), ids=lambda rule: rule.name)
def test_each_rule_leaves_of_its_sentence_what_it_says(rule: Rule) -> None:
    example = rule.fields["example"]
    assert list(Lexicon([rule]).find(lowered(example))), "the phrase is not in its example"
    assert masked(example) == rule.fields["left"]
    assert set(rule.fields["value"].split()) <= named(example)


def test_every_rule_is_said_once_and_stands_for_known_findings() -> None:
    known = {f.id for f in FINDINGS}
    table = [r.phrase for r in rules("masks")]
    assert len(set(table)) == len(table)
    for rule in rules("masks"):
        assert rule.fields["kind"] in ("name", "sure", "none") and set(rule.fields["value"].split()) <= known


@pytest.mark.parametrize("name", SHIPPED)
def test_of_a_database_no_name_and_no_likelihood_is_left(name: str) -> None:
    for entry in read_database(name):
        assert entry.diagnosis in named(entry.nle), entry.nle
        left = masked(entry.nle)
        assert not LIKELY.search(left), left
        assert not NAMES.search(left.replace("dark tubes", "").replace("air-fluid", "")), left
        assert len(re.findall(r"\w+", left.replace(MASK, ""))) >= 1 or entry.diagnosis == "cardiomegaly", left


@pytest.mark.parametrize("audience", SHIPPED)
def test_of_a_phantoms_sentence_no_name_is_left(audience: Audience) -> None:
    rng = np.random.default_rng(0)
    for i in range(300):
        finding = sorted(PREVALENCE)[i % len(PREVALENCE)]
        text = explaining(drawn_facts(finding, rng), test=i % 2 == 0, rng=rng, audience=audience, graded=True)[0].text
        assert finding in named(text), text
        assert not LIKELY.search(masked(text)) and not NAMES.search(masked(text).replace("dark tubes", "")), text


def test_every_name_of_the_vocabulary_is_hidden() -> None:
    lay = tomllib.loads((files("whyray.explainers") / "template.toml").read_text(encoding="utf-8"))["lay"]["names"]
    for finding in (f for f in FINDINGS if f.id not in NONE):
        for name in (finding.name, *finding.aliases, lay[finding.id]):
            assert finding.id in named(f"There is {name.lower()}."), name


def test_cues_of_the_grammar_are_hidden() -> None:
    for audience in SHIPPED:
        for phrase in (p for p in phrases(audience) if p.part == "cue"):
            assert masked(f"Something {phrase.text} something.") == f"Something {MASK} something.", phrase.text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A meniscus at the left base is consistent with a pleural effusion.", f"A meniscus at the left base {MASK}."),
        ("An air-fluid level on the left.", "An air-fluid level on the left."),
        ("The heart border is sharp; the lungs are clear.", "The heart border is sharp; the lungs are clear."),
        ("It calls it: probability 0.82, operating point 0.40. Next.", f"It {MASK} it: {MASK}, {MASK}. Next."),
        ("Where 3.2 % of films show it, a 2.5 cm shadow.", f"Where {MASK} of films show it, a 2.5 cm shadow."),
        ("Of 100 people, 12 would have it.", f"{MASK}, {MASK} have it."),
        ("İt may be PNEUMONIA.", f"İt {MASK}."),
        ("", ""),
    ],
)
def test_what_is_evidence_stays(text: str, left: str) -> None:
    assert masked(text) == left


def test_masking_twice_is_masking_once() -> None:
    for entry in read_database("clinician"):
        assert masked(masked(entry.nle)) == masked(entry.nle)
