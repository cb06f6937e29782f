"""Names: the statistical ones by hand, the images that check a name, and the arithmetic of the check."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from whyray.patterns.enrichment import Enriched
from whyray.patterns.galleries import Fired
from whyray.patterns.naming import (
    FEWEST,
    Checked,
    balanced_accuracy,
    cases_of,
    held_out,
    judged,
    matched_negatives,
    mean_gap,
    prompt,
    statistical_name,
    wilson,
)


def enriched(attribute: str, low: float = 1.0) -> Enriched:
    return Enriched(attribute, low + 1, low, low + 2, 0.001, 9, 10, 10, 100)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ([], ""),
        (["label:pleural_effusion", "label:edema", "place:lung rim"], "Pleural effusion, lung rim"),
        (["place:border", "place:upper third"], "Border"),
        (["view:AP"], "View AP"),
        (["source:NIH ChestX-ray14", "label:copd"], "COPD"),
    ],
)
def test_statistical_names(attributes: list[str], expected: str) -> None:
    assert statistical_name([enriched(name) for name in attributes]) == expected


def test_half_of_the_patients_are_held_out_and_all_pictures_of_one_go_together() -> None:
    patients = [f"patient-{i // 2}" for i in range(2000)]
    later = held_out(patients)
    assert 0.45 < later.mean() < 0.55 and (later[::2] == later[1::2]).all()
    assert (held_out(patients[500:600]) == later[500:600]).all(), "whatever else there is"


def scene(n: int = 300, p: int = 5, seed: int = 0) -> tuple[Fired, list[str]]:
    rng = np.random.default_rng(seed)
    strengths = (rng.random((n, p)) < 0.3) * rng.uniform(0.1, 1, (n, p)) * [1, 1, 10, 1, 5][:p]
    made = Fired(
        strengths.astype(np.float32),
        np.zeros((n, p), np.int32),
        np.zeros((n, p, 1), np.uint8),
        rng.normal(size=(n, 4)).astype(np.float32),
    )
    return made, [f"patient-{i // 2}" for i in range(n)]


def test_images_that_check_a_name_were_not_shown_when_it_was_proposed() -> None:
    made, patients = scene()
    cases, later = cases_of(made, 2, patients), held_out(patients)
    early = {patients[i] for i in (*cases.shown, *cases.controls)}
    checking = [*cases.positives, *(i for i, _ in cases.negatives)]
    assert len(cases.shown) == 8 and len(cases.controls) == 4 and len(cases.negatives) == len(cases.positives) == 12
    assert early.isdisjoint(patients[i] for i in checking) and later[checking].all()
    assert len({patients[i] for i in checking}) == len(checking), "one image a patient"
    assert (made.strengths[list(cases.shown), 2] > 0).all() and (made.strengths[list(cases.positives), 2] > 0).all()
    assert (made.strengths[list(cases.controls), 2] == 0).all()


def test_negatives_fire_another_pattern_as_strongly() -> None:
    made, patients = scene(2000)
    cases = cases_of(made, 0, patients)
    share = made.strengths / made.strengths.max(axis=0)
    gaps = [abs(share[n, other] - share[i, 0]) for i, (n, other) in zip(cases.positives, cases.negatives)]
    assert max(gaps) < 0.1 and all(other != 0 for _, other in cases.negatives)
    assert (made.strengths[[n for n, _ in cases.negatives], 0] == 0).all()
    assert len({other for _, other in cases.negatives}) > 2, "several other patterns serve"

    assert cases.gap == pytest.approx(np.mean(gaps))


def test_the_gap_of_bad_matches_is_told() -> None:
    """Strengths are shares of each pattern's own largest: 1 and 0.5 against 0.25 of another scale."""
    strengths = np.array([[4, 0], [2, 0], [0, 5], [0, 5], [0, 20], [4, 0]], np.float32)
    nothing = np.zeros((6, 1), np.uint8)
    made = Fired(strengths, nothing.astype(np.int32), nothing, nothing.astype(np.float32))
    assert mean_gap(made, 0, [0, 1], [(2, 1), (3, 1)]) == pytest.approx((0.75 + 0.25) / 2)
    assert mean_gap(made, 0, [0, 1], [(4, 1)]) == 0, "a positive without a match is in no pair"
    assert math.isnan(mean_gap(made, 0, [0, 1], []))


def test_a_bank_of_one_pattern_has_no_negatives() -> None:
    made, patients = scene(p=1)
    assert matched_negatives(made, 0, [0, 1], patients, np.ones(300, bool)) == []
    assert math.isnan(cases_of(made, 0, patients).gap)


def test_wilson_is_scipys() -> None:
    for k, n in ((0, 5), (5, 5), (3, 12), (12, 12), (50, 90)):
        expected = binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_balanced_accuracy_and_its_interval() -> None:
    value, low, high = balanced_accuracy(9, 12, 6, 12)
    assert value == pytest.approx((0.75 + 0.5) / 2)
    a, b = wilson(9, 12), wilson(6, 12)
    assert low == pytest.approx(value - math.hypot(0.75 - a[0], 0.5 - b[0]) / 2)
    assert high == pytest.approx(value + math.hypot(a[1] - 0.75, b[1] - 0.5) / 2)
    assert balanced_accuracy(12, 12, 12, 12)[1] < 0.9, "all right is no certainty"


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(4000):
        hits, passed = rng.binomial(12, 0.8), rng.binomial(12, 0.6)
        _, low, high = balanced_accuracy(int(hits), 12, int(passed), 12)
        covered += low <= 0.7 <= high
    assert 0.93 < covered / 4000 < 0.98


def test_a_name_holds_only_above_guessing() -> None:
    assert judged("tube", [True] * 12, [True] * 12).holds
    assert not judged("tube", [True] * 12, [False] * 12).holds, "always yes"
    assert not judged("tube", [True] * 7 + [False] * 5, [True] * 7 + [False] * 5).holds, "the interval holds one half"
    few = judged("tube", [True] * (FEWEST - 1), [True] * 12)
    assert not few.holds and math.isnan(few.accuracy) and "not checked" in few.trouble
    assert not Checked().holds


def test_prompts_ask_for_what_is_read() -> None:
    assert '"name"' in prompt("name") and "silent" in prompt("name")
    assert '"shows"' in prompt("verify") and "$name" in prompt("verify")
