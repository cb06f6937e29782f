"""benchmarks/transcoders.py and benchmarks/ensemble.py: small real runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ran(name: str, *options: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_way_of_choosing_learns_the_same() -> None:
    names = ("whyray", "whyray bfloat16", "whyray int8")
    out = ran("transcoders.py", "--rounds", "3", "--width", "128", "--only", ",".join(names), "--peaks")
    rows = [line for line in out.splitlines() if "unexplained" in line]
    assert [row.split("  ")[0] for row in rows] == list(names)
    left = [float(row.split()[-1]) for row in rows]
    assert max(left) - min(left) < 0.01, left
    assert out.count("MiB") == len(names)
    assert "the encoder's product alone" in out


def test_an_ensemble_is_trained_through_the_command_s_own_path() -> None:
    out = ran("ensemble.py", "--members", "2", "--processes", "1", "--tokens", "9000", "--width", "256",
              "--precision", "int8")  # fmt: skip
    assert out.startswith("2 members of 512 -> 256, k = 32, 9016 tokens each, 1 processes of one thread")
    assert "l0: median 32.000" in out
