"""Enrichment: counts, odds and corrections beside slow definitions; planted truths are found, chance is not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import fisher_exact

from whyray.findings import finding
from whyray.patterns.attributes import ANATOMY, ZONES, Attributes, anatomy_of, attributes, source_of, zone_masks
from whyray.patterns.enrichment import (
    CATEGORIES,
    UNASSIGNED,
    Enriched,
    adjusted,
    category_of,
    counts,
    enrichments,
    log_odds,
    p_values,
    pooled,
    rules,
)
from whyray.patterns.galleries import Fired
from whyray.types import Case, Radiograph


def case(number: int, labels: dict[str, float], **facts: object) -> Case:
    return Case(f"p-{number}", lambda: Radiograph(np.zeros((32, 32), np.float32)), labels, str(number), facts=facts)


def test_log_odds_are_haldanes() -> None:
    odds, variance = log_odds(np.array([8.0, 2, 10, 90]))
    assert odds == pytest.approx(math.log(8.5 * 90.5 / (2.5 * 10.5)))
    assert variance == pytest.approx(1 / 8.5 + 1 / 2.5 + 1 / 10.5 + 1 / 90.5)
    assert np.isfinite(log_odds(np.array([5.0, 0, 0, 5]))[0]), "an empty count is no infinity"


def test_sources_are_pooled_by_inverse_variance_and_those_that_cannot_tell_stay_out() -> None:
    tables = np.array([[8.0, 2, 10, 90], [3, 3, 20, 30], [0, 0, 9, 9], [4, 0, 7, 0]])
    odds, error = pooled(tables)
    parts = [log_odds(t) for t in tables[:2]]
    expected = sum(o / v for o, v in parts) / sum(1 / v for _, v in parts)
    assert odds == pytest.approx(expected) and error == pytest.approx(sum(1 / v for _, v in parts) ** -0.5)
    assert np.isnan(pooled(tables[2:])[0])


def test_a_source_that_explains_all_leaves_nothing() -> None:
    """Simpson: pooled raw counts show odds of 5; within each source there are none."""
    apart = np.array([[[80.0, 20, 40, 10], [1, 9, 10, 90]]])
    raw = apart.sum(axis=1)
    assert log_odds(raw)[0][0] > 1.5
    assert abs(pooled(apart)[0][0]) < 0.15


def test_q_is_that_of_benjamini_and_hochberg() -> None:
    p = np.array([[0.01, np.nan], [0.04, 0.03], [0.005, 0.5]])
    q = adjusted(p)
    assert np.isnan(q[0, 1])
    known = sorted(p[~np.isnan(p)].tolist())
    for value, found in zip(p.ravel(), q.ravel(), strict=True):
        if value == value:
            worse = [v * len(known) / (i + 1) for i, v in enumerate(known) if v >= value]
            assert found == pytest.approx(min(1.0, *worse))


def test_p_of_one_source_is_twice_fishers_smaller_tail() -> None:
    for table in ([3, 0, 5, 60], [8, 2, 10, 90], [0, 9, 30, 4], [40, 60, 500, 700]):
        tails = [fisher_exact(np.reshape(table, (2, 2)), alternative=side)[1] for side in ("greater", "less")]
        assert p_values(np.array([table]))[()] == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-9), table


def test_p_over_sources_is_that_of_dealing_the_attribute_out_anew_within_each() -> None:
    tables = np.array([[6, 4, 10, 40], [3, 1, 4, 12], [5, 0, 9, 0], [0, 0, 3, 3]])
    rng = np.random.default_rng(0)
    dealt = sum(rng.hypergeometric(a + c, b + d, a + b, 200_000) for a, b, c, d in tables[:2])
    expected = 2 * min((dealt >= 9).mean(), (dealt <= 9).mean())
    assert p_values(tables)[()] == pytest.approx(expected, abs=4 * math.sqrt(expected / 200_000))
    assert np.isnan(p_values(tables[2:]))


def test_chance_alone_is_called_at_most_as_often_as_said() -> None:
    """Ten images that fire and an attribute of one in twenty: where a normal approximation says far too much."""
    rng = np.random.default_rng(1)
    with_it, others = rng.binomial(10, 0.05, 4000), rng.binomial(300, 0.05, 4000)
    p = p_values(np.stack([with_it, 10 - with_it, others, 300 - others], axis=-1)[:, None])
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() <= level + 2 * math.sqrt(level / 4000)


def planted(n: int = 400) -> tuple[Fired, Attributes, list[str]]:
    """Pattern 0 fires where there is an effusion, low in the picture; pattern 1 on images drawn at random."""
    rng = np.random.default_rng(0)
    effusion = rng.random(n) < 0.3
    cases = [
        case(i, {"pleural_effusion": float(e), "nodule": float(rng.random() < 0.3)}) for i, e in enumerate(effusion)
    ]
    strengths = np.stack([effusion * rng.uniform(0.5, 1, n), rng.uniform(0, 1, n)], axis=1).astype(np.float32)
    peaks = np.stack([rng.integers(30, 36, n), rng.integers(0, 36, n)], axis=1).astype(np.int32)
    made = Fired(strengths, peaks, np.zeros((n, 2, 5), np.uint8), rng.normal(size=(n, 3)).astype(np.float32))
    return made, attributes(cases, (6, 6)), [str(i) for i in range(n)]


def test_what_was_planted_is_found_and_what_is_random_is_not() -> None:
    made, known, patients = planted()
    first, second = enrichments(made, known, patients)
    names = [one.attribute for one in first]
    assert {"label:pleural_effusion", "place:lower third", "place:border"} <= set(names) and "label:nodule" not in names
    label = next(one for one in first if one.attribute == "label:pleural_effusion")
    assert (label.with_it, label.firing) == (100, 100) and label.low > math.log(50) and label.q < 1e-6
    assert second == []
    assert [one.low for one in first] == sorted((one.low for one in first), reverse=True)


def test_unknown_is_in_no_count() -> None:
    cases = [case(i, {"edema": [1.0, 0.0, math.nan][i % 3]}) for i in range(9)]
    known = attributes(cases, (3, 3))
    rows = np.arange(9)
    found = counts(known.images[:3], rows[:3], known.images[3:], rows[3:], replace(known, names=known.names[:2]))
    assert found[known.names.index("label:edema"), 0].tolist() == [1, 1, 2, 2]


def test_attributes_say_what_is_known() -> None:
    one = case(1, {"edema": 1.0, "mass": math.nan}, view="AP", sex="M", age=70, dataset="A")
    known = attributes([one, case(2, {})], (4, 4))
    row = dict(zip(known.names, known.images[0].tolist()))
    assert row["label:edema"] == row["view:AP"] == row["age:65 or more"] == row["source:A"] == 1 and row["sex:F"] == 0
    assert "label:mass" not in row, "labelled nowhere"
    assert np.isnan(known.images[1][known.names.index("view:AP")]) and source_of(case(2, {})) == "p"
    assert np.isnan(known.places[0, len(ZONES) :]).all()
    assert known.at(np.array([0]), np.array([5])).shape == (1, len(known.names))


def test_zones_are_what_they_are_called() -> None:
    zones = dict(zip(ZONES, zone_masks((5, 4)).reshape(-1, 5, 4)))
    assert zones["border"].sum() == 2 * 5 + 2 * 2
    assert zones["picture's left"][:, :2].all() and not zones["picture's left"][:, 2:].any()
    assert (zones["upper third"] + zones["middle third"] + zones["lower third"] == 1).all()
    assert not zone_masks((1, 1))[0].any(), "a single cell is no border"


def test_anatomy_of_a_phantom_lies_where_its_masks_are() -> None:
    from whyray.datasets.phantom import phantom, phantom_case
    from whyray.models._resolve import load_model

    grid = (14, 14)
    body = anatomy_of(load_model("mini"), phantom_case(3), grid)
    assert body is not None
    heart, lung, rim, outside = body.reshape(4, *grid).astype(bool)
    whole = phantom(3).anatomy
    coverage = {k: v.reshape(14, 16, 14, 16).mean(axis=(1, 3)) for k, v in whole.items()}
    assert coverage["heart"][heart].min() > 0.2 and not heart[coverage["heart"] == 0].any()
    assert (coverage["left_lung"] + coverage["right_lung"])[lung].min() > 0.2
    assert not (lung & rim).any() and not (outside & (lung | rim | heart)).any() and rim.any()
    assert anatomy_of(load_model("mini"), case(1, {}), grid) is None


def enriched(attribute: str, low: float) -> Enriched:
    return Enriched(attribute, low + 1, low, low + 2, 0.001, 9, 10, 10, 100)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], UNASSIGNED),
        ([enriched("label:cardiomegaly", 1.0)], "cardiac"),
        ([enriched("label:support_devices", 2.0), enriched("place:lung", 0.5)], "device"),
        ([enriched("label:pleural_effusion", 1.0), enriched("label:edema", 0.9)], UNASSIGNED),
        ([enriched("label:edema", 1.0), enriched("label:pneumonia", 1.0), enriched("place:lung", 0.2)], "pulmonary"),
        ([enriched("place:border", 3.0), enriched("label:edema", 1.0)], "artifact"),
        ([enriched("source:A", 2.0)], "artifact"),
        ([enriched("place:lower third", 2.0)], UNASSIGNED),
    ],
)
def test_the_category_is_the_one_that_leads(found: list[Enriched], expected: str) -> None:
    assert category_of(found) == expected


def test_every_rule_leads_from_something_known_to_one_of_the_six() -> None:
    assert set(rules().values()) == set(CATEGORIES)
    for attribute in rules():
        kind, _, name = attribute.partition(":")
        if kind == "label":
            assert finding(name) == name
        if kind == "place":
            assert name in (*ZONES, *ANATOMY)
