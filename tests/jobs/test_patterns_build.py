"""From an ensemble with planted patterns to a bank: what was planted is found, nothing else; resume; refusals."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted import CHANNELS, PLAN, PLANTED, WIDTH, damage, eyes_that_see, plant

import whyray
from whyray.errors import DataError, FingerprintError, SettingError, Stopped
from whyray.jobs.patterns_build import build_patterns
from whyray.jobs.run import Cell, Ran
from whyray.patterns.activations import ActivationStore, Layout, Part, write_activations
from whyray.patterns.bank import load_bank
from whyray.patterns.members import load_members, write_ensemble
from whyray.patterns.site import Basis
from whyray.types import Case, Radiograph


@pytest.fixture(scope="module")
def eyes() -> whyray.Classifier:
    return eyes_that_see()


@pytest.fixture(scope="module")
def store(eyes: whyray.Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 pictures of blocks; 40 of them are the validation split."""

    def picture(i: int) -> Radiograph:
        rng = np.random.default_rng(i)
        return Radiograph(np.clip(rng.normal(0.5, 0.3, (64, 64)), 0, 1).astype(np.float32), name=str(i))

    cases = [
        Case(f"c{i}", lambda i=i: picture(i), patient=f"p{i}", split="val" if i < 40 else "train") for i in range(60)
    ]
    return write_activations(
        eyes, [Part("made", cases)], tmp_path_factory.mktemp("a") / "store", layout=Layout(shard=16, numbers="float32")
    )


@pytest.fixture(scope="module")
def ensemble(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(store, tmp_path_factory.mktemp("e") / "ensemble")


def test_what_was_planted_is_found(eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path) -> None:
    made = build_patterns(ensemble, store, eyes, tmp_path / "bank", plan=PLAN)
    sizes = np.bincount(made.cluster[made.cluster >= 0])
    gates = {g["gate"]: (g["before"], g["after"]) for g in made.facts["funnel"]}
    assert gates["density"] == (80, 80) and gates["stability"][1] >= 30 and gates["de-duplication"][1] >= PLANTED
    planted = made.cluster.reshape(10, WIDTH)[:, :PLANTED]
    for column in planted.T:
        assert len(set(column.tolist())) == 1, "a planted pattern is in pieces"
    kept = {int(c) for c in planted[0]} - {-1}
    assert kept and all(sizes[c] >= 10 for c in kept)
    assert all(made.patterns[c].stability == 1 for c in kept)
    again = load_bank(tmp_path / "bank", eyes)
    np.testing.assert_array_equal(again.cluster, made.cluster)
    assert 0 <= made.facts["halves"]["shared"] <= 1 and "funnel" in (tmp_path / "bank/funnel.html").read_text()


def test_what_is_taken_out_is_what_it_adds(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path
) -> None:
    """The head is linear, so the measured change is the contribution, averaged over the strongest pictures."""
    made = build_patterns(ensemble, store, eyes, tmp_path / "bank", plan=PLAN)
    from whyray.patterns.sums import decompose

    read = ActivationStore(store)
    val = read.where("val")
    tokens = read.tokens(val)
    strengths = made.activations(tokens)
    parts = np.stack([decompose(made, t, t).named for t in tokens])
    for p, pattern in enumerate(made.patterns):
        top = np.argsort(-strengths[:, p], kind="stable")[: PLAN.top]
        wanted = np.abs(parts[top, p].mean(axis=0)).max()
        assert pattern.relevance == pytest.approx(wanted, rel=1e-3)


def test_a_stopped_build_makes_no_member_twice(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import whyray.jobs.patterns_build as module

    straight = build_patterns(ensemble, store, eyes, tmp_path / "straight", plan=PLAN)
    counted: list[int] = []
    real = module._activity
    monkeypatch.setattr(module, "_activity", lambda m, n, p: (counted.append(n), real(m, n, p))[1])
    with pytest.raises(Stopped):
        build_patterns(ensemble, store, eyes, tmp_path / "b", plan=PLAN, cancelled=lambda: len(counted) == 4)
    resumed = build_patterns(ensemble, store, eyes, tmp_path / "b", plan=PLAN)
    assert sorted(counted) == list(range(10))
    np.testing.assert_array_equal(resumed.cluster, straight.cluster)
    assert (tmp_path / "b/artefact.safetensors").read_bytes() == (
        tmp_path / "straight/artefact.safetensors"
    ).read_bytes()


def test_a_member_s_cell_that_is_damaged_while_it_runs_never_shifts_the_others(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import whyray.jobs.patterns_build as module

    real = module.run

    def damaging(groups: list[list[Cell]], *given: Any, **more: Any) -> Ran:
        ran = real(groups, *given, **more)
        given[1].path(groups[len(groups) // 2][0].key).write_bytes(b"torn")
        return ran

    straight = build_patterns(ensemble, store, eyes, tmp_path / "straight", plan=PLAN)
    monkeypatch.setattr(module, "run", damaging)
    with pytest.raises(DataError, match="of member 5 was damaged while it ran; run again"):
        build_patterns(ensemble, store, eyes, tmp_path / "b", plan=PLAN)
    monkeypatch.undo()
    again = build_patterns(ensemble, store, eyes, tmp_path / "b", plan=PLAN)
    np.testing.assert_array_equal(again.cluster, straight.cluster)


def test_cells_of_one_bank_are_no_other_s(eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path) -> None:
    """The same members on another basis, in the folder of the first: what an empty folder gives."""
    build_patterns(ensemble, store, eyes, tmp_path / "one", plan=PLAN)
    other = Path(shutil.copytree(ensemble, tmp_path / "ensemble"))
    made, facts = load_members(ensemble), json.loads((ensemble / "ensemble.json").read_text())
    turned = Basis(made.basis.mean, np.eye(CHANNELS, dtype=np.float32)[::-1].copy())
    given = {"plan": made.plan, "members": facts["members"], "site": made.site, "basis": turned}
    write_ensemble(other, fingerprint=made.fingerprint, **given)

    def built(folder: str) -> np.ndarray | str:
        try:
            return build_patterns(other, store, eyes, tmp_path / folder, plan=PLAN).cluster
        except DataError as error:
            return str(error)

    np.testing.assert_array_equal(built("one"), built("two"))


CHILD = """
import os, signal, sys, time, torch
sys.path.insert(0, {tests!r})
import planted as here
import whyray
from whyray.jobs import patterns_build, store

module = here.Eyes()
module.load_state_dict(torch.load({weights!r}, weights_only=True))
eyes = whyray.wrap(module, findings=["edema", "mass"], size=64, name="eyes", layer="features")
real, written = store.write_whole, []

def slowly(path, data):
    written.append(path)
    if len(written) == {half_of}:
        path.with_name(path.name + ".part").write_bytes(data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, data)
    time.sleep({pause})

store.write_whole = slowly
patterns_build.build_patterns({ensemble!r}, {store!r}, eyes, {out!r}, plan=here.PLAN)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize(
    ("finished", "half_of"),
    [pytest.param(4, 0, id="a member"), pytest.param(11, 12, id="a half-written cell", marks=pytest.mark.slow)],
)
def test_a_build_killed_by_sigkill_loses_nothing_that_was_finished(
    eyes: whyray.Classifier,
    store: Path,
    ensemble: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    finished: int,
    half_of: int,
) -> None:
    """Killed by another process while it works, and by itself in the middle of a file."""
    import whyray.jobs.store as cells

    out = tmp_path / "killed"
    torch.save(eyes.module.state_dict(), tmp_path / "eyes.pt")
    paths = {"tests": Path(__file__).parent, "weights": tmp_path / "eyes.pt", "ensemble": ensemble, "store": store}
    paths["out"] = out
    given = {name: str(path) for name, path in paths.items()}
    script = CHILD.format(half_of=half_of, pause=0 if half_of else 0.1, **given)
    child = subprocess.Popen([sys.executable, "-c", script])
    try:
        while child.poll() is None:
            if not half_of and len(list(out.glob("cells/??/*.npz"))) >= finished:
                child.kill()
            time.sleep(0.02)
    finally:
        child.kill()
    assert child.returncode == -signal.SIGKILL and not (out / "artefact.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("cells/??/*.npz")}
    assert len(kept) >= finished
    straight = build_patterns(ensemble, store, eyes, tmp_path / "straight", plan=PLAN)
    every = {path.name for path in (tmp_path / "straight").glob("cells/??/*.npz")}
    assert {path.name for path in kept} < every

    put: list[str] = []
    real = cells.Store.put
    monkeypatch.setattr(cells.Store, "put", lambda s, key, *rest: (put.append(f"{key}.npz"), real(s, key, *rest))[1])
    resumed = build_patterns(ensemble, store, eyes, out, plan=PLAN)
    assert sorted(put) == sorted(every - {path.name for path in kept}), "made twice, or not at all"
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    np.testing.assert_array_equal(resumed.cluster, straight.cluster)
    for name in ("artefact.safetensors", "artefact.json", "funnel.html"):
        assert (out / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


def test_a_split_without_pictures_names_those_there_are(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"0 pictures of the split 'dev'.* 20 of 'train', 40 of 'val': .*split=val"):
        build_patterns(ensemble, store, eyes, tmp_path, plan=dataclasses.replace(PLAN, split="dev"))
    with pytest.raises(SettingError, match=r"split='test' came.*give --set split=val"):
        build_patterns(ensemble, store, eyes, tmp_path, plan=dataclasses.replace(PLAN, split="test"))


@pytest.mark.parametrize("changes", [{"moves": 90.0}, {"density": (1e-9, 2e-9)}], ids=["the last gates", "the first"])
def test_where_nothing_passes_the_funnel_is_there_to_look_at(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match="no pattern passed the gates") as caught:
        build_patterns(ensemble, store, eyes, tmp_path, plan=dataclasses.replace(PLAN, **changes))
    funnel = tmp_path / "funnel.html"
    assert str(funnel) in str(caught.value) and "--set moves=" in str(caught.value)
    assert "De-duplication" in funnel.read_text() and not (tmp_path / "artefact.json").exists()


def test_a_damaged_shard_is_said_and_left_out(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path
) -> None:
    other, said = Path(shutil.copytree(store, tmp_path / "store")), []
    facts = json.loads((other / "activations.json").read_text())
    assert facts["images"] == 60 and facts["layout"]["shard"] == 16
    damage(other, 0)
    made = build_patterns(
        ensemble, other, eyes, tmp_path / "bank", plan=PLAN, report=lambda d, n, item: said.append((d, n, item))
    )
    told = [item for done, total, item in said if done == total == 0]
    assert len(told) == 1 and "shard-00000 is damaged or absent: 16 pictures" in told[0]
    assert str(other) in told[0] and "`whyray activations`, run again" in told[0]
    assert made.facts["images"] == 24 and len(made.facts["left_out"]) == 1


def test_what_was_read_at_another_layer_is_refused(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path
) -> None:
    """The layer is no part of the fingerprint, so the read-out tells."""
    before = whyray.wrap(eyes.module, findings=["edema", "mass"], size=64, name="eyes", layer="features.0")
    assert before.fingerprint == eyes.fingerprint
    with pytest.raises(SettingError, match=r"read at another place than eyes is now \(.*give the --layer"):
        build_patterns(ensemble, store, before, tmp_path / "bank", plan=PLAN)
    assert not (tmp_path / "bank").exists()


def test_an_ensemble_of_another_classifier_is_refused(
    eyes: whyray.Classifier, store: Path, ensemble: Path, tmp_path: Path
) -> None:
    facts = json.loads((ensemble / "ensemble.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for file in ensemble.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "ensemble.json").write_text(json.dumps(facts | {"fingerprint": "0" * 64}))
    with pytest.raises(FingerprintError, match="another classifier"):
        build_patterns(other, store, eyes, tmp_path, plan=PLAN)
