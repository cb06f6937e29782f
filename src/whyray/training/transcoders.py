"""Train an ensemble of transcoders on stored activations (after CXR-LanIC, arXiv 2510.21464)."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, SettingError, Stopped
from ..io.weights import load_weights, save_weights
from ..io.whole import disk_errors, write_whole
from ..patterns.activations import ActivationStore
from ..patterns.members import write_ensemble
from ..types import Report
from ._signals import Signals
from ._transcoder_engines import run_groups
from ._transcoder_frame import Frame, fit_frame, frame_from
from ._transcoder_group import FRAME, Job, Live, finished_member, one_thread
from ._transcoder_plan import TranscodersPlan, load_plan, plan_from
from .lock import locked

__all__ = ["TranscodersPlan", "load_plan", "plan_from", "train_transcoders"]
RUN, TABLE = "run.json", "live.tsv"
COLUMNS = ("loss", "explained", "l0", "dead")


def train_transcoders(plan: TranscodersPlan, activations: Path, out: Path, report: Report | None = None) -> Path:
    """Train every member and write the ensemble into ``out``, which ``load_members`` takes; returns ``out``.

    Run again after a stop, it goes on where it was. ``out/live.tsv`` has one line a member while it runs. Raises
    SettingError where ``out`` holds another run or a loss diverges, DataError where no picture is in the plan's split,
    LockedError, DiskFullError, Stopped.
    """
    started = time.monotonic()
    with locked(out), disk_errors(out), Signals() as signals:
        store = ActivationStore(activations)
        frame = _begin(plan, store, out)
        for trouble in store.troubles if report else ():
            report(0, 0, trouble)  # type: ignore[misc]
        missing = [n for n in range(plan.members) if finished_member(out, n, plan) is None]
        watch = _watch(plan.members, len(missing), out, report, lambda: signals.caught is not None)
        if missing and not run_groups(Job(out.resolve(), activations.resolve(), plan), missing, watch):
            error = Stopped("stopped; run again to go on from there")
            error.exit_code = 128 + (signals.caught or 2)
            raise error
        return _finished(plan, store, frame, out, time.monotonic() - started)


def _begin(plan: TranscodersPlan, store: ActivationStore, out: Path) -> Frame:
    """The frame of this run; a new one is fitted and written. Raises SettingError where ``out`` holds another run."""
    images = store.where(plan.split)
    if not len(images):
        splits = ", ".join(sorted({image.split for image in store.images}))
        raise DataError(f"{store.folder} has no pictures of the split {plan.split!r}, only of: {splits}")
    if plan.basis > store.site.d_in:
        raise SettingError(f"basis={plan.basis} came, and a token has {store.site.d_in} numbers; give at most that")
    about = [plan.settings, store.facts["fingerprint"], store.site.facts, store.facts["cases"], len(store)]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    if (out / RUN).exists():
        if json.loads((out / RUN).read_text())["key"] != key:
            raise SettingError(
                f"{out} holds a run with other settings or data; give another folder, or delete this one"
            )
        return frame_from(load_weights(out / FRAME))
    with one_thread():
        frame = fit_frame(store, images, plan)
    save_weights(out / FRAME, frame.tensors)
    write_whole(out / RUN, (json.dumps({"key": key, "plan": plan.settings}, indent=1) + "\n").encode())
    return frame


def _watch(
    members: int, missing: int, out: Path, report: Report | None, stop: Callable[[], bool]
) -> Callable[[Live], bool]:
    """Writes the live table at most once a second, reports its medians, and says when to stop."""
    last = 0.0

    def watch(live: Live) -> bool:
        nonlocal last
        done = sum(facts["share"] for facts in live.values())
        if live and (time.monotonic() - last > 1 or done >= missing):
            last = time.monotonic()
            (out / TABLE).write_text(live_table(live))
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
