"""Which activations are stored: the plan, the recipe's stages, and the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from whyray.cli.app import app
from whyray.errors import DataError, SettingError
from whyray.models._clip_text import TextTower
from whyray.patterns.activations import ActivationStore
from whyray.patterns.members import load_members
from whyray.training.activations import ActivationsPlan, plan_from, plan_with, store_activations
from whyray.training.plan import Source
from whyray.training.recipe import run_recipe
from whyray.training.transcoders import load_plan

RECIPE = Path(__file__).parents[2] / "recipes/mini.toml"
SMALL = """
[stage.activations]
classifier = "mini"
shard = 4
[[stage.activations.data]]
name = "phantom"
spec = "phantom:train=6,val=2"

[stage.transcoders]
members = 1
width = 32
k = 4
basis = 8
batch = 256
"""


def test_the_recipe_of_the_bundled_classifier_has_both_stages() -> None:
    plan = plan_with(RECIPE, {})
    assert [source.name for source in plan.data] == ["phantom", "nih", "paediatric"]
    assert (load_plan(RECIPE).members, load_plan(RECIPE).width) == (100, 512)


def test_a_recipe_stores_and_trains(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(SMALL)
    made = run_recipe(recipe, tmp_path / "stack")
    held, members = ActivationStore(made["activations"]), load_members(made["transcoders"])
    assert (len(held), len(members), members.basis.rows.shape) == (8, 1, (8, 392))
    assert members.fingerprint == held.fingerprint


def test_the_commands_do_the_same(tmp_path: Path) -> None:
    recipe, store, out = tmp_path / "recipe.toml", tmp_path / "store", tmp_path / "ensemble"
    recipe.write_text(SMALL)
    run = CliRunner().invoke
    first = run(app, ["activations", "-d", "phantom:train=6,val=2", "--split", "train", "-o", str(store)])
    assert first.exit_code == 0, first.output
    assert {image.split for image in ActivationStore(store).images} == {"train"}
    second = run(app, ["train", "transcoders", str(recipe), "-a", str(store), "-o", str(out), "--set", "k=3"])
    assert second.exit_code == 0, second.output
    assert load_members(out)[0].k == 3


def test_cases_are_chosen_by_split_and_facts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no cases of train"):
        source = Source("phantom:train=3,val=1", "phantom", where={"view": "none such"})
        store_activations(ActivationsPlan("mini", (source,), splits=("train",)), tmp_path)


def test_who_has_no_report_embedding_is_said_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the store is there already: a run that goes on says the same."""
    rng = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "images.csv").write_text("image_id,file\na,a.png\nb,b.png\nc,c.png\n")
    (tmp_path / "reports.csv").write_text("image_ids,findings_text,impression_text\na,Clear.,\nb,,Pneumonia.\n")
    tower = TextTower("count", 2, lambda texts: np.ones((len(texts), 2), np.float32))
    monkeypatch.setattr("whyray.training.activations.text_tower", lambda _source: tower)
    plan = ActivationsPlan("mini", (Source(f"folder:{tmp_path}", "few"),), reports="release")
    said: list[str] = []
    for _ in range(2):
        store = store_activations(plan, tmp_path / "store", lambda _done, total, item: said.append(item * (not total)))
    first, again = filter(None, said)
    assert first == again and "2 cases (b, c)" in first
    assert "no Findings (impression)" in first and "no Findings (no section)" in first
    assert set(json.loads((store / "reports-00000.json").read_text())["without"]) == {"b", "c"}


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match="at least one data set"):
        plan_from({"classifier": "mini", "data": []})
    with pytest.raises(SettingError, match="above 0"):
        plan_with(None, {"data": ["phantom"], "shard": 0})
    with pytest.raises(SettingError, match="no setting 'taps'"):
        plan_with(None, {"data": ["phantom"], "taps": "features"})
