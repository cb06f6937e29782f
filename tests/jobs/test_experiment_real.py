"""An experiment with real, tiny trainings on a few phantoms: trained once, measured once, and what the page shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import whyray
from whyray.explanations import Statement
from whyray.jobs._experiment_arms import Experiment
from whyray.jobs.experiment import Experimented, experiment_into
from whyray.models._text_autoencoders import TextCoder, build, save_coder
from whyray.text.bpe import learned
from whyray.text.nle_database import read_database
from whyray.training import _wenlex_heads

pytestmark = pytest.mark.slow

PLAN = """
name = "tiny"
classifier = "mini"
text = "{text}"
diagnoses = ["edema", "pleural_effusion", "nodule", "lung_opacity"]
corpus = ["database:lay"]
examples = 2
least = 2
adapter = {{adapter = "llama", side = 2, tokens = 2, blocks = 1, heads = 2}}
pictures = {{widths = [8, 8], start = 4}}
[[data]]
name = "phantom"
spec = "phantom:train=6,val=2,test=3"
[loop]
epochs = 1
batch = 3
"""
DATA = "phantom:train=1,val=1,test=4#test"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A plan with a text autoencoder of a few thousand numbers that has learned nothing."""
    folder = tmp_path_factory.mktemp("plan")
    tokenizer = learned([e.nle for e in read_database("lay")][:40], 300)
    settings = {"width": 16, "layers": 1, "heads": 2, "longest": 40}
    torch.manual_seed(0)
    module = build(settings, len(tokenizer)).eval().requires_grad_(False)
    text = save_coder(folder / "text", TextCoder("tiny", tokenizer, module, {"architecture": settings}))
    (folder / "plan.toml").write_text(PLAN.format(text=text))
    return str(folder / "plan.toml")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that learn for a few steps, from a few sentences."""
    monkeypatch.setattr(_wenlex_heads, "STEPS", 5)
    monkeypatch.setattr(_wenlex_heads, "COPIES", 40)


def run(plan: str, out: Path, *questions: str, **settings: Any) -> Experimented:
    return experiment_into(out, Experiment(plan, DATA, questions, replicates=100, **settings))


def test_one_training_is_measured_for_both_audiences_and_speaks(
    plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(plan, tmp_path, "audience", "writers")
    assert not first.failures and {len(a.arms) for a in first.answers} == {2, 1}
    (folder,) = (tmp_path / "runs").iterdir()
    writers = {r["explainer"] for r in first.rows() if r["question"] == "writers"}
    assert {"wenlex", "template", "constant sentence"} <= writers
    gap = next(r for r in first.rows() if r["question"] == "audience" and r["metric"] == "feature_cosine_difference")
    assert gap["arm"] == "lay" and gap["baseline"] == "clinician" and gap["low"] <= gap["value"] <= gap["high"]
    mini, case = whyray.load_model("mini"), whyray.load_dataset(DATA).cases()[0]
    spec = f"wenlex:generator={folder},kept=0,uncalled=true"
    made = whyray.explain(mini, case.radiograph(), findings=["edema"], explainers=["gradcam", spec], audience="lay")
    said = made["edema", spec]
    assert isinstance(said, Statement) and said.audience == "lay" and -1 <= said.checks["faithfulness"] <= 1

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("trained or measured again")

    monkeypatch.setattr("whyray.training.wenlex.train_wenlex", fail)
    monkeypatch.setattr("whyray.jobs._experiment_measured.evaluate_weak_language", fail)
    again = run(plan, tmp_path, "audience", "writers")
    assert str(again.rows()) == str(first.rows()), "as kept"


def test_classifiers_that_learn_beside_their_sentences_are_compared(plan: str, tmp_path: Path) -> None:
    made = run(plan, tmp_path, "model", seeds=2, labelled=("phantom:train=1,val=1,test=40#test",))
    assert not made.failures
    (answer,) = made.answers
    assert set(answer.arms) == {"post-hoc", "in-model"}, "the control does not speak"
    changes = [r for r in answer.auc if r.metric == "auc_change"]
    assert {r.explainer for r in changes} == {
        f"{arm}, {of}" for arm in ("in-model", "labels alone") for of in ("seed 0", "seed 1", "mean of the seeds")
    }
    assert all(r.low <= r.value <= r.high and r.n == 40 for r in changes)
