"""The decoder process may die, hang or swell; the parent says so and goes on."""

from __future__ import annotations

import ast
import os
import signal
import threading
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from corpus import BASE
from corpus_pictures import jpeg

from whyray.errors import InputError, SettingError
from whyray.io import child
from whyray.io.child import DecodeFailed, decode
from whyray.io.limits import Limits, limits
from whyray.io.load import decode_image


def pid() -> int:
    decode("jpegls", imagecodecs.jpegls_encode(BASE))
    process = child._CHILD.process
    assert process
    return process.pid


def test_one_process_serves_many() -> None:
    first = pid()
    served = child._CHILD.served
    if served + 3 < child.REQUESTS_A_PROCESS:
        assert pid() == first
    assert np.array_equal(decode("jpegls", imagecodecs.jpegls_encode(BASE)), BASE)


def test_a_killed_process_is_replaced() -> None:
    first = pid()
    os.kill(first, signal.SIGKILL)
    time.sleep(0.05)
    assert pid() != first


def test_a_process_that_dies_at_work_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pid()
    os.kill(first, signal.SIGSTOP)
    threading.Timer(1.0, os.kill, (first, signal.SIGKILL)).start()
    with pytest.raises(InputError, match="broke the decoder"):
        decode_image(jpeg(), "a.jpg")
    assert pid() != first


def test_a_process_out_of_processor_time_is_a_refusal() -> None:
    first = pid()
    os.kill(first, signal.SIGSTOP)
    threading.Timer(1.0, lambda: [os.kill(first, s) for s in (signal.SIGXCPU, signal.SIGCONT)]).start()
    with pytest.raises(InputError, match="too long"):
        decode_image(jpeg(), "a.jpg")
    assert pid() != first


def test_a_process_that_hangs_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pid()
    os.kill(first, signal.SIGSTOP)
    monkeypatch.setenv("WHYRAY_LIMITS", "seconds=0.5")
    started = time.monotonic()
    with pytest.raises(InputError, match="too long"):
        decode_image(jpeg(), "a.jpg")
    assert time.monotonic() - started < 3
    monkeypatch.delenv("WHYRAY_LIMITS")
    assert pid() != first


def test_a_process_that_swells_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    pid()
    large = np.tile(BASE, (20, 20))
    stream = imagecodecs.jpeg2k_encode(large, codecformat="J2K", level=40)
    monkeypatch.setenv("WHYRAY_LIMITS", f"memory_bytes={8 << 20}")
    with pytest.raises(DecodeFailed, match=r"memory|damaged"):
        decode("jpeg2k", stream)
    monkeypatch.delenv("WHYRAY_LIMITS")
    assert decode("jpeg2k", stream).shape == large.shape


@pytest.mark.parametrize("codec", ["jpeg", "jpegls", "jpeg2k", "rle", "tiff", "png", "no such codec"])
def test_noise_is_a_refusal(codec: str) -> None:
    rng = np.random.default_rng(5)
    for size in (0, 1, 63, 64, 5000):
        with pytest.raises(DecodeFailed):
            decode(codec, rng.bytes(size), rows=100, columns=100, samples=1, bytes=2)


def test_from_many_threads() -> None:
    stream, found = imagecodecs.jpegls_encode(BASE), []
    threads = [threading.Thread(target=lambda: found.append(decode("jpegls", stream))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(np.array_equal(one, BASE) for one in found)


def test_a_fork_gets_its_own() -> None:
    first = pid()
    fork = os.fork()
    if fork == 0:  # no pytest machinery in here: only an exit code comes back
        other = pid()
        child._CHILD.stop()
        os._exit(0 if other != first else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0
    assert np.array_equal(decode("jpegls", imagecodecs.jpegls_encode(BASE)), BASE)


def test_the_process_imports_little() -> None:
    tree = ast.parse(Path(child.__file__).with_name("child_main.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(isinstance(n, ast.ImportFrom) and n.level for n in ast.walk(tree))
    assert names <= {"json", "math", "os", "resource", "select", "signal", "struct", "sys", "numpy", "imagecodecs"}


def test_limits_are_lowered_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits() == Limits()
    monkeypatch.setenv("WHYRAY_LIMITS", "pixels=1000, file_bytes=999999999999, side_least=100")
    assert (limits().pixels, limits().file_bytes, limits().side_least) == (1000, Limits().file_bytes, 100)
    with pytest.raises(InputError, match="million"):
        decode_image(jpeg(), "a.jpg")
    for bad in ("pixel=3", "pixels=many", "pixels"):
        monkeypatch.setenv("WHYRAY_LIMITS", bad)
        with pytest.raises(SettingError, match="known"):
            limits()
