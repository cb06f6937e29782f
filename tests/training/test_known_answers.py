"""recipes/known_answers.py and benchmarks/taught.py: small real runs, and what they leave is what was trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import whyray
from whyray.datasets.phantom import FIRST, phantom

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recipe(recipe_named: Callable[[str], ModuleType]) -> ModuleType:
    return recipe_named("known_answers")


def test_cells_are_told_how_much_of_them_lies_in_the_finding(recipe: ModuleType) -> None:
    n = next(n for n in range(FIRST["val"], FIRST["val"] + 50) if phantom(n, size=64).labels["pleural_effusion"])
    pixels, labels, shares = recipe.drawn(n, 320)
    made, k = phantom(n, size=320), recipe.FINDINGS.index("pleural_effusion")
    assert np.array_equal(pixels, np.rint(made.pixels * 255)) and labels[k] == 1
    by_hand = made.masks["pleural_effusion"].reshape(40, 8, 40, 8).mean((1, 3))
    assert np.abs(shares[k] / 255 - by_hand).max() < 1 / 255


def test_pieces_lie_around_what_they_are_cut_for_and_their_masks_fit(recipe: ModuleType) -> None:
    first = FIRST["train"]
    seen = recipe.examples(partial(recipe.drawn, size=recipe.SIZE, more=0.4), first, 12, 1)
    plan = recipe.plan_of(recipe.LoopPlan(seed=1))
    task = recipe.Pieces(plan, seen, seen, {}, ("nodule",))
    rows, k = range(12), recipe.FINDINGS.index("nodule")
    pixels, shares = task.shown(rows, 0)
    assert pixels.shape == (12, 1, 160, 160) and shares.shape == (12, 11, 20, 20)
    for i, top, left in task._cut(rows, 0):
        assert np.array_equal(
            pixels[i, 0] * 255, seen[0].pictures[i][8 * top : 8 * top + 160, 8 * left : 8 * left + 160]
        )
        assert np.array_equal(shares[i] * 255, seen[1][i][:, top : top + 20, left : left + 20])
    planted = seen[1][:, k].any((1, 2))
    many = [task.shown(rows, epoch)[1][:, k].amax((1, 2)) > 0 for epoch in range(20)]
    inside = torch.stack(many).float().mean(0).numpy()
    assert planted.sum() >= 3 and (inside[planted] > 0.5).all() and not inside[~planted].any()


def test_a_small_run_leaves_a_classifier_whose_logits_are_those_it_was_trained_on(
    recipe: ModuleType, tmp_path: Path
) -> None:
    task, path = recipe.main(
        ["-o", str(tmp_path), "--train", "40", "--val", "16", "--epochs", "1", "1", "1", "1", "--processes", "1"]
    )
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
