"""Fit src/whyray/io/frontal.npz: mean and 12 principal components of thumbnails of training radiographs.

    python recipes/fit_frontal.py folder/with/images.csv

Reads the NIH and paediatric rows of the training split (columns ``file``, ``dataset``, ``split``). Each thumbnail is
also mirrored, and shifted, scaled and gamma-changed twice, seeded.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from whyray.io.frontal import REFERENCE, SIDE, standardised, thumbnail
from whyray.io.load import load_image

COMPONENTS, MOST = 12, 786
SETS = ("NIH ChestX-ray14", "Paediatric pneumonia (Kermany 2018)")


def main(folder: Path) -> None:
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
