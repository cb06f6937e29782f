"""Sentences of phantoms: each phrase cites what it says it cites, test sentences are new, lay words are plain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from whyray.datasets._phantom_devices import KINDS
from whyray.datasets._phantom_factors import PREVALENCE
from whyray.datasets._phantom_nle import Audience, Phrase, explaining, looks, phrases
from whyray.metrics._clev import LABELS, cited
from whyray.metrics._wording import grade
from whyray.text.labeller import RuleLabeller, mentions

JARGON = re.compile(r"opaci|effus|pneumo|pleur|consoli|atelec|edema|nodul|cardi|zone|lobe|bilat|\bangle|diaphr|hilum")
AUDIENCES: tuple[Audience, ...] = ("clinician", "lay")
FILLED = {"side": "left", "place": "the left lower zone", "adj": "left lower zone", "spot": "apex", "size": "2"}
FILLED |= {"ratio": "0.6", "device": "a pacemaker"}


def facts(**severities: float) -> dict[str, Any]:
    site = {"side": "right", "place": "lower", "kind": "lobar", "size_cm": 2.3}
    return {"severities": severities, "sites": dict.fromkeys(severities, site), "devices": ["endotracheal tube"]}


@pytest.mark.parametrize("phrase", [p for p in phrases() if p.part == "evidence"], ids=lambda p: p.text[:40])
def test_the_labeller_reads_what_each_phrase_cites(phrase: Phrase) -> None:
    labeller, diagnosis = RuleLabeller(LABELS), phrase.key.partition(".")[0]
    named = next(p.text for p in phrases() if (p.part, p.key) == ("diagnosis", diagnosis)).format(**FILLED)
    for cue in (p.text for p in phrases() if p.part == "cue"):
        found = cited(f"There is {phrase.text.format(**FILLED)}, which {cue} {named}.", diagnosis, labeller)
        itself = {"lung_lesion"} if diagnosis in ("nodule", "mass") else set()
        assert found - itself == phrase.cites, cue


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("graded", [False, True])
def test_every_planted_finding_has_words_for_both_splits(audience: Audience, graded: bool) -> None:
    for test in (False, True):
        for finding in PREVALENCE:
            for severity in (0.1, 0.5, 0.9):
                planted, rng = facts(**{finding: severity}), np.random.default_rng(0)
                made = explaining(planted, test=test, rng=rng, audience=audience, graded=graded)
                assert [e.diagnosis for e in made] == [finding] and "{" not in made[0].text


@pytest.mark.parametrize("audience", AUDIENCES)
def test_no_sentence_of_the_test_is_one_of_training(audience: Audience) -> None:
    every = facts(**dict.fromkeys(PREVALENCE, 0.7))
    sets = []
    for test in (False, True):
        rngs = (np.random.default_rng(i) for i in range(200))
        drawn = [explaining(every, test=test, rng=rng, audience=audience, graded=True) for rng in rngs]
        sets.append({e.text for sentences in drawn for e in sentences})
    assert len(sets[0]) > 100 and not sets[0] & sets[1]


def test_the_lay_wording_has_the_parts_and_the_evidence_of_the_clinicians() -> None:
    def held(audience: Audience) -> Mapping[tuple[str, str], tuple[set[str], set[frozenset[str]]]]:
        out: dict[tuple[str, str], tuple[set[str], set[frozenset[str]]]] = {}
        for p in phrases(audience):
            splits, cites = out.setdefault((p.part, p.key), (set(), set()))
            splits.add(p.split)
            cites.add(p.cites)
        return out

    lay = {key: value for key, value in held("lay").items() if key[0] != "device"}
    assert lay == held("clinician")
    assert {p.key for p in phrases("lay") if p.part == "device"} == set(KINDS)


def test_lay_sentences_are_plain() -> None:
    texts = []
    for i in range(60):
        rng = np.random.default_rng(i)
        severities = dict.fromkeys(PREVALENCE, float(rng.random()))
        texts += [
            e.text for e in explaining(facts(**severities), test=i % 2 == 0, rng=rng, audience="lay", graded=True)
        ]
    assert grade(" ".join(texts)) <= 8
    assert not any(JARGON.search(text) for text in texts)


def test_lay_words_name_side_zone_and_size() -> None:
    def said(finding: str, **site: Any) -> str:
        planted = {"severities": {finding: 0.5}, "sites": {finding: site}, "devices": ()}
        return explaining(planted, test=False, rng=np.random.default_rng(1), audience="lay")[0].text

    assert "middle part of the left lung" in said("consolidation", side="left", place="mid")
    assert "lower part of both lungs" in said("pneumonia", side="both", place="lower")
    assert "around the right lung" in said("pleural_effusion", side="right", place="base")


def test_a_graded_diagnosis_is_still_the_diagnosis_and_says_how_much() -> None:
    for phrase in (p for p in phrases() if p.part == "graded"):
        finding, _, degree = phrase.key.partition(".")
        named = phrase.text.format(**FILLED)
        assert finding in {m.finding for m in mentions(f"There is {named}.")}
        assert degree in ("slight", "marked")
    little, much = (
        {explaining(facts(edema=s), test=False, rng=np.random.default_rng(i), graded=True)[0].text for i in range(40)}
        for s in (0.1, 0.9)
    )
    assert all("mild" in t or "slight" in t for t in little)
    assert all("severe" in t or "marked" in t for t in much)


def test_what_is_cited_follows_from_what_was_planted() -> None:
    assert looks("pneumonia", facts(pneumonia=0.6)) == "pneumonia.marked"
    assert looks("pneumonia", facts(pneumonia=0.4)) == "pneumonia.mild"
    assert looks("edema", facts(edema=0.2, cardiomegaly=0.5)) == "edema.heart"
    made = explaining(facts(pneumonia=0.6), test=False, rng=np.random.default_rng(0))[0]
    assert made.cites == {"consolidation"} and "right lower zone" in made.text and made.state == "positive"
    assert explaining(facts(pneumonia=0.1), test=False, rng=np.random.default_rng(0))[0].state == "uncertain"
