"""benchmarks/transcoders.py and benchmarks/ensemble.py: small real runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ran(name: str, *options: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_way_of_choosing_learns_the_same() -> None:
    names = ("whyray", "whyray bfloat16", "whyray int8")
    out = ran("transcoders.py", "--rounds", "3", "--width", "128", "--only", ",".join(names))
    rows = [line for line in out.splitlines() if "unexplained" in line]
    assert [row.split("  ")[0] for row in rows] == list(names)
    left = [float(row.split()[-1]) for row in rows]
    assert max(left) - min(left) < 0.01, left
    others = [float(row.split("others ")[1].split()[0]) for row in rows]
    assert others[0] == 0 < others[1] < others[2] < 5  # per cent
    assert "the encoder's product alone" in out


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from /proc")
def test_peaks_are_of_processes_of_their_own() -> None:
    out = ran("transcoders.py", "--rounds", "1", "--width", "128", "--only", "whyray", "--peaks")
    assert int(out.split("+")[-1].split(" MiB")[0]) > 0


def test_an_ensemble_is_trained_through_the_command_s_own_path() -> None:
    out = ran("ensemble.py", "--members", "2", "--processes", "1", "--tokens", "9000", "--width", "256",
              "--precision", "int8")  # fmt: skip
    assert out.startswith("2 members of 512 -> 256, k = 32, 9016 tokens each, 1 processes of one thread")
    assert "l0: median 32.000" in out
