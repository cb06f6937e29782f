"""Scoring maps against expert masks: intervals, overlap on runs, maps to masks; beside the published way.

    python benchmarks/localisation.py [--rounds 5] [--pictures 668] [--side 3000]

One process, one thread for the parts that are ours, rounds in turns. The published way is CheXlocalize's scheme written
again with the tools it uses (pandas, pycocotools, cv2); results are compared before they are timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
from benchmarks_common import resident
from pycocotools import mask as coco

from whyray.io import rle
from whyray.metrics import localisation as loc
from whyray.metrics._intervals import chexlocalize_intervals, weighted_mean_intervals

FINDINGS, REPLICATES = 10, 1000


def main() -> None:
    """Print the medians, the ratios to ours with their range, and what was compared."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--pictures", type=int, default=668)
    options.add_argument("--side", type=int, default=3000)
    given = options.parse_args()
    intervals(given.rounds, given.pictures)
    overlap(given.rounds, given.pictures)
    masks(given.rounds, given.side)
    print(f"\nlargest resident size of this process: {resident('VmHWM'):.0f} MiB")


def intervals(rounds: int, pictures: int) -> None:
    """1000 replicates of ``pictures`` x 10 scores with gaps."""
    rng = np.random.default_rng(0)
    values = rng.random((pictures, FINDINGS))
    values[rng.random(values.shape) < 0.6] = np.nan
    patients = [f"p{int(i / 1.336)}" for i in range(pictures)]
    theirs, ours = published_bootstrap(values), chexlocalize_intervals(values)
    gap = float(np.abs(theirs - ours.replicates).max())
    print(f"Intervals: {REPLICATES} replicates x {pictures} pictures x {FINDINGS} findings; goal 0.05 s")
    race(
        rounds,
        {
            "whyray, by patient": lambda: weighted_mean_intervals(values, patients, REPLICATES),
            "whyray, by picture": lambda: weighted_mean_intervals(values, range(pictures), REPLICATES),
            "whyray, as published": lambda: chexlocalize_intervals(values),
            "published (pandas)": lambda: published_bootstrap(values),
        },
    )
    print(f"  replicates of the published scheme differ by at most {gap:.1e}")


def published_bootstrap(values: np.ndarray) -> np.ndarray:
    """Rows drawn a thousand times, a mean a column each time."""
    import pandas as pd

    np.random.seed(0)
    table = pd.DataFrame(values)
    rows = []
    for _ in range(REPLICATES):
        drawn = table.iloc[np.random.choice(len(table), size=len(table), replace=True)]
        rows.append([drawn[column].mean() for column in drawn.columns])
    return np.array(rows)


def overlap(rounds: int, pictures: int, shape: tuple[int, int] = (2828, 2320), kinds: int = 12) -> None:
    """IoU of ``pictures`` x 10 pairs of contours: from the COCO strings to the numbers."""
    made = [coco.encode(np.asfortranarray(blob(shape, seed).astype(np.uint8))) for seed in range(kinds)]
    rng = np.random.default_rng(1)
    pairs = [(made[a], made[b]) for a, b in rng.integers(0, kinds, (pictures * FINDINGS, 2))]
    few = pairs[:20]
    gap = max(abs(on_runs(p) - float(coco.iou([p[0]], [p[1]], [0])[0, 0])) for p in pairs[:200])
    runs = np.mean([len(rle.from_coco(m).bounds) / 2 for m in made])
    print(f"\nOverlap: {len(pairs)} pairs of contours, {shape[0]} x {shape[1]}, {runs:.0f} runs each; time of one pair")
    race(
        rounds,
        {
            "whyray, strings to IoU": (lambda: [on_runs(p) for p in pairs[:500]], 500),
            "pycocotools on runs": (lambda: [coco.iou([a], [b], [0]) for a, b in pairs[:500]], 500),
            "published (decoded)": (lambda: [decoded(p) for p in few], len(few)),
        },
    )
    started = time.perf_counter()
    for pair in pairs:
        on_runs(pair)
    print(
        f"  all {len(pairs)} pairs: {time.perf_counter() - started:.2f} s; differ from pycocotools by at most {gap:.1e}"
    )


def on_runs(pair: tuple[dict, dict]) -> float:
    """Both masks read from their strings, compared as runs."""
    return loc.iou(rle.from_coco(pair[0]), rle.from_coco(pair[1]))


def decoded(pair: tuple[dict, dict]) -> float:
    """Both masks decoded, two passes over the pixels."""
    a, b = (coco_pixels(m) for m in pair)
    return float(np.sum(np.logical_and(a, b)) / np.sum(np.logical_or(a, b)))


def coco_pixels(record: dict) -> np.ndarray:
    """pycocotools' decoder, whose numpy warning is not ours."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return coco.decode(record)


def masks(rounds: int, side: int) -> None:
    """A map of side x side to a mask in each mode, and each score."""
    values = smooth((side, side), 0)
    truth = blob((side, side), 5)
    area = int(truth.sum())
    mask = loc.otsu_filled(values)
    same = np.array_equal(mask, published_otsu(values))
    print(f"\nOne map of {side} x {side}; Otsu's mask equals the published pipeline: {same}")
    race(
        rounds,
        {
            "whyray, Otsu and holes": lambda: loc.otsu_filled(values),
            "published (cv2)": lambda: published_otsu(values),
            "tuned": lambda: loc.above(values, 0.4),
            "area matched": lambda: loc.area_matched(values, area),
            "smoothed, 31 px": lambda: loc.smoothed(values, 31),
            "IoU of two masks": lambda: loc.iou(mask, truth),
            "hit, 15 px": lambda: loc.hit(values, truth, 15),
            "mass in the mask": lambda: loc.mass_in(values, truth),
            "energy": lambda: loc.energy(values, truth),
            "mask to runs": lambda: rle.encode(mask),
            "geometry of the truth": lambda: loc.shape_of(truth),
        },
    )


def published_otsu(values: np.ndarray) -> np.ndarray:
    """Min-max, uint8, Otsu, outer contours filled."""
    import cv2

    shifted = values - values.min()
    binary = cv2.threshold(np.uint8(255 * (shifted / shifted.max())), 0, 255, cv2.THRESH_OTSU)[1]
    outlines, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(binary), outlines, -1, 1, cv2.FILLED) > 0


def smooth(shape: tuple[int, int], seed: int) -> np.ndarray:
    """A map as a network with 14 x 14 cells gives it."""
    from whyray.contracts import cells_to_pixels
    from whyray.explanations import resample

    cells = np.random.default_rng(seed).random((14, 14)).astype(np.float32) ** 3
    return resample(cells, cells_to_pixels((14, 14), shape), shape)


def blob(shape: tuple[int, int], seed: int) -> np.ndarray:
    """A contour: two wavy ellipses."""
    rng = np.random.default_rng(seed)
    y, x = np.ogrid[: shape[0], : shape[1]]
    out = np.zeros(shape, bool)
    for _ in range(2):
        cy, cx = rng.uniform(0.3, 0.7, 2) * shape
        u, v = (y - cy) / (0.18 * shape[0]), (x - cx) / (0.12 * shape[1])
        out |= np.hypot(u, v) < 1 + 0.2 * np.sin(5 * np.arctan2(u, v))
    return out


def race(rounds: int, contestants: Mapping[str, Callable[[], object] | tuple[Callable[[], object], int]]) -> None:
    """Median time of each, in turns, and its ratio to the first; a count beside it is what one call repeats."""
    runs = {name: given if isinstance(given, tuple) else (given, 1) for name, given in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, (run, count) in runs.items():
            started = time.perf_counter()
            run()
            if turn:  # the first warms up
                times[name].append(1000 * (time.perf_counter() - started) / count)
    first = next(iter(runs))
    for name, values in times.items():
        low, middle, high = np.percentile(np.divide(values, times[first]), [2.5, 50, 97.5])
        ratio = "" if name == first else f"   it / {first}: {middle:.2f} [{low:.2f}, {high:.2f}]"
        print(f"  {name:<26}{np.median(values):>10.3f} ms, n = {rounds}{ratio}")


if __name__ == "__main__":
    main()
