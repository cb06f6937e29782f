"""Bootstrap of means: the published scheme number for number; by patient where pictures of one are alike; NaN."""

from __future__ import annotations

import numpy as np
import pytest

from whyray.errors import DataError
from whyray.metrics import _intervals as iv

NAN = float("nan")


def table(n: int = 60, k: int = 4, missing: float = 0.5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.random((n, k))
    values[rng.random((n, k)) < missing] = NAN
    return values


def published(values: np.ndarray, replicates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The published scheme written out: seed 0, whole rows drawn, column means without NaN, sorted with NaN last."""
    np_random = np.random.RandomState(0)
    rows = []
    for _ in range(replicates):
        drawn = values[np_random.choice(len(values), size=len(values), replace=True)]
        rows.append([np.mean(c[~np.isnan(c)]) if (~np.isnan(c)).any() else NAN for c in drawn.T])
    made = np.array(rows)
    low, high, mean = [], [], []
    for column in made.T:
        ranked = np.sort(column)
        low.append(ranked[int(0.025 * replicates) - 1])
        high.append(ranked[int((1 - 0.025) * replicates) - 1])
        mean.append(column[~np.isnan(column)].mean())
    return np.array(mean), np.array(low), np.array(high), made


@pytest.mark.parametrize("missing", [0.0, 0.5, 0.97])
def test_parity_with_the_published_scheme(missing: float) -> None:
    values = table(missing=missing)
    values[0] = 0.5  # no column is all NaN
    mean, low, high, made = published(values, 1000)
    found = iv.chexlocalize_intervals(values)
    np.testing.assert_allclose(found.replicates, made, atol=1e-12)
    np.testing.assert_allclose([found.mean, found.low, found.high], [mean, low, high], atol=1e-12)
    assert found.scheme == "chexlocalize" and found.n.tolist() == (~np.isnan(values)).sum(0).tolist()


def test_by_hand_two_pictures() -> None:
    """Of two pictures 0 and 1, replicates are 0, 1/2, 1/2 or 1: the published interval is their 24th and 974th."""
    found = iv.chexlocalize_intervals(np.array([[0.0], [1.0]]))
    assert set(found.replicates[:, 0]) == {0.0, 0.5, 1.0} and (found.low[0], found.high[0]) == (0.0, 1.0)
    assert found.mean[0] == found.replicates.mean() != 0.5, "the mean of the replicates, not of the pictures"


def test_ours_is_the_mean_of_the_pictures_with_percentiles() -> None:
    values = table()
    found = iv.weighted_mean_intervals(values, [f"p{i}" for i in range(60)], 500, seed=3)
    np.testing.assert_allclose(found.mean, np.nanmean(values, axis=0))
    assert found.n.tolist() == (~np.isnan(values)).sum(axis=0).tolist() and found.replicates.shape == (500, 4)
    np.testing.assert_allclose(found.low, np.nanpercentile(found.replicates, 2.5, axis=0))
    np.testing.assert_allclose(found.high, np.nanpercentile(found.replicates, 97.5, axis=0))


def test_whole_patients_are_drawn() -> None:
    """Two patients with 3 and 1 pictures: a replicate holds a patient's pictures all or not at all."""
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    found = iv.weighted_mean_intervals(values, ["a", "a", "a", "b"], 400)
    assert set(found.replicates[:, 0]) == {0.0, 0.75, 1.0}
    by_picture = iv.weighted_mean_intervals(values, range(4), 400)
    assert set(by_picture.replicates[:, 0]) == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_pieces_and_the_order_of_pictures_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, patients = table(), [f"p{i // 2}" for i in range(60)]
    whole = iv.weighted_mean_intervals(values, patients, 300)
    order = np.random.default_rng(1).permutation(60)
    moved = iv.weighted_mean_intervals(values[order], [patients[i] for i in order], 300)
    np.testing.assert_allclose(moved.replicates, whole.replicates, atol=1e-12)
    one = iv._replicated.__defaults__
    monkeypatch.setattr(iv._replicated, "__defaults__", (1000,))
    pieces = iv.weighted_mean_intervals(values, patients, 300).replicates
    np.testing.assert_allclose(pieces, whole.replicates, atol=1e-12)  # a product of matrices may round by its shape
    assert one == (4_000_000,)


def test_empty_columns_and_empty_tables_are_nan() -> None:
    values = table()
    values[:, 1] = NAN
    for found in (iv.weighted_mean_intervals(values, range(60), 100), iv.chexlocalize_intervals(values, 100)):
        assert np.isnan([found.mean[1], found.low[1], found.high[1]]).all() and found.n[1] == 0
        assert np.isfinite([found.mean[0], found.low[0], found.high[0]]).all()
    for found in (iv.weighted_mean_intervals(np.empty((0, 3)), [], 100), iv.chexlocalize_intervals(np.empty((0, 3)))):
        assert np.isnan(found.mean).all() and np.isnan(found.low).all() and found.n.tolist() == [0, 0, 0]
    with pytest.raises(DataError, match="patient"):
        iv.weighted_mean_intervals(values, ["a"])


def test_by_patient_covers_where_by_picture_does_not() -> None:
    """400 studies of 40 patients with 4 alike pictures each, true mean 0: 95 % promised."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 4)
    inside = {"patient": 0, "picture": 0}
    for study in range(400):
        values = rng.normal(size=40)[patients] + 0.3 * rng.normal(size=160)
        for how, groups in (("patient", patients), ("picture", range(160))):
            found = iv.weighted_mean_intervals(values, groups, 400, seed=study)  # type: ignore[arg-type]
            inside[how] += bool(found.low[0] <= 0 <= found.high[0])
    assert 0.91 <= inside["patient"] / 400 <= 0.98
    assert inside["picture"] / 400 < 0.80


def test_the_mean_of_what_is_known() -> None:
    values = table(7, 5, 0.4)
    values[:, 2] = NAN
    slow = [np.mean([v for v in column if v == v]) if (column == column).any() else NAN for column in values.T]
    np.testing.assert_allclose(iv.known_mean(values, axis=0), slow)
    np.testing.assert_array_equal(iv.known_mean(values.T, axis=1), iv.known_mean(values, axis=0))
    assert float(iv.known_mean(np.array([1.0, NAN, 3.0]), axis=0)) == 2 and np.isnan(iv.known_mean(np.empty(0), axis=0))


def test_a_value_with_the_interval_of_its_draws() -> None:
    drawn = np.r_[5.0, np.arange(1001.0), NAN, np.inf]
    assert iv.value_and_interval(drawn) == (5.0, 25.0, 975.0), "what is not finite is left out"
    alone = iv.value_and_interval(np.array([5.0]))
    assert alone[0] == 5.0 and np.isnan(alone[1:]).all()
