"""``analytic`` and the bundled ``mini`` keep the contract; ``mini`` is what its card says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

import whyray
from whyray.contracts import Context
from whyray.models import mini
from whyray.models._wenlex import weak_for
from whyray.registry import EXPLAINERS, explainer
from whyray.testing import check_classifier, check_explainer
from whyray.text.nle_database import read_database
from whyray.text.phrases import varied

SHIPPED = Path(mini.__file__).parent / "weights"


@pytest.mark.parametrize("name", ["analytic", "mini"])
def test_the_contract_holds(name: str) -> None:
    check_classifier(whyray.load_model(name))


FEWER = {  # samples, where these alone take the time: promises do not depend on them
    "shap": "shap:samples=128",
    "lime": "lime:samples=128",
    "gradient_shap": "gradient_shap:samples=8,baselines=4",
    "integrated_gradients": "integrated_gradients:steps=4,most=4",
}


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_every_explainer_works_on_mini(name: str, with_artefacts: Callable[[whyray.Classifier], Context]) -> None:
    mini = whyray.load_model("mini")
    check_explainer(explainer(FEWER.get(name, name)), mini, context=with_artefacts(mini))


def test_mini_is_small_fine_grained_and_declared() -> None:
    model = whyray.load_model("mini")
    assert sum(p.stat().st_size for p in SHIPPED.glob("mini.*")) <= 6 * 2**20
    assert len(model.findings) >= 8
    picture = whyray.load_image(Path(__file__).parents[2] / "examples" / "phantom.png")
    made = whyray.explain(model, picture, findings=model.findings[:1])[model.findings[0], "gradcam"]
    assert isinstance(made, whyray.Attribution) and min(made.values.shape) >= 14
    for prediction in whyray.predict(model, picture):
        assert prediction.calibrated and prediction.prevalence is not None  # no operating point where nothing separates


def test_every_measured_figure_has_its_n_and_interval() -> None:
    card = json.loads((SHIPPED / "mini.json").read_text())["card"]
    assert card["limits"] and card["licence"] and card["training"]
    aucs = [row for row in card["results"] if row["metric"] == "auc"]
    assert {row["finding"] for row in aucs} >= {"pneumonia", "pleural_effusion", "cardiomegaly"}
    for row in card["results"]:
        assert row["n"] > 0
        if row["value"] is not None and np.isfinite(row["value"]):
            assert row["low"] <= row["value"] <= row["high"]


def test_a_picture_that_is_no_radiograph_is_called_unfamiliar() -> None:
    model = whyray.load_model("mini")
    noise = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    assert any("unlike those" in text for text in whyray.explain(model, whyray.Radiograph(noise)).warnings)


def test_what_is_shipped_belongs_together_and_stays_small() -> None:
    fingerprint = whyray.load_model("mini").fingerprint
    made = {p.parent.name: json.loads(p.read_text("utf-8")) for p in SHIPPED.glob("*/artefact.json")}
    assert {data["kind"] for data in made.values()} == {
        *("autoencoder", "patterns", "sentences-ratchet", "sentences-ratchet-lay", "sentences-wenlex")
    }
    assert {data["fingerprint"] for data in made.values()} == {fingerprint}
    size = {p.name: sum(f.stat().st_size for f in p.rglob("*") if f.is_file()) for p in SHIPPED.iterdir() if p.is_dir()}
    limits = {"mini-autoencoder": 10e6, "mini-patterns": 10e6, "mini-wenlex": 15e6}
    limits |= {"mini-sentences": 4e6, "mini-sentences-lay": 4e6}  # 8 MB for both
    assert all(size[name] <= limits[name] for name in made)
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) < 40e6


def runs_of(tokens: Sequence[int], length: int) -> list[tuple[int, ...]]:
    """Every run of so many tokens."""
    return list(zip(*(tokens[i:] for i in range(length))))


@pytest.mark.parametrize(("audience", "length"), [("clinician", 3), ("lay", 4)])
def test_sentences_of_mini_are_made_of_known_phrases(audience: str, length: int) -> None:
    """Any vector becomes a sentence on the diagnosis that was asked, every run of which somebody wrote."""
    import torch

    generator = weak_for(whyray.load_model("mini"))
    encode = generator.coder.tokenizer.encode
    for diagnosis in ("edema", "nodule"):
        known = [e.nle for e in read_database(audience) if e.diagnosis == diagnosis]
        runs = {run for text in known for form in varied(text) for run in runs_of(encode(form), length)}
        z = torch.randn(2, generator.coder.width, generator=torch.Generator().manual_seed(0))
        for one in z:
            found = generator.candidates(one, diagnosis, audience, 8)
            assert 1 < len(found) <= 8 and len(set(found)) == len(found)
            assert all(run in runs for text in found for run in runs_of(encode(text), length))


@pytest.mark.parametrize("audience", ["clinician", "lay"])
def test_mini_speaks_in_learned_sentences(audience: str) -> None:
    """As it is installed: what is written is read back, or the reason is said."""
    picture = whyray.load_dataset("phantom:test=1").cases("test")[0].radiograph()
    wenlex = f"wenlex:audience={audience},kept=0,uncalled=true"
    ratchet = f"ratchet:audience={audience},uncalled=true"
    wanted = ["gradcam", wenlex, ratchet]
    made = whyray.explain(whyray.load_model("mini"), picture, findings=["lung_opacity"], explainers=wanted)
    for name in (wenlex, ratchet):
        said = made["lung_opacity", name]
        assert isinstance(said, whyray.Statement) and said.text and said.audience == audience
        assert "lung_opacity/gradcam" in said.evidence
    assert -1 <= made["lung_opacity", wenlex].checks["faithfulness"] <= 1
