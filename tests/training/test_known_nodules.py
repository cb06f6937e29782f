"""recipes/known_nodules.py: what it shows and tells, and a small real run that leaves what was trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

import whyray
from whyray.datasets.phantom import FIRST, phantom
from whyray.training.loop import LoopPlan


@pytest.fixture
def recipe(recipe_named: Callable[[str], ModuleType]) -> ModuleType:
    return recipe_named("known_nodules")


def test_a_crowd_has_many_nodules_and_a_phantom_of_validation_its_own(recipe: ModuleType) -> None:
    given = [recipe.crowd(n) for n in range(60)]
    counts = [len(g.get("nodule", ())) for g in given]
    assert (
        min(counts) == 0 and max(counts) == 8 and {len(g["pneumothorax"]) for g in given if "pneumothorax" in g} == {1}
    )
    n = next(n for n in range(60) if counts[n] == 8)
    pixels, label, shares = recipe.drawn(n, True)
    made = phantom(n, size=320, plant=given[n])
    assert np.array_equal(pixels, np.rint(made.pixels * 255)) and label == 1
    by_hand = made.masks["nodule"].reshape(40, 8, 40, 8).mean((1, 3))
    assert np.abs(shares / 255 - by_hand).max() < 1 / 255 and shares.any()
    plain = recipe.drawn(FIRST["val"], False)
    assert np.array_equal(plain[0], np.rint(phantom(FIRST["val"], size=320).pixels * 255))


def test_pieces_and_their_masks_fit_mirrored_or_not(recipe: ModuleType) -> None:
    seen = recipe.examples(partial(recipe.drawn, crowded=True), FIRST["train"], 12, 1)
    task = recipe.Finding(recipe.plan_of(LoopPlan(seed=1)), seen, seen)
    pixels, shares = task.shown(range(12), 0)
    assert pixels.shape == (12, 1, 80, 80) and shares.shape == (12, 10, 10)
    mirrored = 0
    for i in range(12):
        told = (pixels[i, 0].numpy() * 255, shares[i].numpy() * 255)
        found = []
        for turned in (False, True):
            piece, mask = (part[:, ::-1] if turned else part for part in told)
            for top, left in np.ndindex(31, 31):
                if np.array_equal(seen[0].pictures[i][8 * top :, 8 * left :][:80, :80], np.rint(piece)):
                    found.append(turned)
                    assert np.array_equal(seen[1][i][top : top + 10, left : left + 10], np.rint(mask))
        assert len(found) == 1
        mirrored += found[0]
    assert 0 < mirrored < 12
    with_one = seen[1].any((1, 2))
    aimed = (
        torch.stack([task.shown(range(12), epoch)[1].amax((1, 2)) > 0 for epoch in range(20)]).float().mean(0).numpy()
    )
    assert with_one.sum() > 6 and (aimed[with_one] > 0.5).all() and not aimed[~with_one].any()


def test_a_nodule_counts_alike_in_the_cells_it_fills_or_where_it_is_small_in_that_with_most_of_it(
    recipe: ModuleType,
) -> None:
    shares = torch.zeros(1, 6, 6)
    shares[0, 0, :3] = torch.tensor([0.1, 0.5, 0.9])  # a large one: the cell at its edge is neither in nor out
    shares[0, 4:, 3:5] = torch.tensor([[0.15, 0.2], [0.1, 0.05]])  # a small one, where four cells meet
    told = recipe.weights(shares)[0] / recipe.LOUD
    assert {tuple(at): told[tuple(at)].item() for at in told.nonzero().tolist()} == {
        (0, 1): 0.5,
        (0, 2): 0.5,
        (4, 4): 1,
    }


def test_each_nodule_of_a_crowd_has_a_cell_to_be_told_by(recipe: ModuleType) -> None:
    for n in range(FIRST["train"], FIRST["train"] + 6):
        shares = torch.from_numpy(recipe.drawn(n, True)[2])[None] / 255
        told = recipe.within(shares)[0].numpy()
        for lesion in phantom(n, size=recipe.SIZE, plant=recipe.crowd(n)).lesions:
            if lesion.finding == "nodule":
                rows, columns = (at // recipe.SIDE for at in np.nonzero(lesion.mask))
                near = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
                assert told[near].any(), (n, lesion.size_cm)


def test_the_focal_loss_by_hand_of_a_cell_in_a_nodule_one_partly_in_it_and_one_outside(recipe: ModuleType) -> None:
    logits, loud = torch.tensor([[[1.2, 5.0, -0.7]]]), torch.tensor([[[3.0, 0.0, 0.0]]])
    inside, outside = 1 / (1 + np.exp(-1.2)), 1 / (1 + np.exp(0.7))
    wanted = -((1 - inside) ** 2) * np.log(inside) - outside**2 * np.log(1 - outside) / 3
    told = recipe.focal(logits, loud, torch.tensor([[[False, False, True]]]))
    assert float(told) == pytest.approx(wanted, rel=1e-5)


def test_one_channel_tells_how_far_a_cell_lies_above_sure_and_the_head_reads_it_alone(recipe: ModuleType) -> None:
    torch.manual_seed(0)
    learned = recipe.new_network(recipe.plan_of(LoopPlan()))
    learned(torch.randn(4, 1, 64, 64))  # norms that saw pictures
    nn.init.normal_(learned.head.weight, std=0.5)
    nn.init.ones_(learned.head.bias)
    deeper = recipe.new_network(recipe.plan_of(LoopPlan(), recipe.DEEPER))
    deeper.load_state_dict(recipe.told_by_one_channel(learned.state_dict()))
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        cells, maps = recipe.cells(learned.eval(), x), deeper.eval().maps(x)
        above = (cells - recipe.SURE).clamp(min=0)
        logits, others = deeper(x)[:, 0], learned.maps(x)[:, 1:]
    assert 0.05 < (above > 0).float().mean() < 0.95
    assert torch.allclose(maps[:, 0], recipe.GAIN * above, atol=1e-4) and torch.allclose(maps[:, 1:], others, atol=1e-5)
    assert torch.allclose(logits, recipe.NOTHING + recipe.LOGIT * recipe.GRID**2 * above.mean((1, 2)), rtol=1e-3)


def test_a_small_run_leaves_a_classifier_that_reads_that_channel(recipe: ModuleType, tmp_path: Path) -> None:
    task, path = recipe.main(["-o", str(tmp_path), "--train", "36", "--val", "16", "--epochs", "1", "--processes", "1"])
    model = whyray.load_model(str(tmp_path))
    assert path == tmp_path / "model.json" and model.findings == ("nodule",)
    x = next(recipe.batches(task.val.pictures, task.plan))
    with torch.no_grad():
        logits, seen = model.run(x, ("features",))
    assert seen["features"].shape[1:] == (128, 40, 40)
    wanted = recipe.NOTHING + recipe.LOGIT * recipe.GRID**2 / recipe.GAIN * seen["features"][:, 0].mean((1, 2))
    assert torch.allclose(logits[:, 0], wanted, rtol=1e-3, atol=1e-3)
    weight = model.module.head.weight[0]
    assert weight[0] > 0 and not weight[1:].any()
