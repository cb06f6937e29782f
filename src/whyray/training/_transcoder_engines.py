"""Members spread over this process, several processes, or a Ray cluster; groups speak through files in the folder.

live/group-0.json   figures of its members, written often
live/stop           asks every group to save and stop
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, Stopped, WhyrayError
from ._transcoder_group import Job, Live, job_from, train_group

Watch = Callable[[Live], bool]
"""Called with the figures of all members; True = stop."""
PERIOD = 1.0  # seconds between looks
STOP = "stop"


def run_groups(job: Job, numbers: Sequence[int], watch: Watch) -> bool:
    """Train these members as ``job.plan`` spreads them; False where ``watch`` said stop. Raises what a group raised."""
    count = min(job.plan.processes, len(numbers))
    if job.plan.engine == "local" and count <= 1:
        return train_group(job, numbers, watch)
    folder = job.folder / "live"
    folder.mkdir(exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    groups = [list(numbers[i::count]) for i in range(count)]
    running = _on_ray(job, groups) if job.plan.engine == "ray" else _Processes(job, groups)
    try:
        while not running.done():
            time.sleep(PERIOD)
            if watch(_live(folder)):
                (folder / STOP).touch()
        watch(_live(folder))
        return running.outcome()
    finally:
        running.end()


class Heartbeat:
    """What a group calls in another process: writes its figures, and asks whether to stop."""

    def __init__(self, folder: Path, group: int, parent: int | None) -> None:
        self.folder, self.path, self.parent = folder, folder / f"group-{group}.json", parent
        self.last = 0.0

    def __call__(self, live: Live) -> bool:
        if time.monotonic() - self.last > PERIOD or all(facts["share"] >= 1 for facts in live.values()):
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(live))
            part.replace(self.path)
            self.last = time.monotonic()
        orphaned = self.parent is not None and os.getppid() != self.parent
        return orphaned or (self.folder / STOP).exists()


class _Processes:
    """One child a group, each with one thread."""

    def __init__(self, job: Job, groups: Sequence[Sequence[int]]) -> None:
        self.folder = job.folder / "live"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.children = []
        for i, numbers in enumerate(groups):
            task = json.dumps({"job": job.as_json(), "numbers": list(numbers), "group": i, "parent": os.getpid()})
            with open(self.folder / f"group-{i}.log", "wb") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", __name__, task],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches the parent alone, which asks them to save
                )
            self.children.append(child)

    def done(self) -> bool:
        codes = [child.poll() for child in self.children]
        if any(codes):  # one failed: the others save and stop
            (self.folder / STOP).touch()
        return None not in codes

    def outcome(self) -> bool:
        for i, child in enumerate(self.children):
            if child.returncode not in (0, STOPPED):
                said = (self.folder / f"group-{i}.log").read_text(errors="replace").strip().splitlines()
                raise WhyrayError(f"group {i} of the ensemble failed: {said[-1] if said else 'it was killed'}")
        return all(child.returncode == 0 for child in self.children)

    def end(self) -> None:
        for child in self.children:
            if child.poll() is None:
                (self.folder / STOP).touch()
                child.wait()


class _Tasks:
    """One Ray task a group; the run's folder and the store are on a disk that every node sees."""

    def __init__(self, ray: Any, job: Job, groups: Sequence[Sequence[int]]) -> None:
        self.ray, self.folder = ray, job.folder / "live"
        task = ray.remote(num_cpus=1)(train_elsewhere)
        refs = [task.remote(job.as_json(), list(numbers), i, None) for i, numbers in enumerate(groups)]
        self.groups = {ref: i for i, ref in enumerate(refs)}
        self.waiting = refs
        self.whole: list[bool] = []
        self.failures: list[str] = []

    def done(self) -> bool:
        ready, self.waiting = self.ray.wait(self.waiting, num_returns=len(self.waiting), timeout=0)
        for ref in ready:
            try:
                self.whole.append(self.ray.get(ref))
            except self.ray.exceptions.RayError as error:  # the others save and stop
                said = str(getattr(error, "cause", None) or error).strip().splitlines() or [repr(error)]
                self.failures.append(f"group {self.groups[ref]} of the ensemble failed: {said[-1]}")
                (self.folder / STOP).touch()
        return not self.waiting

    def outcome(self) -> bool:
        if self.failures:
            raise WhyrayError(self.failures[0])
        return all(self.whole)

    def end(self) -> None:
        if self.waiting:
            (self.folder / STOP).touch()
            self.ray.wait(self.waiting, num_returns=len(self.waiting))


def _on_ray(job: Job, groups: Sequence[Sequence[int]]) -> _Tasks:
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "spreading members over a cluster", "ray") from None
    if not ray.is_initialized():
        _start(ray)
    return _Tasks(ray, job, groups)


def _start(ray: Any) -> None:
    """Join the cluster of ``RAY_ADDRESS``, or start one here. Ray takes SIGTERM for itself; it is given back."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, include_dashboard=None if os.environ.get("RAY_ADDRESS") else False)
    except SystemExit:  # Ray's own answer to SIGTERM, while it starts
        stopped = Stopped("stopped; run again to go on from there")
        stopped.exit_code = 128 + signal.SIGTERM
        raise stopped from None
    except Exception as error:  # Ray raises bare ones
        said = str(error).strip().splitlines()
        raise WhyrayError(f"Ray did not start: {said[0] if said else repr(error)}") from error
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)


def train_elsewhere(job: str, numbers: list[int], group: int, parent: int | None) -> bool:
    """What a child or a Ray task runs: one group to its end; False where it was asked to stop."""
    found = job_from(job)
    return train_group(found, numbers, Heartbeat(found.folder / "live", group, parent))


def _live(folder: Path) -> Live:
    found: Live = {}
    for path in folder.glob("group-*.json"):
        found |= {int(number): facts for number, facts in json.loads(path.read_text()).items()}
    return found


STOPPED = 3


def main() -> None:
    """A child process: its task is the one argument."""
    task = json.loads(sys.argv[1])
    try:
        whole = train_elsewhere(task["job"], task["numbers"], task["group"], task["parent"])
    except WhyrayError as error:
        raise SystemExit(f"{error}") from None
    raise SystemExit(0 if whole else STOPPED)


if __name__ == "__main__":
    main()
