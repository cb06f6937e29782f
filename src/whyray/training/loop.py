"""The one training loop: resumable, interruptible, the same result whether it was stopped or not.

A ``Task`` says what to train and on what; ``train`` runs it. Everything random comes from (seed, epoch, position), or
from generators whose state is in the checkpoint: resuming equals running straight through, bit for bit on one CPU.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SettingError, Stopped
from ..types import Report
from . import checkpoints
from ._signals import Signals
from ._state import State, isolated_rng
from .lock import locked

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LoopPlan:
    """How to train, whatever is trained.

    lr          highest rate: it rises over the share ``warmup`` of the steps, then falls as a cosine to lr / 1000.
    weight_decay on tensors of two dimensions and more; biases and norms are left alone.
    ema         decay of the moving average of the weights (what is validated and kept); 0 = none.
    clip        largest norm of the gradient.
    optimiser   "muon" = kernels of convolutions step by muon.py's rule, all else by AdamW's.
    precision   "bfloat16" = autocast; validation and the shipped weights stay float32.
    keep        "best" = the epoch with the best first number of ``Task.validate`` (NaN is below any; the last one
                where all are); "last" = the end of the run.
    every       epochs between validations.
    save_s      seconds between checkpoints: what ``kill -9`` may cost.
    """

    epochs: int = 10
    batch: int = 32
    lr: float = 1e-3
    warmup: float = 0.15
    weight_decay: float = 0.05
    ema: float = 0.99
    clip: float = 1.0
    optimiser: Literal["adamw", "muon"] = "adamw"
    precision: Literal["float32", "bfloat16"] = "float32"
    keep: Literal["best", "last"] = "last"
    every: int = 1
    save_s: float = 60.0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "lr", "clip", "every"):
            if not getattr(self, name) > 0:
                raise SettingError(f"{name}={getattr(self, name)} came; give a number above 0")
        for name in ("warmup", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)} came; give a number from 0 to below 1")


class Task(ABC):
    """What is trained, and on what.

    about  plain JSON that decides the result (data, architecture, settings): a checkpoint of another one is refused.
    """

    about: Mapping[str, Any]

    @abstractmethod
    def build(self) -> nn.Module:
        """The module to train; its random weights come from torch's generator, which is seeded here."""

    @abstractmethod
    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Examples of one epoch, in order ``[n]``; from ``rng`` only. The length is the same in every epoch."""

    @abstractmethod
    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Scalar loss of one batch."""

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """Numbers on the validation split, higher = better, the first one decides; call ``check`` between batches."""
        return {}


@dataclass(frozen=True)
class Trained:
    """The kept weights (the average, where there is one) by name, and one record a validated epoch."""

    weights: Mapping[str, Tensor]
    history: tuple[Mapping[str, float], ...]
    seconds: float


@dataclass
class _Clock:
    """Wall time and speed of this process; ``before`` = seconds of earlier ones."""

    before: float = 0.0
    start: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    images: int = 0

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def speed(self) -> float:
        return self.images / max(1e-9, time.monotonic() - self.start)


def train(task: Task, plan: LoopPlan, folder: Path, report: Report | None = None) -> Trained:
    """Train to the end, from the last checkpoint in ``folder`` where there is one.

    SIGINT and SIGTERM save and raise Stopped. Raises LockedError, DiskFullError, and SettingError where ``folder``
    holds another run. Global random state, signal handlers and threads are left as found.
    """
    with locked(folder), isolated_rng(plan.seed), Signals() as signals:
        run = _Run(task, plan, folder, report or (lambda _done, _total, _facts: None), signals)
        return run.to_the_end()


class _Run:
    """One process's part of a training run."""

    def __init__(self, task: Task, plan: LoopPlan, folder: Path, report: Report, signals: Signals) -> None:
        self.task, self.plan, self.report, self.signals = task, plan, report, signals
        self.folder = folder / "checkpoints"
        self.config = hashlib.sha256(json.dumps([asdict(plan), task.about], sort_keys=True).encode()).hexdigest()
        self.state = State(
            task.build().to(plan.device), plan.lr, plan.weight_decay, averaged=plan.ema > 0, optimiser=plan.optimiser
        )
        self.clock = _Clock()
        self._resume()

    def to_the_end(self) -> Trained:
        state = self.state
        while state.epoch < self.plan.epochs:
            self._epoch()
        if state.dirty:
            self._save()
        kept = state.best if self.plan.keep == "best" and state.best else state.kept()
        return Trained({k: v.detach().cpu().clone() for k, v in kept.items()}, tuple(state.history), state.seconds)

    def _resume(self) -> None:
        found, troubles = checkpoints.load(self.folder)
        for trouble in troubles:
            self.report(0, 0, trouble)
        if found is None:
            return
        if found.facts.get("config") != self.config:
            raise SettingError(
                f"{self.folder.parent} holds a run with other settings or data; give another folder, or delete this one"
            )
        self.state.restore(found)
        self.clock.before = self.state.seconds
        self.report(0, 0, f"resumed at epoch {self.state.epoch + 1}, step {self.state.total}")

    def _epoch(self) -> None:
        state, plan = self.state, self.plan
        order = self.task.order(state.epoch, np.random.default_rng([plan.seed, 1, state.epoch]))
        batches = max(1, len(order) // plan.batch)  # a smaller rest would be a noisier step: it is left out
        while state.step < batches:
            self._step(order[state.step * plan.batch : (state.step + 1) * plan.batch].tolist(), batches)
            self._maybe_save()
        if (state.epoch + 1) % plan.every == 0 or state.epoch + 1 == plan.epochs:
            self._validate(batches)
        state.epoch, state.step, state.loss = state.epoch + 1, 0, 0.0
        state.dirty = True

    def _step(self, examples: list[int], batches: int) -> None:
        state, plan = self.state, self.plan
        state.module.train()
        state.set_rate(plan.lr * rate(state.total, batches * plan.epochs, plan.warmup))
        with torch.autocast(plan.device.split(":")[0], torch.bfloat16, enabled=plan.precision == "bfloat16"):
            loss = self.task.loss(state.module, examples, state.epoch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise SettingError(f"the loss is {value} at step {state.total}; lower lr={plan.lr} or clip={plan.clip}")
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.module.parameters(), plan.clip)
        state.advance(plan.ema)
        state.loss += (value - state.loss) / state.step
        self.clock.images += len(examples)
        self.report(state.total, batches * plan.epochs, self._facts())

    def _validate(self, batches: int) -> None:
        state = self.state
        module = state.kept_module().eval()
        numbers = dict(self.task.validate(module, self._maybe_save))
        record = {"epoch": float(state.epoch + 1), "loss": state.loss, **numbers}
        state.history.append(record)
        score = next(iter(numbers.values()), -math.inf)
        score = -math.inf if math.isnan(score) else score  # undefined is below any number, and a later one of the same
        if self.plan.keep == "best" and numbers and (score > state.best_score or not math.isfinite(state.best_score)):
            state.best_score, state.best = score, {k: v.clone() for k, v in state.kept().items()}
        self.report(state.total, batches * self.plan.epochs, self._facts())

    def _facts(self) -> str:
        state, speed = self.state, self.clock.speed()
        last = state.history[-1] if state.history else {}
        numbers = " ".join(f"{k} {v:.3f}" for k, v in last.items() if k not in ("epoch", "loss"))
        where = f"epoch {min(state.epoch + 1, self.plan.epochs)}/{self.plan.epochs}"
        return " ".join(part for part in (where, f"loss {state.loss:.4f}", numbers, f"{speed:.0f} images/s") if part)

    def _maybe_save(self) -> None:
        """Save when it is time, or when asked to stop. Between steps and between validation batches only."""
        stop = self.signals.caught
        if stop is None and time.monotonic() - self.clock.saved < self.plan.save_s:
            return
        if self.state.dirty:
            self._save()
        if stop is not None:
            where = f"epoch {self.state.epoch + 1}, step {self.state.total}"
            error = Stopped(f"stopped at {where}; run again to go on from there")
            error.exit_code = 128 + stop
            raise error

    def _save(self) -> None:
        self.state.seconds = self.clock.seconds()
        checkpoints.save(self.folder, self.state.total, self.state.checkpoint(self.config))
        self.state.dirty, self.clock.saved = False, time.monotonic()


def rate(step: int, steps: int, warmup: float) -> float:
    """Share of the highest learning rate at a step: a line up from 1/20, then half a cosine down to 1/1000."""
    rise = warmup * steps
    if step < rise:
        return 0.05 + 0.95 * step / rise
    along = min(1.0, (step - rise) / max(1.0, steps - rise))
    return 0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * along))
