"""recipes/known_answers.py and benchmarks/taught.py: small real runs, and what they leave is what was trained."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import whyray
from whyray.datasets.phantom import FIRST, phantom

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(ROOT / "recipes"))
    import known_answers

    yield known_answers
    del sys.modules["known_answers"]


def test_cells_are_told_how_much_of_them_lies_in_the_finding(recipe) -> None:  # type: ignore[no-untyped-def]
    n = next(n for n in range(FIRST["val"], FIRST["val"] + 50) if phantom(n, size=64).labels["pleural_effusion"])
    pixels, labels, shares = recipe.drawn(n, 320)
    made, k = phantom(n, size=320), recipe.FINDINGS.index("pleural_effusion")
    assert np.array_equal(pixels, np.rint(made.pixels * 255)) and labels[k] == 1
    by_hand = made.masks["pleural_effusion"].reshape(40, 8, 40, 8).mean((1, 3))
    assert np.abs(shares[k] / 255 - by_hand).max() < 1 / 255


def test_a_small_run_leaves_a_classifier_whose_logits_are_those_it_was_trained_on(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    task, path = recipe.main(["-o", str(tmp_path), "--train", "40", "--val", "16", "--epochs", "1", "--processes", "1"])
    model = whyray.load_model(str(tmp_path))
    assert path == tmp_path / "model.json" and model.findings == recipe.FINDINGS
    x = next(recipe.batches(task.val.pictures, task.plan))
    with torch.no_grad():
        _, seen = model.run(x, ("features",))
        plain = model.module.state_dict()["classifier.weight"] / task.scale[:, None]
        cells = torch.einsum("bdhw,fd->bfhw", seen["features"], plain)
        wanted = cells.mean((2, 3)) * task.scale + model.module.state_dict()["classifier.bias"]
    assert torch.allclose(model.logits(x), wanted, atol=1e-3)
    assert cells.abs().max() > 0


def test_a_taught_densenet_is_written_and_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import benchmarks_common
    import taught

    monkeypatch.setattr(taught, "SIDES", (64,))
    out = tmp_path / "taught.safetensors"
    taught.main(["-o", str(out), "--phantoms", "8", "--held", "4", "--steps", "2", "--threads", "1"])
    assert "correlation with mini's logits, n = 4" in capsys.readouterr().out
    random, learned = benchmarks_common.densenet121(), benchmarks_common.densenet121(weights=out)
    x = torch.rand(1, 1, 64, 64)
    assert learned(x).shape == (1, 18) and not torch.allclose(learned(x), random(x))
