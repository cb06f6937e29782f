"""The recipe of CXR-LanIC on MIMIC-CXR: it parses, and runs end to end on a small tree in the official layout."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_tower import write_tower

from whyray.datasets.chexpert import LABELS
from whyray.io.weights import save_weights
from whyray.models._resolve import load_model
from whyray.models._store import load_bundle
from whyray.patterns.activations import ActivationStore
from whyray.patterns.members import load_members
from whyray.patterns.site import site_of
from whyray.training.activations import plan_from as activations_plan
from whyray.training.plan import plan_from
from whyray.training.recipe import run_recipe
from whyray.training.settings import read_toml
from whyray.training.transcoders import plan_from as transcoders_plan

RECIPE = Path(__file__).parents[2] / "recipes/lanic-mimic.toml"
SMALL = {"epochs": 2, "members": 2, "width": 64, "k": 4, "shard": 16, "batch": 8}
FIVE = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")


def stages() -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = read_toml(RECIPE)["stage"]
    return found


def test_it_says_what_the_paper_and_its_template_say() -> None:
    classifier = plan_from(stages()["classifier"])
    assert classifier.findings == FIVE and classifier.architecture["hidden"] == 256
    assert (classifier.loop.lr, classifier.loop.batch, classifier.loop.keep) == (1e-4, 16, "best")
    activations = activations_plan({"classifier": "x", **stages()["activations"]})
    assert (activations.tap, activations.out) == ("embedding", "hidden")
    transcoders = transcoders_plan(stages()["transcoders"])
    assert (transcoders.members, transcoders.width, transcoders.k, transcoders.basis) == (100, 2048, 32, 0)


def test_the_commands_in_its_head_exist_with_their_options() -> None:
    from typer.main import get_command

    from whyray.cli.app import app

    text = RECIPE.read_text().replace("\\\n#", "")
    lines = [shlex.split(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#   whyray ")]
    assert len(lines) == 5
    for _, *words in lines:
        command: Any = get_command(app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {name for p in command.params for name in p.opts}
        assert {w for w in words if w.startswith("-")} <= known


def write_mimic(root: Path, patients: int = 60) -> Path:
    """One frontal picture a patient; a bright band is an effusion. Tables unpacked, no reports."""
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"metadata": ["dicom_id,subject_id,study_id,ViewPosition"]}
    lines |= {
        "split": ["dicom_id,study_id,subject_id,split"],
        "chexpert": [",".join(["subject_id", "study_id", *LABELS])],
    }
    for i in range(patients):
        subject, study, sick = 10_000_000 + i, 50_000_000 + i, i % 2
        split = "train" if i < patients // 2 else "validate" if i < 3 * patients // 4 else "test"
        lines["metadata"].append(f"d{i},{subject},{study},{'PA' if i % 3 else 'AP'}")
        lines["split"].append(f"d{i},{study},{subject},{split}")
        told = {"Pleural Effusion": f"{sick}.0", "Edema": f"{float(rng.random() < 0.5)}"}
        lines["chexpert"].append(",".join([str(subject), str(study), *(told.get(c, "") for c in LABELS)]))
        grey = rng.integers(0, 90, (96, 96)).astype(np.uint8)
        grey[72:] += np.uint8(120 * sick)
        folder = root / f"files/p10/p{subject}/s{study}"
        folder.mkdir(parents=True)
        Image.fromarray(grey).save(folder / f"d{i}.jpg", quality=95)
    for name, rows in lines.items():
        (root / f"mimic-cxr-2.0.0-{name}.csv").write_text("\n".join(rows) + "\n")
    return root


def test_it_runs_end_to_end_on_a_small_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOMEDCLIP", str(write_tower(tmp_path / "clip")))
    monkeypatch.setenv("MIMIC_CXR_JPG", str(write_mimic(tmp_path / "mimic")))
    text = RECIPE.read_text()
    for key, value in SMALL.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    (tmp_path / "small.toml").write_text(text)
    made = run_recipe(tmp_path / "small.toml", tmp_path / "out")

    classifier = load_bundle(tmp_path / "out/classifier")
    assert classifier.findings == FIVE
    rows = {(r["finding"], r["metric"]): r for r in classifier.card.results}
    assert rows["pleural_effusion", "auc"]["n"] == 15 and ("pleural_effusion", "calibration_error") in rows
    store = ActivationStore(made["activations"])
    assert len(store) == 60 and (store.site.tap_in, store.site.tap_out) == ("embedding", "hidden")
    members = load_members(made["transcoders"])
    assert len(members) == 2 and members[0].encoder.shape == (64, 24) and members[0].decoder.shape == (64, 256)


def test_the_read_out_of_the_hidden_tap_is_exact(tmp_path: Path) -> None:
    """Patterns are read at (embedding, hidden): every logit is linear in what fc2 reads."""

    shapes = {"fc1.weight": (16, 24), "fc1.bias": (16,), "fc2.weight": (5, 16), "fc2.bias": (5,)}
    head = {k: torch.randn(s, generator=torch.Generator().manual_seed(1)) for k, s in shapes.items()}
    save_weights(tmp_path / "head.safetensors", head)
    (tmp_path / "card.json").write_text(
        '{"findings": ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Mass"]}'
    )
    spec = f"biomedclip:{write_tower(tmp_path / 'clip')}"
    classifier = load_model(spec, weights=tmp_path / "head.safetensors", card=tmp_path / "card.json")
    site = site_of(classifier, "embedding", "hidden")
    assert (site.grid, site.d_in, site.d_out) == ((1, 1), 24, 16)
    np.testing.assert_allclose(site.weights, head["fc2.weight"], atol=1e-5)
