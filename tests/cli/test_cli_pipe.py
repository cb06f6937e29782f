"""A reader that goes away (``whyray ... | head``) is no error: exit 0, nothing on stderr; usage errors stay 2."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMANDS = (["explainers"], ["--help"], ["datasets", "--json"], ["models"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nobody_reads_on(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # gone before the first word
    try:
        done = subprocess.run(
            [sys.executable, "-m", "whyray", *command], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("command", "code"), [(["nonsense"], 2), (["explain"], 2), (["evaluate"], 2), (["--version"], 0), (["--help"], 0)]
)
def test_usage_errors_stay_what_they_were(command: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, "-m", "whyray", *command], capture_output=True, timeout=60, check=False)
    assert done.returncode == code and b"Traceback" not in done.stderr
