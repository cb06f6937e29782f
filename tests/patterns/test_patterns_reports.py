"""Reports beside activations: Findings only, aligned with the pictures, resumable."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from whyray.datasets._resolve import load_dataset
from whyray.errors import DataError
from whyray.models._clip_text import TextTower
from whyray.models._resolve import load_model
from whyray.patterns import reports
from whyray.patterns.activations import ActivationStore, Layout, Part, write_activations
from whyray.patterns.reports import read_reports, write_reports

SPEC = "phantom:train=6,val=3,size=64"


class Counting:
    """A stand-in for a text tower: characters, and how often "effusion" stands there."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        return np.array([[len(t), t.lower().count("effusion")] for t in texts], np.float32)


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    """Nine phantoms; the third has no Findings."""
    data = load_dataset(SPEC)
    made = [Part(f"{SPEC}#{split}", list(data.cases(split))) for split in ("train", "val")]
    first = list(made[0].cases)
    first[2] = dataclasses.replace(first[2], report={"impression": "Effusion."})
    return [Part(made[0].spec, first), made[1]]


@pytest.fixture
def store(parts: list[Part], tmp_path: Path) -> ActivationStore:
    return ActivationStore(write_activations(load_model("mini"), parts, tmp_path, layout=Layout(shard=4, batch=4)))


def test_rows_are_those_of_the_pictures(parts: list[Part], store: ActivationStore) -> None:
    without = write_reports(parts, store.folder, TextTower("count", 2, Counting()))
    rows = read_reports(store)
    texts = [case.report.get("findings", "").strip() for part in parts for case in part.cases]
    assert rows.shape == (9, 2) and list(without) == [parts[0].cases[2].id] and np.isnan(rows[2]).all()
    assert [int(r[0]) for i, r in enumerate(rows) if i != 2] == [len(t) for i, t in enumerate(texts) if i != 2]


def test_the_impression_is_never_embedded(parts: list[Part], store: ActivationStore) -> None:
    tower = Counting()
    write_reports(parts, store.folder, TextTower("count", 2, tower))
    conclusions = {case.report["impression"].strip() for part in parts for case in part.cases}
    assert len(tower.seen) == 8 and not conclusions & set(tower.seen)


def test_what_is_there_is_not_made_again(
    parts: list[Part], store: ActivationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PIECE", 4)
    write_reports(parts, store.folder, TextTower("count", 2, Counting()))
    first, again = read_reports(store), Counting()
    (store.folder / "reports-00001.safetensors").write_bytes(b"torn")
    with pytest.raises(DataError, match="reports-00001"):
        read_reports(store)
    write_reports(parts, store.folder, TextTower("count", 2, again))
    assert len(again.seen) == 4 and np.array_equal(read_reports(store), first, equal_nan=True)
    other = Counting()
    write_reports(parts, store.folder, TextTower("another", 2, other))
    assert len(other.seen) == 8


def test_embeddings_of_a_conclusion_are_made_again(parts: list[Part], store: ActivationStore) -> None:
    """As a store of an earlier version may hold them: what was read is not what is read now."""
    cases = list(parts[0].cases)
    cases[0] = dataclasses.replace(cases[0], report={"findings": "Clear.\n Impression: Effusion."})
    mixed = [Part(parts[0].spec, cases), parts[1]]
    write_reports(mixed, store.folder, TextTower("count", 2, Counting()))
    file = store.folder / "reports-00000.json"
    texts = [case.report.get("findings", "") for part in mixed for case in part.cases]
    before = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"read": before}))
    again = Counting()
    write_reports(mixed, store.folder, TextTower("count", 2, again))
    assert "Clear." in again.seen and read_reports(store)[0].tolist() == [len("Clear."), 0]


def test_a_store_without_reports_says_so(store: ActivationStore) -> None:
    with pytest.raises(DataError, match="reports = FOLDER"):
        read_reports(store)


def test_a_corrected_report_is_embedded_again(
    parts: list[Part], store: ActivationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PIECE", 4)
    write_reports(parts, store.folder, TextTower("count", 2, Counting()))
    cases = list(parts[0].cases)
    cases[0] = dataclasses.replace(cases[0], report={"findings": "Corrected."})
    again = Counting()
    write_reports([Part(parts[0].spec, cases), parts[1]], store.folder, TextTower("count", 2, again))
    assert "Corrected." in again.seen and len(again.seen) == 3, "one file of four, one of them without a text"
    assert read_reports(store)[0][0] == len("Corrected.")
