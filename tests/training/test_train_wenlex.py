"""WeNLEX from a plan to an artefact on a few phantoms: post-hoc and in-model, stopped and resumed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import whyray
from whyray.errors import FingerprintError, SettingError, Stopped, UnknownName, UnmetNeed, WeightsError
from whyray.models._artefacts import artefact_folder
from whyray.models._text_autoencoders import TextCoder, build, save_coder
from whyray.models._wenlex import KIND, WeakGenerator, load_weak, weak_for
from whyray.text.bpe import learned
from whyray.text.nle_database import read_database
from whyray.training import _wenlex_heads
from whyray.training.artefact_card import artefact_page
from whyray.training.wenlex import WenlexTask, plan_from, train_wenlex

DIAGNOSES = ["edema", "pleural_effusion", "nodule"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text autoencoder of a few thousand numbers that has learned nothing."""
    tokenizer = learned([e.nle for e in read_database("lay")][:40], 300)
    settings = {"width": 16, "layers": 1, "heads": 2, "longest": 40}
    torch.manual_seed(0)
    module = build(settings, len(tokenizer)).eval().requires_grad_(False)
    return save_coder(tmp_path_factory.mktemp("text"), TextCoder("tiny", tokenizer, module, {"architecture": settings}))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that learn for a few steps, from a few sentences."""
    monkeypatch.setattr(_wenlex_heads, "STEPS", 5)
    monkeypatch.setattr(_wenlex_heads, "COPIES", 40)


def table(text: Path, **changes: Any) -> dict[str, Any]:
    """A plan of a few phantoms and networks of a few thousand numbers."""
    return {
        "name": "tiny",
        "classifier": "mini",
        "text": str(text),
        "diagnoses": DIAGNOSES,
        "data": [{"name": "phantom", "spec": "phantom:train=6,val=2,test=3"}],
        "adapter": {"adapter": "llama", "side": 2, "tokens": 2, "blocks": 1, "heads": 2},
        "pictures": {"widths": [8, 8], "start": 4},
        "terms": {"side": True, "severity": True},
        "corpus": ["phantom:clinician", "database:lay"],
        "examples": 2,
        "mirrored": True,
        "least": 2,
        "through": "words",
        "latent": 0.5,
        "matched": 0.5,
        "queue": 4,
        "loop": {"epochs": 2, "batch": 3, "every": 2},
        **changes,
    }


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator for mini, with all terms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_wenlex_heads, "STEPS", 5)
        patch.setattr(_wenlex_heads, "COPIES", 40)
        return train_wenlex(plan_from(table(text)), tmp_path_factory.mktemp("wenlex") / "out")


def test_a_generator_writes_reads_and_draws(trained: Path) -> None:
    mini = whyray.load_model("mini")
    made = load_weak(trained, mini.fingerprint)
    assert isinstance(made, WeakGenerator) and made.diagnoses == tuple(DIAGNOSES)
    assert made.audiences == ("clinician", "lay") and {e.audience for e in made.databases["lay"]} == {"lay"}
    features, p = torch.rand(3, 392, 14, 14), torch.rand(3, 15)
    z = made.latents(features, p, DIAGNOSES, "lay")
    assert z.shape == (3, 16) and not torch.allclose(z, made.latents(features, p, DIAGNOSES, "clinician"))
    assert len(made.texts(z)) == 3 and made.encoded(["One.", "Two."]).shape == (2, 16)
    pictures = made.pictures(z)
    assert pictures.shape == (3, 1, 224, 224) and mini.logits(pictures).shape == (3, 15)
    assert made.recognised(z).shape == (3, 3)
    with pytest.raises(UnknownName, match="lay"):
        made.latents(features, p, DIAGNOSES, "child")
    with pytest.raises(UnknownName):
        made.latents(features, p, ["fracture"] * 3, "lay")


def test_it_belongs_to_its_classifier(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FingerprintError):
        load_weak(trained, "0" * 64)
    with pytest.raises(WeightsError):
        load_weak(tmp_path, "0" * 64)
    mini = whyray.load_model("mini")
    assert weak_for(mini, str(trained)).fingerprint == mini.fingerprint
    monkeypatch.setenv("WHYRAY_CACHE", str(tmp_path / "nothing"))
    monkeypatch.setattr("whyray.models._artefacts.BUNDLED", tmp_path)
    with pytest.raises(UnmetNeed, match="whyray train wenlex"):
        artefact_folder(KIND, mini)


def test_its_record_names_what_it_learned_from_and_every_weight(trained: Path) -> None:
    facts = json.loads((trained / "artefact.json").read_text())["facts"]
    assert facts["described"]["lay"]["diagnoses"] == dict.fromkeys(sorted(DIAGNOSES), 2)
    last = facts["provenance"]["history"][-1]
    terms = {"plausibility", "alignment", "reconstruction", "side", "severity", "commitment", "matching"}
    assert {k.removeprefix("weight_") for k in last if k.startswith("weight_")} == terms
    assert {k.removeprefix("loss_") for k in last if k.startswith("loss_")} == terms
    rows = {(r["metric"], r["audience"]): r for r in facts["results"]}
    shown = rows["cosine", "lay"]
    assert shown["low"] <= shown["value"] <= shown["high"] and shown["n"] > 0
    assert {"cosine_label", "cosine_shuffled", "cosine_latent", "named"} <= {metric for metric, _ in rows}
    assert "text" not in facts["provenance"]["plan"]  # a folder of this machine


def test_its_card_is_made_from_its_facts(trained: Path) -> None:
    page = artefact_page(json.loads((trained / "artefact.json").read_text()))
    assert "for clinician and lay: edema, pleural effusion, nodule" in page
    assert "2 a diagnosis, drawn with seed 0 (whyray authors)" in page
    shown = next(line for line in page.splitlines() if line.startswith("| control: from the diagnosis alone"))
    assert shown.count("n = ") == 2 and "[" in shown
    assert "/tmp/" not in page


def test_a_stopped_run_goes_on_to_the_same_artefact(trained: Path, text: Path, tmp_path: Path) -> None:
    plan = plan_from(table(text, loop={"epochs": 2, "batch": 3, "every": 2, "save_s": 1e-4}))

    def stop(done: int, _total: int, facts: str) -> None:
        if facts.startswith("epoch") and done == 2:
            raise Stopped("here")

    with pytest.raises(Stopped):
        train_wenlex(plan, tmp_path, stop)
    train_wenlex(plan, tmp_path)
    one, other = ((folder / "artefact.safetensors").read_bytes() for folder in (trained, tmp_path))
    assert one == other


def test_in_model_gradients_reach_the_copy_and_not_the_classifier(text: Path, tmp_path: Path) -> None:
    mini = whyray.load_model("mini")
    task = WenlexTask(plan_from(table(text, joint=True, through="latent")), mini, tmp_path)
    torch.manual_seed(0)
    module: Any = task.build().train()
    task.loss(module, range(3), 0).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in module.vision.parameters())
    assert all(p.grad is None for p in mini.module.parameters()) and not module.vision.training


@pytest.mark.slow
def test_in_model_the_classifier_learns_and_the_copy_stays(text: Path, tmp_path: Path) -> None:
    mini = whyray.load_model("mini")
    before = mini.fingerprint
    folder = train_wenlex(plan_from(table(text, joint=True, through="latent")), tmp_path / "out")
    learned_one = whyray.load_model(folder)
    assert learned_one.fingerprint != before and whyray.load_model("mini").fingerprint == before
    assert learned_one.findings == mini.findings
    whyray.testing.check_classifier(learned_one)
    made = load_weak(folder, learned_one.fingerprint)
    assert made.latents(torch.rand(1, 392, 14, 14), torch.rand(1, 15), ["edema"], "lay").shape == (1, 16)
    history = made.facts["provenance"]["history"][-1]
    assert "weight_image" in history


@pytest.mark.parametrize("kind", ["wgan-gp", "none"])
def test_other_kinds_of_plausibility(kind: str, text: Path, tmp_path: Path) -> None:
    terms = {"plausibility": kind, "reconstruction": False}
    plan = plan_from(table(text, terms=terms, through="latent", rebuilt="label"))
    task = WenlexTask(plan, whyray.load_model("mini"), tmp_path)
    torch.manual_seed(0)
    module: Any = task.build().train()
    before = {k: v.clone() for k, v in module.state_dict().items() if k.startswith("judge")}
    loss = task.loss(module, range(3), 0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for n, p in module.named_parameters() if n.startswith(("judge", "pictures")))
    after = module.state_dict()
    assert (kind == "wgan-gp") == any(not torch.equal(after[k], v) for k, v in before.items())
    assert bool(before) == (kind == "wgan-gp")


def test_the_encoder_stays_and_only_adapters_and_pictures_learn(text: Path, tmp_path: Path) -> None:
    task = WenlexTask(plan_from(table(text)), whyray.load_model("mini"), tmp_path)
    torch.manual_seed(0)
    module: Any = task.build().train()
    with torch.no_grad():
        for adapter in module.adapters.values():
            adapter.gates += 0.5
    held = {k: v.clone() for k, v in task.coder.module.state_dict().items()}
    task.loss(module, range(6), 2).backward()  # type: ignore[no-untyped-call]
    reached = {name.partition(".")[0] for name, p in module.named_parameters() if p.grad is not None}
    assert reached == {"adapters", "pictures", "shares"}
    assert all(p.grad is None for p in task.coder.module.parameters())
    assert all(torch.equal(v, held[k]) for k, v in task.coder.module.state_dict().items())
    assert np.isfinite([float(v) for v in module.noted().values()]).all()


def test_it_begins_with_an_earlier_runs_weights(trained: Path, text: Path, tmp_path: Path) -> None:
    task = WenlexTask(plan_from(table(text, init=str(trained))), whyray.load_model("mini"), tmp_path)
    module: Any = task.build()
    earlier = load_weak(trained, whyray.load_model("mini").fingerprint)
    assert torch.equal(module.adapters["lay"].own, earlier.adapters["lay"].own)  # type: ignore[arg-type]
    assert torch.equal(module.pictures.map.weight, earlier.network.map.weight)
    assert str(trained) not in str(task.about)


def test_the_text_of_a_batch_goes_through_words_after_its_share(text: Path, tmp_path: Path) -> None:
    task = WenlexTask(plan_from(table(text)), whyray.load_model("mini"), tmp_path)
    seen: list[bool] = []
    terms = task.terms
    task.terms = lambda *given, through, matched: (seen.append(through), terms(*given, through=through))[1]  # type: ignore[method-assign]
    torch.manual_seed(0)
    module = task.build().train()
    for epoch in range(2):
        task.loss(module, range(3), epoch)
    assert seen == [False, True]


def test_what_does_not_fit_is_refused(text: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="fracture"):
        WenlexTask(plan_from(table(text, diagnoses=["fracture"])), whyray.load_model("mini"), tmp_path)
    with pytest.raises(SettingError, match="plausibilty"):
        plan_from(table(text, terms={"plausibilty": "mmd"}))
    with pytest.raises(SettingError, match="labels, queue"):
        plan_from(table(text, labels=0))
    with pytest.raises(WeightsError, match="llama"):
        WenlexTask(plan_from(table(text, adapter={"adapter": "lama"})), whyray.load_model("mini"), tmp_path).build()
