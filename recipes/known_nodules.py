"""A network that knows nodules, the one finding of a phantom that the network of ``known_answers.py`` does not know.

    python recipes/known_nodules.py -o OUT [--train 32000] [--epochs 20] [--processes 2] [--device cuda]

A nodule is a few pixels wide, and a network whose first layers keep one pixel in sixteen is slow to learn what tells it
from a vessel or from a crossing of ribs. This one begins at every second pixel, sees beside the picture what it differs
by from its surround, and is told of each cell whether it lies in a nodule, on pieces of phantoms that have up to eight.
The loss is the focal one, of cells, by nodule. It leaves cells that all tell a little, and their mean, which the logit
of a picture is, tells nothing; so a last block, set and not learned, leaves in one channel only what a cell tells above
SURE, and the head reads that channel. OUT is a model as any other (``-m OUT``); the commands that make its bank and
measure it are in docs/benchmark-patterns.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from known_answers import GRID, SIZE, as_told, asked_for, examples, told
from torch import Tensor, nn
from torch.nn import functional as nf

from whyray.datasets.phantom import FIRST, phantom
from whyray.metrics.classification import auc
from whyray.training.augment import Augment, augmented, draws
from whyray.training.classifier import MEAN, STD, ClassifierTask, as_pixels, batches, finished, new_network
from whyray.training.finish import settings_of
from whyray.training.loop import LoopPlan, train
from whyray.training.plan import ClassifierPlan, Source

SIDE = SIZE // GRID  # pixels a side of a cell, here of the last map as well
AFTER = 20_000  # training phantoms left out before the first: those of known_answers.py
MOST = {"atelectasis": 2, "mass": 1, "nodule": 8, "pneumothorax": 0, "support_devices": 1}  # lesions; 0: seldom one
SELDOM = 0.3
PIECE = 10  # cells a side of a piece
EDGE = 1  # cells along the border of a piece that do not count: they do not see what is beside them
AIMED = 0.7  # share of the pieces that are cut around a nodule, where there is one
INSIDE = 0.4  # share of a cell in a nodule from which it is one; of a smaller nodule it is the cell with most of it
LOUD, NEAR = 3.0, 5  # how many cells a nodule counts for, small or large; side of the largest one, in cells
FOCUS = 2.0  # exponent of the focal loss
START = -4.0  # logit of a cell before anything is learned
SURE = 0.25  # the logit of a cell from which it tells
GAIN = 32.0  # how loudly: the channel's standard deviation is then about nine times that of the others (their median)
NETWORK: dict[str, Any] = {
    "network": "resnet",
    "expansion": 1,
    "blocks": [1, 2, 2],
    "stem": 32,
    "stride": 2,
    "surround": [13, 41],
}
DEEPER = {**NETWORK, "blocks": [1, 2, 3]}
LOGIT, NOTHING = 0.4, -3.2  # of a picture, fitted to validation phantoms: what a logit 1 above SURE adds; where none is
LOOP: dict[str, Any] = {
    "lr": 7e-3,
    "warmup": 0.05,
    "weight_decay": 0.08,
    "ema": 0.999,
    "clip": 2.0,
    "optimiser": "muon",
    "every": 3,
    "seed": 1,
}


def crowd(n: int) -> dict[str, list[float]]:
    """Severities of the nodules that phantom ``n`` is given, and of what lies among them."""
    rng = np.random.default_rng([n, 321])  # a stream of its own
    given: dict[str, list[float]] = {}
    for finding, most in MOST.items():
        count = int(rng.integers(0, most, endpoint=True)) if most else int(rng.random() < SELDOM)
        if count:
            given[finding] = rng.random(count).tolist()
    return given


def drawn(n: int, crowded: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phantom ``n`` with its crowd, or as it comes: pixels uint8 ``[SIZE, SIZE]``, label ``[1]``, how much of each cell
    lies in a nodule (255 = all of it) uint8 ``[GRID, GRID]``."""
    made = phantom(n, size=SIZE, plant=crowd(n) if crowded else {})
    pixels, labels, shares = as_told(made, ("nodule",))
    return pixels, labels, shares[0]


class Finding(ClassifierTask):
    """Which cells lie in a nodule, learned on pieces of phantoms."""

    def __init__(self, plan: ClassifierPlan, train: Sequence[Any], val: Sequence[Any]) -> None:
        self.plan = plan
        (self.train, self.shares), (self.val, self.val_shares) = train, val
        self.about = {**settings_of(plan), "phantoms": len(self.train.pictures)}

    def build(self) -> nn.Module:
        """The plan's network; each cell begins by telling that it has none."""
        module: Any = super().build()
        nn.init.zeros_(module.head.weight)
        nn.init.constant_(module.head.bias, START)
        return module

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Focal loss (Lin et al., ICCV 2017) of the cells, by nodule: small ones count as much as large ones."""
        x, shares = self.seen(examples, epoch)
        return focal(inner(cells(module, x)), inner(weights(shares)), inner(shares == 0))

    def shown(self, examples: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """A piece of each example, half of them mirrored: pixels ``[b, 1, s, s]``, shares of cells ``[b, c, c]``."""
        pixels, shares = [], []
        for i in examples:
            rng = np.random.default_rng([self.plan.loop.seed, 3, epoch, i])
            top, left = self._corner(self.shares[i], rng)
            piece = self.train.pictures[i][top * SIDE :, left * SIDE :][: PIECE * SIDE, : PIECE * SIDE]
            turn = slice(None, None, int(rng.choice([-1, 1])))
            pixels.append(piece[:, turn])
            shares.append(self.shares[i][top : top + PIECE, left : left + PIECE][:, turn])
        return as_pixels(np.stack(pixels)), torch.from_numpy(np.stack(shares)).float() / 255

    def _corner(self, shares: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """First row and column of a piece, in cells."""
        corner = rng.integers(0, GRID - PIECE, 2, endpoint=True)
        if shares.any() and rng.random() < AIMED:
            loud = weights(torch.from_numpy(shares[None]) / 255)[0].double().numpy()
            aim = rng.choice(loud.size, p=(loud / loud.sum()).ravel())
            corner = np.array(np.unravel_index(aim, loud.shape)) - rng.integers(2, PIECE - 2, 2)
        top, left = np.clip(corner, 0, GRID - PIECE).tolist()
        return top, left

    def seen(self, examples: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """The network's input for some pieces, greys changed a little, and their shares."""
        pixels, shares = self.shown(examples, epoch)
        x = augmented(pixels, draws(self.plan.loop.seed, epoch, examples), pixels.shape[-1], self.plan.augment)
        x = ((x - MEAN) / STD).to(self.plan.loop.device, memory_format=torch.channels_last)
        return x, shares.to(self.plan.loop.device)

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """AUC of the strongest cell."""
        strongest = []
        for x in batches(self.val.pictures, self.plan, 32):
            with torch.inference_mode():
                strongest.append(cells(module, x).amax((1, 2)).double().cpu())
            check()
        return {"auc": auc(torch.cat(strongest).numpy(), self.val.labels[:, 0])}


def told_by_one_channel(learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network one block deeper than the ``learned`` one. Channel 0 of its last map is GAIN times how far a
    cell's logit lies above SURE, or 0; the other channels are as they were. The head reads channel 0 alone."""
    module: Any = new_network(plan_of(LoopPlan(), DEEPER))
    module.load_state_dict({**module.state_dict(), **learned})
    block, head = module.get_submodule(f"layer{module.stages}")[-1], module.head
    with torch.no_grad():
        for part in block.parameters():
            part.zero_()
        for norm in (block.bn1, block.bn2):  # their running mean is 0, their variance 1
            norm.weight.fill_((1 + norm.eps) ** 0.5)
        block.conv1.weight[0, :, 1, 1] = head.weight[0]
        block.bn1.bias[0] = head.bias[0] - SURE
        block.conv1.weight[1, 0, 1, 1] = 1  # a copy of channel 0, to take away from the shortcut
        block.conv2.weight[0, :2, 1, 1] = torch.tensor([GAIN, -1.0])
        head.weight.zero_()[0, 0] = LOGIT * GRID**2 / GAIN
        head.bias.fill_(NOTHING)
    return dict(module.state_dict())


def cells(module: Any, x: Tensor) -> Tensor:
    """What the head makes of each cell ``[b, h, w]``, float32."""
    return torch.einsum("bdhw,d->bhw", module.maps(x).float(), module.head.weight[0]) + module.head.bias[0]


def inner(values: Tensor) -> Tensor:
    """Of a piece's cells ``[b, c, c]`` those that see what is around them."""
    return values[:, EDGE:-EDGE, EDGE:-EDGE]


def within(shares: Tensor) -> Tensor:
    """Which cells ``[b, c, c]`` lie in a nodule: those it fills to INSIDE, or of a small one that with most of it."""
    most = nf.max_pool2d(shares[:, None], 3, stride=1, padding=1)[:, 0]
    return (shares >= INSIDE) | ((shares > 0) & (shares == most))


def weights(shares: Tensor) -> Tensor:
    """What each cell ``[b, c, c]`` counts for that lies in a nodule; those of a nodule have LOUD in all."""
    inside = within(shares).float()
    others = nf.avg_pool2d(inside[:, None], NEAR, stride=1, padding=NEAR // 2, divisor_override=1)[:, 0]
    return LOUD * inside / others.clamp(min=1)


def focal(logits: Tensor, loud: Tensor, outside: Tensor) -> Tensor:
    """The focal loss of cells, those in a nodule weighed by ``loud``; one neither in nor outside does not count."""
    p = torch.sigmoid(logits)
    missed = (loud * (1 - p) ** FOCUS * nf.softplus(-logits)).sum()
    false = (outside * p**FOCUS * nf.softplus(logits)).sum()
    return (missed + false) / loud.sum().clamp(min=1)


def plan_of(loop: LoopPlan, network: Mapping[str, Any] = NETWORK) -> ClassifierPlan:
    """What it is trained by."""
    return ClassifierPlan(
        name="known-nodules",
        findings=("nodule",),
        data=(Source("phantom", "phantom", about="whyray phantoms, version 1", licence="Apache-2.0"),),
        architecture=network,
        loop=loop,
        augment=Augment(rotate=0, zoom=0, aspect=0, shift=0, gamma=0.25, contrast=0.15, brightness=0.05),
        size=SIZE,
        stored=SIZE,
        dropout=0.0,
        licence="Apache-2.0",
        limits=("Knows phantoms only; made to test explanations, never for radiographs.",),
    )


def main(argv: Sequence[str] | None = None) -> tuple[Finding, Path]:
    """The command line; returns what the model was measured on, and its path."""
    asked = asked_for(__doc__, argv, train=32000, val=1000, epochs=(20,))
    seen = examples(partial(drawn, crowded=True), FIRST["train"] + AFTER, asked.train, asked.processes)
    val = examples(partial(drawn, crowded=False), FIRST["val"], asked.val, asked.processes)
    loop = LoopPlan(asked.epochs[0], device=asked.device, **LOOP)
    learned = train(Finding(plan_of(loop), seen, val), loop, asked.out, told)
    task = Finding(plan_of(loop, DEEPER), seen, val)
    return task, finished(task, replace(learned, weights=told_by_one_channel(learned.weights)), asked.out)


if __name__ == "__main__":
    main()
