"""Train an ensemble of transcoders on stored activations (after CXR-LanIC, arXiv 2510.21464)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SettingError, Stopped
from ..io.weights import load_weights, save_weights
from ..io.whole import disk_errors
from ..patterns.activations import ActivationStore
from ..patterns.lacking import left_out, of_split
from ..patterns.members import write_ensemble
from ..types import Report
from ._signals import Signals
from ._transcoder_engines import run_groups
from ._transcoder_frame import Frame, fit_frame, frame_from
from ._transcoder_group import FRAME, Job, Live, finished_member, one_thread
from ._transcoder_plan import TranscodersPlan, load_plan, plan_from
from ._transcoder_run import Spent, held_run, is_finished, require_shards, write_run
from .lock import locked

__all__ = ["TranscodersPlan", "load_plan", "plan_from", "train_transcoders"]
TABLE = "live.tsv"
COLUMNS = ("loss", "explained", "l0", "dead")


def train_transcoders(plan: TranscodersPlan, activations: Path, out: Path, report: Report | None = None) -> Path:
    """Train every member and write the ensemble into ``out``, which ``load_members`` takes; returns ``out``.

    Run again after a stop, it goes on where it was; a finished ensemble stays as it is. ``out/live.tsv`` has one line a
    member while it runs. Raises SettingError where ``out`` holds another run or a loss diverges, DataError where no
    picture is in the plan's split or a shard was lost since the run began, LockedError, DiskFullError, Stopped.
    """
    with locked(out), disk_errors(out), Signals() as signals:
        store, spent = ActivationStore(activations), Spent(out)
        for trouble in left_out(store) if report else ():
            report(0, 0, trouble)  # type: ignore[misc]
        held = held_run(out, plan, store)
        if held and is_finished(out, plan):
            _drop_checkpoints(out, range(plan.members))
            return out
        frame = _resumed(held, store, out) if held else _begin(plan, store, out)
        missing = [n for n in range(plan.members) if finished_member(out, n, plan) is None]
        watch = _watch((plan.members, len(missing)), out, spent, report, lambda: signals.caught is not None)
        try:
            whole = not missing or run_groups(Job(out.resolve(), activations.resolve(), plan), missing, watch)
        finally:
            spent.keep()
        if not whole:
            error = Stopped("stopped; run again to go on from there")
            error.exit_code = 128 + (signals.caught or 2)
            raise error
        return _finished(plan, store, frame, out, spent.seconds)


def _begin(plan: TranscodersPlan, store: ActivationStore, out: Path) -> Frame:
    """Fit the frame of a new run, and write it. Raises DataError where there are no pictures."""
    images = of_split(store, plan.split)
    if plan.basis > store.site.d_in:
        raise SettingError(f"basis={plan.basis} came, and a token has {store.site.d_in} numbers; give at most that")
    with one_thread():
        frame = fit_frame(store, images, plan)
    save_weights(out / FRAME, frame.tensors)
    write_run(out, plan, store)
    return frame


def _resumed(held: Mapping[str, Any], store: ActivationStore, out: Path) -> Frame:
    """The frame of the run that was begun here. Raises DataError where shards are missing."""
    require_shards(out, held, store)
    return frame_from(load_weights(out / FRAME))


def _watch(
    counts: tuple[int, int], out: Path, spent: Spent, report: Report | None, stop: Callable[[], bool]
) -> Callable[[Live], bool]:
    """Writes the live table at most once a second, reports its medians, and says when to stop.

    counts  members, and those that are trained now.
    """
    (members, missing), last = counts, 0.0

    def watch(live: Live) -> bool:
        nonlocal last
        done = sum(facts["share"] for facts in live.values())
        if live and (time.monotonic() - last > 1 or done >= missing):
            last = time.monotonic()
            (out / TABLE).write_text(live_table(live))
            spent.keep()
            if report is not None:
                report(round(100 * (members - missing + done)), 100 * members, medians(live))
        return stop()

    return watch


def live_table(live: Mapping[int, Mapping[str, float]]) -> str:
    """One line a member, tab-separated: share of its run, loss, explained variance, L0 and dead share of latents."""
    lines = ["\t".join(("member", "share", *COLUMNS))]
    for number, facts in sorted(live.items()):
        lines.append("\t".join((str(number), *(f"{facts[c]:.4f}" for c in ("share", *COLUMNS)))))
    return "\n".join(lines) + "\n"


def medians(live: Mapping[int, Mapping[str, float]]) -> str:
    """The medians over members in one line."""
    middle = {c: statistics.median(facts[c] for facts in live.values()) for c in COLUMNS}
    return (
        f"loss {middle['loss']:.3f} explained {middle['explained']:.3f} L0 {middle['l0']:.1f} dead {middle['dead']:.3f}"
    )


def _finished(plan: TranscodersPlan, store: ActivationStore, frame: Frame, out: Path, seconds: float) -> Path:
    """Declare the members an ensemble; their checkpoints go."""
    records: list[Mapping[str, Any]] = []
    for number in range(plan.members):
        record = finished_member(out, number, plan)
        if record is None:
            raise SettingError(f"member {number} in {out} was damaged meanwhile; run again, and it is trained again")
        records.append(record)
    write_ensemble(
        out,
        fingerprint=store.fingerprint,
        site=store.site,
        basis=frame.basis,
        plan={"name": plan.name, **plan.settings, "seconds": round(seconds, 1), "missing_images": store.missing},
        members=records,
    )
    _drop_checkpoints(out, range(plan.members))
    return out


def _drop_checkpoints(out: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        folder = out / "checkpoints" / f"member-{number:03d}"
        for path in folder.glob("*"):
            path.unlink()
        if folder.is_dir():
            folder.rmdir()
