"""Some members of an ensemble, trained together: each part of the data is read once and given to every one of them.

A member's result depends on the plan, the data and its number alone: neither on who trains beside it, nor on how often
the run was stopped. One thread each.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..io.weights import load_weights
from ..io.whole import disk_errors, write_whole
from ..patterns.activations import ActivationStore
from ..patterns.members import read_member, write_member
from . import checkpoints
from ._transcoder_frame import Frame, frame_from
from ._transcoder_learner import Learner, Tally
from ._transcoder_plan import TranscodersPlan, plan_from

if TYPE_CHECKING:
    from numpy.typing import NDArray

Live = dict[int, dict[str, float]]
"""member -> share of its run, loss, explained variance, L0, dead share"""
Beat = Callable[[Live], bool]
"""Called often; True = save and stop."""
MEASURED = 20_000  # held-out tokens for the figures of a member
FRAME = "learning.safetensors"


@dataclass(frozen=True)
class Job:
    """What a group is told: the run's folder (it holds the frame), the store's folder, and the plan."""

    folder: Path
    store: Path
    plan: TranscodersPlan

    def as_json(self) -> str:
        """For another process."""
        return json.dumps({"folder": str(self.folder), "store": str(self.store), "plan": self._plan()})

    def _plan(self) -> dict[str, object]:
        return {name: getattr(self.plan, name) for name in self.plan.__dataclass_fields__}


def job_from(text: str) -> Job:
    """The inverse of ``Job.as_json``."""
    found = json.loads(text)
    return Job(Path(found["folder"]), Path(found["store"]), plan_from(found["plan"]))


def train_group(job: Job, numbers: Sequence[int], beat: Beat) -> bool:
    """Train these members to the end, from their checkpoints where there are some; False where ``beat`` said stop."""
    with one_thread(), disk_errors(job.folder):
        return _Group(job, numbers, beat).to_the_end()


def finished_member(folder: Path, number: int, plan: TranscodersPlan) -> dict[str, object] | None:
    """The record (sha256, results) of a member that is finished and whole, else None."""
    try:
        found: dict[str, object] = json.loads(_record(folder, number).read_text())
        read_member(folder / f"member-{number:03d}.safetensors", plan.settings, str(found["sha256"]))
        return found
    except Exception:  # whatever is wrong with it, it is trained again
        return None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside: sums in torch depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Clock:
    """When to save: not before ``save_s``, and never more than a twentieth of the time."""

    save_s: float
    saved: float = field(default_factory=time.monotonic)
    took: float = 0.0

    def due(self) -> bool:
        return time.monotonic() - self.saved > max(self.save_s, 20 * self.took)


class _Group:
    """One process's members."""

    def __init__(self, job: Job, numbers: Sequence[int], beat: Beat) -> None:
        self.job, self.plan, self.beat = job, job.plan, beat
        self.store = ActivationStore(job.store)
        self.frame: Frame = frame_from(load_weights(job.folder / FRAME))
        self.images = self.store.where(self.plan.split)
        self.patients = np.array([self.store.images[i].patient for i in self.images])
        self.size = max(1, self.plan.part // self.store.cells)
        self.parts = -(-len(self.images) // self.size)
        self.clock = _Clock(self.plan.save_s)
        self.live: Live = {}
        self.learners = [self._learner(n) for n in numbers]

    def to_the_end(self) -> bool:
        last = self.plan.epochs * self.parts
        start = min((one.position for one in self.learners), default=last)
        for position in range(start, last):
            waiting = [one for one in self.learners if one.position == position]
            if waiting and not self._part(waiting, position):
                self._save()
                return False
            if self.clock.due():
                self._save()
        return self._finish()

    def _part(self, learners: Sequence[Learner], position: int) -> bool:
        """Give one part of the data to these members."""
        epoch, part = divmod(position, self.parts)
        order = np.random.default_rng([self.plan.seed, 1, epoch]).permutation(len(self.images))
        here = order[part * self.size : (part + 1) * self.size]
        x, y = self.frame.examples(self.store, self.images[here])
        for one in learners:
            self._learn(one, x, y, here)
            self.live[one.number] = {"share": one.position / (self.plan.epochs * self.parts), **self._figures(one)}
            if self.beat(self.live):
                return False
        return True

    def _learn(self, one: Learner, x: Tensor, y: Tensor, here: NDArray[np.int64]) -> None:
        """One member's tokens of a part, mixed, in batches of about equal size."""
        plan, total = self.plan, self.plan.epochs * self.parts
        mine = np.flatnonzero(sampled(self.patients, plan, one.number)[here])
        rng = np.random.default_rng([plan.seed, 2, one.number, one.position])
        cells = np.arange(self.store.cells)
        tokens = rng.permutation((mine[:, None] * self.store.cells + cells).ravel())
        batches = np.array_split(tokens, max(1, round(len(tokens) / plan.batch))) if len(tokens) else []
        one.tally = Tally()
        for i, batch in enumerate(batches):
            rows = torch.from_numpy(batch)
            inputs = x[rows]
            one.step(inputs, inputs if y is x else y[rows], (one.position + i / len(batches)) / total)
        one.position += 1

    def _figures(self, one: Learner) -> dict[str, float]:
        return one.tally.facts(len(one.dead) / self.plan.width)

    def _learner(self, number: int) -> Learner:
        """A new member, or one from its checkpoint."""
        one = Learner(self.plan, self.plan.shape(self.frame.d_in, self.frame.d_out), number)
        found, _ = checkpoints.load(_saved(self.job.folder, number))
        if found is not None:
            one.restore(found.tensors, found.facts)
        return one

    def _save(self) -> None:
        started = time.monotonic()
        for one in self.learners:
            checkpoints.save(_saved(self.job.folder, one.number), one.position, checkpoints.Checkpoint(*one.state()))
        self.clock.saved, self.clock.took = time.monotonic(), time.monotonic() - started

    def _finish(self) -> bool:
        """Measure and write every member."""
        x, y = self._held_out()
        for one in self.learners:
            results = one.measured(x, y)
            self.live[one.number] = {"share": 1.0, **{k: results[k] for k in ("loss", "explained", "l0", "dead")}}
            sha256 = write_member(self.job.folder, one.number, self.frame.member(one.weights, self.plan))
            record = json.dumps({"sha256": sha256, "results": results})
            write_whole(_record(self.job.folder, one.number), record.encode())
            self.beat(self.live)
        return True

    def _held_out(self) -> tuple[Tensor, Tensor]:
        """Tokens of the measuring split, evenly taken; of the training split where there is no other."""
        images = self.store.where(self.plan.measure)
        images = images if len(images) else self.images
        most = max(1, MEASURED // self.store.cells)
        return self.frame.examples(self.store, images[:: max(1, len(images) // most)][:most])


def sampled(patients: NDArray[np.str_], plan: TranscodersPlan, number: int) -> NDArray[np.bool_]:
    """Which pictures a member learns from: those of its share of the patients."""
    known = np.unique(patients)
    rng = np.random.default_rng([plan.seed, 3, number])
    mine = rng.permutation(known)[: max(1, round(plan.share * len(known)))]
    return np.isin(patients, mine)


def _saved(folder: Path, number: int) -> Path:
    return folder / "checkpoints" / f"member-{number:03d}"


def _record(folder: Path, number: int) -> Path:
    return folder / f"member-{number:03d}.json"
