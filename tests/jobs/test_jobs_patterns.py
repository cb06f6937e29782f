"""A bank by name, from the ensemble to the page: whole, killed between any two steps, built again, and on two taps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import CHANNELS, damage, eyes_that_see, plant
from torch import nn

from whyray.contracts import Classifier
from whyray.datasets._resolve import load_dataset
from whyray.errors import DataError, SettingError, WeightsError
from whyray.jobs.patterns import build_patterns, list_patterns, name_patterns
from whyray.jobs.patterns_describe import GALLERIES
from whyray.models._taps import Tap
from whyray.models._torch import TorchClassifier, Wiring
from whyray.patterns.activations import ActivationStore, Layout, Part, write_activations
from whyray.patterns.bank import load_bank
from whyray.patterns.naming import Checked
from whyray.patterns.site import site_of
from whyray.patterns.sums import decompose
from whyray.training.transcoders import TranscodersPlan, train_transcoders

SPEC = "phantom:train=8,val=24,test=0,size=64"
GATES = ("density=[1e-4, 0.5]", "leading=1.0", "top=8", "cohesion=-1")
EVERYTHING = ("density=[0, 1]", "cosine=-1", "correlation=-1", "members=0", "leading=1", "moves=0", "cohesion=-1")
PARTS = ("artefact.json", "artefact.safetensors", "funnel.html", "patterns.html")
ALL = (*PARTS, *(f"{GALLERIES}/{name}" for name in PARTS[:2]))


@pytest.fixture(scope="module")
def eyes() -> Classifier:
    return eyes_that_see()


@pytest.fixture(scope="module")
def store(eyes: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts, layout = [Part(SPEC, load_dataset(SPEC).cases())], Layout(shard=16, numbers="float32")
    return write_activations(eyes, parts, tmp_path_factory.mktemp("a") / "store", layout=layout)


@pytest.fixture(scope="module")
def ensemble(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(store, tmp_path_factory.mktemp("e") / "ensemble")


@pytest.fixture(scope="module")
def built(eyes: Classifier, store: Path, ensemble: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    build_patterns(ensemble, store, eyes, folder, changes=GATES)
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


class Killed(Exception):
    """What stands for a kill."""


def kill(*_: object, **__: object) -> None:
    raise Killed


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ALL}


def test_a_build_is_gates_description_and_page(built: Path, eyes: Classifier) -> None:
    bank, rows = load_bank(built, eyes), list_patterns(eyes, built)
    assert len(rows) == len(bank.patterns) >= 2
    (one,) = list_patterns(eyes, built, pattern="p0000")
    assert one["gallery"]["top"] and {f["dataset"] for f in one["gallery"]["top"]} == {SPEC}
    assert "data:image/jpeg" in (built / "patterns.html").read_text()
    assert "De-duplication" in (built / "funnel.html").read_text()
    assert {path.name for path in built.iterdir()} == {*PARTS, GALLERIES, "cells", ".lock"}
    assert (bank.facts["plan"]["density"], bank.facts["plan"]["top"], bank.facts["plan"]["split"]) == (
        [1e-4, 0.5],
        8,
        "val",
    )


STEPS = {
    "gates": "whyray.jobs.patterns_build.gated",
    "description": "whyray.jobs.patterns_describe.galleries",
    "page": "whyray.jobs.patterns_page.bank_html",
    "the move": "whyray.jobs.patterns._put_in_place",
}


@pytest.mark.parametrize("step", list(STEPS.values()), ids=list(STEPS))
def test_a_killed_build_goes_on_and_makes_nothing_twice(
    built: Path,
    eyes: Classifier,
    store: Path,
    ensemble: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(step, kill)
        with pytest.raises(Killed):
            build_patterns(ensemble, store, eyes, tmp_path, changes=GATES)
    assert not any((tmp_path / name).exists() for name in ALL), "half a bank"
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/??/*.npz")}
    monkeypatch.setattr("whyray.jobs.patterns_build._activity", lambda *_: pytest.fail("a member was read again"))
    if not step.endswith("gated"):
        monkeypatch.setattr("whyray.jobs.patterns_describe.decompose", lambda *_: pytest.fail("computed again"))
        monkeypatch.setattr("whyray.jobs.patterns_describe.anatomy_of", lambda *_: pytest.fail("drawn again"))
    build_patterns(ensemble, store, eyes, tmp_path, changes=GATES)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    assert contents(tmp_path) == contents(built) and not (tmp_path / "unfinished").exists()


def test_anatomies_are_kept_one_by_one(
    eyes: Classifier, store: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the tenth, a build draws the others only."""
    from whyray.patterns.attributes import anatomy_of

    drawn: list[str] = []

    def counted(classifier: Classifier, case: Any, grid: tuple[int, int]) -> Any:
        if len(drawn) == 10:
            raise Killed
        drawn.append(case.id)
        return anatomy_of(classifier, case, grid)

    monkeypatch.setattr("whyray.jobs.patterns_describe.anatomy_of", counted)
    with pytest.raises(Killed):
        build_patterns(ensemble, store, eyes, tmp_path, changes=GATES)
    first, drawn[:] = list(drawn), []
    monkeypatch.setattr("whyray.jobs.patterns_page.browse", kill)
    for _ in range(3):
        with pytest.raises(Killed):
            build_patterns(ensemble, store, eyes, tmp_path, changes=GATES)
        first, drawn[:] = first + drawn, []
    assert len(first) == len(set(first)) == 32


@pytest.mark.parametrize("step", list(STEPS.values())[:3], ids=list(STEPS)[:3])
def test_a_finished_bank_stays_whole_until_the_new_one_is_ready(
    copy: Path, eyes: Classifier, store: Path, ensemble: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = contents(copy)
    monkeypatch.setattr(step, kill)
    with pytest.raises(Killed):
        build_patterns(ensemble, store, eyes, copy, changes=("merge=0.99", *GATES))
    assert contents(copy) == before


def test_where_nothing_passes_the_old_bank_stays_and_the_funnel_is_named(
    copy: Path, eyes: Classifier, store: Path, ensemble: Path
) -> None:
    before = contents(copy)
    with pytest.raises(DataError, match="no pattern passed the gates") as caught:
        build_patterns(ensemble, store, eyes, copy, changes=("moves=90",))
    funnel = copy / "unfinished" / "funnel.html"
    assert str(funnel) in str(caught.value) and "De-duplication" in funnel.read_text()
    assert contents(copy) == before
    build_patterns(ensemble, store, eyes, copy, changes=GATES)
    assert contents(copy) == before and not (copy / "unfinished").exists()


def test_a_kill_in_the_middle_of_the_move_leaves_a_bank_that_is_refused_until_it_is_built_again(
    copy: Path, built: Path, eyes: Classifier, store: Path, ensemble: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Path] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.parent.name == "unfinished" and target.name in PARTS:
            if len(moved) == 2:
                raise Killed
            moved.append(target)
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            build_patterns(ensemble, store, eyes, copy, changes=("merge=0.999", *GATES))
    with pytest.raises(WeightsError):
        load_bank(copy, eyes)
    build_patterns(ensemble, store, eyes, copy, changes=GATES)
    assert contents(copy) == contents(built)


def named(folder: Path, store: Path, eyes: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names as a service would give them that is right on nearly every image; the first has none that holds."""
    answers = iter(
        [Checked("a guess", 0.5, 0.3, 0.7, 6, 12, 6, 12)] + [Checked("bright rim", 0.9, 0.7, 1, 11, 12, 11, 12)] * 99
    )
    with monkeypatch.context() as patched:
        patched.setattr("whyray.jobs.patterns_name.named_by", lambda *_: next(answers))
        name_patterns(folder, store, eyes, "http://127.0.0.1:9/v1", service="voice")


def test_adopted_names_outlive_a_build_of_the_same_patterns(
    copy: Path, eyes: Classifier, store: Path, ensemble: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(copy, store, eyes, monkeypatch)
    before = load_bank(copy, eyes).patterns
    assert sum(p.name == "bright rim" for p in before) == len(before) - 1
    said: list[str] = []
    made = build_patterns(ensemble, store, eyes, copy, changes=GATES, report=told(said))
    assert repr(made.patterns) == repr(load_bank(copy, eyes).patterns) == repr(before) and not said
    renamed = next(p.id for p in before if p.name == "bright rim")
    (row,) = list_patterns(eyes, copy, pattern=renamed)
    assert "Named by voice" in row["origin"] and "bright rim" in (copy / "patterns.html").read_text()


def test_where_the_patterns_have_changed_the_loss_of_names_is_said(
    copy: Path, eyes: Classifier, store: Path, ensemble: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(copy, store, eyes, monkeypatch)
    adopted = sum(p.name == "bright rim" for p in load_bank(copy, eyes).patterns)
    kept, said = (copy / "names.json").read_bytes(), []
    made = build_patterns(ensemble, store, eyes, copy, changes=("merge=0.999", *GATES), report=told(said))
    assert not any(p.name == "bright rim" for p in made.patterns)
    assert len(said) == 1 and f"{adopted} adopted names" in said[0] and "whyray patterns name" in said[0]
    assert (copy / "names.json").read_bytes() == kept


def told(said: list[str]) -> Callable[[int, int, str], None]:
    """A report that keeps the sentences."""
    return lambda done, total, item: said.append(item) if done == total == 0 else None


def test_a_damaged_shard_is_said_once_by_build_and_by_name(
    eyes: Classifier, store: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(store, tmp_path / "store"))
    damage(other, 1)
    said: list[str] = []
    build_patterns(ensemble, other, eyes, tmp_path / "bank", changes=GATES, report=told(said))
    assert len(said) == 1 and "shard-00001 is damaged or absent: 16 pictures" in said[0]
    monkeypatch.setattr("whyray.jobs.patterns_name.named_by", lambda *_: Checked(trouble="no answer"))
    name_patterns(tmp_path / "bank", other, eyes, "http://127.0.0.1:9/v1", report=told(again := []))
    assert again == said


def test_gates_are_set_by_name_and_wrong_ones_are_refused_before_anything(
    eyes: Classifier, store: Path, ensemble: Path, tmp_path: Path
) -> None:
    for change, match in (
        ("move=1", "did you mean moves"),
        ("top=many", "top = 'many'"),
        ("density=[1, 0]", "density"),
    ):
        with pytest.raises(SettingError, match=match):
            build_patterns(ensemble, store, eyes, tmp_path / "bank", changes=(change,))
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize(("given", "way"), [("train", "split=train"), ("", 'split=""')])
def test_a_store_without_the_usual_split_builds_as_the_error_says(
    eyes: Classifier, store: Path, ensemble: Path, tmp_path: Path, given: str, way: str
) -> None:
    other = Path(shutil.copytree(store, tmp_path / "store"))
    for path in other.glob("shard-*.json"):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | {"images": [row | {"split": given} for row in facts["images"]]}))
    with pytest.raises(DataError, match="0 pictures of the split 'val'") as caught:
        build_patterns(ensemble, other, eyes, tmp_path / "bank", changes=GATES)
    assert f"--set {way})" in str(caught.value)
    made = build_patterns(ensemble, other, eyes, tmp_path / "bank", changes=(way, *GATES))
    assert made.facts["plan"]["split"] == given and made.facts["images"] == 32


class TwoLayers(nn.Module):
    """Eyes whose head has a hidden layer: its embedding has ``CHANNELS`` numbers, its hidden layer 5."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.eyes = nn.Sequential(nn.Conv2d(1, CHANNELS, 16, stride=16), nn.ReLU())
        self.fc1, self.relu, self.fc2 = nn.Linear(CHANNELS, 5), nn.ReLU(), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.relu(self.fc1(self.eyes(x).mean((2, 3)))))


def two_layers(eyes: Classifier) -> TorchClassifier:
    """It can be cut where fc1 reads and where fc2 reads, as the classifier of recipes/lanic-mimic.toml."""
    net = TwoLayers()
    taps = {"embedding": Tap("fc1", "input", "flat"), "hidden": Tap("fc2", "input", "flat")}
    heads = {"embedding": lambda v: net.fc2(net.relu(net.fc1(v))), "hidden": net.fc2}
    return TorchClassifier(net.eval(), ("edema", "mass"), eyes.card, architecture="two", wiring=Wiring(taps, heads))


def test_a_bank_on_two_taps(eyes: Classifier, tmp_path: Path) -> None:
    """Encoders read the embedding and decoders write the hidden layer, one vector an image: the sum is the logit."""
    classifier = two_layers(eyes)
    parts, layout = [Part(SPEC, load_dataset(SPEC).cases())], Layout(numbers="float32")
    site = site_of(classifier, "embedding", "hidden")
    write_activations(classifier, parts, tmp_path / "store", site=site, layout=layout)
    plan = TranscodersPlan(members=3, width=12, k=3, basis=0, epochs=40, batch=8, lr=1e-2, split="val", dead_after=200)
    train_transcoders(plan, tmp_path / "store", tmp_path / "ensemble")
    said: list[str] = []
    arguments = (tmp_path / "ensemble", tmp_path / "store", classifier, tmp_path / "bank")
    bank = build_patterns(*arguments, changes=EVERYTHING, report=told(said))
    assert not said and len(bank.patterns) >= 2 and (bank.site.tap_in, bank.site.tap_out) == ("embedding", "hidden")
    held = ActivationStore(tmp_path / "store")
    val = held.where("val")
    tokens, outputs = held.tokens(val), held.outputs(val)
    assert (tokens.shape, outputs.shape) == ((24, 1, CHANNELS), (24, 1, 5))
    found = [decompose(bank, t, o) for t, o in zip(tokens, outputs, strict=True)]
    np.testing.assert_allclose([one.logits for one in found], held.logits(val), atol=1e-5)
    strengths = bank.activations(tokens)
    for p, pattern in enumerate(bank.patterns):
        top = [i for i in np.argsort(-strengths[:, p], kind="stable")[:20] if strengths[i, p] > 0]
        wanted = np.abs(np.mean([found[i].named[p] for i in top], axis=0)).max()
        assert pattern.relevance == pytest.approx(wanted, rel=0.01, abs=1e-4), "taken out, it moves what it adds"
    (one,) = list_patterns(classifier, tmp_path / "bank", pattern="p0000")
    assert {f["cell"] for f in one["gallery"]["top"]} == {0}
    assert "patterns" in (tmp_path / "bank/patterns.html").read_text()
