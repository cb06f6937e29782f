"""A classifier and a generator of sentences whose every number follows from four grey values: an oracle for wenlex.

The classifier sees the mean of each quarter of a picture; the generator's vector is those four values, and each of its
sentences stands for one vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import whyray
from whyray.cards import Card, Operation, Preparation

SIDE = 32
FINDINGS = ("nodule", "edema")


class Quadrants(whyray.Classifier):
    """Four features: quarters from left to right, then down. Nodule: the first above a half; edema: the last."""

    name = "quadrants"
    findings = FINDINGS
    card = Card(
        "quadrants",
        preparation=Preparation(size=(SIDE, SIDE)),
        operations={f: Operation(threshold=0.5) for f in FINDINGS},
    )
    capabilities = frozenset({"features", "gradients"})
    taps: Mapping[str, str] = {"features": "quarters"}
    fingerprint = "f" * 64
    backend = "torch/float32/cpu"

    def prepare(self, radiograph: whyray.Radiograph) -> Any:
        from whyray.types import Frame

        return Frame(radiograph.pixels[None].copy(), np.eye(3), radiograph.shape)

    def logits(self, x: Tensor) -> Tensor:
        return self.run(x, ())[0]

    def run(self, x: Tensor, taps: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        features = torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)[:, :, None, None]
        return self.head("features", features), {t: features for t in taps}

    def head(self, tap: str, value: Tensor) -> Tensor:
        return 10 * (value[:, [0, 3], 0, 0] - 0.5)


def picture(*quarters: float, view: Any = "PA") -> whyray.Radiograph:
    """A radiograph of four grey values."""
    blocks = np.kron(np.reshape(quarters, (2, 2)), np.ones((SIDE // 2, SIDE // 2)))
    return whyray.Radiograph(blocks.astype(np.float32), view=view, name="blocks")


@dataclass(frozen=True)
class Spelled:
    """A generator that tells each diagnosis by a fixed vector: ``meant`` -> z; ``sentences``: text -> what it means.

    A vector becomes the sentence that is nearest to it, and a sentence is read as its vector.
    """

    meant: Mapping[str, Sequence[float]]
    sentences: Mapping[str, Sequence[float]]
    databases: Mapping[str, tuple[Any, ...]]
    diagnoses: tuple[str, ...] = FINDINGS
    audiences: tuple[str, ...] = ("clinician", "lay")
    name: str = "spelled"
    several: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def latents(self, features: Tensor, probabilities: Tensor, diagnoses: Sequence[str], audience: str) -> Tensor:
        self.asked.append((features.shape, probabilities.shape, tuple(diagnoses), audience))
        return torch.tensor([self.meant[d] for d in diagnoses])

    def candidates(self, z: Tensor, diagnosis: str, audience: str, beams: int) -> list[str]:
        """The nearest sentences, ``several`` at most."""
        known = list(self.sentences)
        return [known[int(i)] for i in torch.cdist(z[None], self.encoded(known))[0].argsort()][
            : min(beams, self.several)
        ]

    def encoded(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([self.sentences[t] for t in texts])

    def pictures(self, z: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(z.reshape(-1, 1, 2, 2), (SIDE, SIDE), mode="nearest")

    def texts(self, z: Tensor, beams: int = 1) -> list[str]:
        known = list(self.sentences)
        return [known[int(torch.cdist(row[None], self.encoded(known)).argmin())] for row in z]


def example(diagnosis: str, text: str) -> Any:
    """A row of a database."""
    return SimpleNamespace(diagnosis=diagnosis, nle=text, audience="clinician", source="made up")
