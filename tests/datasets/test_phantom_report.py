"""Reports of phantoms: true where they are sure, along the published edges, in varied words."""

from __future__ import annotations

import re

import pytest

from whyray.datasets import _phantom_words as words
from whyray.datasets._phantom_report import EDGES
from whyray.datasets.phantom import phantom, phantom_case
from whyray.findings import facts, finding

CASES = [phantom_case(n) for n in range(150)]


@pytest.fixture(scope="module")
def told() -> list:
    return [(case, case.facts["sentences"]) for case in CASES]


def test_sections_are_made_of_the_sentences(told: list) -> None:
    for case, sentences in told:
        assert set(case.report) == {"findings", "impression"} and case.report["impression"]
        for section, text in case.report.items():
            assert text == " ".join(s.text for s in sentences if s.section == section)


def test_what_is_denied_is_absent_and_what_is_stated_is_there(told: list) -> None:
    for case, sentences in told:
        for sentence in sentences:
            for name, state in sentence.states.items():
                if name == "no_finding":
                    assert not set(case.facts["severities"]) - {"support_devices"}
                elif state == "negative":
                    assert case.labels[finding(name)] == 0, (case.id, sentence)
                elif state == "positive":
                    assert case.labels[finding(name)] == 1, (case.id, sentence)


def test_every_planted_finding_is_mentioned_and_never_denied(told: list) -> None:
    for case, sentences in told:
        said = {name: state for s in sentences for name, state in s.states.items() if state != "negative"}
        assert set(case.facts["severities"]) <= set(said), case.id


def test_evidence_leads_to_diagnosis_along_the_edges(told: list) -> None:
    explained = [s for _, sentences in told for s in sentences if s.diagnosis]
    assert len(explained) > 50
    for sentence in explained:
        assert (sentence.evidence[0] if sentence.evidence else None) in EDGES[sentence.diagnosis]
        assert sentence.states[sentence.diagnosis] in ("positive", "uncertain")
        assert all(sentence.states[e] == "positive" for e in sentence.evidence)
        cues = words.SURE if sentence.states[sentence.diagnosis] == "positive" else words.UNSURE
        assert any(f" {cue} " in sentence.text for cue in cues), sentence.text


def test_all_three_states_occur_and_faint_findings_are_hedged(told: list) -> None:
    states = [state for _, sentences in told for s in sentences for state in s.states.values()]
    for state in ("positive", "uncertain", "negative"):
        assert states.count(state) / len(states) > 0.08, state
    hedged = {True: [], False: []}
    for case, sentences in told:
        for name, severity in case.facts["severities"].items():
            if name != "support_devices":
                hedged[severity < 0.3].append(any(s.states.get(name) == "uncertain" for s in sentences))
    assert sum(hedged[True]) / len(hedged[True]) > 0.5 > 0.3 > sum(hedged[False]) / len(hedged[False])


def test_words_vary_and_are_whole(told: list) -> None:
    texts = [s.text for _, sentences in told for s in sentences]
    assert len(set(texts)) > 150
    for text in texts:
        assert re.fullmatch(r"[A-Z][^{}]*\.", text) and "  " not in text and " a a " not in text, text
        assert "a bilateral" not in text and "both the" not in text


def test_the_side_and_place_in_words_are_those_of_the_lesion() -> None:
    for n in range(12):
        case = phantom(n, size=64, plant={"nodule": 0.9})
        site = case.facts["sites"]["nodule"]
        text = " ".join(s.text for s in case.sentences if s.states.get("nodule") == "positive")
        assert not text or f"{site['side']} {site['place']} zone" in text
        columns = case.masks["nodule"].any(0).nonzero()[0]
        if len(columns):
            assert (columns.mean() < 40) == (site["side"] == "right") or 24 < columns.mean() < 40


def test_edges_are_findings() -> None:
    for diagnosis, evidence in EDGES.items():
        assert facts(diagnosis).id == diagnosis
        assert all(e is None or finding(e) == e for e in evidence)
