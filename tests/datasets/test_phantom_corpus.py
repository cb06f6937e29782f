"""Sentences of the grammar without pictures: their facts are those that phantoms have."""

from __future__ import annotations

import numpy as np
import pytest

import whyray
from whyray.datasets._phantom_corpus import Audience, drawn_facts, grammar_texts
from whyray.datasets._phantom_factors import PREVALENCE
from whyray.datasets._phantom_nle import explaining, looks


def test_a_seed_gives_the_same_texts_and_a_longer_draw_begins_with_a_shorter() -> None:
    texts = grammar_texts(60, seed=3)
    assert texts == grammar_texts(60, seed=3) and texts[:20] == grammar_texts(20, seed=3)
    assert texts != grammar_texts(60, seed=4) and len(set(texts)) > 50


@pytest.mark.parametrize("audience", ["clinician", "lay"])
def test_no_test_text_is_a_training_text_and_sides_are_even(audience: Audience) -> None:
    train, test = grammar_texts(3000, audience), grammar_texts(600, audience, test=True)
    assert not set(train) & set(test)
    sides = np.array([[" left " in f" {t} ", " right " in f" {t} "] for t in train]).sum(0)
    assert min(sides) > 600 and abs(int(sides[0]) - int(sides[1])) < 150


def test_drawn_facts_look_as_those_of_phantoms() -> None:
    cases = [c for c in whyray.load_dataset("phantom:train=60").cases("train") if c.labels]
    seen = {looks(f, case.facts) for case in cases for f in case.facts["severities"]}  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    drawn = {f: [drawn_facts(f, rng) for _ in range(40)] for f in PREVALENCE}
    assert seen <= {looks(f, facts) for f, many in drawn.items() for facts in many}
    for finding, many in drawn.items():
        for facts in many:
            assert explaining(facts, test=False, rng=rng)[0].diagnosis == finding
