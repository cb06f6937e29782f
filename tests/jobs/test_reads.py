"""Whatever an explainer reads is in the key of what is kept of it: artefacts by content, operating points where they
steer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

import whyray
from whyray.cards import Operation
from whyray.contracts import Classifier, Explainer
from whyray.explainers.edges import Edges
from whyray.jobs import faithfulness
from whyray.jobs._faithful_tasks import Chosen, Task
from whyray.jobs._maps import Maker
from whyray.jobs._weak_seen import Voice
from whyray.jobs.run import Cell
from whyray.jobs.store import Store, cell_key
from whyray.models._artefacts import artefact_folder
from whyray.registry import explainer
from whyray.testing import sample_radiographs
from whyray.types import Case

(PICTURE,) = sample_radiographs(1)


@pytest.fixture(scope="module")
def mini() -> Classifier:
    return whyray.load_model("mini")


def keys(classifier: Classifier, label: str, asked: Mapping[str, Explainer] | None = None) -> dict[str, str]:
    """The key of a map, of each kind of faithfulness, and of a sentence."""
    asked = asked or {label: explainer(label)}
    maker = Maker(classifier, asked, 0, Store(Path("nowhere")))
    bench, finding = faithfulness._Bench(maker, faithfulness.Trial()), classifier.findings[:1]
    chosen = Chosen(Case("a", lambda: PICTURE), finding, PICTURE.sha256)
    made = {kind: Cell(bench.facts(Task(kind, label, (chosen,)))).key for kind in faithfulness.USES}
    made["map"] = maker.cell(label, PICTURE, finding, "").key
    return made | {"voice": cell_key(Voice(label, asked, "lay").facts(classifier, 0))}


def differ(first: dict[str, str], second: dict[str, str]) -> set[bool]:
    return {first[kind] != second[kind] for kind in first}


@pytest.mark.parametrize(
    ("spec", "setting", "kind"),
    [
        ("patterns", "bank", "patterns"),
        ("latent_shift", "autoencoder", "autoencoder"),
        ("wenlex", "generator", "sentences-wenlex"),
        ("ratchet", "sentences", "sentences-ratchet"),
    ],
)
def test_an_artefact_that_is_replaced_in_its_folder_is_another_cell(
    mini: Classifier, tmp_path: Path, spec: str, setting: str, kind: str
) -> None:
    folder = Path(shutil.copytree(artefact_folder(kind, mini), tmp_path / "artefact"))
    before = keys(mini, f"{spec}:{setting}={folder}")
    assert differ(before, keys(mini, f"{spec}:{setting}={folder}")) == {False}
    data = json.loads((folder / "artefact.json").read_text())
    if spec == "latent_shift":  # its weights and preparation count, and nothing else
        data["facts"]["preparation"]["high"] = 0.5
    else:
        data["facts"]["retrained"] = True
    (folder / "artefact.json").write_text(json.dumps(data))
    assert differ(before, keys(mini, f"{spec}:{setting}={folder}")) == {True}


@pytest.mark.parametrize(("label", "steered"), [("latent_shift", True), ("template", True), ("gradcam", False)])
def test_a_recalibrated_card_is_another_cell_where_it_steers(label: str, steered: bool) -> None:
    classifier = whyray.load_model("mini")
    before = keys(classifier, label)
    operations = {**classifier.card.operations, classifier.findings[0]: Operation(slope=0.3, intercept=-1.0)}
    classifier.card = replace(classifier.card, operations=operations)
    assert differ(before, keys(classifier, label)) == {steered}


def test_an_explainer_of_somebody_else_says_what_it_reads(mini: Classifier) -> None:
    @dataclass(frozen=True)
    class Reading(Edges):
        held: ClassVar[str] = ""

        def reads(self, classifier: Classifier) -> dict[str, str]:
            return {"own": self.held}

    before = keys(mini, "own", {"own": Reading()})
    Reading.held = "other"
    assert differ(before, keys(mini, "own", {"own": Reading()})) == {True}


def test_what_is_missing_is_said_later(mini: Classifier, tmp_path: Path) -> None:
    assert keys(mini, f"patterns:bank={tmp_path}")
