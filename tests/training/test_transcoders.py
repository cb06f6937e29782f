"""Training an ensemble: the same bit for bit however it is spread or stopped, and as good as the formula says."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from whyray.datasets._resolve import load_dataset
from whyray.errors import DataError, MissingExtra, SettingError, Stopped, WhyrayError
from whyray.models._resolve import load_model
from whyray.patterns.activations import ActivationStore, Layout, Part, write_activations
from whyray.patterns.members import codes, load_members
from whyray.training import _transcoder_group, transcoders
from whyray.training._transcoder_engines import Heartbeat
from whyray.training._transcoder_group import sampled
from whyray.training._transcoder_learner import rate
from whyray.training._transcoder_run import Spent
from whyray.training.transcoders import TranscodersPlan, load_plan, plan_from, train_transcoders

PLAN = TranscodersPlan(
    "tiny", members=2, width=48, k=4, basis=12, epochs=2, batch=128, part=1000, lr=5e-3, dead_after=2000
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = "phantom:train=10,val=3"
    data = load_dataset(spec)
    parts = [Part(spec, [*data.cases("train"), *data.cases("val")])]
    return write_activations(load_model("mini"), parts, tmp_path_factory.mktemp("store"), layout=Layout(shard=8))


@pytest.fixture(scope="module")
def ensemble(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_transcoders(PLAN, store, tmp_path_factory.mktemp("ensemble"))


def assert_same(first: Path, second: Path) -> None:
    for number in range(PLAN.members):
        name = f"member-{number:03d}.safetensors"
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_an_ensemble_rebuilds_what_it_was_trained_on(store: Path, ensemble: Path) -> None:
    members, held = load_members(ensemble), ActivationStore(store)
    assert (len(members), members.fingerprint, members.site.facts) == (2, held.fingerprint, held.site.facts)
    tokens = held.tokens(held.where("val"))
    read = members.basis.project(tokens).reshape(-1, PLAN.basis)
    flat = tokens.reshape(-1, held.site.d_out)
    for number, member in enumerate(members):
        np.testing.assert_allclose(np.linalg.norm(member.decoder, axis=1), 1, atol=1e-5)
        found = codes(member, read)
        assert found.nnz <= PLAN.k * len(read)
        made = found @ member.decoder + member.decoder_bias
        seen = (read @ members.basis.rows, made - members.basis.mean)
        explained = 1 - ((seen[0] - seen[1]) ** 2).sum() / ((seen[0] - seen[0].mean(0)) ** 2).sum()
        assert explained == pytest.approx(members.results[number]["explained"], abs=0.01)
        assert explained > 0.4
        assert np.corrcoef(made.ravel(), flat.ravel())[0, 1] > 0.6
    assert not np.array_equal(members[0].encoder, members[1].encoder)


def test_members_are_the_same_in_one_process_and_in_two(store: Path, ensemble: Path, tmp_path: Path) -> None:
    train_transcoders(replace(PLAN, processes=2), store, tmp_path)
    assert_same(ensemble, tmp_path)
    lines = (tmp_path / "live.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["member", "share", "loss", "explained", "l0", "dead"]
    assert [line.split("\t")[:2] for line in lines[1:]] == [["0", "1.0000"], ["1", "1.0000"]]


def stop(plan: TranscodersPlan, store: Path, out: Path, monkeypatch: pytest.MonkeyPatch, after: int = 1) -> None:
    """Train, and stop at this beat."""
    calls = 0

    def stopping(*_: object) -> Callable[[object], bool]:
        def watch(_live: object) -> bool:
            nonlocal calls
            calls += 1
            return calls == after

        return watch

    with monkeypatch.context() as patched:
        patched.setattr(transcoders, "_watch", stopping)
        with pytest.raises(Stopped, match="run again"):
            train_transcoders(plan, store, out)


@pytest.mark.parametrize("after", [1, 3, 7])
def test_a_stopped_run_goes_on_and_equals_one_that_was_not(
    store: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    stop(PLAN, store, tmp_path, monkeypatch, after)
    assert not (tmp_path / "ensemble.json").exists() and list((tmp_path / "checkpoints").iterdir())
    train_transcoders(PLAN, store, tmp_path)
    assert_same(ensemble, tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    store: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill(one: object, *_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(_transcoder_group._Clock, "due", lambda _self: True)
        patched.setattr(_transcoder_group._Group, "_finish", kill)
        with pytest.raises(Killed):
            train_transcoders(PLAN, store, tmp_path)
    newest = max((tmp_path / "checkpoints/member-001").glob("step-*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-8])  # and the last one was half written
    train_transcoders(PLAN, store, tmp_path)
    assert_same(ensemble, tmp_path)


def test_a_member_that_was_damaged_is_trained_again(store: Path, ensemble: Path, tmp_path: Path) -> None:
    for path in ensemble.glob("*.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "member-001.safetensors").write_bytes(b"nothing of the kind")
    before = (tmp_path / "member-000.safetensors").stat().st_mtime_ns
    train_transcoders(PLAN, store, tmp_path)
    assert_same(ensemble, tmp_path)
    assert (tmp_path / "member-000.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "jumprelu", "l1": 0.02},
        {"kind": "matryoshka", "levels": (16, 48)},
        {"basis": 0, "precision": "bfloat16"},
    ],
    ids=["jumprelu", "matryoshka", "no basis"],
)
def test_the_other_kinds_learn_too(store: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    plan = replace(PLAN, members=1, epochs=9, **changes)  # type: ignore[arg-type]
    members = load_members(train_transcoders(plan, store, tmp_path))
    assert members.results[0]["explained"] > 0.4
    found = codes(members[0], members.basis.project(ActivationStore(store).tokens([11])[0]))
    assert found.nnz / 196 == pytest.approx(members.results[0]["l0"], rel=0.3)
    assert (members[0].threshold is not None) == (plan.kind == "jumprelu")


def test_two_taps_are_read_and_written(tmp_path: Path) -> None:
    """From the embedding to itself through two names: what is written is scaled and shifted by itself."""
    mini = load_model("mini")
    data = load_dataset("phantom:train=12,val=3")
    cases = [*data.cases("train"), *data.cases("val")]
    write_activations(mini, [Part("phantom", cases)], tmp_path / "store")
    held = ActivationStore(tmp_path / "store")
    held.site = replace(held.site, tap_in="stem")  # outputs are read where the taps differ
    held._arrays = [{**a, "outputs": a["inputs"] * 3 + 1} for a in held._arrays]
    frame = transcoders.fit_frame(held, held.where("train"), PLAN)
    x, y = frame.examples(held, held.where("val"))
    assert (frame.d_in, frame.d_out) == (12, 392) and float((y**2).mean()) == pytest.approx(1, rel=0.3)
    learner = _transcoder_group.Learner(PLAN, PLAN.shape(12, 392), 0)
    member = frame.member(learner.weights, PLAN)
    read = frame.basis.project(held.tokens(held.where("val"))).reshape(-1, 12)
    made = codes(member, read) @ member.decoder + member.decoder_bias
    from whyray.training._sparse_step import encoded

    found = encoded(learner.weights, learner.shape, learner.loss, x)[0].decoded(learner.weights.decoder)
    again = (found + learner.weights.decoder_bias).numpy() * frame.out_scale + frame.out_mean
    close = np.isclose(made, again, atol=1e-3).all(1).mean()
    assert close > 0.97  # the few others chose another latent in bfloat16


def test_another_plan_or_store_is_refused(store: Path, ensemble: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="other settings"):
        train_transcoders(replace(PLAN, k=3), store, ensemble)
    with pytest.raises(DataError, match=r"0 pictures of .* 'test'.* 10 of 'train', 3 of 'val': .*--set split=train"):
        train_transcoders(replace(PLAN, split="test"), store, tmp_path / "a")
    with pytest.raises(SettingError, match="at most"):
        train_transcoders(replace(PLAN, basis=393), store, tmp_path / "b")


@pytest.fixture
def copied(store: Path, tmp_path: Path) -> Path:
    """A store that may be damaged: 8 training pictures in its first shard, 2 and the 3 of val in its second."""
    return Path(shutil.copytree(store, tmp_path / "copied"))


def damage(store: Path, shard: int) -> None:
    path = store / f"shard-{shard:05d}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def train(store: Path, out: Path, plan: TranscodersPlan = PLAN) -> list[str]:
    """What a run says beside its progress."""
    said: list[str] = []
    train_transcoders(plan, store, out, lambda done, total, item: said.append(item) if done == total == 0 else None)
    return said


def test_a_store_without_splits_is_learned_from_as_the_error_says(copied: Path, tmp_path: Path) -> None:
    for path in copied.glob("shard-*.json"):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | {"images": [row | {"split": ""} for row in facts["images"]]}))
    with pytest.raises(DataError, match=r"it has 13 without a split: take others \(--set split=\"\"\)$"):
        train_transcoders(PLAN, copied, tmp_path / "out")
    plan = plan_from({**PLAN.settings, "members": 1, "epochs": 1}, ['split=""'])
    assert len(load_members(train_transcoders(plan, copied, tmp_path / "out"))) == 1


def test_a_damaged_shard_is_named_with_what_to_do_and_left_out(copied: Path, tmp_path: Path) -> None:
    damage(copied, 1)
    said = train(copied, tmp_path / "out", replace(PLAN, members=1))
    assert len(said) == 1 and f"{copied}: shard-00001 is damaged or absent: 5 pictures are left out" in said[0]
    assert "`whyray activations`, run again" in said[0]
    assert load_members(tmp_path / "out").plan["missing_images"] == 5


def test_a_shard_that_is_lost_on_the_way_is_named_and_the_work_is_kept(
    copied: Path, store: Path, ensemble: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stop(PLAN, copied, out, monkeypatch, after=3)
    before = {path: path.read_bytes() for path in out.rglob("*.safetensors")}
    damage(copied, 1)
    said: list[str] = []
    with pytest.raises(DataError, match=r"begun with all of shard-00001 in .*`whyray activations` again") as caught:
        train_transcoders(PLAN, copied, out, lambda _done, _total, item: said.append(item))
    assert "delete" not in str(caught.value) and "shard-00001 is damaged" in said[0]
    assert {path: path.read_bytes() for path in out.rglob("*.safetensors")} == before
    shutil.copy(store / "shard-00001.safetensors", copied)
    train_transcoders(PLAN, copied, out)
    assert_same(ensemble, out)


def test_a_run_that_began_without_a_shard_goes_on_without_it_only(
    copied: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(copied, 1)
    stop(PLAN, copied, tmp_path / "out", monkeypatch, after=3)
    shutil.copy(store / "shard-00001.safetensors", copied)
    with pytest.raises(DataError, match=r"begun without shard-00001 of .*give another folder"):
        train_transcoders(PLAN, copied, tmp_path / "out")
    damage(copied, 1)
    assert len(load_members(train_transcoders(PLAN, copied, tmp_path / "out"))) == 2


def test_a_finished_ensemble_stays_as_it_is(copied: Path, ensemble: Path, tmp_path: Path) -> None:
    """Also where its store has lost a shard since; with other settings it is refused as before."""
    out = Path(shutil.copytree(ensemble, tmp_path / "out"))
    before = {path: path.stat().st_mtime_ns for path in out.glob("[!.]*.*")}
    assert train(copied, out) == []
    damage(copied, 0)
    assert len(train(copied, out)) == 1
    assert {path: path.stat().st_mtime_ns for path in out.glob("[!.]*.*")} == before
    with pytest.raises(SettingError, match="other settings"):
        train_transcoders(replace(PLAN, k=3), copied, out)


def test_the_seconds_of_an_ensemble_are_those_of_all_its_legs(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(0, 10)  # each look at the clock is ten seconds later
    monkeypatch.setattr("whyray.training._transcoder_run.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    stop(PLAN, store, tmp_path, monkeypatch, after=3)
    first = float((tmp_path / "seconds.txt").read_text())
    assert first > 0
    (tmp_path / "seconds.txt").write_text("1000.0\n")  # as if it had taken so long
    seconds = load_members(train_transcoders(PLAN, store, tmp_path)).plan["seconds"]
    assert 1000 < seconds < 1000 + 600
    (tmp_path / "member-001.safetensors").unlink()
    assert load_members(train_transcoders(PLAN, store, tmp_path)).plan["seconds"] > seconds


def test_a_killed_leg_counts_up_to_the_last_look(tmp_path: Path) -> None:
    live = {0: {"share": 0.5, "loss": 1.0, "explained": 0.5, "l0": 4.0, "dead": 0.0}}
    spent = Spent(tmp_path)
    spent.started -= 50
    assert not transcoders._watch((1, 1), tmp_path, spent, None, lambda: False)(live)
    assert 50 <= Spent(tmp_path).before <= 51 and (tmp_path / "live.tsv").exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"members": 0}, "above 0"),
        ({"l1": -1}, "0 or more"),
        ({"share": 1.2}, "share"),
        ({"k": 900}, "k <= width"),
        ({"kind": "jumprelu", "precision": "int8"}, "need precision=float32"),
    ],
)
def test_impossible_plans_are_refused(changes: dict[str, object], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        plan_from(changes)


def test_a_plan_is_read_from_a_table_of_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("[stage.transcoders]\nwidth = 96\nk = 8\n")
    assert load_plan(path, ["k=4"]) == TranscodersPlan(width=96, k=4)
    assert TranscodersPlan(width=2**14).rate == 2e-4


def test_each_member_sees_its_own_patients_whole() -> None:
    patients = np.array([f"p{i // 3}" for i in range(300)])
    first, second = (sampled(patients, PLAN, number) for number in (0, 1))
    for mine in (first, second):
        assert mine.sum() == 240 and mine.reshape(100, 3).all(1).sum() == 80
    assert (first != second).any() and (first == sampled(patients, PLAN, 0)).all()


def test_the_rate_rises_stays_and_falls() -> None:
    assert [rate(share, 0.1, 0.2) for share in (0.0, 0.5, 0.9, 1.0)] == pytest.approx([0.01, 1, 0.5, 0])
    assert rate(0.3, 0, 0) == 1


def test_a_group_stops_when_it_is_asked_to_or_its_parent_is_gone(tmp_path: Path) -> None:
    import os

    live = {0: {"share": 0.5}}
    assert not Heartbeat(tmp_path, 0, os.getppid())(live) and not Heartbeat(tmp_path, 0, None)(live)
    assert Heartbeat(tmp_path, 0, 1 << 30)(live)
    (tmp_path / "stop").touch()
    assert Heartbeat(tmp_path, 0, None)(live)


def test_a_group_that_fails_says_why(store: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="lower lr"):
        train_transcoders(replace(PLAN, lr=1e30, processes=2), store, tmp_path)


@pytest.mark.slow
def test_ray_gives_the_same_members_says_why_one_failed_and_leaves_the_signals(
    store: Path, ensemble: Path, tmp_path: Path
) -> None:
    """Two tasks on a cluster that is started here: about 15 s, nearly all of it Ray's start."""
    import signal

    from whyray.training import _transcoder_engines

    ray = pytest.importorskip("ray", reason="ray is not installed")
    before = signal.getsignal(signal.SIGTERM)
    try:
        _transcoder_engines._start(ray)
        assert signal.getsignal(signal.SIGTERM) is before
        train_transcoders(replace(PLAN, engine="ray", processes=2), store, tmp_path / "whole")
        lines = (tmp_path / "whole/live.tsv").read_text().splitlines()
        with pytest.raises(WhyrayError, match=r"group \d of the ensemble failed: .*lower lr"):
            train_transcoders(replace(PLAN, engine="ray", processes=2, lr=1e30), store, tmp_path / "failed")
    finally:
        ray.shutdown()
    assert_same(ensemble, tmp_path / "whole")
    assert [line.split("\t")[:2] for line in lines[1:]] == [["0", "1.0000"], ["1", "1.0000"]]


def test_what_keeps_ray_from_starting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    from whyray.training import _transcoder_engines

    class Ray:
        def __init__(self, ends: BaseException) -> None:
            self.ends = ends

        def init(self, **_: object) -> None:
            signal.signal(signal.SIGTERM, lambda *_: None)
            raise self.ends

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(WhyrayError, match=r"Ray did not start: The current node timed out during startup\.$"):
        _transcoder_engines._start(Ray(Exception("The current node timed out during startup.\nand more")))
    with pytest.raises(Stopped, match="run again") as caught:
        _transcoder_engines._start(Ray(SystemExit(15)))
    assert caught.value.exit_code == 143 and signal.getsignal(signal.SIGTERM) is before


def test_without_ray_the_extra_is_named(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"whyray\[ray\]"):
        train_transcoders(replace(PLAN, engine="ray"), store, tmp_path)
