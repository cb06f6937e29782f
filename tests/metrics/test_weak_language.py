"""Regenerated pictures, likeness to written sentences, and what a draw of patients makes of rows of sentences."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.metrics._regenerated import cosines, ranks
from whyray.metrics._terms import mean_term
from whyray.metrics.weak_language import METRICS, by_case, faithful_terms, kept_term, mmd, mmd_term, nearest, of_rows

ONE = np.ones((1, 12))


def features(n: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 5))


def test_a_rank_counts_those_at_least_as_near() -> None:
    real, made = features(), features(seed=1)
    alike = [[float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in real] for a in made]
    wanted = [1 + sum(alike[i][j] >= alike[i][i] for j in range(12) if j != i) for i in range(12)]
    assert ranks(made, real).tolist() == wanted
    assert ranks(real, real).tolist() == [1] * 12
    assert ranks(np.ones((12, 5)), np.ones((12, 5))).tolist() == [12] * 12, "what cannot be told apart is last"


def test_among_a_hundred_chance_is_a_hundredth() -> None:
    rng = np.random.default_rng(0)
    found = ranks(rng.normal(size=(600, 20)), rng.normal(size=(600, 20)))
    assert found.min() >= 1 and found.max() <= 100 and found.mean() == pytest.approx(50.5, abs=4)


def test_perfect_pictures_score_one_and_missing_ones_nothing() -> None:
    real, called = features(), np.random.default_rng(0).random((12, 3)) < 0.5
    called[:, 0] = True
    for term in faithful_terms(real, real, called, called):
        assert term.measure(ONE)[0] == pytest.approx(1), term.name
    made = real.copy()
    made[:3] = np.nan
    for term in faithful_terms(made, real, called, called):
        assert term.measure(ONE)[0] == pytest.approx(9 / 12), term.name


def test_labels_are_those_called_or_all() -> None:
    called = np.array([[True, True, False, False]])
    again = np.array([[True, False, True, False]])
    by = {t.name: t.measure(np.ones((1, 1)))[0] for t in faithful_terms(features(1), features(1), called, again)}
    assert (by["label_agreement"], by["label_agreement_all"]) == (0.5, 0.5)
    again[0, 3] = True
    by = {t.name: t.measure(np.ones((1, 1)))[0] for t in faithful_terms(features(1), features(1), called, again)}
    assert (by["label_agreement"], by["label_agreement_all"]) == (0.5, 0.25)


def test_cosine_of_nothing_is_nothing() -> None:
    assert cosines(np.zeros((1, 3)), np.ones((1, 3))).tolist() == [0]


def test_rows_weigh_what_their_picture_weighs() -> None:
    case, values = np.array([0, 0, 2, 3]), [1.0, 0.0, 1.0, np.nan]
    term = of_rows("x", "", values, case, 4)
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 1, 5], [0, 1, 0, 0]])
    assert term.measure(weights) == pytest.approx([2 / 3, 3 / 5, np.nan], nan_ok=True)
    again = by_case(mean_term("x", "", values[:3]), case[:3])
    assert again.measure(weights) == pytest.approx([2 / 3, 3 / 5, np.nan], nan_ok=True)


def test_the_share_of_a_gain_that_words_keep() -> None:
    words, latent, label = (mean_term(n, "", [v] * 12) for n, v in (("w", 0.7), ("z", 0.9), ("l", 0.5)))
    assert kept_term(words, latent, label).measure(ONE)[0] == pytest.approx(0.5)
    assert np.isnan(kept_term(words, label, latent).measure(ONE)[0]), "without a gain there is no share of it"


def test_mmd_is_that_of_the_loss() -> None:
    torch = pytest.importorskip("torch")
    from whyray.metrics._mmd import mmd as loss

    a, b = features(4), features(3, seed=1)
    assert mmd(a, b) == pytest.approx(float(loss(torch.tensor(a), torch.tensor(b))), abs=1e-5)
    assert mmd(a, a) == pytest.approx(0, abs=1e-12) and mmd(a[:1], a[:1]) == pytest.approx(0, abs=1e-12)


def test_mmd_of_a_draw_repeats_sentences_at_the_same_bandwidth() -> None:
    encoded, written = features(6), {"edema": features(4, 1), "mass": features(4, 2), "nodule": features(1, 3)}
    case, groups = np.array([0, 0, 1, 1, 2, 2]), ["edema", "mass"] * 3
    term = mmd_term(encoded, case, groups, written)
    apart = [mmd(encoded[i::2], written[g]) for i, g in enumerate(("edema", "mass"))]
    assert term.measure(np.ones((1, 3)))[0] == pytest.approx(np.mean(apart)) and "groups:2" in term.signature
    assert np.isfinite(term.measure(np.array([[3.0, 0, 0]]))[0])
    same = mmd_term(written["mass"], np.arange(4), ["mass"] * 4, written)
    assert same.measure(np.ones((1, 4)))[0] == pytest.approx(0, abs=1e-12)


def test_the_nearest_of_what_is_known() -> None:
    alike, which = nearest(np.array([[2.0, 0], [1, 1]]), np.array([[0.0, 3], [5, 0]]))
    assert alike == pytest.approx([1, np.sqrt(0.5)]) and which[0] == 1


def test_metrics_by_name_are_in_their_range() -> None:
    for metric in METRICS:
        low, high = metric.range
        assert low <= metric.function(features(), features(seed=1)) <= high
        assert metric.function(features(), features()) == pytest.approx(1 if metric.better == "higher" else 0, abs=1e-9)
