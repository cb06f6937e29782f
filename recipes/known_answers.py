"""A network that knows what was planted, so that what patterns find can be held against an answer that is known.

    python recipes/known_answers.py -o OUT [--train 9000] [--epochs 18] [--processes 2]

``mini`` is near chance for most findings of a phantom, and nothing can be read out of a network that is not in it. This
one begins with its weights, sees phantoms only, at 320 pixels a side, and beside the labels is told how full of each
finding every cell of its last map is. Its logit stays a mean over cells, as that of any network with average pooling.
The findings that are small are planted more often than they come, in training only. OUT is a model as any other
(``-m OUT``); the commands that make its bank and measure it are in docs/benchmark-patterns.md.
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
from whyray.training.plan import ClassifierPlan, Source

FINDINGS = (
    "atelectasis", "cardiomegaly", "consolidation", "edema", "lung_opacity", "mass", "nodule", "pleural_effusion",
    "pneumonia", "pneumothorax", "support_devices",
)  # fmt: skip
SMALL = ("atelectasis", "mass", "nodule", "pneumothorax", "support_devices")
MORE = 0.25  # chance that a small finding is planted in a training picture that may have none
SIZE = 320  # at 224 pixels a band of atelectasis, a line and many a nodule are one or two pixels wide
GRID = 40  # cells a side of the stored masks: twice those of the last map
LOGIT = 6.0  # what a finding of ordinary size adds to its logit
PLACES = 20.0  # weight of the cells' error


def drawn(n: int, size: int, more: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phantom ``n``, small findings planted with the chance ``more``: pixels uint8 ``[size, size]``, labels ``[f]``,
    how much of each cell lies in each finding (255 = all of it) uint8 ``[f, GRID, GRID]``."""
    chance, severity = np.random.default_rng([n, 320]).random((2, len(SMALL)))  # a stream of its own
    made = phantom(n, size=size, plant={f: s for f, c, s in zip(SMALL, chance, severity, strict=True) if c < more})
    masks = np.stack([made.masks.get(f, np.zeros((size, size), bool)) for f in FINDINGS])
    shares = nf.adaptive_avg_pool2d(torch.from_numpy(masks).float(), GRID).numpy()
    labels = np.array([made.labels[f] for f in FINDINGS], np.float32)
    return np.rint(made.pixels * 255).astype(np.uint8), labels, np.rint(shares * 255).astype(np.uint8)


def examples(split: str, count: int, size: int, processes: int, more: float = 0.0) -> tuple[Examples, np.ndarray]:
    """The first phantoms of a split, and their masks ``[n, f, GRID, GRID]``."""
    first = FIRST[split]
    alone = patch.dict(os.environ, OMP_NUM_THREADS="1")  # more threads a process only wait for each other
    with alone, get_context("spawn").Pool(processes) as pool:
        rows = pool.map(partial(drawn, size=size, more=more), range(first, first + count), chunksize=50)
    pictures, labels, shares = (np.stack(part) for part in zip(*rows, strict=True))
    patients = tuple(f"phantom-{first + i}" for i in range(count))
    return Examples(pictures, labels, patients, np.zeros(count, np.int64)), shares


class KnownAnswers(ClassifierTask):
    """Labels, and for each cell how full of each finding it is.

    Full is what half of the lesions are in their fullest cell: a nodule is told as loudly as an effusion.
    """

    def __init__(self, plan: ClassifierPlan, train: Sequence[Any], val: Sequence[Any]) -> None:
        self.plan, self.balance = plan, None
        (self.train, self.shares), (self.val, _) = train, val
        self._scaled = (plan.stored, self.train.pictures)
        self.about = {**settings_of(plan), "pictures": [len(self.train.pictures), len(self.val.pictures)]}
        cells = plan.size // 16
        stored = (torch.from_numpy(f).float() / 255 for f in self.shares.transpose(1, 0, 2, 3))
        told = [nf.adaptive_avg_pool2d(f, cells) for f in stored]
        self.full = torch.stack([_median(t.amax((1, 2))) for t in told])  # share of a full cell, [f]
        filled = [(t / full).clamp(max=1) for t, full in zip(told, self.full, strict=True)]
        self.scale = LOGIT / torch.stack([_median(t.mean((1, 2))) for t in filled])  # of the head's weights, [f]
        inside = torch.stack([(t > 0).float().mean() for t in filled]).clamp(1e-6, 0.5)
        self.rarity = ((1 - inside) / inside).sqrt()

    def build(self) -> nn.Module:
        """The plan's network; its head begins at nothing."""
        module = super().build()
        nn.init.zeros_(module.classifier.weight)  # type: ignore[union-attr, arg-type]
        return module

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Cross-entropy of the labels, and the squared error of each cell against its share."""
        plan, rows = self.plan, np.asarray(examples)
        side = plan.side(epoch)
        pixels = as_pixels(self._pictures(side)[rows])  # never turned or moved, so no margin is needed
        x = augmented(pixels, draws(plan.loop.seed, epoch, examples), side, plan.augment)
        maps = _maps(module, ((x - MEAN) / STD).contiguous(memory_format=torch.channels_last))
        cells = torch.einsum("bdhw,fd->bfhw", maps, module.classifier.weight.float())  # type: ignore[union-attr]
        logits = cells.mean((2, 3)) * self.scale + module.classifier.bias  # type: ignore[union-attr, operator]
        shares = nf.adaptive_avg_pool2d(torch.from_numpy(self.shares[rows]).float() / 255, cells.shape[-1])
        told = (shares / self.full[:, None, None]).clamp(max=1)
        weights = torch.where(told > 0, self.rarity[:, None, None], 1.0)
        located = (weights * (cells - told) ** 2).mean() / weights.mean()
        whole = masked_bce(logits, torch.from_numpy(self.train.labels[rows]))
        late = min(1.0, 2 * epoch / plan.loop.epochs) ** 2  # labels are loud by the scale: places first
        return PLACES * located + late * whole

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


def _median(values: Tensor) -> Tensor:
    """Of those above 0; 1 where none is."""
    return values[values > 0].median() if (values > 0).any() else torch.tensor(1.0)


def _maps(module: nn.Module, x: Tensor) -> Tensor:
    """The last map ``[b, d, h, w]``, float32."""
    with torch.autocast("cpu", torch.bfloat16, enabled=torch.is_grad_enabled()):
        maps: Tensor = module.last_relu(module.features(x))  # type: ignore[operator]
    return maps.float()


def main(argv: Sequence[str] | None = None) -> tuple[KnownAnswers, Path]:
    """The command line; returns what was trained on, and the path of the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=9000)
    parser.add_argument("--val", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args(argv)
    mini = Path(whyray.__file__).parent / "models" / "weights" / "mini.safetensors"
    plan = ClassifierPlan(
        name="known-answers",
        findings=FINDINGS,
        data=(Source("phantom", "phantom", about="whyray phantoms, version 1", licence="Apache-2.0"),),
        architecture={"network": "densenet", "growth": 32, "blocks": [2, 5, 9], "stem": 32},
        init=str(mini),
        loop=LoopPlan(epochs=asked.epochs, batch=32, lr=2e-3, ema=0.99, precision="bfloat16", every=2, seed=1),
        augment=Augment(rotate=0, zoom=0, aspect=0, shift=0, gamma=0.2, contrast=0.15, brightness=0.06),
        size=SIZE,
        sizes=(224, SIZE, SIZE),
        stored=SIZE,
        licence="Apache-2.0",
        limits=("Knows phantoms only; made to test explanations, never for radiographs.",),
    )
    torch.set_num_threads(asked.processes)
    learned = examples("train", asked.train, SIZE, asked.processes, MORE)
    task = KnownAnswers(plan, learned, examples("val", asked.val, SIZE, asked.processes))
    trained = train(task, plan.loop, asked.out, lambda done, total, facts: print(done, total, facts, flush=True))
    return task, finished(task, replace(trained, weights=task.folded(trained.weights)), asked.out)


if __name__ == "__main__":
    main()
