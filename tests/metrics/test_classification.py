"""Each formula written again, slowly; undefined is NaN; intervals are by patient and cover what they promise."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from whyray.errors import DataError
from whyray.metrics import classification as c
from whyray.metrics._intervals import interval, patient_weights
from whyray.testing import check_metric

NAN = float("nan")


def slow_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    return float(np.mean(pairs))


def slow_auprc(scores: np.ndarray, labels: np.ndarray) -> float:
    total, before = 0.0, 0.0
    for cut in sorted(set(scores), reverse=True):
        called = scores >= cut
        recall = labels[called].sum() / labels.sum()
        total += (recall - before) * labels[called].mean()
        before = recall
    return total


def slow_ece(p: np.ndarray, labels: np.ndarray) -> float:
    total = 0.0
    for i in range(10):
        inside = (p >= i / 10) & ((p < (i + 1) / 10) | ((i == 9) & (p == 1)))
        if inside.any():
            total += inside.sum() / len(p) * abs(p[inside].mean() - labels[inside].mean())
    return total


def drawn(seed: int, n: int = 60, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.35).astype(float)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + labels)))
    return (np.round(p, 1) * 0.98 + 0.013 if ties else p), labels


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("fast", "slow"), [(c.auc, slow_auc), (c.auprc, slow_auprc), (c.calibration_error, slow_ece)])
def test_equals_the_slow_formula(seed: int, fast: object, slow: object) -> None:
    p, labels = drawn(seed, ties=seed % 2 == 0)
    assert fast(p, labels) == pytest.approx(slow(p, labels), abs=1e-12)  # type: ignore[operator]


def test_brier_sensitivity_specificity() -> None:
    p, labels = drawn(1)
    assert c.brier(p, labels) == pytest.approx(np.mean((p - labels) ** 2))
    assert c.sensitivity(p, labels, 0.5) == pytest.approx(np.mean(p[labels == 1] >= 0.5))
    assert c.specificity(p, labels, 0.5) == pytest.approx(np.mean(p[labels == 0] < 0.5))


def test_f1_is_the_harmonic_mean_of_precision_and_sensitivity() -> None:
    p, labels = drawn(1)
    precision, recall = labels[p >= 0.5].mean(), c.sensitivity(p, labels, 0.5)
    assert c.f1(p, labels, 0.5) == pytest.approx(2 / (1 / precision + 1 / recall))
    assert c.f1(p, labels, 2.0) == 0.0 and np.isnan(c.f1(p[labels == 0], labels[labels == 0], 0.5))
    weights = np.random.default_rng(0).integers(0, 4, len(p))
    repeated = c.f1(np.repeat(p, weights), np.repeat(labels, weights), 0.5)
    assert c.weighted_f1(p, labels, weights[None].astype(float), 0.5)[0] == pytest.approx(repeated)


def test_calibration_slope_maximises_the_likelihood() -> None:
    from scipy.optimize import minimize

    p, labels = drawn(2, 200, ties=False)
    x = np.log(p / (1 - p))
    loss = lambda ab: np.sum(np.logaddexp(0, ab[0] + ab[1] * x) - labels * (ab[0] + ab[1] * x))  # noqa: E731
    assert c.calibration_slope(p, labels) == pytest.approx(minimize(loss, [0, 1], tol=1e-12).x[1], abs=1e-4)


def test_youden_is_the_best_cut() -> None:
    scores, labels = drawn(3, ties=False)
    best = c.youden(scores, labels)
    value = c.sensitivity(scores, labels, best) + c.specificity(scores, labels, best)
    every = [c.sensitivity(scores, labels, t) + c.specificity(scores, labels, t) for t in scores]
    assert value == pytest.approx(max(every)) and best not in scores


def test_unlabelled_pictures_count_for_nothing() -> None:
    p, labels = drawn(4)
    more_p, more_labels = np.r_[p, 0.99, 0.01], np.r_[labels, NAN, NAN]
    for function in (c.auc, c.auprc, c.brier, c.calibration_error, c.calibration_slope):
        assert function(more_p, more_labels) == function(p, labels)


@pytest.mark.parametrize("labels", [np.zeros(5), np.full(5, NAN), np.empty(0)])
def test_undefined_is_nan_not_a_half(labels: np.ndarray) -> None:
    p = np.linspace(0.1, 0.9, len(labels))
    assert np.isnan(c.auc(p, labels)) and np.isnan(c.auprc(p, labels)) and np.isnan(c.sensitivity(p, labels, 0.5))
    graded = c.Graded("mass", labels, p, p, [str(i) for i in range(len(p))], 0.5)
    row = c.classification_scores(graded, replicates=50)[0]
    assert np.isnan([row.value, row.low, row.high]).all() and row.n == np.isfinite(labels).sum()
    assert row.note is not None and row.note.startswith("undefined")


@pytest.mark.parametrize("labels", [[0.0, 0, 1, 1], [0.0, 1, 0, 1], [1.0, 1, 0, 0]])
def test_a_score_that_is_nan_has_no_rank(labels: list[float]) -> None:
    p, y = np.array([0.1, 0.2, NAN, 0.4]), np.array(labels)
    plain = (c.auc, c.auprc, c.brier, c.calibration_error, c.calibration_slope, c.youden)
    cut = (c.sensitivity, c.specificity, c.f1)
    assert np.isnan([*(f(p, y) for f in plain), *(f(p, y, 0.15) for f in cut)]).all()
    rows = c.classification_scores(c.Graded("mass", y, p, p, list("abcd"), 0.15), replicates=20)
    assert len(rows) == 8 and np.isnan([r.value for r in rows]).all()
    kept = np.where(np.isnan(p), NAN, y)
    assert c.auc(p, kept) == c.auc(p[~np.isnan(p)], y[~np.isnan(p)]), "where nobody labels it, it does not matter"
    assert c.auc(np.array([-np.inf, 0, np.inf]), np.array([0.0, 1, 1])) == 1.0, "the infinite have a rank"


def test_weights_are_repetitions() -> None:
    p, labels = drawn(5)
    weights = np.random.default_rng(0).integers(0, 4, len(p))
    for function in (c.auc, c.auprc, c.brier, c.calibration_error, c.calibration_slope):
        name = "slope" if function is c.calibration_slope else function.__name__
        weighted = getattr(c, f"weighted_{name}")
        repeated = function(np.repeat(p, weights), np.repeat(labels, weights))
        assert weighted(p, labels, weights[None].astype(float))[0] == pytest.approx(repeated, abs=1e-9)


def test_a_patient_is_drawn_whole_or_not() -> None:
    patients = ["a", "a", "b", "c", "c", "c"]
    weights = np.concatenate(list(patient_weights(patients, 500, seed=1, most=60)))
    assert weights.shape == (500, 6)
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all() and len(np.unique(weights[:, 0])) > 2


def test_pieces_make_no_difference_and_the_seed_does() -> None:
    names = [str(i) for i in range(30)]
    whole, parts = (np.concatenate(list(patient_weights(names, 100, 7, most))) for most in (10**9, 90))
    assert np.array_equal(whole, parts)
    assert not np.array_equal(whole, np.concatenate(list(patient_weights(names, 100, 8))))


def test_repeated_pictures_of_one_patient_do_not_narrow_the_interval() -> None:
    p, labels = drawn(6, 80, ties=False)
    names = [str(i) for i in range(80)]
    alone = interval(partial(c.weighted_auc, p, labels), names, replicates=400)
    tripled = partial(c.weighted_auc, np.repeat(p, 3), np.repeat(labels, 3))
    grouped = interval(tripled, list(np.repeat(names, 3)), replicates=400)
    wrong = interval(tripled, [str(i) for i in range(240)], replicates=400)
    assert grouped == pytest.approx(alone) and wrong[1] - wrong[0] < 0.75 * (alone[1] - alone[0])


def test_every_score_is_there_in_its_order() -> None:
    p, labels = drawn(7, 500, ties=False)
    rows = c.classification_scores(c.Graded("mass", labels, p, p, [str(i) for i in range(500)], 0.5))
    assert [r.metric for r in rows] == [
        "auc",
        "auprc",
        "sensitivity",
        "specificity",
        "f1",
        "brier",
        "calibration_error",
        "calibration_slope",
    ]
    assert all(r.low <= r.value <= r.high for r in rows if r.metric != "calibration_error")


@pytest.mark.parametrize("metric", c.METRICS, ids=lambda m: m.name)
def test_contract(metric: object) -> None:
    labels = np.array([0.0, 0, 0, 0, 1, 1, 1, 1])
    good = np.array([0.1, 0.2, 0.1, 0.6, 0.4, 0.9, 0.8, 0.9])
    more = (0.5,) if "threshold" in metric.needs else ()  # type: ignore[attr-defined]
    check_metric(metric, (good, labels, *more), (1 - good, labels, *more))  # type: ignore[arg-type]


def coverage(positives: int, negatives: int, metric: str, trials: int, seed: int, replicates: int) -> float:
    """Share of simulated studies whose 95 % interval holds the truth; two normal scores, one deviation apart."""
    rng, hits = np.random.default_rng(seed), 0
    truth = {"auc": norm.cdf(1 / np.sqrt(2)), "sensitivity": norm.sf(0.5 - 1), "specificity": norm.cdf(0.5)}[metric]
    labels = np.r_[np.ones(positives), np.zeros(negatives)]
    names = [str(i) for i in range(len(labels))]
    for trial in range(trials):
        scores = rng.normal(size=len(labels)) + labels
        extra = {} if metric == "auc" else {"threshold": 0.5}
        measure = partial(getattr(c, f"weighted_{metric}"), scores, labels, **extra)
        low, high = interval(measure, names, replicates=replicates, seed=trial)
        hits += low <= truth <= high
    return hits / trials


def test_coverage_in_brief() -> None:
    assert coverage(50, 150, "auc", 150, 0, 300) > 0.88
    assert coverage(2, 60, "auc", 150, 0, 300) < 0.85, "few positives: the interval is too narrow, and its note says so"


def test_few_positives_are_said_with_the_simulated_coverage() -> None:
    assert "covers" in (c.small_sample_note(5, 300, 0.9) or "") and c.small_sample_note(50, 300, 0.9) == "50 positives"
    assert (c.small_sample_note(0, 9, float("nan")) or "").startswith("undefined")
    labels, said = np.ones(3), np.array([0.2, 0.6, 0.7])
    rows = c.classification_scores(c.Graded("edema", labels, said, said, ["a", "b", "c"], 0.5), replicates=20)
    notes = {row.metric: (np.isfinite(row.value), row.note) for row in rows}
    assert notes["sensitivity"] == (True, "3 positives, 0 negatives")
    assert notes["specificity"] == (False, "undefined: 3 positives, 0 negatives")
    assert all(defined is not (note or "").startswith("undefined") for defined, note in notes.values())


def test_mean_auc_is_the_mean_and_leaves_out_what_is_undefined() -> None:
    names = [str(i) for i in range(60)]
    parts = [c.Graded(f, drawn(s)[1], drawn(s)[0], drawn(s)[0], names) for s, f in enumerate(("mass", "nodule"))]
    empty = c.Graded("edema", np.zeros(60), np.arange(60.0), np.arange(60.0), names)
    row = c.mean_auc([*parts, empty], replicates=200)
    assert row.value == pytest.approx(np.mean([c.auc(g.logits, g.labels) for g in parts]))
    assert row.low < row.value < row.high and row.n == 60
    assert c.mean_auc([*parts, c.Graded("edema", np.full(60, NAN), np.arange(60.0), np.zeros(60), names)]).n == 60


def test_mean_auc_of_what_nobody_labels_is_nan_and_of_two_sets_an_error() -> None:
    unknown = c.Graded("mass", np.full(3, NAN), np.zeros(3), np.zeros(3), list("abc"))
    row = c.mean_auc([unknown], replicates=20)
    assert np.isnan([row.value, row.low, row.high]).all() and row.n == 3
    other = c.Graded("mass", np.array([0.0, 1]), np.zeros(2), np.zeros(2), list("de"))
    with pytest.raises(DataError, match="one set of pictures"):
        c.mean_auc([unknown, other])


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize("prevalence", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("metric", ["auc", "sensitivity", "specificity"])
def test_coverage_is_95_or_labelled(n: int, prevalence: float, metric: str) -> None:
    """2000 simulated studies each: 95 % within 2.5 points, or the note names a coverage near the truth.

    The note is of AUC: the interval of a sensitivity, which rests on the few alone, holds no more than it says; that of
    a specificity rests on the many.
    """
    positives = max(1, round(n * prevalence))
    found = coverage(positives, n - positives, metric, 2000, 1, 1000)
    label = c.small_sample_note(positives, n - positives, 0.5) or ""
    said = float(label.split("covers ")[1].split(" ")[0]) / 100 if "covers" in label else None
    if said is not None and metric == "auc":
        assert found == pytest.approx(said, abs=0.06)
    elif said is not None and metric == "sensitivity":
        assert found <= said + 0.06
    else:
        assert 0.92 <= found <= 0.985
