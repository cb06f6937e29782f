"""Codecs at arm's length: one decoder process, with limits on time and memory, that may die without harm.

The process is started by the first compressed picture (0.1 s), serves the following ones, and is replaced when it dies
or takes too long. It imports neither torch nor whyray.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .limits import limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATIENCE = 3  # wall-clock seconds a second of processor time may take: a busy machine must not refuse good files
REQUESTS_A_PROCESS = 64  # then a fresh one: what a codec leaks or spoils does not pile up


class DecodeFailed(Exception):
    """``reason``: "incomplete", "damaged", "unsupported", "memory", "time", "crash" or "missing"."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def decode(codec: str, body: bytes, **options: str | int | None) -> NDArray[Any]:
    """Samples ``[h, w]`` or ``[h, w, samples]`` of one codestream, decoded in the child process.

    codec  "jpeg" (8, 12, 16 bits, lossless), "jpegls", "jpeg2k" (HTJ2K too), "rle", "tiff" or "png".
    Raises DecodeFailed, and nothing else, whatever the codec does.
    """
    now = limits()
    wall = PATIENCE * now.seconds
    head = {"codec": codec, "seconds": now.seconds, "wall": wall, "memory": now.memory_bytes, **options}
    with _LOCK:
        return _CHILD.ask(head, body, time.monotonic() + wall)


class _Child:
    """The process and its two pipes; every method runs under ``_LOCK``."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0
        self.served = 0

    def ask(self, head: dict[str, Any], body: bytes, deadline: float) -> NDArray[Any]:
        text = json.dumps(head).encode()
        process = self.ready()
        try:
            _send(process, struct.pack("<II", len(text), len(body)) + text, deadline)
            _send(process, body, deadline)
            answer_length, pixel_length = struct.unpack("<II", _receive(process, 8, deadline))
            if answer_length > 4096 or pixel_length > limits().plain_bytes:
                raise DecodeFailed("memory")
            answer = json.loads(_receive(process, answer_length, deadline))
            pixels = _receive(process, pixel_length, deadline)
        except BaseException as error:
            out_of_time = self.died_of(signal.SIGXCPU)
            self.stop()
            if out_of_time:
                raise DecodeFailed("time") from None
            if isinstance(error, OSError | ValueError | struct.error):
                raise DecodeFailed("crash") from None
            raise
        if "reason" in answer:
            raise DecodeFailed(str(answer["reason"]))
        return np.frombuffer(pixels, np.dtype(answer["dtype"])).reshape(answer["shape"])

    def ready(self) -> subprocess.Popen[bytes]:
        """A live process of this very process (a fork must not share one)."""
        if self.process and self.owner != os.getpid():
            self.process = None
        if self.process and (self.process.poll() is not None or self.served >= REQUESTS_A_PROCESS):
            self.stop()
        if self.process is None:
            self.process, self.owner, self.served = _started(), os.getpid(), 0
        self.served += 1
        return self.process

    def died_of(self, number: int) -> bool:
        """Whether this signal has ended the process."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process is not None and self.process.wait(0.1) == -number
        return False

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is None or self.owner != os.getpid():
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        process.wait()


def _started() -> subprocess.Popen[bytes]:
    home = str(Path(np.__file__).parents[1])
    other = sorted({p for p in sys.path if p.endswith(("site-packages", "dist-packages"))} - {home})
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("child_main.py")), json.dumps([home, *other])]
    bare = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
    bare |= {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    process = subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env=bare, cwd="/"
    )
    assert process.stdin and process.stdout
    os.set_blocking(process.stdin.fileno(), False)
    return process


def _send(process: subprocess.Popen[bytes], data: bytes, deadline: float) -> None:
    assert process.stdin
    handle, view = process.stdin.fileno(), memoryview(data)
    while len(view):
        _wait([], [handle], deadline)
        view = view[os.write(handle, view[: 1 << 20]) :]


def _receive(process: subprocess.Popen[bytes], count: int, deadline: float) -> bytearray:
    assert process.stdout
    handle, data = process.stdout.fileno(), bytearray()
    while len(data) < count:
        _wait([handle], [], deadline)
        part = os.read(handle, min(count - len(data), 1 << 20))
        if not part:
            raise DecodeFailed("crash")
        data += part
    return data


def _wait(readable: list[int], writable: list[int], deadline: float) -> None:
    left = deadline - time.monotonic()
    poll = select.poll()  # select() fails in a process with many open files
    for handle in readable:
        poll.register(handle, select.POLLIN)
    for handle in writable:
        poll.register(handle, select.POLLOUT)
    if left <= 0 or not poll.poll(left * 1000):
        raise DecodeFailed("time")


def _fresh_lock() -> None:
    global _LOCK
    _LOCK = threading.Lock()


_LOCK = threading.Lock()
_CHILD = _Child()
atexit.register(_CHILD.stop)
os.register_at_fork(after_in_child=_fresh_lock)  # another thread may have held it at the fork
