"""A DenseNet-121 that has learned something, for figures that random weights would make look worse than they are.

    python benchmarks/taught.py -o taught.safetensors [--phantoms 1200] [--steps 1600] [--threads 2]
    python benchmarks/attribution.py lime --weights taught.safetensors

It imitates the logits of ``mini`` (15, and three means of two of them: 18) on phantoms of the training split, bent and
brightened at random, from 112 pixels up to 224. What it has learned is printed: the correlation with ``mini``'s logits
on phantoms of the validation split, each finding. Nothing is shipped; the seed makes it again on the same machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from benchmarks_common import densenet121
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as nf

import whyray
from whyray.datasets.phantom import FIRST, phantom
from whyray.training.augment import Augment, augmented, draws

SIDES = (112, 112, 112, 160, 224)  # of equal parts of the run
PAIRS = ((0, 1), (2, 3), (4, 5))  # the three findings that mini does not have are means of two that it has
BATCH, RATE = 16, 1.5e-3


def pictures(split: str, count: int, processes: int) -> Tensor:
    """The first phantoms of a split ``[n, 1, 256, 256]`` in 0..1."""
    with get_context("spawn").Pool(processes) as pool:
        made = pool.map(partial(_pixels, FIRST[split]), range(count), chunksize=20)
    return torch.from_numpy(np.stack(made))[:, None]


def _pixels(first: int, n: int) -> np.ndarray:
    return phantom(first + n, size=256).pixels


def teacher() -> whyray.Classifier:
    """The bundled model."""
    return whyray.load_model("mini")


def taught_by(model: whyray.Classifier, x: Tensor) -> Tensor:
    """18 logits of pictures in 0..1 ``[b, 1, s, s]``."""
    with torch.no_grad():
        found = model.logits((nf.interpolate(x, (224, 224), mode="bilinear", antialias=True) - 0.5) / 0.25)
    return torch.cat([found, *(found[:, list(p)].mean(1, keepdim=True) for p in PAIRS)], 1)


def normalise(module: nn.Module, pictures: Tensor) -> None:
    """BatchNorm's statistics anew, at the size that is explained; the module is in evaluation mode afterwards."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the average of all that follows
    module.train()
    for part in pictures.split(BATCH):
        module(nf.interpolate(part, (224, 224), mode="bilinear", antialias=True))
    module.eval()


def main(argv: Sequence[str] | None = None) -> None:
    """Teach, measure, write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-o", "--out", type=Path, required=True)
    options.add_argument("--phantoms", type=int, default=1200)
    options.add_argument("--held", type=int, default=200)
    options.add_argument("--steps", type=int, default=1600)
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args(argv)
    torch.set_num_threads(given.threads)
    model, module = teacher(), densenet121().requires_grad_(True).train().to(memory_format=torch.channels_last)
    seen, held = (pictures(s, n, given.threads) for s, n in (("train", given.phantoms), ("val", given.held)))
    usual = taught_by(model, seen[:200])
    mean, spread = usual.mean(0), usual.std(0)
    optimiser = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=given.steps, pct_start=0.1)
    start, running = time.monotonic(), 1.0
    for step in range(given.steps):
        rows = np.random.default_rng([0, step]).choice(len(seen), BATCH, replace=len(seen) < BATCH)
        x = augmented(seen[torch.from_numpy(rows)], draws(step, 0, [int(r) for r in rows]), 224, Augment())
        wanted = (taught_by(model, x) - mean) / spread
        side = SIDES[step * len(SIDES) // given.steps]
        x = nf.interpolate(x, (side, side), mode="bilinear", antialias=True)
        with torch.autocast("cpu", torch.bfloat16):
            came = module(x.contiguous(memory_format=torch.channels_last)).float()
        loss = nf.smooth_l1_loss(came, wanted)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running += 0.02 * (float(loss.detach()) - running)
        if step % 50 == 49:
            print(f"step {step + 1} of {given.steps}: loss {running:.3f}, {time.monotonic() - start:.0f} s", flush=True)
    with torch.no_grad():
        normalise(module, seen[:240])
        side = nf.interpolate(held, (224, 224), mode="bilinear", antialias=True)
        came = torch.cat([module(part) for part in side.split(20)]) * spread + mean
        wanted = torch.cat([taught_by(model, part) for part in held.split(20)])
        module.classifier.weight.mul_(spread[:, None])
        module.classifier.bias.copy_(module.classifier.bias * spread + mean)
    found = [float(np.corrcoef(came[:, k], wanted[:, k])[0, 1]) for k in range(came.shape[1])]
    print(
        f"correlation with mini's logits, n = {len(held)}:",
        " ".join(f"{v:.2f}" for v in found),
        f"mean {np.mean(found):.2f}",
    )
    save_file({k: v.contiguous() for k, v in module.state_dict().items()}, given.out)


if __name__ == "__main__":
    main()
