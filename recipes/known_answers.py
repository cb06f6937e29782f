"""A network that knows what was planted, so that what patterns find can be held against an answer that is known.

    python recipes/known_answers.py -o OUT [--train 9000] [--epochs 18 24 34 7] [--processes 2] [--device cuda]

``mini`` is near chance for most findings of a phantom, and nothing can be read out of a network that is not in it. This
one begins with its weights, sees phantoms only, at 320 pixels a side, and beside the labels is told how full of each
finding every cell of its last map is. Its logit stays a mean over cells, as that of any network with average pooling.
Four legs, each with checkpoints of its own in OUT: whole pictures; twice pieces around small lesions, which a network
that sees whole pictures hardly notices; whole pictures again. The findings that are small are planted more often than
they come, in training only. OUT is a model as any other (``-m OUT``); the commands that make its bank and measure it
are in docs/benchmark-patterns.md.
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
from whyray.datasets.phantom import FIRST, Phantom, phantom
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
MORE = (0.25, 0.4)  # chance that a small finding is planted in a training picture that may have none: leg 1, later ones
SIZE = 320  # at 224 pixels a band of atelectasis, a line and many a nodule are one or two pixels wide
GRID = 40  # cells a side of the stored masks: twice those of the last map
LOGIT = 6.0  # what a finding of ordinary size adds to its logit
PLACES = 20.0  # weight of the cells' error
LOOPS: tuple[dict[str, Any], ...] = (  # of each leg
    {"batch": 32, "lr": 2e-3, "ema": 0.99, "seed": 1},
    {"batch": 32, "lr": 2e-3, "ema": 0.99, "seed": 1},
    {"batch": 32, "lr": 2e-3, "ema": 0.99, "seed": 2},
    {"batch": 16, "lr": 1e-3, "ema": 0.99, "seed": 3},
)
PIECE = 20  # stored cells a side of a piece: half a picture
AIMED = 0.75  # share of the pieces that are cut around a lesion, where there is one
SAMPLE = 3000  # pieces that weights of cells are drawn from
AROUND = (("atelectasis", "mass", "nodule", "support_devices"), ("atelectasis", "nodule"))  # what pieces are cut around


def drawn(n: int, size: int, more: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phantom ``n``, small findings planted with the chance ``more``: pixels uint8 ``[size, size]``, labels ``[f]``,
    how much of each cell lies in each finding (255 = all of it) uint8 ``[f, GRID, GRID]``."""
    chance, severity = np.random.default_rng([n, 320]).random((2, len(SMALL)))  # a stream of its own
    made = phantom(n, size=size, plant={f: s for f, c, s in zip(SMALL, chance, severity, strict=True) if c < more})
    return as_told(made, FINDINGS)


def as_told(made: Phantom, findings: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels uint8 ``[s, s]``, labels ``[f]``, how much of each cell lies in each finding uint8 ``[f, GRID, GRID]``."""
    masks = np.stack([made.masks.get(f, np.zeros(made.pixels.shape, bool)) for f in findings])
    shares = nf.adaptive_avg_pool2d(torch.from_numpy(masks).float(), GRID).numpy()
    labels = np.array([made.labels[f] for f in findings], np.float32)
    return np.rint(made.pixels * 255).astype(np.uint8), labels, np.rint(shares * 255).astype(np.uint8)


def examples(make: Callable[[int], Any], first: int, count: int, processes: int) -> tuple[Examples, np.ndarray]:
    """``count`` phantoms from ``first`` on, each (pixels, labels, shares of cells) as ``make`` draws it, and the shares
    ``[n, ...]``."""
    alone = patch.dict(os.environ, OMP_NUM_THREADS="1")  # more threads a process only wait for each other
    with alone, get_context("spawn").Pool(processes) as pool:
        rows = pool.map(make, range(first, first + count), chunksize=50)
    pictures, labels, shares = (np.stack(part) for part in zip(*rows, strict=True))
    patients = tuple(f"phantom-{first + i}" for i in range(count))
    return Examples(pictures, labels, patients, np.zeros(count, np.int64)), shares


class KnownAnswers(ClassifierTask):
    """Labels, and for each cell how full of each finding it is.

    Full is what half of the lesions are in their fullest cell: a nodule is told as loudly as an effusion. ``begin``:
    weights of an earlier leg; the plan's, and a head of nothing, where None. A first leg weighs all cells alike; a
    later one all findings, or the small ones would never be worth a channel.
    """

    def __init__(
        self, plan: ClassifierPlan, train: Sequence[Any], val: Sequence[Any], begin: Mapping[str, Tensor] | None = None
    ) -> None:
        self.plan, self.balance, self.begin = plan, None, begin
        (self.train, self.shares), (self.val, _) = train, val
        self._scaled = (plan.stored, self.train.pictures)
        self.about = {**settings_of(plan), "pictures": [len(self.train.pictures), len(self.val.pictures)]}
        cells = plan.size // 16
        stored = (torch.from_numpy(f).float() / 255 for f in self.shares.transpose(1, 0, 2, 3))
        told = [nf.adaptive_avg_pool2d(f, cells) for f in stored]
        self.full = torch.stack([_median(t.amax((1, 2))) for t in told])  # share of a full cell, [f]
        filled = [(t / full).clamp(max=1) for t, full in zip(told, self.full, strict=True)]
        self.scale = LOGIT / torch.stack([_median(t.mean((1, 2))) for t in filled])  # of the head's weights, [f]
        self._weigh(filled)

    def _weigh(self, filled: Sequence[Tensor]) -> None:
        """What a cell that has some of a finding counts ``[f]``, and the error of a map of nothing ``[f]``."""
        inside = torch.stack([(t > 0).float().mean() for t in filled]).clamp(1e-6, 0.5)
        self.rarity = ((1 - inside) / inside).sqrt()
        blind = torch.stack([(t**2).mean() for t in filled]) * self.rarity
        self.blind = torch.where(blind > 0, blind, 1.0)

    def build(self) -> nn.Module:
        """The plan's network, as the leg before left it; of a first leg the head begins at nothing."""
        module = super().build()
        if self.begin is None:
            nn.init.zeros_(module.classifier.weight)  # type: ignore[union-attr, arg-type]
        else:
            module.load_state_dict(dict(self.begin))
        return module

    def shown(self, examples: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """What is seen of some examples: pixels ``[b, 1, s, s]``, shares of stored cells ``[b, f, c, c]``."""
        rows = np.asarray(examples)
        pixels = as_pixels(self._pictures(self.plan.side(epoch))[rows])  # never turned or moved, so no margin is needed
        return pixels, torch.from_numpy(self.shares[rows]).float() / 255

    def loudness(self, epoch: int) -> float:
        """Weight of the labels. They are loud by the scale: places first."""
        return min(1.0, 2 * epoch / self.plan.loop.epochs) ** 2 if self.begin is None else 1.0

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Cross-entropy of the labels, and the squared error of each cell against its share."""
        pixels, shares = self.shown(examples, epoch)
        x = augmented(pixels, draws(self.plan.loop.seed, epoch, examples), pixels.shape[-1], self.plan.augment)
        x = ((x - MEAN) / STD).to(self.plan.loop.device, memory_format=torch.channels_last)
        maps = _maps(module, x)
        cells = torch.einsum("bdhw,fd->bfhw", maps, module.classifier.weight.float())  # type: ignore[union-attr]
        logits = cells.mean((2, 3)) * self.scale.to(x.device) + module.classifier.bias  # type: ignore[union-attr, operator]
        whole = masked_bce(logits, torch.from_numpy(self.train.labels[np.asarray(examples)]).to(x.device))
        return self._located(cells, shares) + self.loudness(epoch) * whole

    def _located(self, cells: Tensor, shares: Tensor) -> Tensor:
        """The cells' error: 1 of a later leg is that of maps of nothing."""
        told = self._filled(shares, cells.shape[-1])
        weights = torch.where(told > 0, self.rarity[:, None, None], 1.0).to(cells.device)
        errors = weights * (cells - told.to(cells.device)) ** 2
        if self.begin is None:
            return PLACES * errors.mean() / weights.mean()
        return (errors.mean((0, 2, 3)) / self.blind.to(cells.device)).mean()

    def _filled(self, shares: Tensor, cells: int) -> Tensor:
        """How full cells are, ``cells`` a side, 0..1, from shares of stored ones ``[b, f, c, c]``."""
        return (nf.adaptive_avg_pool2d(shares, cells) / self.full[:, None, None]).clamp(max=1)

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """AUC of each finding, after their mean."""
        logits = []
        for x in batches(self.val.pictures, self.plan):
            with torch.inference_mode():
                pooled = _maps(module, x).mean((2, 3))
                weight = self.scale.to(pooled.device)[:, None] * module.classifier.weight  # type: ignore[operator]
                logits.append((pooled @ weight.T).cpu())
            check()
        found = torch.cat(logits).double().numpy()
        mean = mean_aucs(self.plan, found, self.val)["auc"]
        return {"auc": mean, **{f: auc(found[:, k], self.val.labels[:, k]) for k, f in enumerate(FINDINGS)}}

    def folded(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the plain network: its head with the scale in it."""
        return {**weights, "classifier.weight": weights["classifier.weight"].cpu() * self.scale[:, None]}


class Pieces(KnownAnswers):
    """Quarters of pictures, most of them cut around one of the findings ``around``. Only places are told: what
    a picture's label is its quarter need not be."""

    def __init__(
        self,
        plan: ClassifierPlan,
        train: Sequence[Any],
        val: Sequence[Any],
        begin: Mapping[str, Tensor],
        around: Sequence[str],
    ) -> None:
        self.around = [FINDINGS.index(f) for f in around]
        super().__init__(plan, train, val, begin)
        self.about = {**self.about, "around": list(around)}

    def _weigh(self, filled: Sequence[Tensor]) -> None:
        """As the pieces of an epoch have them."""
        shares = self._shares(self._cut(range(min(len(self.shares), SAMPLE)), 0))
        super()._weigh(self._filled(shares, PIECE // 2).unbind(1))

    def _shares(self, cut: Sequence[tuple[int, int, int]]) -> Tensor:
        """Pieces of masks, 0..1."""
        pieces = [self.shares[i][:, top : top + PIECE, left : left + PIECE] for i, top, left in cut]
        return torch.from_numpy(np.stack(pieces)).float() / 255

    def _cut(self, examples: Sequence[int], epoch: int) -> list[tuple[int, int, int]]:
        """(example, first row, first column) of each piece, in stored cells."""
        out = []
        for i in examples:
            rng = np.random.default_rng([self.plan.loop.seed, 3, epoch, i])
            top, left = (int(v) for v in rng.integers(0, GRID - PIECE, 2, endpoint=True))
            there = [k for k in self.around if self.shares[i, k].any()]
            if there and rng.random() < AIMED:
                inside = np.argwhere(self.shares[i, there[rng.integers(len(there))]])
                aside = rng.integers(2, PIECE - 2, 2)
                top, left = (int(v) for v in np.clip(inside[rng.integers(len(inside))] - aside, 0, GRID - PIECE))
            out.append((i, top, left))
        return out

    def shown(self, examples: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """Pieces of pictures and of masks."""
        side, cut = self.plan.stored // GRID, self._cut(examples, epoch)
        pixels = [
            self.train.pictures[i][top * side :, left * side :][: PIECE * side, : PIECE * side] for i, top, left in cut
        ]
        return as_pixels(np.stack(pixels)), self._shares(cut)

    def loudness(self, epoch: int) -> float:
        """No label."""
        return 0.0


def _median(values: Tensor) -> Tensor:
    """Of those above 0; 1 where none is."""
    return values[values > 0].median() if (values > 0).any() else torch.tensor(1.0)


def _maps(module: nn.Module, x: Tensor) -> Tensor:
    """The last map ``[b, d, h, w]``, float32."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=torch.is_grad_enabled()):
        maps: Tensor = module.maps(x)  # type: ignore[operator]
    return maps.float()


def plan_of(loop: LoopPlan, sizes: tuple[int, ...] = ()) -> ClassifierPlan:
    """What a leg is trained by."""
    mini = Path(whyray.__file__).parent / "models" / "weights" / "mini.safetensors"
    return ClassifierPlan(
        name="known-answers",
        findings=FINDINGS,
        data=(Source("phantom", "phantom", about="whyray phantoms, version 1", licence="Apache-2.0"),),
        architecture={"network": "densenet", "growth": 32, "blocks": [2, 5, 9], "stem": 32},
        init=str(mini),
        loop=loop,
        augment=Augment(rotate=0, zoom=0, aspect=0, shift=0, gamma=0.2, contrast=0.15, brightness=0.06),
        size=SIZE,
        sizes=sizes,
        stored=SIZE,
        licence="Apache-2.0",
        limits=("Knows phantoms only; made to test explanations, never for radiographs.",),
    )


def asked_for(
    about: str, argv: Sequence[str] | None, *, train: int, val: int, epochs: Sequence[int]
) -> argparse.Namespace:
    """A recipe's command line, with its defaults; torch then has as many threads as processes were asked for."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=train, help="phantoms that a leg learns from")
    parser.add_argument("--val", type=int, default=val)
    parser.add_argument("--epochs", type=int, nargs=len(epochs), default=epochs, help="of each leg")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="where it is trained: cpu, cuda")
    asked = parser.parse_args(argv)
    torch.set_num_threads(asked.processes)
    return asked


def told(done: int, total: int, facts: str) -> None:
    """A line of the log."""
    print(done, total, facts, flush=True)


def main(argv: Sequence[str] | None = None) -> tuple[KnownAnswers, Path]:
    """The command line; returns what was trained on last, and the path of the model."""
    asked = asked_for(__doc__, argv, train=9000, val=300, epochs=(18, 24, 34, 7))

    def draw(first: int, count: int, more: float = 0.0) -> tuple[Examples, np.ndarray]:
        return examples(partial(drawn, size=SIZE, more=more), first, count, asked.processes)

    val = draw(FIRST["val"], asked.val)
    seen = draw(FIRST["train"], asked.train, MORE[0])
    fixed: dict[str, Any] = {"precision": "bfloat16", "every": 2, "device": asked.device}
    loops = [LoopPlan(e, **fixed, **of) for e, of in zip(asked.epochs, LOOPS, strict=True)]
    task = KnownAnswers(plan_of(loops[0], (224, SIZE, SIZE)), seen, val)
    legs = [train(task, loops[0], asked.out / "leg-1", told)]
    seen = draw(FIRST["train"] + asked.train, asked.train, MORE[1])
    for loop, around in zip(loops[1:3], AROUND, strict=True):
        task = Pieces(plan_of(loop), seen, val, legs[-1].weights, around)
        legs.append(train(task, loop, asked.out / f"leg-{len(legs) + 1}", told))
    task = KnownAnswers(plan_of(loops[3]), seen, val, legs[-1].weights)
    legs.append(train(task, loops[3], asked.out / "leg-4", told))
    whole = replace(legs[-1], weights=task.folded(legs[-1].weights), seconds=sum(leg.seconds for leg in legs))
    return task, finished(task, whole, asked.out)


if __name__ == "__main__":
    main()
