"""Faithfulness by passes: closed forms on a linear model, known truth on the formula classifier and on phantoms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

import whyray
from whyray.contracts import Classifier, Context, cells_to_pixels
from whyray.datasets.phantom import phantom_case
from whyray.errors import DataError, InputError, SettingError, Stopped, UnmetNeed
from whyray.explainers.centre import Centre
from whyray.explainers.edges import Edges
from whyray.explainers.gradcam import GradCam
from whyray.explainers.random import Random
from whyray.explanations import Attribution
from whyray.jobs._faithful import again, at_input, curves, disturbed
from whyray.jobs._faithful_scores import Row, by_label_count, picture_values
from whyray.jobs.faithfulness import Trial, choose_pairs, evaluate_faithfulness
from whyray.jobs.store import Store
from whyray.metrics import faithfulness as metric
from whyray.models.analytic import true_maps
from whyray.types import Case, Provenance, Radiograph

SIDE = 48
RNG = np.random.default_rng(3)
SMALL = Trial(steps=8, fill="black", road=2, grid=8, draws=12, few=0)


class Linear(nn.Module):
    """logit = sum(weights * x) + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(SIDE * SIDE, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(RNG.normal(0, 0.1, (2, SIDE * SIDE)).astype(np.float32)))
            self.head.bias.fill_(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(x.flatten(1))
        return out


@pytest.fixture(scope="module")
def linear() -> Classifier:
    return whyray.wrap(Linear().eval(), findings=["edema", "nodule"], size=SIDE, name="linear")


@pytest.fixture(scope="module")
def mini() -> Classifier:
    return whyray.load_model("mini")


@pytest.fixture(scope="module")
def picture() -> Radiograph:
    return Radiograph(RNG.random((SIDE, SIDE)).astype(np.float32), name="noise")


def test_curves_of_a_linear_model_in_closed_form(linear: Classifier, picture: Radiograph) -> None:
    """Black removes a pixel's part of the logit: curves are sums of parts, and parts predict every removal."""
    frame = linear.prepare(picture)
    weights = linear.module.head.weight.detach().numpy().reshape(2, SIDE, SIDE)  # type: ignore[union-attr]
    parts = dict(zip(linear.findings, weights * frame.pixels[0], strict=True))
    found = curves(linear, frame, parts, SMALL, Context())
    for i, (finding, part) in enumerate(parts.items()):
        band = metric.bands(part, SMALL.steps)
        sums = np.bincount(band.ravel(), part.ravel(), SMALL.steps)
        kept = 1 + np.array([sums[k:].sum() for k in range(SMALL.steps + 1)])
        assert np.allclose(found["deletion"][i], kept, atol=2e-2 * np.abs(kept).max()), finding
        assert np.allclose(found["insertion"][i], 1 + np.r_[0, np.cumsum(sums)], atol=2e-2 * np.abs(kept).max())
        assert found["full"][i] == pytest.approx(kept[0], abs=1e-4) and found["baseline"][i] == pytest.approx(1)
    assert found["sensitivity_n"] == pytest.approx(1, abs=1e-3)
    assert found["road_most"].shape == found["road_least"].shape == (2, 3)
    reverse = curves(linear, frame, {f: -p for f, p in parts.items()}, SMALL, Context())
    assert reverse["sensitivity_n"] == pytest.approx(-1, abs=1e-3)


def test_max_sensitivity_of_a_constant_gradient_is_zero_and_grows_with_gradient_times_input(
    linear: Classifier, picture: Radiograph
) -> None:
    trial = replace(SMALL, radius=0.05, disturbed=3)
    found = again(Centre(), linear, picture, linear.findings, trial, Context())
    assert (found["max_sensitivity"] == 0).all() and (found["seed_stability"] == 1).all()
    found = again(Random(), linear, picture, linear.findings, trial, Context())
    assert (found["max_sensitivity"] > 1).all() and (np.abs(found["seed_stability"]) < 0.3).all()


def test_noise_stays_within_its_radius_and_reaches_the_model_input(mini: Classifier) -> None:
    large = Radiograph(np.full((600, 500), 0.5, np.float32))
    frame = mini.prepare(large)
    moved = disturbed(large, frame, 0.1, 0, 0)
    change = moved.pixels - large.pixels
    assert 0.09 < np.abs(change).max() <= 0.1 + 1e-6 and (large.pixels == 0.5).all()
    plain = large.pixels + RNG.uniform(-0.1, 0.1, large.shape).astype(np.float32)
    reached, averaged = (
        np.abs(mini.prepare(p).pixels - frame.pixels).std() for p in (moved, Radiograph(plain, name="plain"))
    )
    assert reached > 1.5 * averaged
    assert moved.sha256 not in (large.sha256, disturbed(large, frame, 0.1, 0, 1).sha256)


def test_the_true_map_of_the_formula_beats_random_and_its_reverse() -> None:
    analytic = whyray.load_model("analytic")
    picture = Radiograph((RNG.random((16, 16)) < 0.6).astype(np.float32).repeat(8, 0).repeat(8, 1))
    frame = analytic.prepare(picture)
    truth = true_maps(frame.pixels)
    noise = {f: RNG.normal(size=(16, 16)) for f in truth}
    gaps = {}
    for name, maps in {"truth": truth, "random": noise, "reverse": {f: -m for f, m in truth.items()}}.items():
        large = {f: np.kron(m, np.ones((8, 8))).astype(np.float32) for f, m in maps.items()}
        gaps[name] = picture_values(curves(analytic, frame, large, SMALL, Context()), SMALL)
    assert (gaps["truth"]["gap"] > gaps["random"]["gap"] + 0.5).all()
    assert (gaps["random"]["gap"] > gaps["reverse"]["gap"]).all()
    assert (gaps["truth"]["sensitivity_n"] > 0.95).all() and (np.abs(gaps["random"]["sensitivity_n"]) < 0.4).all()
    assert (gaps["reverse"]["sensitivity_n"] < -0.95).all()


def test_evidence_against_has_its_own_sign() -> None:
    """With sign="negative" the pixels most against the finding go first, and every direction still holds."""
    analytic = whyray.load_model("analytic")
    picture = Radiograph(np.ones((128, 128), np.float32))
    frame = analytic.prepare(picture)
    against = {"cardiomegaly": np.kron(true_maps(frame.pixels)["cardiomegaly"], np.ones((8, 8))).astype(np.float32)}
    for sign in ("positive", "negative"):
        trial = replace(SMALL, sign=sign, steps=16)
        found = curves(analytic, frame, against, trial, Context())
        values = picture_values(found, trial)
        assert values["gap"] > 2, sign
        first = found["deletion"][0, 1] - found["deletion"][0, 0]
        assert (first < -1) if sign == "positive" else (first > 1)


@pytest.mark.parametrize("finding", ["cardiomegaly", "consolidation"])
def test_the_true_mask_of_a_phantom_beats_random(mini: Classifier, finding: str) -> None:
    """The mask with soft edges, against noise of the grain of a Grad-CAM map: lower deletion, larger gap."""
    plant = {"cardiomegaly": 0.9} if finding == "cardiomegaly" else {"pneumonia": 0.9}
    trial = Trial(steps=6, road=2, grid=2, sizes=(0.5,), draws=3)
    better = []
    for n in range(2_000_100, 2_000_104):
        case = phantom_case(n, plant=plant)
        frame = mini.prepare(case.radiograph())
        mask = next(r.mask for r in case.regions() if r.finding == finding)
        assert mask is not None
        soft = at_input(attribution(gaussian_filter(mask.astype(np.float32), 12), frame.source_shape), frame)
        noise = at_input(attribution(RNG.normal(size=(14, 14)), frame.source_shape), frame)
        truth, chance = (
            picture_values(curves(mini, frame, {finding: m}, trial, Context()), trial) for m in (soft, noise)
        )
        better.append([chance["deletion"][0] - truth["deletion"][0], truth["gap"][0] - chance["gap"][0]])
    assert np.nanmean(better, axis=0)[0] > 0.02 and np.nanmean(better, axis=0)[1] > 1, better


def attribution(mask: np.ndarray, shape: tuple[int, int]) -> Attribution:
    """A mask in source pixels as a map."""
    made = Provenance("truth", 1, {}, 0, "", "", "", "", 0.0, "")
    affine = cells_to_pixels(mask.shape, shape)
    return Attribution(
        finding="x", provenance=made, values=mask.astype(np.float32), to_source=affine, source_shape=shape
    )


def test_a_map_is_brought_to_the_model_input(mini: Classifier) -> None:
    """A source of other proportions: the bright corner of the picture is the bright corner of the input's crop."""
    source = Radiograph(np.zeros((300, 224), np.float32))
    frame = mini.prepare(source)
    mask = np.zeros((300, 224), bool)
    mask[:30, :30] = True
    there = at_input(attribution(mask, (300, 224)), frame)
    at = np.linalg.inv(frame.to_source) @ (10, 10, 1)
    assert there.shape == frame.pixels.shape[1:]
    x, y = (round(float(v)) for v in at[:2])
    assert np.nanmax(there) == 0 if min(x, y) < 0 else there[y, x] == pytest.approx(1)


def broken(number: int) -> Case:
    def fail() -> Radiograph:
        raise InputError(f"{number}.png", "the file is cut short", "copy it again")

    return Case(id=f"broken-{number}", open=fail, labels={"cardiomegaly": 1.0})


def test_pairs_of_picture_and_finding(mini: Classifier) -> None:
    cases = [phantom_case(2_000_200 + i, plant={"cardiomegaly": 0.9}) for i in range(2)] + [broken(1)]
    wanted = ("cardiomegaly", "nodule")
    present, failures = choose_pairs(mini, cases, wanted, "present")
    assert all("cardiomegaly" in c.findings for c in present) and len(failures) == 1
    every, _ = choose_pairs(mini, cases, wanted, "all")
    assert [c.findings for c in every] == [wanted] * 2
    predicted, _ = choose_pairs(mini, cases, wanted, "predicted")
    assert all(set(c.findings) <= set(wanted) for c in predicted)


@pytest.fixture(scope="module")
def measured(mini: Classifier) -> whyray.jobs.faithfulness.Faithfulness:  # type: ignore[name-defined]
    cases = [phantom_case(2_000_300 + i, plant={"cardiomegaly": 0.9}) for i in range(3)] + [broken(2)]
    trial = Trial(steps=4, road=2, grid=7, sizes=(0.2,), draws=8, disturbed=1, seeds=2, stages=2, few=2)
    return evaluate_faithfulness(
        mini, cases, ["gradcam"], findings=["cardiomegaly"], pairs="present", trial=trial, replicates=100
    )


def test_every_metric_has_a_row_with_n_and_interval(measured) -> None:  # type: ignore[no-untyped-def]
    rows = {(s.explainer, s.metric): s for s in measured.scores if s.finding == "mean"}
    assert {m for _, m in rows} == set(metric.METRICS)
    assert {e for e, _ in rows} == {"gradcam", "edges", "centre", "random"}, "controls are always there"
    for (label, name), row in rows.items():
        assert row.n == (3 if name in ("gap", "road", "sensitivity_n", "deletion", "insertion") else row.n)
        assert row.low <= row.value <= row.high, (label, name)
    assert rows["edges", "weights_spearman"].value == 1
    assert "does not depend" in (rows["edges", "weights_spearman"].note or "")
    assert rows["gradcam", "weights_spearman"].value < 0.9
    assert rows["random", "weights_spearman"].n == 2
    assert measured.failures == ("2.png: the file is cut short; copy it again.",)
    assert measured.facts["pictures"] == 3 and measured.facts["trial"]["sign"] == "positive"


def test_comparisons_are_corrected_within_a_metric(measured) -> None:  # type: ignore[no-untyped-def]
    for name, found in measured.differences.items():
        assert [(d.first, d.second) for d in found] == [("gradcam", c) for c in ("edges", "centre", "random")], name
        assert all(np.isnan(d.p) or d.adjusted >= d.p for d in found)
        assert all(np.isnan(d.p) or d.p >= 2.0 ** (1 - d.patients) for d in found), "three patients prove nothing"


def test_one_finding_against_several() -> None:
    """Deletion 0.25 on pictures with one finding, 0.75 on those with two: the difference is their means'."""
    flat = np.array([[1.0, 0.5, 0.0], [1.0, 1.5, 0.0]])  # areas 0.5 and 1
    rows = []
    for i in range(8):
        curve = flat[[i % 2]] * 4
        arrays = {n: curve for n in ("deletion", "insertion", "road_most", "road_least")}
        arrays |= {"full": np.array([4.0]), "baseline": np.array([0.0])}
        rows.append(Row(f"c{i}", f"p{i}", ("nodule",), arrays, several=bool(i % 2)))
    scores, found = by_label_count({"gradcam": rows, "edges": rows}, SMALL, replicates=100)
    by = {(s.slice, s.metric, s.explainer): s for s in scores}
    assert by["single-label", "deletion", "edges"].value == pytest.approx(0.5)
    assert (
        by["multi-label", "deletion", "gradcam"].value == pytest.approx(1) and by["multi-label", "gap", "edges"].n == 4
    )
    assert found["deletion"]["gradcam"].difference == pytest.approx(-0.5)
    assert found["deletion"]["gradcam"].adjusted >= found["deletion"]["gradcam"].p
    assert by_label_count({"gradcam": rows[::2]}, SMALL) == ([], {}), "nothing to compare with"


def test_mean_curves_run_from_whole_to_filled(measured) -> None:  # type: ignore[no-untyped-def]
    for label, means in measured.curves["deletion"].items():
        assert means.mean[0] == pytest.approx(1) and means.mean[-1] == pytest.approx(0), label
    assert measured.curves["insertion"]["gradcam"].mean.shape == (5,)
    layers, means = measured.cascade["edges"]
    assert layers[0] == 0 and (means.mean == 1).all()


def test_curves_are_kept_as_numbers(measured) -> None:  # type: ignore[no-untyped-def]
    kept = json.loads(json.dumps(measured.more()))["curves"]
    assert set(kept) == {"deletion", "insertion", "road_most", "road_least", "random_layers"}
    assert kept["deletion"]["gradcam"]["mean"][0] == pytest.approx(1) and kept["deletion"]["edges"]["n"][0] == 3
    assert kept["random_layers"]["edges"]["mean"] == [1, 1, 1]
    assert "3 patients" in measured.facts["caution"]


def test_what_cannot_work_is_skipped_with_the_reason(mini: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GradCam, "needs", frozenset({"telepathy"}))
    trial = Trial(steps=2, road=2, grid=4, draws=4, few=0)
    cases = [phantom_case(2_000_400)]
    asked: dict[str, Any] = {"findings": ["nodule"], "pairs": "all", "trial": trial, "replicates": 10}
    found = evaluate_faithfulness(mini, cases, ["gradcam", "gradient"], **asked)
    assert "needs telepathy" in found.skipped["gradcam"]
    assert {s.explainer for s in found.scores} == {"gradient", "edges", "centre", "random"}
    with pytest.raises(UnmetNeed, match=r"no explainer is left\. gradcam needs telepathy"):
        evaluate_faithfulness(mini, cases, ["gradcam"], **asked)


def test_run_again_and_nothing_is_made_twice(mini: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(steps=2, road=2, grid=4, draws=4, sizes=(0.5,), disturbed=1, seeds=2, stages=1, few=2)
    cases = [phantom_case(2_000_500 + i) for i in range(2)]
    asked = {"findings": ["nodule"], "pairs": "all", "trial": trial, "replicates": 10, "store": Store(tmp_path)}
    calls: list[int] = []
    explain = Edges.explain
    monkeypatch.setattr(Edges, "explain", lambda *a: (calls.append(1), explain(*a))[1])
    with pytest.raises(Stopped):
        evaluate_faithfulness(mini, cases, [], cancelled=lambda: len(calls) > 2, **asked)
    stopped = len(calls)
    first = evaluate_faithfulness(mini, cases, [], **asked)
    made = len(calls)
    again = evaluate_faithfulness(mini, cases, [], **asked)
    assert made > stopped and len(calls) == made
    assert repr(first.scores) == repr(again.scores)
    evaluate_faithfulness(mini, cases, [], **{**asked, "trial": replace(trial, steps=3)})
    assert len(calls) == made, "a map serves every metric"


def test_nothing_to_measure_and_bad_settings_are_refused(mini: Classifier) -> None:
    with pytest.raises(DataError, match="pairs='all'"):
        evaluate_faithfulness(mini, [], ["gradcam"])
    with pytest.raises(SettingError, match="steps"):
        Trial(steps=1)
    with pytest.raises(SettingError, match="sign"):
        Trial(sign="both")  # type: ignore[arg-type]
