"""The reader of words: fitted on other patients only, right where words tell, at chance where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.metrics._las import las_term
from whyray.metrics._simulator import (
    LEAST,
    auc_within,
    both,
    folds_of,
    logistic,
    of_vectors,
    of_words,
    simulated,
    simulated_term,
)


def test_a_patient_lies_in_one_fold_and_folds_are_even() -> None:
    patients = [f"p{i % 40}" for i in range(120)]
    fold = folds_of(patients)
    assert len({(p, f) for p, f in zip(patients, fold, strict=True)}) == 40
    assert np.bincount(fold).tolist() == [24] * 5
    assert np.array_equal(fold, folds_of(patients)) and not np.array_equal(fold, folds_of(patients, seed=1))
    assert set(folds_of(["one"] * 3)) == {0}


@pytest.mark.parametrize("columns", [3, 120])
def test_logistic_is_the_minimum_of_its_loss(columns: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, columns))
    y = (x @ rng.normal(size=(columns, 2)) + rng.normal(size=(80, 2)) > 0.3).astype(float)
    w, b = logistic(x, y, penalty=0.7)

    def loss(w: np.ndarray, b: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-(x @ w + b)))
        return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).sum() + 0.35 * (w**2).sum() + 0.00035 * (b**2).sum())

    least = loss(w, b)
    for _ in range(50):
        step = rng.normal(scale=0.01, size=(columns + 1, 2))
        assert loss(w + step[:-1], b + step[-1]) > least


def test_a_label_that_all_share_has_a_finite_bias() -> None:
    w, b = logistic(np.zeros((10, 1)), np.ones((10, 1)))
    assert w[0, 0] == 0 and 3 < b[0] < 20


def test_words_that_no_fitting_text_has_twice_are_not_seen() -> None:
    read = of_words(["a hazy base", "a hazy apex", "a clear film", ""])
    x = read(np.array([True, True, False, False]))
    assert x.shape == (4, 3), "a, hazy, and the pair of them"
    assert np.linalg.norm(x, axis=1) == pytest.approx([1, 1, 1, 0])


def test_vectors_are_scaled_by_the_fitting_cases_alone() -> None:
    values = np.array([[0.0, 1], [2, 1], [10, 1]])
    x = of_vectors(values)(np.array([True, True, False]))
    assert x[:, 0] == pytest.approx([-1 / np.sqrt(2), 1 / np.sqrt(2), 9 / np.sqrt(2)]) and not x[:, 1].any()
    assert both(of_vectors(values), of_vectors(values))(np.array([True] * 3)).shape == (3, 4)


def told(rng: np.random.Generator, labels: np.ndarray) -> list[str]:
    return [" ".join(["film", *(w for w, on in zip(("haze", "blunting"), row, strict=True) if on)]) for row in labels]


def test_what_words_tell_is_foretold_and_what_they_do_not_is_chance() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 2)) < 0.4).astype(float)
    fold = folds_of([str(i) for i in range(200)])
    one = np.ones((1, 200))

    def auc(texts: list[str]) -> float:
        return float(simulated_term("s", "", simulated(of_words(texts), labels, fold), labels, fold).measure(one)[0])

    assert auc(told(rng, labels)) > 0.99
    assert auc(told(rng, labels[rng.permutation(200)])) == pytest.approx(0.5, abs=0.08)
    assert auc(["There is an opacity."] * 200) == 0.5, "one sentence for all says nothing, whatever the folds"


def test_a_fold_is_scored_without_its_own_labels() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((60, 1)) < 0.5).astype(float)
    fold, read = folds_of([str(i) for i in range(60)]), of_vectors(rng.normal(size=(60, 4)))
    first = simulated(read, labels, fold)
    other = np.where((fold == 2)[:, None], 1 - labels, labels)
    again = simulated(read, other, fold)
    assert np.allclose(first[fold == 2], again[fold == 2]) and not np.allclose(first[fold == 1], again[fold == 1])


def test_auc_within_counts_pairs_of_one_fold() -> None:
    rng = np.random.default_rng(2)
    scores, labels = rng.integers(0, 4, 30).astype(float), (rng.random(30) < 0.4).astype(float)
    fold, weights = rng.integers(0, 3, 30), rng.integers(0, 3, (5, 30)).astype(float)
    for row, found in zip(weights, auc_within(scores, labels, fold, weights), strict=True):
        right = whole = 0.0
        for i in range(30):
            for j in range(30):
                if labels[i] == 1 and labels[j] == 0 and fold[i] == fold[j]:
                    w = row[i] * row[j]
                    whole += w
                    right += w * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
        assert found == pytest.approx(right / whole)


def test_labels_too_rare_are_in_no_mean() -> None:
    labels = np.zeros((40, 3))
    labels[: LEAST - 1, 0] = labels[:LEAST, 1] = 1
    labels[: 40 - LEAST + 1, 2] = 1
    scores, fold = labels.copy(), np.arange(40) % 2
    scores[:, 0] *= -1
    term = simulated_term("s", "words", scores, labels, fold)
    assert term.measure(np.ones((1, 40)))[0] == 1 and "labels:1|folds:2" in term.signature


def test_las_is_the_mean_gain_of_two_halves() -> None:
    rng = np.random.default_rng(3)
    x, xe, e = (rng.random((25, 4)) < p for p in (0.6, 0.8, 0.5))
    weights = rng.integers(0, 3, (6, 25)).astype(float)
    for row, found in zip(weights, las_term(x, xe, e, "").measure(weights), strict=True):
        gains = []
        for leaked in (True, False):
            cells = [
                (row[i], float(xe[i, j]) - float(x[i, j])) for i in range(25) for j in range(4) if e[i, j] == leaked
            ]
            gains.append(sum(w * g for w, g in cells) / sum(w for w, _ in cells))
        assert found == pytest.approx(np.mean(gains))
    assert np.isnan(las_term(x, xe, np.ones_like(e), "").measure(weights)).all(), "nothing was not leaked"


def test_without_a_label_that_is_often_enough_the_mean_is_unknown() -> None:
    none = np.zeros((6, 2))
    term = simulated_term("s", "words", none, none, np.zeros(6, np.int64))
    assert np.isnan(term.measure(np.ones((1, 6)))).all() and term.measure(np.ones((3, 6))).shape == (3,)
