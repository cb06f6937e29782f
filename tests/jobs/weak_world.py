"""A small world whose answers are known: bright spots with a side and a size, a classifier that sums them, speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

import whyray
from whyray.contracts import Classifier, Dataset
from whyray.errors import InputError
from whyray.text.nle_database import Entry
from whyray.types import Case, Radiograph

FINDINGS = ("nodule", "edema", "pleural_effusion")  # upper, middle, lower third of the picture
WORDS = {"nodule": "round spot", "edema": "hazy area", "pleural_effusion": "blunted angle"}
SIDES, SIZES = ("right", "left"), ("slight", "marked")  # the patient's right is the left half of the picture
SIDE, THIRD = 48, 16


class Spots(Dataset):
    """``n`` pictures; each finding is there in about half of them, left or right, slight or marked."""

    findings, licence = FINDINGS, "generated"

    def __init__(self, n: int, told: bool = True, broken: Sequence[int] = ()) -> None:
        self.n, self.told, self.broken, self.name = n, told, broken, f"spots-{n}"
        self.reads = 0

    def cases(self, split: str | None = None) -> list[Case]:
        return [self._case(i) for i in range(self.n)]

    def _case(self, i: int) -> Case:
        rng = np.random.default_rng(i)
        spots = {f: (int(rng.integers(2)), float(rng.uniform())) for f in FINDINGS if rng.random() < 0.5}
        sites = {f: {"side": SIDES[side]} for f, (side, _) in spots.items()}
        facts = {"sites": sites, "severities": {f: u for f, (_, u) in spots.items()}, "devices": []}
        labels = {f: float(f in spots) for f in FINDINGS}
        return Case(f"spots-{i}", Spot(self, i, spots), labels, f"p{i}", facts=facts if self.told else {})

    def open(self, i: int, spots: Mapping[str, tuple[int, float]]) -> Radiograph:
        self.reads += 1
        if i in self.broken:
            raise InputError(f"spots-{i}", "the file ends early", "copy it again")
        pixels = 0.1 + 0.02 * np.random.default_rng([1, i]).random((SIDE, SIDE))
        for finding, (side, severity) in spots.items():
            top, left = THIRD * FINDINGS.index(finding), SIDE // 2 * side
            pixels[top + 4 : top + 12, left + 8 : left + 16] = 0.4 + 0.5 * severity
        return Radiograph(pixels.astype(np.float32), name=f"spots-{i}")


@dataclass(frozen=True)
class Spot:
    """Reads one picture; what it is follows from its number."""

    of: Spots
    number: int
    spots: Mapping[str, tuple[int, float]]

    def __call__(self) -> Radiograph:
        return self.of.open(self.number, self.spots)

    def source(self) -> str:
        return f"spots {self.number} {self.number in self.of.broken}"


class Halves(nn.Module):
    """Brightness of each third, left and right apart, and a finding where either is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.blur, self.cells, self.pool = nn.AvgPool2d(8), nn.Identity(), nn.AdaptiveAvgPool2d(1)
        mask = torch.zeros(6, 6, 6)
        for k in range(3):
            for side in range(2):
                mask[2 * k + side, 2 * k : 2 * k + 2, 3 * side : 3 * side + 3] = 1
        self.register_buffer("mask", mask)
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3).repeat_interleave(2, dim=1) * 900)
            self.head.bias.fill_(-2.0)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.cells((self.blur(x) - 0.13).clamp(min=0) * self.get_buffer("mask"))
        logits: Tensor = self.head(self.pool(maps).flatten(1))
        return logits


def halves() -> Classifier:
    """Calls every spot of ``Spots``, and nothing else."""
    return whyray.wrap(Halves().eval(), findings=FINDINGS, size=SIDE, channels=1, layer="cells", name="halves")


def sentence(finding: str, side: int, size: int) -> str:
    return f"There is a {SIZES[size]} {WORDS[finding]} in the {SIDES[side]} lung."


def examples(per: int = 4) -> tuple[Entry, ...]:
    """``per`` of the four sentences of each finding."""
    every = [(f, sentence(f, i // 2, i % 2)) for f in FINDINGS for i in range(per)]
    return tuple(Entry(f, text, "clinician", "tests") for f, text in every)


@dataclass(frozen=True, eq=False)
class Speaker:
    """A generator that says what its features show; z is one-hot over finding, side and size.

    blind   says the same side whatever the picture; ``mute``: its latents know the picture, its words do not.
    """

    blind: bool = False
    mute: bool = False
    diagnoses: tuple[str, ...] = FINDINGS
    audiences: tuple[str, ...] = ("clinician",)
    databases: Mapping[str, tuple[Entry, ...]] = field(default_factory=lambda: {"clinician": examples()})

    def latents(self, features: Tensor, probabilities: Tensor, diagnoses: Sequence[str], audience: str) -> Tensor:
        means, z = features.mean((2, 3)), torch.zeros(len(features), 12)
        for row, (mean, finding) in enumerate(zip(means, diagnoses, strict=True)):
            k = FINDINGS.index(finding)
            side = 0 if self.blind else int(mean[2 * k + 1] > mean[2 * k])
            z[row, 4 * k + 2 * side + int(mean[2 * k : 2 * k + 2].sum() > 0.0135)] = 1
        return z

    def texts(self, z: Tensor, beams: int = 1) -> list[str]:
        places = z.argmax(1).tolist()
        return [sentence(FINDINGS[p // 4], 0 if self.mute else p % 4 // 2, 0 if self.mute else p % 2) for p in places]

    def candidates(self, z: Tensor, diagnosis: str, audience: str, beams: int) -> list[str]:
        return self.texts(z[None])

    def encoded(self, texts: Sequence[str]) -> Tensor:
        z = torch.zeros(len(texts), 12)
        for row, text in enumerate(texts):
            for k, finding in enumerate(FINDINGS):
                if WORDS[finding] in text:
                    z[row, 4 * k + 2 * ("left" in text) + ("marked" in text)] = 1
        return z

    def pictures(self, z: Tensor) -> Tensor:
        x = torch.full((len(z), 1, SIDE, SIDE), 0.11)
        for row, place in (z > 0.01).nonzero().tolist():
            k, side, size = place // 4, place % 4 // 2, place % 2
            grey = (0.5, 0.8)[size]
            top, left = THIRD * k, SIDE // 2 * side
            part = x[row, 0, top + 4 : top + 12, left + 8 : left + 16]
            part.copy_(torch.maximum(part, torch.full_like(part, grey)))
        return x
