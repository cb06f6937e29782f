"""The bundled classifier: small, whole, calibrated, and its page says what its card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from whyray.models._store import load_bundle, read_card
from whyray.models.mini import CARD
from whyray.training.measure import card_page, installed
from whyray.training.plan import load_plan

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_from_the_card() -> None:
    assert (ROOT / "docs/models/mini.md").read_text(encoding="utf-8") == card_page(read_card(CARD))


def test_size_findings_and_map() -> None:
    mini = load_bundle(CARD)
    assert CARD.with_suffix(".safetensors").stat().st_size <= 6_000_000
    assert len(mini.findings) >= 8 and mini.findings == load_plan(ROOT / "recipes/mini.toml").findings
    with torch.inference_mode():
        _, taps = mini.run(torch.zeros(1, 1, *mini.card.preparation.size), ("features",))
    assert min(taps["features"].shape[2:]) >= 14


def test_calibrated_to_declared_prevalences_with_operating_points() -> None:
    mini = load_bundle(CARD)
    declared = load_plan(ROOT / "recipes/mini.toml").prevalences
    for finding in mini.findings:
        operation = mini.card.operations[finding]
        assert operation.prevalence == declared[finding] and operation.slope > 0
        assert operation.threshold is None or 0 < operation.threshold < 1
    assert sum(o.threshold is not None for o in mini.card.operations.values()) >= 8
    assert mini.card.unfamiliar_above is not None


def test_results_have_intervals_n_and_positives_on_held_back_patients() -> None:
    rows = [r for r in load_bundle(CARD).card.results if r["metric"] == "auc"]
    assert {r["data"] for r in rows} == {"nih", "paediatric", "phantom"}
    assert all(r["low"] <= r["value"] <= r["high"] for r in rows)
    assert all(0 < r["positives"] < r["n"] for r in rows if r["finding"] != "mean")


def test_neither_card_nor_page_names_a_place_on_a_machine() -> None:
    for text in (CARD.read_text(), (ROOT / "docs/models/mini.md").read_text()):
        assert not re.search(r"/(tmp|work|home|root|Users)/", text)
        assert "ot for clinical use" in text


def test_a_bundle_can_be_installed_under_another_name(tmp_path: Path) -> None:
    made = installed(CARD, tmp_path / "copy.json")
    assert load_bundle(made).fingerprint == load_bundle(CARD).fingerprint
    (tmp_path / "copy.safetensors").unlink()
    with pytest.raises(Exception, match="copy"):
        load_bundle(made)
