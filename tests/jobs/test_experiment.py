"""The grid of an experiment: which runs, which comparisons, and that nothing is trained or measured twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whyray.errors import DataError, SettingError, UnknownName
from whyray.jobs import experiment as job
from whyray.jobs._experiment_arms import Experiment, all_runs, asked, runs_of
from whyray.jobs._experiment_auc import auc_changes, drawn_mean, macro_auc
from whyray.jobs._experiment_measured import Measured
from whyray.jobs._experiment_page import section
from whyray.jobs.experiment import Answer, compared, experiment_into
from whyray.metrics.classification import Graded, auc
from whyray.training.wenlex import load_plan

PLAN = """
name = "tiny"
text = "nowhere"
classifier = "analytic"
[[data]]
name = "phantoms"
spec = "phantom:train=4,val=2,test=2"
[loop]
epochs = 1
seed = 7
"""


@pytest.fixture
def plan(tmp_path: Path) -> str:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return str(path)


def experiment(plan: str, *questions: str, **settings: Any) -> Experiment:
    return Experiment(plan=plan, dataset="phantom:test=2#test", questions=questions, **settings)


def test_every_change_of_every_arm_is_a_key_of_the_plan(plan: str) -> None:
    for question in asked().values():
        assert len({arm.name for arm in question.arms}) == len(question.arms)
        for arm in question.arms:
            before, after = load_plan(plan), load_plan(plan, arm.set)
            assert before == after or arm.set, f"{question.name}, {arm.name} changes nothing"
    assert len(runs_of(experiment(plan), asked()["plausibility"], asked()["plausibility"].arms[1])) == 1


def test_arms_with_equal_plans_are_one_run(plan: str) -> None:
    grid = all_runs(experiment(plan, "plausibility", "reconstruction", "writers", "audience"))
    assert len(grid) == 4, "as planned (also MMD, with, clinician, lay and writers), WGAN-GP, none, without"
    folders = [run.folder for run in grid.values()]
    assert len(set(folders)) == 4 and all(run.key in run.folder for run in grid.values())
    other = all_runs(experiment(plan, "writers", changes=("loop.epochs=2",)))
    assert not set(other) & set(grid)


def test_only_arms_that_train_the_classifier_run_once_a_seed(plan: str) -> None:
    question = asked()["model"]
    runs = {arm.name: runs_of(experiment(plan, seeds=2), question, arm) for arm in question.arms}
    assert {name: [r.plan.loop.seed for r in found] for name, found in runs.items()} == {
        "post-hoc": [7],
        "in-model": [7, 8],
        "labels alone": [7, 8],
    }


def test_what_cannot_be_asked_fails_before_any_work(plan: str) -> None:
    with pytest.raises(UnknownName, match="question"):
        experiment(plan, "plausability")
    with pytest.raises(SettingError, match="seeds"):
        experiment(plan, seeds=0)
    with pytest.raises(SettingError, match="no setting"):
        all_runs(experiment(plan, changes=("epochz=2",)))


def graded(scores: Any, labels: Sequence[float], finding: str = "nodule") -> Graded:
    patients = [f"p{i // 2}" for i in range(len(scores))]
    return Graded(finding, np.array(labels), np.array(scores), np.array(scores), patients)


LABELS = [0.0, 1.0] * 12
NOISE = np.random.default_rng(0).normal(size=24)


def test_macro_auc_is_the_mean_over_findings_of_those_with_a_label() -> None:
    one, two = graded(LABELS + 2 * NOISE, LABELS), graded(LABELS + NOISE, [np.nan, np.nan, *LABELS[2:]])
    plain = (auc(one.logits, one.labels) + auc(two.logits, two.labels)) / 2
    assert macro_auc([one, two], np.ones((1, 24)))[0] == pytest.approx(plain)


def test_the_change_of_auc_is_paired_and_its_mean_draws_the_seeds_again() -> None:
    before, better = graded(LABELS + 2 * NOISE, LABELS), graded(LABELS + NOISE, LABELS)
    rows = auc_changes([before], {"seed 0": [better], "seed 1": [before]}, 300, 0, "phantoms")
    held = {(r.metric, r.explainer): r for r in rows}
    gain = auc(better.logits, better.labels) - auc(before.logits, before.labels)
    assert gain > 0 and held["auc_change", "seed 0"].value == pytest.approx(gain)
    same = held["auc_change", "seed 1"]
    assert (same.value, same.low, same.high) == (0, 0, 0), "a classifier less itself has no spread"
    mean = held["auc_change", "mean of the seeds"]
    assert mean.value == pytest.approx(gain / 2) and mean.low == 0, "a draw may hold the second seed alone"
    assert auc_changes([graded(NOISE, [1.0] * 24)], {}, 10, 0, "phantoms") == []


def test_the_mean_over_seeds_keeps_the_value_and_spreads_over_seeds() -> None:
    values = np.tile([[0.0], [1.0]], (1, 4001))
    drawn = drawn_mean(values, 0)
    assert drawn[0] == 0.5
    assert {float(v) for v in drawn[1:]} == {0.0, 0.5, 1.0}
    assert np.mean(drawn[1:] == 0.5) == pytest.approx(0.5, abs=0.03)


def told(value: float, draws: Sequence[float], n: int = 10, texts: Sequence[str] = ()) -> Measured:
    row = {"finding": "all", "metric": "las", "value": value, "low": 0.0, "high": 1.0, "n": n}
    row |= {"explainer": "wenlex", "slice": "all pictures", "signature": "s"}
    examples = [{"picture": f"p{i}", "finding": "nodule", "wenlex": t} for i, t in enumerate(texts)]
    document = {"rows": [row], "facts": {"pictures": n, "patients": n}, "examples": examples}
    return Measured(document, {("las", "all pictures"): np.array([value, *draws])})


def test_arms_are_compared_with_the_first_draw_by_draw() -> None:
    arms = {"MMD": told(0.5, [0.4, 0.6]), "none": told(0.3, [0.3, 0.3]), "elsewhere": told(0.9, [0.9, 0.9], n=11)}
    (row,) = compared(arms)
    assert (row.explainer, row.baseline, row.metric, row.n) == ("none", "MMD", "las_difference", 10)
    low, high = np.percentile([-0.1, -0.3], (2.5, 97.5))
    assert [row.value, row.low, row.high] == pytest.approx([-0.2, low, high])
    assert compared({}) == ()


def test_the_page_has_a_column_an_arm_and_its_sentences() -> None:
    arms = {"MMD": told(0.5, [0.4], texts=["One."]), "none": told(0.3, [0.3], texts=["Two."])}
    made = section(Answer(asked()["plausibility"], arms, compared(arms)))
    each, less, say = made.tables
    assert each.head == ("metric", "n", "MMD", "none") and each.rows[0][:2] == ("las", "10")
    assert less.caption == "Less MMD" and less.rows[0][1].startswith("-0.200")
    assert say.rows == [("p0: nodule", "One.", "Two.")]


def test_an_arm_that_fails_is_named_and_the_others_go_on(
    plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def train(made: Any, folder: Path, *_: Any, **__: Any) -> Path:
        trained.append(made.terms.plausibility)
        if made.terms.plausibility == "none":
            raise DataError("nothing to learn from")
        folder.mkdir(parents=True)
        (folder / "artefact.json").write_text(json.dumps({"sha256": made.terms.plausibility}))
        return folder

    monkeypatch.setattr("whyray.training.wenlex.train_wenlex", train)
    monkeypatch.setattr(job, "measured", lambda _e, _c, _d, folder, *_: told(len(folder.name), [0.1]))
    asked_for = experiment(plan, "plausibility", "reconstruction")
    result = experiment_into(tmp_path / "out", asked_for)
    assert sorted(trained) == ["mmd", "mmd", "none", "wgan-gp"], "each different plan once"
    assert result.failures == ("plausibility, none: nothing to learn from",)
    assert {r["arm"] for r in result.rows() if r["question"] == "plausibility"} == {"MMD", "WGAN-GP"}
    html = (tmp_path / "out" / "report.html").read_text()
    assert "nothing to learn from" in html and asked()["reconstruction"].asks.replace("'", "&#39;") in html
    held = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert held["rows"] == json.loads(json.dumps(result.rows())) and held["facts"]["classifier"] == "analytic"
    trained.clear()
    experiment_into(tmp_path / "out", asked_for)
    assert trained == ["none"], "what was trained is kept, what failed is tried again"
