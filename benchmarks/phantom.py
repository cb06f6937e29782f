"""What a phantom costs, and how much of it a 16 x 16 thumbnail gives away: ``python benchmarks/phantom.py [CASES]``."""

from __future__ import annotations

import sys
import time

import numpy as np

from whyray.datasets.phantom import FINDINGS, PHANTOM_VERSION, phantom

FIRST = 4_000_000  # no case of any split
RIDGE = 300.0


def seconds(size: int, cases: int) -> float:
    """Processor seconds a case."""
    phantom(FIRST, size=size)
    start = time.process_time()
    for n in range(cases):
        phantom(FIRST + n, size=size)
    return (time.process_time() - start) / cases


def thumbnails(cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey values ``[n, 256]`` and labels ``[n, f]``."""
    made = [phantom(FIRST + n, size=64) for n in range(cases)]
    x = np.array([p.pixels.reshape(16, 4, 16, 4).mean((1, 3)).ravel() for p in made], np.float64)
    return (x - x.mean(0)) / np.maximum(x.std(0), 1e-3), np.array([[p.labels[f] for f in FINDINGS] for p in made])


def probe(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Scores of a ridge regression, each half of the cases read by the one fitted on the other."""
    scores, half = np.empty_like(y), len(x) // 2
    for fit, read in ((slice(None, half), slice(half, None)), (slice(half, None), slice(None, half))):
        weights = np.linalg.solve(x[fit].T @ x[fit] + RIDGE * np.eye(x.shape[1]), x[fit].T @ (y[fit] - y[fit].mean(0)))
        scores[read] = x[read] @ weights
    return scores


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve (scores without ties)."""
    positive = labels.sum()
    ranks = scores.argsort().argsort() + 1
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def main() -> None:
    """Two tables."""
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"PHANTOM_VERSION {PHANTOM_VERSION}")
    for size, count in ((224, 40), (512, 12), (1024, 4)):
        print(f"{size:>5} px: {1000 * seconds(size, count):6.0f} ms of one core a case (n = {count})")
    x, y = thumbnails(cases)
    scores = probe(x, y)
    resampled = [np.random.default_rng([0, i]).integers(0, cases, cases) for i in range(2000)]
    for i, finding in enumerate(FINDINGS):
        spread = np.percentile([auc(scores[b, i], y[b, i]) for b in resampled], [2.5, 97.5])
        value = auc(scores[:, i], y[:, i])
        present = int(y[:, i].sum())
        print(f"{finding:<28}{value:6.2f} [{spread[0]:.2f}, {spread[1]:.2f}]  n = {cases}, {present} present")


if __name__ == "__main__":
    main()
