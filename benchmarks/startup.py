"""What a newcomer waits for: ``whyray --help``, and ``whyray explain`` of one picture with ``mini`` and Grad-CAM.

    python benchmarks/startup.py [--rounds 5]

Each is a whole process, start-up included; ``python -c "import torch"`` stands beside them in the same rounds, since no
tool that needs torch can be faster.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PHANTOM = Path(__file__).parents[1] / "examples" / "phantom.png"


def main() -> None:
    """Print the median wall seconds of each, and the ratio to importing torch."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as out:
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "whyray --help": [sys.executable, "-m", "whyray", "--help"],
            "whyray explain": [sys.executable, "-m", "whyray", "explain", str(PHANTOM), "-o", out],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                if turn:  # the first round warms the disk cache
                    times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        low, middle, high = np.percentile(np.divide(values, times["import torch"]), [2.5, 50, 97.5])
        print(
            f"{name:<16}{np.median(values):6.2f} s   x import torch {middle:.2f} [{low:.2f}, {high:.2f}], n = {rounds}"
        )


if __name__ == "__main__":
    main()
