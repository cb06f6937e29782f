"""A network that knows what was planted, so that what patterns find can be held against an answer that is known.

    python recipes/known_answers.py -o OUT [--train 6000] [--epochs 20] [--processes 2]

``mini`` is near chance for most findings of a phantom, and nothing can be read out of a network that is not in it. This
one begins with its weights, sees phantoms only, and beside the labels is told which share of every cell of its last map
lies in each finding. Its logit stays a mean over cells, as that of any network with average pooling. OUT is a model as
any other (``-m OUT``); the commands that make its bank and measure it are in docs/benchmark-patterns.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nf

import whyray
from whyray.datasets.phantom import FIRST, phantom
from whyray.metrics.classification import auc
from whyray.training.augment import Augment, augmented, draws
from whyray.training.classifier import MEAN, STD, ClassifierTask, as_pixels, batches, finished, masked_bce, mean_aucs
from whyray.training.examples import Examples
from whyray.training.finish import settings_of
from whyray.training.loop import LoopPlan, train
from whyray.training.plan import MARGIN, ClassifierPlan, Source

FINDINGS = (
    "atelectasis", "cardiomegaly", "consolidation", "edema", "lung_opacity", "mass", "nodule", "pleural_effusion",
    "pneumonia", "pneumothorax", "support_devices",
)  # fmt: skip
GRID = 28  # cells a side of the stored masks: twice those of the last map at 224 pixels
LOGIT = 6.0  # what a finding of ordinary size adds to its logit
STORED = 256
PLACES = 20.0  # weight of the cells' error


def drawn(n: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phantom ``n``: pixels uint8 ``[size, size]``, labels ``[f]``, how much of each cell lies in each finding
    (255 = all of it) uint8 ``[f, GRID, GRID]``."""
    made = phantom(n, size=size)
    masks = np.stack([made.masks.get(f, np.zeros((size, size), bool)) for f in FINDINGS])
    shares = nf.adaptive_avg_pool2d(torch.from_numpy(masks).float(), GRID).numpy()
    labels = np.array([made.labels[f] for f in FINDINGS], np.float32)
    return np.rint(made.pixels * 255).astype(np.uint8), labels, np.rint(shares * 255).astype(np.uint8)


def examples(split: str, count: int, size: int, processes: int) -> tuple[Examples, np.ndarray]:
    """The first phantoms of a split, and their masks ``[n, f, GRID, GRID]``."""
    first = FIRST[split]
    alone = patch.dict(os.environ, OMP_NUM_THREADS="1")  # more threads a process only wait for each other
    with alone, get_context("spawn").Pool(processes) as pool:
        rows = pool.map(partial(drawn, size=size), range(first, first + count), chunksize=50)
    pictures, labels, shares = (np.stack(part) for part in zip(*rows, strict=True))
    patients = tuple(f"phantom-{first + i}" for i in range(count))
    return Examples(pictures, labels, patients, np.zeros(count, np.int64)), shares


class KnownAnswers(ClassifierTask):
    """Labels, and for each cell the share of it that lies in each finding."""

    def __init__(self, plan: ClassifierPlan, train: Sequence[Any], val: Sequence[Any]) -> None:
        self.plan, self.balance = plan, None
        (self.train, self.shares), (self.val, _) = train, val
        self._scaled = (plan.stored, self.train.pictures)
        self.about = {**settings_of(plan), "pictures": [len(self.train.pictures), len(self.val.pictures)]}
        covered = self.shares.reshape(*self.shares.shape[:2], -1).mean(-1) / 255  # [n, f]
        usual = [np.median(c[c > 0]) if (c > 0).any() else 1.0 for c in covered.T]
        self.scale = torch.tensor(LOGIT / np.array(usual), dtype=torch.float32)  # of the head's weights, [f]
        inside = (self.shares > 0).mean((0, 2, 3))
        self.rarity = torch.tensor(np.sqrt((1 - inside) / np.maximum(inside, 1e-6)), dtype=torch.float32)

    def build(self) -> nn.Module:
        """The plan's network; its head begins at nothing."""
        module = super().build()
        nn.init.zeros_(module.classifier.weight)  # type: ignore[union-attr, arg-type]
        return module

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Cross-entropy of the labels, and the squared error of each cell against its share."""
        plan, rows = self.plan, np.asarray(examples)
        side = plan.side(epoch)
        pixels = as_pixels(self._pictures(round(MARGIN * side))[rows])
        x = augmented(pixels, draws(plan.loop.seed, epoch, examples), side, plan.augment)
        maps = _maps(module, ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last))
        cells = torch.einsum("bdhw,fd->bfhw", maps, module.classifier.weight.float())  # type: ignore[union-attr]
        logits = cells.mean((2, 3)) * self.scale + module.classifier.bias  # type: ignore[union-attr, operator]
        told = nf.adaptive_avg_pool2d(torch.from_numpy(self.shares[rows]).float() / 255, cells.shape[-1])
        weights = torch.where(told > 0, self.rarity[:, None, None], 1.0)
        located = (weights * (cells - told) ** 2).mean() / weights.mean()
        whole = masked_bce(logits, torch.from_numpy(self.train.labels[rows]))
        return PLACES * located + (epoch / plan.loop.epochs) ** 2 * whole  # labels are loud by the scale: places first

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """AUC of each finding, after their mean."""
        logits = []
        for x in batches(self.val.pictures, self.plan):
            with torch.inference_mode():
                pooled = _maps(module, x).mean((2, 3))
                logits.append(pooled @ (self.scale[:, None] * module.classifier.weight).T)  # type: ignore[operator]
            check()
        found = torch.cat(logits).double().numpy()
        mean = mean_aucs(self.plan, found, self.val)["auc"]
        return {"auc": mean, **{f: auc(found[:, k], self.val.labels[:, k]) for k, f in enumerate(FINDINGS)}}

    def folded(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the plain network: its head with the scale in it."""
        return {**weights, "classifier.weight": weights["classifier.weight"] * self.scale[:, None]}


def _maps(module: nn.Module, x: Tensor) -> Tensor:
    """The last map ``[b, d, h, w]``, float32."""
    with torch.autocast("cpu", torch.bfloat16, enabled=torch.is_grad_enabled()):
        maps: Tensor = module.last_relu(module.features(x))  # type: ignore[operator]
    return maps.float()


def main(argv: Sequence[str] | None = None) -> tuple[KnownAnswers, Path]:
    """The command line; returns what was trained on, and the path of the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=6000)
    parser.add_argument("--val", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args(argv)
    mini = Path(whyray.__file__).parent / "models" / "weights" / "mini.safetensors"
    plan = ClassifierPlan(
        name="known-answers",
        findings=FINDINGS,
        data=(Source("phantom", "phantom", about="whyray phantoms, version 1", licence="Apache-2.0"),),
        architecture={"network": "densenet", "growth": 32, "blocks": [2, 5, 9], "stem": 32},
        init=str(mini),
        loop=LoopPlan(epochs=asked.epochs, batch=32, lr=2e-3, ema=0.99, precision="bfloat16", seed=1),
        augment=Augment(rotate=0, zoom=0, aspect=0, shift=0, gamma=0.2, contrast=0.15, brightness=0.06),
        sizes=(160, 160, 224),
        licence="Apache-2.0",
        limits=("Knows phantoms only; made to test explanations, never for radiographs.",),
    )
    torch.set_num_threads(asked.processes)
    task = KnownAnswers(
        plan, *(examples(s, n, STORED, asked.processes) for s, n in (("train", asked.train), ("val", asked.val)))
    )
    trained = train(task, plan.loop, asked.out, lambda done, total, facts: print(done, total, facts, flush=True))
    return task, finished(task, replace(trained, weights=task.folded(trained.weights)), asked.out)


if __name__ == "__main__":
    main()
