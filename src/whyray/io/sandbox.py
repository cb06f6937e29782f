"""Runs one of whyray's own modules in a child: no network where the system allows it, limits, an empty environment."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from ..errors import WeightsError

MEMORY, CPU_S, FILE = 8 << 30, 120, 4 << 30


def run_module(module: str, arguments: Sequence[str | os.PathLike[str]], *, timeout_s: float = 180) -> str:
    """What ``python -m module arguments`` writes in the sandbox. Raises WeightsError with what the child said."""
    command = [*_without_network(), sys.executable, "-I", "-B", "-m", module, *(os.fspath(a) for a in arguments)]
    try:
        done = subprocess.run(
            command,
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            preexec_fn=_limit,
        )
    except subprocess.TimeoutExpired:
        raise WeightsError("reading the file took too long; it is refused") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"the reader ended with {done.returncode}"]
        raise WeightsError(said[0][:300])
    return done.stdout


@cache
def _without_network() -> tuple[str, ...]:
    """``unshare`` with a network namespace of its own, where this system permits it."""
    tool = shutil.which("unshare")
    if tool is None:
        return ()
    allowed = subprocess.run([tool, "-rn", "true"], capture_output=True, check=False).returncode == 0
    return (tool, "-rn") if allowed else ()


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
