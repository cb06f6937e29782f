"""Counterfactuals of a linear classifier through a mirror: every figure is known, and nothing is made twice."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whyray
from whyray.cards import Preparation
from whyray.contracts import Classifier
from whyray.datasets.phantom import PhantomSet
from whyray.errors import DataError, SettingError, Stopped, UnknownName, UnmetNeed
from whyray.jobs._counterfactual_bench import calls, rule_of
from whyray.jobs._counterfactual_tables import POOLED
from whyray.jobs.counterfactual import Counterfactuals, WhatIf, evaluate_counterfactual
from whyray.jobs.evaluate import counterfactual_into
from whyray.jobs.plan import EvaluationPlan, load_plan, to_toml
from whyray.jobs.store import Store
from whyray.models import _autoencoders
from whyray.types import Case, Prediction

SIDE = 64
LS = "latent_shift:frames=5,distortion=1"
FINDINGS = ("cardiomegaly", "lung_opacity", "pleural_effusion")


class Bands(nn.Module):
    """Logit = 60 x mean grey of a band - 33; the bands of cardiomegaly and lung opacity share half of their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(SIDE * SIDE, 3)
        weights = torch.zeros(3, SIDE, SIDE)
        for i, (top, bottom) in enumerate(((16, 32), (24, 40), (48, 64))):
            weights[i, top:bottom] = 60 / (16 * SIDE)
        with torch.no_grad():
            self.head.weight.copy_(weights.flatten(1))
            self.head.bias.fill_(-33)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x.flatten(1))
        return out


class Mirror(nn.Module):
    """The picture is its own latent."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()), requires_grad=False)

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, z: Tensor) -> Tensor:
        return z


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return whyray.wrap(Bands().eval(), findings=list(FINDINGS), size=SIDE, name="bands")


@pytest.fixture(autouse=True)
def mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(_classifier: Classifier, spec: str = "") -> _autoencoders.Autoencoder:
        if spec == "none":
            raise UnmetNeed("bands has no autoencoder: train one")
        return _autoencoders.Autoencoder(spec or "mirror", Mirror(), Preparation(size=(SIDE, SIDE)))

    monkeypatch.setattr(_autoencoders, "autoencoder_for", found)


DATA = PhantomSet(train=0, val=0, test=14, size=SIDE)
PLAN = EvaluationPlan(
    "phantom",
    explainers=(LS, "gradient"),
    replicates=100,
    counterfactual=WhatIf(maps=("max", "mm"), noise=(0.05,), blur=(2.0,), few=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("counterfactual")


@pytest.fixture
def result(classifier: Classifier, folder: Path) -> Counterfactuals:
    """The run; what is in the folder from the test before is not made again."""
    return counterfactual_into(folder, classifier, DATA, PLAN)


def rows(result: Counterfactuals, **wanted: str) -> dict[tuple[str, str], Any]:
    """(finding, metric) -> score of the rows that have these fields."""
    found = [r for r in result.tables.rows() if all(getattr(r, k) == v for k, v in wanted.items())]
    return {(r.finding, r.metric): r for r in found}


def test_targets_company_and_distance_of_a_straight_path(result: Counterfactuals) -> None:
    """Along a gradient of bands the logit moves as asked, the band it overlaps moves half as far, and nothing else."""
    made = rows(result, explainer=LS, slice="present")
    pairs = sum(len([f for f in FINDINGS if c.labels[f] == 1]) for c in DATA.cases())
    for name in ("removed", "trusted", "monotonicity"):
        assert (made[POOLED, name].value, made[POOLED, name].n) == (1, pairs), name
    assert made[POOLED, "reconstruction_error"].value < 2e-4 and made[POOLED, "stopped_distortion"].value == 0
    assert 0.7 < made["pleural_effusion", "sparsity"].value <= 1, "at most a quarter of the rows changes"
    assert made[POOLED, "carried"].value == pytest.approx(1, abs=1e-3), "the reconstruction is the radiograph"
    assert made["cardiomegaly", "alignment:lung_opacity"].value == pytest.approx(0.5, abs=0.05)
    assert made["cardiomegaly", "alignment:pleural_effusion"].value == pytest.approx(0, abs=0.01)
    assert made["cardiomegaly", "spill"].value == pytest.approx(0.25, abs=0.03)


def test_the_true_twin_is_measured_where_the_data_set_knows_it(result: Counterfactuals) -> None:
    made = rows(result, explainer=LS, slice="present")
    assert made[POOLED, "twin_reconstruction"].value == pytest.approx(made[POOLED, "twin_radiograph"].value, rel=0.01)
    assert 0 <= made[POOLED, "twin_nearer"].value <= 1
    assert result.facts["twins"] == result.facts["pairs"] == made[POOLED, "removed"].n


def test_every_row_has_its_n_and_interval(result: Counterfactuals) -> None:
    for row in result.tables.rows():
        assert row.n > 0, row
        if np.isfinite(row.value) and np.isfinite(row.low):
            assert row.low - 1e-9 <= row.value <= row.high + 1e-9, row
    assert {r.slice for r in result.tables.scores} == {"present", "true-positive"}
    present, positive = (rows(result, explainer=LS, slice=s) for s in ("present", "true-positive"))
    assert positive[POOLED, "removed"].n == result.facts["true_positives"] < present[POOLED, "removed"].n


def test_maps_stand_beside_other_methods_and_controls(result: Counterfactuals) -> None:
    metric = "iou_true_positive:area_matched"
    found = {
        r.explainer: r for r in result.tables.scores if (r.finding, r.metric, r.slice) == ("mean", metric, "present")
    }
    assert list(found) == [f"{LS} max", f"{LS} mm", "gradient", "edges", "centre", "random"]
    compared = {(d.first, d.second) for d in result.tables.differences[metric]}
    assert compared == {(f"{LS} max", other) for other in found if other != f"{LS} max"}
    assert next(iter(result.tables.differences)) == metric and len(result.tables.differences) == 6


def test_maps_under_noise_and_blur(result: Counterfactuals) -> None:
    strengths = {r.slice for r in result.tables.robustness}
    assert strengths == {"none", "noise 0.05", "blur 2"}
    found = {(r.explainer, r.slice, r.metric): r for r in result.tables.robustness}
    for label in (LS, "gradient", "centre"):
        assert found[label, "none", "robust_similarity"].value == pytest.approx(1, abs=1e-3)
        assert found[label, "none", "robust_iou"].n == 2
    assert found["gradient", "noise 0.05", "robust_similarity"].value == pytest.approx(1), "a linear model's gradient"
    assert found["random", "noise 0.05", "robust_similarity"].value < 0.9


def test_nothing_is_made_twice_and_the_files_hold_every_row(
    result: Counterfactuals, classifier: Classifier, folder: Path
) -> None:
    store = Store(folder / "cells")
    cells = {p: p.stat().st_mtime_ns for p in folder.glob("cells/*/*.npz")}
    lost = store.path(next(k for k in store.keys() if store.get(k).facts["kind"] == "counterfactual"))  # type: ignore[union-attr]  # noqa: SIM118
    lost.unlink()
    counterfactual_into(folder, classifier, DATA, PLAN)
    again = {p: p.stat().st_mtime_ns for p in folder.glob("cells/*/*.npz")}
    assert set(again) == set(cells) and {p for p in cells if again[p] != cells[p]} == {lost}
    told = json.loads((folder / "scores.json").read_text())
    assert told["kind"] == "counterfactual" and len(told["rows"]) == len(result.tables.rows())
    assert len((folder / "scores.csv").read_text().splitlines()) == 1 + len(told["rows"])
    assert load_plan(folder / "plan.toml") == PLAN and to_toml(PLAN)
    page = (folder / "report.html").read_text()
    for word in ("The true twin", "Where the change lies", "Noise and blur", "Company", "the true counterfactual"):
        assert word in page, word


def test_what_was_made_before_a_stop_is_kept(classifier: Classifier, tmp_path: Path) -> None:
    store, data = Store(tmp_path / "cells"), replace(DATA, test=4)
    plan = replace(PLAN, counterfactual=replace(PLAN.counterfactual, few=0))
    with pytest.raises(Stopped):
        evaluate_counterfactual(classifier, data, plan, store, cancelled=lambda: next(store.keys(), None) is not None)
    kept = {key: store.path(key).stat().st_mtime_ns for key in store.keys()}  # noqa: SIM118
    assert kept
    evaluate_counterfactual(classifier, data, plan, store)
    assert all(store.path(k).stat().st_mtime_ns == at for k, at in kept.items())


def test_maps_under_noise_are_located_as_the_plan_says(classifier: Classifier, tmp_path: Path) -> None:
    """Figures from a store that an other smoothing has filled are those of an empty one."""
    data, plan = replace(DATA, test=4), replace(PLAN, explainers=(LS, "edges"))

    def robust(store: str, smooth_px: int) -> list[object]:
        how = replace(plan, localisation=replace(plan.localisation, smooth_px=smooth_px))
        made = evaluate_counterfactual(classifier, data, how, Store(tmp_path / store)).tables.rows()
        return [(r.finding, r.metric, r.explainer, r.slice, r.value) for r in made if r.metric.startswith("robust_iou")]

    rough, smooth, alone = robust("both", 0), robust("both", 31), robust("alone", 31)
    np.testing.assert_equal(smooth, alone)
    assert smooth != rough


def test_another_autoencoder_is_another_cell(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = Store(tmp_path / "cells"), replace(DATA, test=3)
    plan = replace(PLAN, counterfactual=replace(PLAN.counterfactual, few=0))
    evaluate_counterfactual(classifier, data, plan, store)
    before = set(store.keys())

    class Other(Mirror):
        def __init__(self) -> None:
            super().__init__()
            self.gain.fill_(2)

    monkeypatch.setattr(
        _autoencoders,
        "autoencoder_for",
        lambda *_: _autoencoders.Autoencoder("mirror", Other(), Preparation(size=(SIDE, SIDE))),
    )
    evaluate_counterfactual(classifier, data, plan, store)
    kinds = [store.get(key).facts["kind"] for key in set(store.keys()) - before]  # type: ignore[union-attr]
    assert {"path", "counterfactual", "localisation"} == set(kinds), "maps of the others are as they were"


def test_what_cannot_be_done_is_said(classifier: Classifier, tmp_path: Path) -> None:
    store = Store(tmp_path / "cells")

    def run(*explainers: str, data: PhantomSet = DATA) -> Counterfactuals:
        plan = replace(PLAN, explainers=explainers, limit=2)
        return evaluate_counterfactual(classifier, data, plan, store)

    with pytest.raises(SettingError, match="add one, such as -x latent_shift"):
        run("gradient")
    with pytest.raises(UnmetNeed, match="train one"):
        run("latent_shift:autoencoder=none", "gradient")
    both = run(LS, "latent_shift:autoencoder=none")
    assert "train one" in both.skipped["latent_shift:autoencoder=none"] and both.labels.paths == (LS,)
    with pytest.raises(DataError, match="no picture of phantom shows any of"):
        run("latent_shift", data=replace(DATA, test=0))


def test_only_what_experts_drew(classifier: Classifier, tmp_path: Path) -> None:
    class Undrawn(PhantomSet):
        """Nobody drew anything on the first cases."""

        def cases(self, split: str | None = None) -> Sequence[Case]:
            return [replace(c, open_regions=tuple) if i < 4 else c for i, c in enumerate(super().cases(split))]

    data, store = Undrawn(train=0, val=0, test=8, size=SIDE), Store(tmp_path / "cells")
    every, drawn = (
        evaluate_counterfactual(classifier, data, replace(PLAN, counterfactual=WhatIf(few=0, drawn=d)), store)
        for d in (False, True)
    )
    assert drawn.facts["pairs"] == drawn.facts["pairs_with_region"] == every.facts["pairs_with_region"]
    assert every.facts["pairs"] > drawn.facts["pairs"] > 0


@pytest.mark.parametrize(
    "wrong", [{"maps": ()}, {"modes": ("tuned",)}, {"sign": "both"}, {"noise": (2.0,)}, {"few": -1}]
)
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises((SettingError, UnknownName)):
        WhatIf(**wrong)


def test_called_is_the_operating_point_else_the_prevalence_else_a_half() -> None:
    assert calls(Prediction("edema", 0, 0.3, threshold=0.2, prevalence=0.5))
    assert rule_of(Prediction("edema", 0, 0.3, threshold=0.2, prevalence=0.5)) == "operating point 0.2"
    assert rule_of(Prediction("edema", 0, 0.3, prevalence=0.5)) == "prevalence 0.5"
    assert calls(Prediction("edema", 0, 0.3, prevalence=0.2)) and not calls(Prediction("edema", 0, 0.3, prevalence=0.4))
    assert calls(Prediction("edema", 0, 0.6)) and not calls(Prediction("edema", 0, 0.4))


def test_json_is_one_list_of_rows(
    classifier: Classifier, tmp_path: Path, capsys: pytest.CaptureFixture[str], result: Counterfactuals
) -> None:
    from whyray.cli import show

    show.counterfactual(result, tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert isinstance(told, list) and all({"finding", "metric", "value", "low", "high", "n"} <= set(r) for r in told)
    assert any("p_holm" in r for r in told)
    show.counterfactual(result, tmp_path, as_json=False)
    said = capsys.readouterr()
    assert "removal reached" in said.out and "Called: " in said.out and os.fspath(tmp_path / "report.html") in said.err
