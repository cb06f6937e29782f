"""The table of a bank beside its controls: a small run on phantoms, and again without work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import whyray
from whyray.contracts import Context
from whyray.datasets._resolve import load_dataset
from whyray.jobs import _units
from whyray.jobs._units import inside_cells
from whyray.jobs.patterns_measured import patterns_into
from whyray.patterns.bank import save_bank


def test_every_row_has_its_controls_and_nothing_is_made_twice(
    with_artefacts: Callable[[whyray.Classifier], Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mini = whyray.load_model("mini")
    context = with_artefacts(mini)
    assert context.artefact is not None
    save_bank(tmp_path / "bank", context.artefact("patterns", mini.fingerprint))
    data = load_dataset("phantom:val=10,test=10")
    made = patterns_into(tmp_path / "out", mini, data, tmp_path / "bank")
    by = {(r.finding, r.metric, r.explainer): r for r in made.scores}
    aucs = {k for k in by if k[1] == "planted_auc"}
    assert {k[2] for k in aucs} == {"patterns", "neurons", "random_weights"} and "pca" in made.skipped
    assert {k[0] for k in aucs if k[2] == "patterns"} == {k[0] for k in aucs if k[2] == "neurons"}
    assert all(r.low <= r.value <= r.high and r.n == 10 for r in made.scores if r.metric == "planted_auc")
    assert by["all", "sum_gap", "patterns"].value < 1e-4
    assert by["edema", "size", "patterns"].n == 10 and by["edema", "logit_recovered", "patterns"].value <= 1
    assert json.loads((tmp_path / "out/scores.json").read_text())["skipped"]["ica"]
    monkeypatch.setattr(_units, "_piece", lambda *_: pytest.fail("made twice"))
    again = patterns_into(tmp_path / "out", mini, data, tmp_path / "bank")
    assert [(r.metric, r.n) for r in again.scores] == [(r.metric, r.n) for r in made.scores]


def test_cells_cover_a_region_as_its_mask_does() -> None:
    mini = whyray.load_model("mini")
    case = next(c for c in load_dataset("phantom#test").cases() if c.regions())
    frame = mini.prepare(case.radiograph())
    for finding, inside in inside_cells(case, frame, (14, 14)).items():
        mask = np.logical_or.reduce([r.mask for r in case.regions() if r.finding == finding])
        assert inside.mean() == pytest.approx(mask.mean(), abs=0.01)
