"""Reader studies: planted gains, published examples, intervals that cover, files that cannot be used."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from whyray.errors import DataError
from whyray.io.ratings import COLUMNS, Rating, read_ratings
from whyray.metrics import agreement as a
from whyray.metrics import reader as r
from whyray.metrics.significance import holm

CONFIDENCE = "confidence"


def study(
    rng: np.random.Generator, *, readers: int = 4, cases: int = 40, right: float = 0.0, wrong: float = 0.0
) -> list[Rating]:
    """A crossover: every reader rates every case with both arms; half of the predictions are wrong."""
    out = []
    skill, hard = rng.normal(0, 0.5, readers), rng.normal(0, 0.5, cases)
    for i, j, arm in itertools.product(range(readers), range(cases), ("maps", "animation")):
        gain = (right if j % 2 else wrong) * (arm == "animation")
        value = 3 + skill[i] + hard[j] + gain + rng.normal(0, 0.7)
        read = str(1 + ((j % 4 < 2) == (arm == "maps")))
        finding = ("edema", "mass")[j // 2 % 2]
        out.append(Rating(f"r{i}", read, f"c{j}", arm, bool(j % 2), finding, CONFIDENCE, round(value, 2)))
    return out


def test_a_planted_gain_is_found_where_it_is_and_nowhere_else() -> None:
    pairs = r.pairs_of(study(np.random.default_rng(0), right=0.6), CONFIDENCE, ("maps", "animation"))
    parts = r.slices(pairs)
    right, wrong = (r.gain(parts[k], CONFIDENCE) for k in ("right", "wrong"))
    assert right.n == wrong.n == 80 and right.readers == 4 and right.cases == 20
    assert right.low > 0.2 and abs(right.difference - 0.6) < 0.25 and right.effect > 0.3
    assert wrong.low < 0 < wrong.high and abs(wrong.difference) < 0.25
    assert "4 readers" in right.note and right.p == 0.125, "four readers may agree by luck"
    many = r.pairs_of(study(np.random.default_rng(0), readers=8, right=0.6), CONFIDENCE, ("maps", "animation"))
    assert r.gain(many.where(many.right)).p < 0.02 and r.gain(many.where(~many.right)).p > 0.1
    trust = r.over_reliance(pairs, CONFIDENCE)
    assert trust["low"] > 0 and trust["difference"] == pytest.approx(right.difference - wrong.difference)


def test_persuasion_by_wrong_predictions_shows_beside_the_gain_on_right_ones() -> None:
    pairs = r.pairs_of(study(np.random.default_rng(1), right=0.0, wrong=0.8), CONFIDENCE, ("maps", "animation"))
    trust = r.over_reliance(pairs, CONFIDENCE)
    assert trust["gain_on_wrong"] > 0.5 and trust["high"] < 0


def test_findings_are_corrected_by_holm_among_themselves() -> None:
    ratings = study(np.random.default_rng(2), readers=9, right=0.3, wrong=0.3)
    pairs = r.pairs_of(ratings, CONFIDENCE, ("maps", "animation"))
    every, *each = r.by_finding(pairs, CONFIDENCE, "all")
    assert every.finding == "all" and np.isnan(every.p_holm) and [g.finding for g in each] == ["edema", "mass"]
    np.testing.assert_allclose([g.p_holm for g in each], holm([g.p for g in each]))
    np.testing.assert_allclose([g.p_pairs_holm for g in each], holm([g.p_pairs for g in each]))
    assert all(g.p < 0.05 and g.p_holm >= g.p for g in each)


def test_several_ratings_of_one_arm_are_averaged_and_lonely_ones_counted() -> None:
    base = dict(reader="r", right=True, finding="edema", question=CONFIDENCE)
    ratings = [
        Rating(read="1", case="a", arm="maps", rating=2, **base),
        Rating(read="2", case="a", arm="maps", rating=4, **base),
        Rating(read="2", case="a", arm="animation", rating=5, **base),
        Rating(read="1", case="b", arm="maps", rating=1, **base),
    ]
    pairs = r.pairs_of(ratings, CONFIDENCE, ("maps", "animation"))
    assert len(pairs) == 1 and pairs.first[0] == 3 and pairs.second[0] == 5 and pairs.unpaired == 1
    with pytest.raises(DataError, match="no reader rated"):
        r.pairs_of(ratings, CONFIDENCE, ("maps", "video"))
    with pytest.raises(DataError, match="both as right and as wrong"):
        r.pairs_of(
            [*ratings, Rating(read="3", case="a", arm="maps", rating=1, **{**base, "right": False})],
            CONFIDENCE,
            ("maps", "animation"),
        )


def test_the_effect_is_a_share_of_ranks() -> None:
    gaps = np.array([1.1, -0.4, 2.3, 0.7, 3.1, -1.6])
    ranks = np.argsort(np.argsort(np.abs(gaps))) + 1
    against = ranks[gaps < 0].sum()
    assert r.rank_biserial(gaps) == pytest.approx((21 - 2 * against) / 21) and r.rank_biserial(np.zeros(3)) == 0


def crossed(gaps: np.ndarray, readers: np.ndarray, cases: np.ndarray) -> r.Pairs:
    n = len(gaps)
    return r.Pairs(np.zeros(n), gaps, readers.astype(str), cases.astype(str), np.full(n, "f"), np.ones(n, bool))


def slow_p(table: np.ndarray) -> float:
    """The published analysis of variance of gains ``[readers, cases]``: F of 1 and Hillis' degrees of freedom."""
    from scipy.stats import f

    many, wide = table.shape
    mean, by_reader, by_case = table.mean(), table.mean(1), table.mean(0)
    reader = wide * ((by_reader - mean) ** 2).sum() / (many - 1)
    case = many * ((by_case - mean) ** 2).sum() / (wide - 1)
    rest = ((table - by_reader[:, None] - by_case + mean) ** 2).sum() / ((many - 1) * (wide - 1))
    below = reader + max(case - rest, 0)
    return float(f.sf(many * wide * mean**2 / below, 1, below**2 / (reader**2 / (many - 1))))


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_the_published_analysis_of_variance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(0.3, 1, (9, 14)) + rng.normal(0, 0.5, (9, 1)) + (seed % 2) * rng.normal(0, 0.5, 14)
    readers, cases = np.divmod(np.arange(9 * 14), 14)
    order = rng.permutation(len(readers))
    found = r.crossed_p(table.ravel()[order], crossed(table.ravel()[order], readers[order], cases[order]))
    assert found == pytest.approx(max(slow_p(table), 2.0**-8))


@pytest.mark.parametrize(("reader", "case"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.8)])
def test_without_a_gain_p_alarms_as_often_as_promised(reader: float, case: float) -> None:
    """Readers, cases or both that respond in their own way, 8 readers and 25 cases, rounded to steps: about 5 %."""
    rng, alarms = np.random.default_rng(8), 0
    readers, cases = np.divmod(np.arange(200), 25)
    for _ in range(400):
        gaps = reader * rng.normal(size=8)[readers] + case * rng.normal(size=25)[cases] + rng.normal(size=200)
        gaps = np.clip(np.rint(gaps), -2, 2)
        alarms += r.crossed_p(gaps, crossed(gaps, readers, cases)) < 0.05
    assert alarms / 400 < 0.085


def test_p_of_few_readers_or_of_nothing() -> None:
    readers, cases = np.divmod(np.arange(80), 20)
    sure = np.full(80, 2.0)
    assert r.crossed_p(sure, crossed(sure, readers, cases)) == 0.125, "as four signs that agree"
    assert r.crossed_p(sure, crossed(sure, cases, readers)) == 0.125, "and as four cases"
    assert r.crossed_p(sure, crossed(sure, readers * 0, cases)) == 1.0
    assert r.crossed_p(sure * 0, crossed(sure, readers, cases)) == 1.0
    lonely = crossed(sure[:9], np.arange(9), np.arange(9))  # every reader has another case
    assert 0 < r.crossed_p(np.arange(9.0), lonely) < 0.05
    assert np.isnan(r.crossed_p(np.empty(0), crossed(np.empty(0), np.empty(0), np.empty(0))))


def test_intervals_over_readers_and_cases_cover() -> None:
    rng, hits = np.random.default_rng(5), 0
    for i in range(120):
        readers, cases = np.divmod(np.arange(8 * 20), 20)
        gaps = 0.3 + rng.normal(0, 0.3, 8)[readers] + rng.normal(0, 0.3, 20)[cases] + rng.normal(0, 0.5, 160)
        pairs = r.Pairs(
            np.zeros(160), gaps, readers.astype(str), cases.astype(str), np.full(160, "f"), np.ones(160, bool)
        )
        low, high = np.percentile(r.crossed_means(gaps, pairs, 300, seed=i), (2.5, 97.5))
        hits += low <= 0.3 <= high
    assert hits >= 105  # 95 % of 120 is 114; three standard errors below: 107; readers are few


def test_icc_is_that_of_the_published_example() -> None:
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    assert a.icc(ratings) == pytest.approx(0.29, abs=0.005)  # Shrout and Fleiss, 1979, table 4
    assert a.icc(np.repeat(ratings[:, :1], 2, axis=1)) == pytest.approx(1.0)


def test_weighted_kappa_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(3)
    first = rng.integers(1, 6, 60)
    second = np.clip(first + rng.integers(-1, 2, 60), 1, 5)
    ours = a.weighted_kappa(first.astype(float), second.astype(float))
    assert ours == pytest.approx(cohen_kappa_score(first, second, weights="quadratic", labels=range(1, 6)))


def test_agreement_between_readers_and_between_reads() -> None:
    found = a.agreements(study(np.random.default_rng(4), readers=2), CONFIDENCE)
    named = {one.between: one for one in found}
    assert set(named) == {"r0 and r1", "r0, reads 1 and 2", "r1, reads 1 and 2"}
    assert all(one.icc_low <= one.icc <= one.icc_high for one in found) and named["r0 and r1"].n == 80
    assert {one.cases for one in found} == {40}, "two arms of each"


def test_agreement_is_drawn_by_case() -> None:
    """Twenty cases with six alike ratings each know as much as twenty ratings; the interval holds the truth."""
    rng, hits, alone = np.random.default_rng(0), 0, []
    truth = 0.5  # a case varies as much as a reader's view of it
    for i in range(40):
        table = rng.normal(size=(20, 1)) + rng.normal(size=(20, 2))
        names = [str(k) for k in range(20)]
        found = a.agreement(table.repeat(6, axis=0), np.repeat(names, 6).tolist(), "q", "a and b", 150, i)
        assert (found.n, found.cases) == (120, 20)
        hits += found.icc_low <= truth <= found.icc_high
        alone.append(a.agreement(table, names, "q", "a and b", 150, i).icc_high - found.icc_high)
    assert hits >= 33, "drawn by rating, more than half would miss"
    assert abs(float(np.mean(alone))) < 0.03


def test_power_is_that_of_simulated_studies_and_gives_the_sample_size() -> None:
    from scipy.stats import wilcoxon

    rng = np.random.default_rng(6)
    n = r.pairs_needed(0.5, 1.0)
    hits = np.mean([wilcoxon(rng.normal(0.5, 1.0, n)).pvalue < 0.05 for _ in range(400)])
    assert abs(hits - 0.8) < 0.06
    assert r.power(n, 0.5, 1.0) >= 0.8 > r.power(n - 1, 0.5, 1.0)
    assert r.pairs_needed(0.5, 1.0, design_effect=2.0) == pytest.approx(2 * n, abs=2)
    with pytest.raises(DataError, match="other than 0"):
        r.pairs_needed(0.0, 1.0)


def test_shared_readers_inflate_the_variance() -> None:
    readers, cases = np.divmod(np.arange(200), 20)
    rng = np.random.default_rng(7)
    same = dict(
        first=np.zeros(200),
        readers=readers.astype(str),
        cases=cases.astype(str),
        findings=np.full(200, "f"),
        right=np.ones(200, bool),
    )
    clustered = r.Pairs(second=rng.normal(0, 1, 10)[readers] + rng.normal(0, 0.3, 200), **same)  # type: ignore[arg-type]
    assert r.design_effect(clustered) > 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reader,case\n1,2\n", "lacks the column 'read'"),
        (",".join(COLUMNS) + "\n", "holds 0 ratings"),
        (",".join(COLUMNS) + "\nr,1,c,maps,1,edema,q,high\n", "line 2: the rating is no number"),
        (",".join(COLUMNS) + "\nr,1,c,maps,perhaps,edema,q,3\n", "line 2: truth says"),
        (",".join(COLUMNS) + "\nr,1,,maps,1,edema,q,3\n", "line 2: case is empty"),
        (",".join(COLUMNS) + "\nr,1,c,m,1,edema,q,3\nr,1,c,m,1,edema,q,4\n", "twice; keep one"),
    ],
)
def test_files_that_cannot_be_used_are_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_ratings(path)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("\ufeff" + ",".join(COLUMNS) + "\nr1, 2 ,c7,maps,FP,,confidence,3.5\n", encoding="utf-8")
    assert read_ratings(path) == [Rating("r1", "2", "c7", "maps", False, "all", "confidence", 3.5)]


def test_signed_rank_is_its_exact_permutation_test() -> None:
    gaps = np.array([1.1, -0.4, 2.3, 0.7, 3.1, -1.6])
    ranks = np.argsort(np.argsort(np.abs(gaps))) + 1
    observed = min(ranks[gaps > 0].sum(), ranks[gaps < 0].sum())
    sums = [sum(rank for rank, up in zip(ranks, signs) if up) for signs in itertools.product((0, 1), repeat=6)]
    exact = np.mean([min(s, 21 - s) <= observed for s in sums])
    assert r.signed_rank_p(gaps) == pytest.approx(exact)
    assert r.signed_rank_p(np.zeros(3)) == 1.0 and np.isnan(r.signed_rank_p(np.empty(0)))
