"""What the cheapest safe pass gains over a plain eager one, on DenseNet-121 at 224 px, side by side in one run.

    python benchmarks/forward.py [--rounds 7] [--batch 1 16] [--threads 2]

A is a plain eager pass in a process with default malloc settings; B is ``whyray.engine.passes.logits`` on a model that
whyray loaded, as the command line runs it. Each runs in a process of its own; rounds alternate A B A B.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np


def main() -> None:
    """Print the ratio of every batch size with its interval over rounds, and the largest difference of the values."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--worker", choices=["plain", "whyray"], help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.worker:
        print(json.dumps(worker(given.worker, given.batch[0], given.threads)))
        return
    for batch in given.batch:
        rows = [[measure(kind, batch, given.threads) for kind in ("plain", "whyray")] for _ in range(given.rounds)]
        ratios = [plain["ms"] / ours["ms"] for plain, ours in rows]
        gap = max(np.abs(np.subtract(plain["logits"], ours["logits"])).max() for plain, ours in rows)
        low, middle, high = np.percentile(ratios, [2.5, 50, 97.5])
        print(
            f"batch {batch:>3}: plain {np.median([r[0]['ms'] for r in rows]):6.1f} ms/image, "
            f"whyray {np.median([r[1]['ms'] for r in rows]):6.1f} ms/image, "
            f"ratio {middle:.2f} [{low:.2f}, {high:.2f}] over n = {given.rounds} rounds, largest difference {gap:.1e}"
        )


def measure(kind: str, batch: int, threads: int) -> dict:
    """One process of one kind."""
    command = [sys.executable, __file__, "--worker", kind, "--batch", str(batch), "--threads", str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def worker(kind: str, batch: int, threads: int) -> dict:
    """Median milliseconds an image over five passes after two to warm up, and the logits."""
    import torch
    from benchmarks_common import densenet121, wrapped

    torch.set_num_threads(threads)
    x = np.random.default_rng(1).random((batch, 1, 224, 224), dtype=np.float32)
    module = densenet121()
    if kind == "whyray":
        from whyray.engine.passes import logits, use_large_malloc

        use_large_malloc()
        classifier = wrapped(module.to(memory_format=torch.channels_last))

        def run() -> np.ndarray:
            return logits(classifier, x, batch=16)
    else:

        def run() -> np.ndarray:
            with torch.no_grad():
                return module(torch.from_numpy(x)).numpy()

    times = []
    for _ in range(7):
        started = time.perf_counter()
        values = run()
        times.append(time.perf_counter() - started)
    return {"ms": 1000 * float(np.median(times[2:])) / batch, "logits": values[:4].tolist()}


if __name__ == "__main__":
    main()
