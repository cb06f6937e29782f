"""The child in which a foreign pickle is read: no network, no environment, limits, one line back."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from whyray.errors import WeightsError
from whyray.io import sandbox


def run(code: str, timeout_s: float = 60) -> None:
    sandbox.run_module("timeit", ("-n", "1", "-r", "1", code), timeout_s=timeout_s)


def test_a_child_that_works_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    run("import os; assert not set(os.environ) - {'LC_CTYPE'}, dict(os.environ)")


def test_there_is_no_network() -> None:
    if not sandbox._without_network():
        pytest.skip("this system does not permit unshare -rn")
    with socket.create_server(("127.0.0.1", 0)) as server:
        reach = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        with pytest.raises(WeightsError, match=r"unreachable|refused|denied"):
            run(reach)


def test_memory_and_time_are_limited() -> None:
    with pytest.raises(WeightsError, match="MemoryError"):
        run("bytearray(20 << 30)")
    with pytest.raises(WeightsError, match="too long"):
        run("import time; time.sleep(30)", timeout_s=1)


def test_the_refusal_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(WeightsError) as caught:
        sandbox.run_module("whyray.io.pickles", (tmp_path / "x.pt", "0" * 64, tmp_path / "out"))
    assert "sha256" in str(caught.value) and "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    assert not (tmp_path / "out").exists()
