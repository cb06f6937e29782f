"""Fit what src/whyray/io/frontal.py knows: the thumbnails of radiographs, and where lungs lie in a drawn chest.

    python recipes/fit_frontal.py folder/with/images.csv

src/whyray/io/frontal.npz holds mean and 12 principal components of thumbnails: the NIH and paediatric rows of the
training split (columns ``file``, ``dataset``, ``split``), each also mirrored, and shifted, scaled and gamma-changed
twice, seeded. OUTER, ABOVE and BELOW are printed: means over the training radiographs that have both lungs' outlines.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from whyray.datasets.folder import load
from whyray.io.frontal import REFERENCE, SIDE, drawn, look, standardised, thumbnail
from whyray.io.load import load_image

COMPONENTS, MOST = 12, 786
SETS = ("NIH ChestX-ray14", "Paediatric pneumonia (Kermany 2018)")


def main(folder: Path) -> None:
    """Write the one, print the others."""
    fit_thumbnails(folder)
    print("OUTER {:.3f}, ABOVE {:.3f}, BELOW {:.3f}, n = {}".format(*lungs(folder)))


def lungs(folder: Path) -> tuple[float, float, float, int]:
    """Outer edge, top and bottom of the lungs from the drawn chest's middle, over its width and height; how many."""
    found = []
    for case in load(str(folder)).cases("train"):
        boxes = {r.finding: r.box for r in case.regions() if r.kind == "anatomy"}
        right, left = boxes.get("right_lung"), boxes.get("left_lung")
        pixels = case.radiograph().pixels if right and left else None
        if pixels is None or not (seen := look(pixels)).frontal or seen.nearer:
            continue
        h, w = pixels.shape
        _, y, width, height = drawn(thumbnail(pixels))
        outer = (left[0] + left[2] - right[0]) / 2 / w
        top, bottom = min(right[1], left[1]) / h, max(right[1] + right[3], left[1] + left[3]) / h
        found.append((outer / width, (y - top) / height, (bottom - y) / height))
    return *np.mean(found, 0), len(found)


def fit_thumbnails(folder: Path) -> None:
    """Write ``frontal.npz``."""
    with open(folder / "images.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    rng = np.random.default_rng(0)
    plain = []
    for name in SETS:
        files = [row.get("file_256") or row["file"] for row in rows if row["dataset"] == name]
        chosen = rng.permutation(files)[:MOST]
        plain += [thumbnail(load_image(folder / file).pixels) for file in chosen]
    base = np.concatenate([plain, np.array(plain)[:, :, ::-1]])
    samples = np.stack([standardised(a) for a in [*base, *varied(base, rng), *varied(base, rng)]])
    mean = samples.mean(axis=0)
    _, singular, components = np.linalg.svd(samples - mean, full_matrices=False)
    variance, components = singular[:COMPONENTS] ** 2 / len(samples), components[:COMPONENTS]
    offsets = np.stack([standardised(a) for a in plain]) - mean
    parts = offsets @ components.T
    within = np.quantile((parts**2 / variance).mean(axis=1), 0.95)
    beside = np.quantile(((offsets - parts @ components) ** 2).mean(axis=1), 0.95)
    np.savez_compressed(
        REFERENCE,
        mean=mean.astype(np.float16),
        components=components.astype(np.float16),
        variance=variance.astype(np.float32),
        within=np.float32(within),
        beside=np.float32(beside),
    )


def varied(thumbnails: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Each one scaled by 0.85..1.12, shifted by up to 5 %, with a gamma of 0.7..1.5."""
    grid, out = np.linspace(-0.5, 0.5, SIDE), []
    for one in thumbnails:
        scale, shift = rng.uniform(0.85, 1.12, 2), rng.uniform(-0.05, 0.05, 2)
        x, y = (np.clip((grid * s + o + 0.5) * (SIDE - 1), 0, SIDE - 1) for s, o in zip(scale, shift))
        rows = np.array([np.interp(x, np.arange(SIDE), row) for row in one])
        moved = np.array([np.interp(y, np.arange(SIDE), column) for column in rows.T]).T
        out.append(np.clip(moved, 0, 1) ** rng.uniform(0.7, 1.5))
    return out


if __name__ == "__main__":
    main(Path(sys.argv[1]))
