"""Chance is that of the same sentences dealt out anew: closed forms against all deals, pairs against loops."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from whyray.metrics._rightness import agreeing, differing, ordered

GROUP = ["a"] * 4 + ["b"] * 3
SAID = ["left", "left", "right", "", "right", "both", "left"]
TRUE = ["left", "right", "right", "left", "right", "right", "left"]


def test_chance_is_the_mean_over_all_deals_within_a_group() -> None:
    right, chance, p = agreeing(SAID, TRUE, GROUP)
    one = np.ones((1, 7))
    known = [i for i in range(7) if SAID[i]]
    assert right.measure(one)[0] == pytest.approx(4 / 6)
    first, second = [i for i in known if GROUP[i] == "a"], [i for i in known if GROUP[i] == "b"]
    hits = []
    for x in permutations(first):
        for y in permutations(second):
            dealt = dict(zip((*first, *second), (*x, *y), strict=True))
            hits.append(sum(SAID[i] == TRUE[dealt[i]] for i in known) / len(known))
    assert chance.measure(one)[0] == pytest.approx(np.mean(hits))
    assert p == pytest.approx(np.mean([h >= 4 / 6 - 1e-9 for h in hits]), abs=0.05)


def test_a_draw_weighs_sentences() -> None:
    right, chance, _ = agreeing(SAID, TRUE, GROUP)
    twice = [0, 0, 1, 2, 4, 4, 6]
    weights = np.bincount(twice, minlength=7).astype(float)[None]
    again = agreeing([SAID[i] for i in twice], [TRUE[i] for i in twice], [GROUP[i] for i in twice])
    assert right.measure(weights) == pytest.approx(again[0].measure(np.ones((1, 7))))
    assert chance.measure(weights) == pytest.approx(again[1].measure(np.ones((1, 7))))


def test_nothing_known_is_no_answer() -> None:
    right, chance, p = agreeing(["", ""], ["left", ""], ["a", "a"])
    assert np.isnan([right.measure(np.ones((1, 2)))[0], chance.measure(np.ones((1, 2)))[0], p]).all()


def test_pairs_differ_as_loops_say() -> None:
    rng = np.random.default_rng(0)
    texts = [f"text {i}" for i in rng.integers(0, 3, 30)]
    true = [("left", "right", "")[i] for i in rng.integers(0, 3, 30)]
    group = [("a", "b")[i] for i in rng.integers(0, 2, 30)]
    other, same, _ = differing(texts, true, group)
    weights = rng.integers(0, 3, (4, 30)).astype(float)
    for term, wanted in ((other, True), (same, False)):
        for row, found in zip(weights, term.measure(weights), strict=True):
            hit = whole = 0.0
            for i in range(30):
                for j in range(30):
                    if i != j and group[i] == group[j] and true[i] and true[j] and (true[i] != true[j]) == wanted:
                        whole += row[i] * row[j]
                        hit += row[i] * row[j] * (texts[i] != texts[j])
            assert found == pytest.approx(hit / whole)


def test_sentences_that_follow_the_side_differ_more_and_those_that_do_not_do_not() -> None:
    rng = np.random.default_rng(1)
    true = [("left", "right")[i] for i in rng.integers(0, 2, 60)]
    group = [("a", "b")[i] for i in rng.integers(0, 2, 60)]
    one = np.ones((1, 60))
    other, same, p = differing([f"on the {t}" for t in true], true, group)
    assert other.measure(one)[0] == 1 and same.measure(one)[0] == 0 and p < 0.001
    _, _, random = differing([f"text {i}" for i in rng.integers(0, 3, 60)], true, group)
    assert random > 0.05
    _, _, constant = differing(["one"] * 60, true, group)
    assert constant == 1


def test_p_is_how_often_a_deal_has_as_wide_a_gap() -> None:
    texts, true, group = ["x", "x", "y", "z", "y"], ["left", "left", "right", "right", "left"], ["a"] * 5
    other, same, p = differing(texts, true, group)
    one = np.ones((1, 5))
    gap = other.measure(one)[0] - same.measure(one)[0]
    deals = []
    for order in permutations(range(5)):
        o, s, _ = differing(texts, [true[i] for i in order], group)
        deals.append(o.measure(one)[0] - s.measure(one)[0])
    assert p == pytest.approx(np.mean([d >= gap - 1e-9 for d in deals]), abs=0.04)


def test_order_of_pairs_as_loops_say() -> None:
    rng = np.random.default_rng(2)
    said = [(True, False, None)[i] for i in rng.integers(0, 3, 30)]
    true = rng.integers(0, 4, 30).astype(float)
    group = [("a", "b")[i] for i in rng.integers(0, 2, 30)]
    term, _ = ordered(said, true, group)
    weights = rng.integers(0, 3, (4, 30)).astype(float)
    for row, found in zip(weights, term.measure(weights), strict=True):
        hit = whole = 0.0
        for i in range(30):
            for j in range(30):
                if group[i] == group[j] and said[i] is True and said[j] is False:
                    whole += row[i] * row[j]
                    hit += row[i] * row[j] * ((true[i] > true[j]) + 0.5 * (true[i] == true[j]))
        assert found == pytest.approx(hit / whole)
    right, p = ordered([t > 1 for t in true], true, group)
    assert right.measure(np.ones((1, 30)))[0] == 1 and p < 0.001
    assert np.isnan(ordered([None] * 3, [1, 2, 3], ["a"] * 3)[1])
    assert np.isnan(ordered([True] * 3, [1, 2, 3], ["a"] * 3)[1]), "no pair is said to differ"
