"""Sentences of phantoms: each phrase cites what it says it cites, and test sentences are new."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whyray.datasets._phantom_factors import PREVALENCE
from whyray.datasets._phantom_nle import Phrase, explaining, looks, phrases
from whyray.metrics._clev import LABELS, cited
from whyray.text.labeller import RuleLabeller

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


def test_every_planted_finding_has_words_for_both_splits() -> None:
    for test in (False, True):
        for finding in PREVALENCE:
            made = explaining(facts(**{finding: 0.7}), test=test, rng=np.random.default_rng(0))
            assert [e.diagnosis for e in made] == [finding] and "{" not in made[0].text


def test_no_sentence_of_the_test_is_one_of_training() -> None:
    every = facts(**dict.fromkeys(PREVALENCE, 0.7))
    sets = []
    for test in (False, True):
        drawn = [explaining(every, test=test, rng=np.random.default_rng(i)) for i in range(200)]
        sets.append({e.text for sentences in drawn for e in sentences})
    assert len(sets[0]) > 100 and not sets[0] & sets[1]


def test_what_is_cited_follows_from_what_was_planted() -> None:
    assert looks("pneumonia", facts(pneumonia=0.6)) == "pneumonia.marked"
    assert looks("pneumonia", facts(pneumonia=0.4)) == "pneumonia.mild"
    assert looks("edema", facts(edema=0.2, cardiomegaly=0.5)) == "edema.heart"
    made = explaining(facts(pneumonia=0.6), test=False, rng=np.random.default_rng(0))[0]
    assert made.cites == {"consolidation"} and "right lower zone" in made.text and made.state == "positive"
    assert explaining(facts(pneumonia=0.1), test=False, rng=np.random.default_rng(0))[0].state == "uncertain"
