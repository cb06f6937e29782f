"""What the benchmarks share: a DenseNet-121, the classifier around it, kept draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

import whyray
from whyray.findings import crosswalk
from whyray.io.weights import load_weights
from whyray.networks.densenet import DenseNet


def densenet121(findings: int = 18, weights: Path | None = None) -> DenseNet:
    """Weights of a file that ``taught.py`` wrote; else random ones of a fixed seed, BatchNorm calibrated on random
    pictures, so that activations are of order one."""
    torch.manual_seed(0)
    module = DenseNet(findings)
    if weights is not None:
        module.load_state_dict(load_weights(weights))
        return module.eval().requires_grad_(False)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # cumulative average
    with torch.no_grad():
        module.train()(torch.rand(4, 1, 224, 224))
    return module.eval().requires_grad_(False)


def wrapped(module: nn.Module) -> whyray.Classifier:
    """The module behind the contract, with the 18 findings of torchxrayvision."""
    return whyray.wrap(module, findings=list(crosswalk("xrv-18").values()), size=224, name="densenet121")


def resident(name: str) -> float:
    """MiB by /proc/self/status: "VmRSS" now, "VmHWM" at most. ``ru_maxrss`` would not do: a child starts with its
    parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


class Draws:
    """Logits of perturbed pictures that are not timed (references of 10,000 passes), kept in a file between runs.

    paid  what ``Context.paid`` is to be: key -> logits ``[f]``.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.paid: dict[bytes, np.ndarray] = {}
        if path is not None and path.exists():
            with np.load(path) as kept:
                self.paid = {key.tobytes(): row for key, row in zip(kept["keys"], kept["logits"], strict=True)}

    def keep(self) -> None:
        """Write what was drawn, beside the old file first."""
        if self.path is not None and self.paid:
            beside = self.path.with_suffix(".part.npz")
            keys = np.stack([np.frombuffer(key, np.uint8) for key in self.paid])
            np.savez(beside, keys=keys, logits=np.stack(list(self.paid.values())))
            beside.replace(self.path)
