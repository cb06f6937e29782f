"""A head on a frozen tower: trained from embeddings, resumed, written as one bundle that needs no release."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from whyray import load_model
from whyray.datasets._resolve import load_dataset
from whyray.errors import SettingError, Stopped
from whyray.io.weights import save_weights
from whyray.models._store import load_bundle, read_card
from whyray.models.biomedclip import image_tower
from whyray.networks.tower import Tower
from whyray.testing import check_classifier
from whyray.training.embeddings import embedder, embeddings
from whyray.training.plan import plan_from
from whyray.training.recipe import run_recipe
from whyray.training.settings import read_toml
from whyray.training.tower import train_head

PLAN = """
[stage.classifier]
name = "tiny-lanic"
tower = "$TOWER"
findings = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
architecture = {network = "clip_vit", hidden = 16}
dropout = 0.0
licence = "Apache-2.0"
loop = {epochs = 30, batch = 16, lr = 1e-2, ema = 0.0, keep = "best", seed = 1}
limits = ["A test."]
[[stage.classifier.data]]
name = "phantom"
spec = "phantom:train=48,val=24,test=24,size=64"
"""


def write_tower(folder: Path) -> Path:
    """A release in open_clip's layout: one block of width 64 on pictures of 32 pixels, random."""
    folder.mkdir(parents=True)
    torch.manual_seed(3)
    made = Tower(projection=24, size=32, patch=8, width=64, depth=1, heads=1)
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "", "timm_proj": "linear"}
    config = {"model_cfg": {"vision_cfg": vision}, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_weights(folder / "open_clip_model.safetensors", {f"visual.{k}": v for k, v in made.state_dict().items()})
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan run as a recipe; ``made/classifier`` is the bundle."""
    out = tmp_path_factory.mktemp("tower")
    write_tower(out / "clip")
    (out / "r.toml").write_text(PLAN.replace("$TOWER", str(out / "clip")))
    run_recipe(out / "r.toml", out / "made")
    return out


def test_the_bundle_keeps_the_contract_without_the_release(stack: Path) -> None:
    classifier = load_model(str(stack / "made/classifier"))
    check_classifier(classifier)
    assert set(classifier.taps) == {"features", "embedding", "hidden"}
    assert classifier.card.unfamiliar_above is not None and "clip was not trained" in classifier.card.training
    assert str(stack) not in json.dumps(read_card(stack / "made/classifier/model.json"))
    results = {r["metric"] for r in classifier.card.results}
    assert {"auc", "auprc", "calibration_error"} <= results


def test_the_tower_is_that_of_the_release_and_was_not_trained(stack: Path) -> None:
    bundle, tower = load_bundle(stack / "made/classifier"), image_tower(str(stack / "clip"))
    weights = bundle.module.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in tower.tensors.items())


def test_the_head_learned_from_the_embeddings(stack: Path) -> None:
    history = read_card(stack / "made/classifier/model.json")["provenance"]["history"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"] and len(history) == 30


def test_a_cached_embedding_is_what_the_classifier_computes(stack: Path) -> None:
    classifier, tower = load_bundle(stack / "made/classifier"), image_tower(str(stack / "clip"))
    cases = load_dataset("phantom:train=4,size=64").cases("train")
    x = torch.from_numpy(np.stack([classifier.prepare(c.radiograph()).pixels for c in cases]))
    with torch.no_grad():
        _, seen = classifier.run(x, ("embedding",))
    made = embeddings(cases, tower, embedder(tower), stack / "again")
    np.testing.assert_allclose(made, seen["embedding"], atol=1e-6)


def test_embeddings_are_made_once_and_a_torn_part_again(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyray.training.embeddings.PART", 4)
    tower, cases = image_tower(str(stack / "clip")), load_dataset("phantom:train=10,size=64").cases("train")
    embed, calls = embedder(tower), []

    def counted(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return embed(x)

    first = embeddings(cases, tower, counted, stack / "parts/phantom-train")
    assert calls == [4, 4, 2]
    assert np.array_equal(embeddings(cases, tower, counted, stack / "parts/phantom-train"), first)
    assert calls == [4, 4, 2]
    torn = sorted((stack / "parts").rglob("*.npy"))[1]
    torn.write_bytes(torn.read_bytes()[:200])
    assert np.array_equal(embeddings(cases, tower, counted, stack / "parts/phantom-train"), first)
    assert calls == [4, 4, 2, 4]


def test_stopped_and_run_again_it_is_the_same(stack: Path, tmp_path: Path) -> None:
    plan = plan_from(read_toml(stack / "r.toml")["stage"]["classifier"], ["loop.save_s=1e-6"])
    cache = stack / "made/cache"

    def stop(done: int, total: int, facts: str) -> None:
        if "loss" in facts and done > total // 2:
            raise Stopped("stopped by the test")

    with pytest.raises(Stopped):
        train_head(plan, tmp_path, stop, cache=cache)
    assert list((tmp_path / "checkpoints").iterdir())
    train_head(plan, tmp_path, cache=cache)
    assert load_bundle(tmp_path).fingerprint == load_bundle(stack / "made/classifier").fingerprint


def test_plans_that_do_not_fit_a_tower_are_refused(stack: Path, tmp_path: Path) -> None:
    table = read_toml(stack / "r.toml")["stage"]["classifier"]
    with pytest.raises(SettingError, match="leave out init"):
        plan_from({**table, "init": "timm:vit"})
    dense = plan_from({**table, "architecture": {"network": "densenet"}})
    with pytest.raises(SettingError, match="came with a tower"):
        train_head(dense, tmp_path, cache=tmp_path)
