"""The loop: stopped in any way and run again, it ends in the same weights."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from whyray.errors import DiskFullError, LockedError, SettingError, Stopped
from whyray.training import checkpoints
from whyray.training.lock import locked
from whyray.training.loop import LoopPlan, Task, rate, train

PLAN = LoopPlan(epochs=3, batch=4, lr=1e-2, keep="best", every=1, seed=3)
OFTEN = LoopPlan(**{**PLAN.__dict__, "save_s": 0.0})  # a checkpoint a step


class Toy(Task):
    """A net with batch norm and dropout: running statistics and torch's generator matter."""

    about: ClassVar[Mapping[str, object]] = {"toy": 1}

    def __init__(self, at: int = -1, do: Callable[[], None] = lambda: None, pause: float = 0.0) -> None:
        self.at, self.do, self.pause, self.seen = at, do, pause, 0
        self.x = torch.from_numpy(np.random.default_rng(0).normal(size=(22, 6)).astype(np.float32))

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

    def order(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(22)

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        if self.seen == self.at:
            self.do()
        self.seen += 1
        time.sleep(self.pause)
        noise = float(np.random.rand()) + random.random()  # the global generators count as state too
        return ((module(self.x[examples]) - self.x[examples].sum(1, keepdim=True)) ** 2).mean() * (1 + 0.1 * noise)

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        check()
        with torch.no_grad():
            return {"score": -float((module(self.x) - self.x.sum(1, keepdim=True)).square().mean())}


def digest(weights: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(b"".join(weights[k].numpy().tobytes() for k in sorted(weights))).hexdigest()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the weights of an uninterrupted run; how often it saves makes no difference."""
    return digest(train(Toy(), PLAN, tmp_path_factory.mktemp("straight")).weights)


def test_another_seed_gives_other_weights(straight: str, tmp_path: Path) -> None:
    other = LoopPlan(**{**PLAN.__dict__, "seed": 4})
    assert digest(train(Toy(), other, tmp_path).weights) != straight


@pytest.mark.parametrize("step", (0, 4, 7, 14))
def test_interrupted_at_any_step_and_resumed_equals_straight_through(step: int, tmp_path: Path, straight: str) -> None:
    stopper = Toy(step, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Stopped, match="run again") as error:
        train(stopper, PLAN, tmp_path)
    assert error.value.exit_code == 130
    rest = Toy()
    result = train(rest, PLAN, tmp_path)
    assert digest(result.weights) == straight
    assert stopper.seen + rest.seen == 15, "no step was done twice"
    assert [h["epoch"] for h in result.history] == [1, 2, 3]


def test_sigterm_ends_with_143(tmp_path: Path) -> None:
    with pytest.raises(Stopped) as error:
        train(Toy(2, lambda: signal.raise_signal(signal.SIGTERM)), PLAN, tmp_path)
    assert error.value.exit_code == 143


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            train(Toy(2, twice), PLAN, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


CHILD = """
import sys
from itertools import pairwise
from pathlib import Path
from typing import ClassVar
sys.path.insert(0, {tests!r})
from test_loop import OFTEN, Toy, digest
from whyray.training.loop import train
print(digest(train(Toy(pause=0.02), OFTEN, Path({folder!r})).weights))
"""


def child(folder: Path) -> subprocess.Popen[str]:
    code = CHILD.format(tests=str(Path(__file__).parent), folder=str(folder))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_killed_and_run_again_equals_straight_through(tmp_path: Path) -> None:
    """SIGKILL at random moments of a run in a process of its own, until it ends by itself."""
    rng, kills = random.Random(0), 0
    for _ in range(2):
        process = child(tmp_path / "killed")
        limit = time.monotonic() + 60
        start = len(list((tmp_path / "killed/checkpoints").glob("*.json")))
        while process.poll() is None and time.monotonic() < limit:
            if start or (tmp_path / "killed/checkpoints/latest.json").exists():
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.15))
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
    end = child(tmp_path / "killed").communicate()[0].strip()
    whole = child(tmp_path / "whole").communicate()[0].strip()  # the same process settings: threads change the bits
    assert kills >= 1 and end == whole and end


@pytest.mark.parametrize("harm", ["truncate", "zero", "flip", "delete", "facts", "pointer", "folder"])
def test_a_damaged_checkpoint_is_noticed_and_the_earlier_one_used(harm: str, tmp_path: Path, straight: str) -> None:
    with pytest.raises(Stopped):
        train(Toy(8, lambda: signal.raise_signal(signal.SIGINT)), OFTEN, tmp_path)
    folder = tmp_path / "checkpoints"
    newest = sorted(folder.glob("*.safetensors"))[-1]
    data = newest.read_bytes()
    if harm == "truncate":
        newest.write_bytes(data[: len(data) // 2])
    elif harm == "zero":
        newest.write_bytes(bytes(len(data)))
    elif harm == "flip":
        newest.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif harm == "delete":
        newest.unlink()
    elif harm == "facts":
        card = newest.with_suffix(".json")
        card.write_text(card.read_text().replace('\\"epoch\\": 1', '\\"epoch\\": 2'))
    elif harm == "pointer":
        (folder / "latest.json").write_text("{")
    else:
        newest.unlink()
        newest.mkdir()
    said: list[str] = []
    result = train(Toy(), OFTEN, tmp_path, lambda done, total, facts: said.append(facts))
    assert digest(result.weights) == straight
    assert any("damaged" in line for line in said) == (harm != "pointer")


def test_two_checkpoints_are_kept_and_nothing_half_written(tmp_path: Path) -> None:
    train(Toy(), OFTEN, tmp_path)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["latest.json", *(f"step-000000{s}.{e}" for s in (14, 15) for e in ("json", "safetensors"))]
    assert json.loads((tmp_path / "checkpoints/latest.json").read_text()) == {"checkpoint": "step-00000015"}


def test_a_finished_run_ends_at_once(tmp_path: Path, straight: str) -> None:
    train(Toy(), PLAN, tmp_path)
    again = Toy()
    assert digest(train(again, PLAN, tmp_path).weights) == straight and again.seen == 0


def test_another_plan_in_the_folder_is_refused(tmp_path: Path) -> None:
    train(Toy(), PLAN, tmp_path)
    with pytest.raises(SettingError, match="another folder"):
        train(Toy(), LoopPlan(epochs=3, batch=4, lr=2e-2), tmp_path)


def test_a_locked_folder_is_refused_with_its_holder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(LockedError, match=f"process {os.getpid()} since"):
        train(Toy(), PLAN, tmp_path)
    train(Toy(), PLAN, tmp_path)  # the lock is gone with its holder


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_whole", full)
    with pytest.raises(DiskFullError, match="no room left"):
        train(Toy(), PLAN, tmp_path)


def test_global_state_is_left_as_found(tmp_path: Path) -> None:
    def found() -> tuple[object, ...]:
        numpy_state = np.random.get_state(legacy=True)[1]
        return torch.get_rng_state().tolist(), list(numpy_state), random.getstate(), signal.getsignal(signal.SIGINT)

    before = found()
    train(Toy(), PLAN, tmp_path)
    assert found() == before


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    class Broken(Toy):
        def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
            return super().loss(module, examples, epoch) * float("nan")

    with pytest.raises(SettingError, match="lower lr"):
        train(Broken(), PLAN, tmp_path)


def test_rate_rises_and_falls() -> None:
    rates = [rate(s, 100, 0.2) for s in range(101)]
    assert rates[0] == pytest.approx(0.05) and max(rates) == pytest.approx(rates[20]) == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.001) and all(a >= b for a, b in pairwise(rates[20:]))


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"lr": 0.0}, {"ema": 1.0}, {"warmup": -0.1}, {"batch": -1}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        LoopPlan(**wrong)  # type: ignore[arg-type]


class Pictures(Toy):
    """A convolution in channels-last layout, as the classifiers have it."""

    def build(self) -> nn.Module:
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))
        return layers.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        if self.seen == self.at:
            self.do()
        self.seen += 1
        x = self.x[examples].repeat(1, 8).reshape(-1, 3, 4, 4)
        return (module(x) - self.x[examples].sum(1, keepdim=True)).square().mean()

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        return {}


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_moments_of_a_convolution_come_back_in_its_layout(optimiser: str, tmp_path: Path) -> None:
    often = replace(OFTEN, optimiser=optimiser)
    straight = train(Pictures(), often, tmp_path / "a")

    def stop() -> None:
        raise Stopped("here")

    with pytest.raises(Stopped):
        train(Pictures(at=7, do=stop), often, tmp_path / "b")
    resumed = train(Pictures(), often, tmp_path / "b")
    assert all(torch.equal(straight.weights[k], resumed.weights[k]) for k in straight.weights)


@pytest.mark.parametrize(
    ("scores", "kept"), [("nan .5 .9", 2), (".5 nan .4", 0), ("nan nan .1", 2), ("nan nan nan", 2), (".2 .2 .1", 0)]
)
def test_an_undefined_score_is_never_the_best(scores: str, kept: int, tmp_path: Path) -> None:
    given, seen = iter(map(float, scores.split())), []

    class Scored(Toy):
        def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
            seen.append(digest(module.state_dict()))
            return {"auc": next(given)}

    assert digest(train(Scored(), PLAN, tmp_path).weights) == seen[kept] and len(set(seen)) == 3
