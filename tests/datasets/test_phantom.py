"""The phantom keeps its promises: the same pixels always, exact masks, twins, and no easy exam."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy.interpolate import BSpline

from whyray.datasets._phantom_fields import _spline
from whyray.datasets._resolve import load_dataset
from whyray.datasets.phantom import (
    FINDINGS,
    PHANTOM_VERSION,
    PREVALENCE,
    PhantomSet,
    Shortcut,
    load,
    phantom,
    phantom_case,
)
from whyray.errors import DataError, SettingError, UnknownName
from whyray.findings import facts
from whyray.testing import check_dataset

# mean grey of a 4 x 4 grid of cases 0 and 8 at 64 pixels: changing it is a new PHANTOM_VERSION, and every table anew
FROZEN = [
    0.143,
    0.368,
    0.391,
    0.262,
    0.765,
    0.582,
    0.572,
    0.735,
    0.603,
    0.469,
    0.491,
    0.598,
    0.574,
    0.678,
    0.769,
    0.661,
    0.385,
    0.432,
    0.405,
    0.271,
    0.603,
    0.591,
    0.566,
    0.576,
    0.613,
    0.751,
    0.728,
    0.500,
    0.673,
    0.856,
    0.836,
    0.491,
]


def thumbnail(pixels: np.ndarray, cells: int) -> np.ndarray:
    side = pixels.shape[0] // cells
    return pixels.reshape(cells, side, cells, side).mean((1, 3))


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    ranks = scores.argsort().argsort() + 1
    positive = labels.sum()
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def test_version_and_pixels_are_frozen() -> None:
    assert PHANTOM_VERSION == 1
    grey = np.concatenate([thumbnail(phantom(n, size=64).pixels, 4).ravel() for n in (0, 8)])
    np.testing.assert_allclose(grey, FROZEN, atol=0.002)


def test_a_cloud_is_the_tensor_product_of_cubic_b_splines() -> None:
    coarse = np.random.default_rng(3).standard_normal((8, 8)).astype(np.float32)
    knots = np.arange(-3, 9, dtype=float)
    basis = BSpline(knots, np.eye(8), 3)((np.arange(90) + 0.5) / 90 * 5)
    np.testing.assert_allclose(_spline(coarse, 90), basis @ coarse @ basis.T, atol=1e-6)


def test_a_case_is_the_same_pixels_in_any_order() -> None:
    first = phantom(5, size=96).pixels
    phantom(6, size=96)
    np.random.default_rng(0).random()
    assert np.array_equal(first, phantom(5, size=96).pixels)
    assert not np.array_equal(first, phantom(6, size=96).pixels)


def test_pixels_are_eight_bit_grey_values() -> None:
    pixels = phantom(1, size=96).pixels
    assert pixels.dtype == np.float32 and pixels.min() >= 0 and pixels.max() <= 1
    assert np.allclose(pixels * 255, np.round(pixels * 255), atol=1e-4)


def test_pictures_of_two_sizes_show_the_same_case() -> None:
    small, large = phantom(9, size=64), phantom(9, size=256)
    assert np.abs(thumbnail(small.pixels, 16) - thumbnail(large.pixels, 16)).mean() < 0.02
    for name, mask in large.masks.items():
        if mask.mean() > 0.01:
            overlap = thumbnail(mask.astype(float), 64).round().astype(bool)
            both = (overlap & small.masks[name]).sum() / max(1, (overlap | small.masks[name]).sum())
            assert both > 0.5, (name, both)
    assert small.report == large.report and small.labels == large.labels


@pytest.mark.parametrize("finding", sorted(PREVALENCE))
def test_the_twin_differs_inside_the_mask_and_nowhere_else(finding: str) -> None:
    for n, severity in ((40, 0.15), (41, 0.9)):
        case = phantom(n, size=112, plant={finding: severity, "nodule": 0.5})
        twin = phantom(n, size=112, plant={finding: severity, "nodule": 0.5}, without=[finding])
        changed = case.pixels != twin.pixels
        assert changed.any() and not (changed & ~case.masks[finding]).any()
        assert case.labels[finding] == 1 and finding not in twin.severities


@pytest.mark.parametrize("finding", ["nodule", "atelectasis"])
def test_several_lesions_are_one_finding_and_go_together(finding: str) -> None:
    one = phantom(40, size=112, plant={finding: 0.8})
    many = phantom(40, size=112, plant={finding: (0.1, 0.8, 0.4)})
    assert [a.severity for a in many.lesions if a.finding == finding] == [0.8, 0.4, 0.1]
    assert many.severities == one.severities and many.labels == one.labels
    assert not (one.masks[finding] & ~many.masks[finding]).any()
    assert many.masks[finding].sum() > one.masks[finding].sum()
    further = many.pixels != one.pixels
    assert further.any() and not (further & ~many.masks[finding]).any()
    healthy = phantom(40, size=112, plant={finding: (0.1, 0.8, 0.4)}, without=[finding])
    assert np.array_equal(healthy.pixels, phantom(40, size=112, without=[finding]).pixels)
    assert many.facts["sites"][finding] == one.facts["sites"][finding]  # type: ignore[index]


def test_a_data_set_knows_the_twin_of_each_finding() -> None:
    """Parents lose their children, the rest of the case stays; through one split as well."""
    whole = PhantomSet(test=40, size=64)
    one = load_dataset("phantom:test=40,size=64#test")
    seen = set()
    for case in whole.cases("test"):
        for finding in FINDINGS:
            twin = whole.twin(case, finding)
            assert (twin is None) == (case.labels[finding] == 0), (case.id, finding)
            if twin is None:
                continue
            assert twin.labels[finding] == 0 and twin.id == case.id
            seen.add(finding)
    assert seen == set(FINDINGS)
    case = next(c for c in one.cases() if c.labels["lung_opacity"] == 1)
    twin = one.twin(case, "lung_opacity")
    assert twin is not None
    changed = case.radiograph().pixels != twin.radiograph().pixels
    (region,) = [r for r in case.regions() if r.finding == "lung_opacity"]
    assert changed.any() and region.mask is not None and not (changed & ~region.mask).any()


@pytest.mark.parametrize("finding", sorted(set(PREVALENCE) - {"support_devices", "cardiomegaly"}))
def test_severity_is_continuous(finding: str) -> None:
    """More severe is a larger change, and a tenth more severe is no jump."""
    healthy = phantom(3, size=96, without=[finding], plant={}).pixels
    change = [np.abs(phantom(3, size=96, plant={finding: u}).pixels - healthy).sum() for u in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert 0 < change[0] < change[2] < change[4]
    assert change[4] < 1.6 * change[3]


def test_labels_have_their_parents() -> None:
    for n in range(60):
        case = phantom_case(n)
        assert set(case.labels) == set(FINDINGS) and set(case.labels.values()) <= {0.0, 1.0}
        for finding, value in case.labels.items():
            parent = facts(finding).parent
            if value and parent in case.labels:
                assert case.labels[parent] == 1, (n, finding, parent)
    assert phantom(3, size=64, plant={"pneumonia": 0.7}).labels["consolidation"] == 1
    assert phantom(3, size=64, plant={"pneumonia": 0.3}).labels["consolidation"] == 0


def test_findings_and_factors_are_drawn_independently() -> None:
    cases = [phantom_case(n) for n in range(3000)]
    labels = np.array([[c.labels[f] for f in PREVALENCE] for c in cases])
    planted = [f for f in PREVALENCE if f not in ("lung_opacity", "consolidation")]  # these have children
    columns = labels[:, [list(PREVALENCE).index(f) for f in planted]]
    assert np.allclose(columns.mean(0), [PREVALENCE[f] for f in planted], atol=0.03)
    correlation = np.corrcoef(columns.T) - np.eye(len(planted))
    assert np.abs(correlation).max() < 4 / math.sqrt(len(cases))


def test_focal_findings_are_not_seen_in_a_thumbnail() -> None:
    """A ridge probe on 16 x 16 thumbnails: trained on half of the cases, read on the other."""
    made = [phantom(3_000_000 + n, size=64) for n in range(600)]
    x = np.array([thumbnail(p.pixels, 16).ravel() for p in made], np.float64)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-3)
    half = len(x) // 2
    for finding, most in {"nodule": 0.60, "mass": 0.60, "atelectasis": 0.60, "pneumothorax": 0.65}.items():
        y = np.array([p.labels[finding] for p in made])
        scores = np.empty(len(y))
        for train, test in ((slice(None, half), slice(half, None)), (slice(half, None), slice(None, half))):
            gram = x[train].T @ x[train] + 1000 * np.eye(x.shape[1])
            scores[test] = x[test] @ np.linalg.solve(gram, x[train].T @ (y[train] - y[train].mean()))
        assert auc(scores, y) < most, finding


def test_an_opacity_is_brighter_and_a_pneumothorax_darker() -> None:
    for finding, sign in (("mass", 1), ("pleural_effusion", 1), ("pneumothorax", -1)):
        case = phantom(12, size=128, plant={finding: 0.8})
        twin = phantom(12, size=128, plant={finding: 0.8}, without=[finding])
        difference = (case.pixels - twin.pixels)[case.masks[finding]].mean()
        assert sign * difference > 0.02, (finding, difference)


def test_grey_values_are_those_of_a_radiograph() -> None:
    """Quartiles of pixels of the NIH pictures without a finding are 114, 160 and 193 of 255."""
    pixels = np.concatenate([phantom(n, size=64).pixels.ravel() for n in range(40)]) * 255
    assert np.allclose(np.percentile(pixels, [25, 50, 75]), [105, 160, 200], atol=25)


def test_a_shortcut_goes_with_its_finding() -> None:
    for sign, share in (("marker", 1.0), ("tube", 1.0)):
        for n in range(12):
            made = phantom(n, size=64, shortcut=Shortcut("edema", sign, share), plant={"edema": 0.5} if n % 2 else {})
            shown = made.facts["shortcut"] == sign
            assert shown == bool(made.labels["edema"])
            assert sign == "tube" or ("shortcut" in made.anatomy) == shown


def test_taking_the_finding_away_leaves_its_shortcut() -> None:
    audit = Shortcut("nodule", "marker")
    case = phantom(8, size=96, shortcut=audit, plant={"nodule": 0.9})
    twin = phantom(8, size=96, shortcut=audit, plant={"nodule": 0.9}, without=["nodule"])
    assert twin.facts["shortcut"] == "marker" and twin.labels["nodule"] == 0
    assert not ((case.pixels != twin.pixels) & ~case.masks["nodule"]).any()


def test_a_case_survives_pickling_and_opens_late() -> None:
    case = pickle.loads(pickle.dumps(phantom_case(1_000_004, size=64)))  # noqa: S301
    assert case.split == "val" and case.radiograph().shape == (64, 64) and case.facts["version"] == 1
    assert {r.kind for r in case.regions()} == {"finding", "anatomy"} or not any(case.labels.values())


def test_the_data_set() -> None:
    dataset = load("train=4,val=2,test=2,size=64")
    check_dataset(dataset)
    assert [len(dataset.cases(s)) for s in ("train", "val", "test")] == [4, 2, 2]
    assert len({c.id for c in dataset.cases()}) == 8
    with pytest.raises(DataError, match="no split 'valid'"):
        dataset.cases("valid")


def test_a_test_split_may_begin_after_cases_that_were_looked_at() -> None:
    looked, fresh = (load(f"test=3{after}").cases("test") for after in ("", ",after=3"))
    assert [c.id for c in fresh] == ["phantom-2000003", "phantom-2000004", "phantom-2000005"]
    assert not {c.id for c in looked} & {c.id for c in fresh}
    assert [c.id for c in load("test=3,after=3,val=1").cases("val")] == ["phantom-1000000"]


@pytest.mark.parametrize("argument", ["n=3", "size=32", "train=many", "size"])
def test_wrong_settings_are_refused(argument: str) -> None:
    with pytest.raises(SettingError):
        load(argument)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UnknownName):
        phantom(0, without=["fracture"])
    with pytest.raises(SettingError, match="from 0 to 1"):
        phantom(0, plant={"nodule": 2.0})
    with pytest.raises(SettingError, match="2 lesions of cardiomegaly were asked for; give one severity"):
        phantom(0, plant={"cardiomegaly": (0.2, 0.3)})
    with pytest.raises(SettingError, match="0 lesions of nodule"):
        phantom_case(0, plant={"nodule": ()})
    with pytest.raises(SettingError, match="64 to 1024"):
        phantom(0, size=32)
    with pytest.raises(SettingError, match="numbered"):
        phantom_case(-1)


def test_its_source_is_what_makes_it_another_picture() -> None:
    made = {
        phantom_case(3).source(),
        phantom_case(4).source(),
        phantom_case(3, size=128).source(),
        phantom_case(3, without=["edema"]).source(),
        phantom_case(3, plant={"mass": 0.5}).source(),
        phantom_case(3, plant={"mass": 0.6}).source(),
        phantom_case(3, shortcut=Shortcut("mass")).source(),
    }
    assert len(made) == 7 and phantom_case(3).source() in made
