"""A classifier of random eyes, and an ensemble with planted patterns: what the tests of building banks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

import whyray
from whyray.patterns.activations import ActivationStore
from whyray.patterns.funnel import GatePlan
from whyray.patterns.members import Member, write_ensemble, write_member
from whyray.patterns.site import Basis

PLANTED, WIDTH, CHANNELS = 3, 8, 6
PLAN = GatePlan(density=(1e-4, 0.5), leading=1.0, top=8, correlation=0.5)


class Eyes(nn.Module):
    """Six channels that look for six levels of grey in 4 x 4 cells, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, CHANNELS, 16, stride=16), nn.ReLU())
        self.classifier = nn.Linear(CHANNELS, 2)
        torch.manual_seed(1)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.randn(CHANNELS, 1, 16, 16) / 16)
            self.classifier.weight.copy_(torch.randn(2, CHANNELS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def eyes_that_see() -> whyray.Classifier:
    """The same eyes behind the contract."""
    return whyray.wrap(Eyes(), findings=["edema", "mass"], size=64, name="eyes", layer="features")


def plant(store: Path, folder: Path, split: str = "val") -> Path:
    """Ten members: three latents that all share, up to noise, and five of their own that hardly fire."""
    folder.mkdir()
    read = ActivationStore(store)
    tokens = read.tokens(read.where(split)).reshape(-1, CHANNELS)
    mean = tokens.mean(axis=0)
    basis = Basis(mean, np.eye(CHANNELS, dtype=np.float32))
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(CHANNELS, CHANNELS)))[0][:PLANTED]
    plan = {"k": WIDTH, "kind": "topk", "width": WIDTH}
    rows = []
    for number in range(10):
        encoder = np.concatenate([directions, rng.normal(size=(WIDTH - PLANTED, CHANNELS))])
        encoder += 0.02 * rng.normal(size=encoder.shape)
        before = (tokens - mean) @ encoder.T
        share = np.r_[np.full(PLANTED, 0.9), np.full(WIDTH - PLANTED, 0.97)]
        bias = -np.array([np.quantile(before[:, i], share[i]) for i in range(WIDTH)])
        decoder = np.concatenate([directions, rng.normal(size=(WIDTH - PLANTED, CHANNELS))])
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
        arrays = [a.astype(np.float32) for a in (encoder, bias, decoder, mean)]
        rows.append({"sha256": write_member(folder, number, Member(*arrays, k=WIDTH)), "results": {"loss": 1.0}})
    return write_ensemble(folder, fingerprint=read.fingerprint, site=read.site, basis=basis, plan=plan, members=rows)


def damage(store: Path, shard: int) -> None:
    """Turn a byte of a shard's numbers."""
    path = store / f"shard-{shard:05d}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
