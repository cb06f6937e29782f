"""Train a two-layer head on a frozen image tower, from embeddings: an epoch takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..models._networks import build
from ..models.biomedclip import ImageTower, image_tower
from ..networks.tower import TowerClassifier, TwoLayers
from ..types import Report
from .classifier import balance, masked_bce, mean_aucs
from .embeddings import embedder, gathered, tower_hash
from .examples import mixed_order
from .finish import Fitted, settings_of, write_bundle
from .loop import Task, Trained, train
from .plan import ClassifierPlan
from .settings import expanded

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAPER = "BiomedCLIP: Zhang et al., 2023 (arXiv 2303.00915); the head after CXR-LanIC (arXiv 2510.21464)"
NETWORK = "clip_vit"


def train_head(plan: ClassifierPlan, out: Path, report: Report | None = None, *, cache: Path) -> Path:
    """Train by a plan with a ``tower`` and write ``out/model.json``; the bundle holds tower and head.

    ``cache`` keeps the embeddings. Raises what ``training.classifier.train_classifier`` raises.
    """
    tower = image_tower(expanded(plan.tower))
    task = HeadTask(plan, tower, cache, report)
    return finished(task, train(task, plan.loop, out, report), out)


class HeadTask(Task):
    """A head's embeddings, loss and validation."""

    def __init__(self, plan: ClassifierPlan, tower: ImageTower, cache: Path, report: Report | None = None) -> None:
        self.plan, self.tower = plan, tower
        self.architecture = _architecture(plan, tower)
        device = plan.loop.device
        embed = embedder(tower, device)
        self.train, self.val = (gathered(plan, split, tower, embed, cache, report) for split in ("train", "val"))
        self.balance = balance(self.train.labels, plan.weighting)
        pictures = [len(p.vectors) for p in (self.train, self.val)]
        self.about = {**settings_of(plan), "tower": tower_hash(tower), "pictures": pictures}

    def build(self) -> nn.Module:
        """The head alone."""
        width, hidden = (int(self.architecture[k]) for k in ("projection", "hidden"))
        return TwoLayers(width, hidden, len(self.plan.findings), dropout=self.plan.dropout)

    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Each source's share of the epoch, mixed."""
        return mixed_order(self.plan.data, self.train.source, rng)

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Masked cross-entropy of one batch of embeddings."""
        rows, device = np.asarray(examples), self.plan.loop.device
        x, labels = (torch.from_numpy(a[rows]).to(device) for a in (self.train.vectors, self.train.labels))
        return masked_bce(module(x).float(), labels, self.balance)

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """Mean AUC of the sources that select, then of each source."""
        logits = logits_of(module, self.val.vectors, self.plan.loop.device)
        check()
        return mean_aucs(self.plan, logits, self.val)


def logits_of(module: nn.Module, vectors: NDArray[np.float32], device: str = "cpu") -> NDArray[np.float64]:
    """Logits ``[n, f]`` of embeddings."""
    with torch.inference_mode():
        made: NDArray[np.float64] = module(torch.from_numpy(vectors).to(device)).double().cpu().numpy()
    return made


def finished(task: HeadTask, trained: Trained, out: Path) -> Path:
    """Put tower and head together, calibrate, and write the bundle."""
    plan = task.plan
    module = build(task.architecture, len(plan.findings))
    assert isinstance(module, TowerClassifier)
    head = {f"head.{k}": v.cpu() for k, v in trained.weights.items()}
    module.load_state_dict({**task.tower.tensors, **head}, assign=True)
    module.eval()
    known, seen = (torch.from_numpy(p.vectors) for p in (task.train, task.val))
    logits = logits_of(module.head, task.val.vectors)
    fitted = Fitted(module, task.architecture, task.tower.preparation, PAPER, known, seen, logits)
    named = replace(plan, tower=task.tower.name)
    return write_bundle(named, (task.train, task.val), trained, fitted, out)


def _architecture(plan: ClassifierPlan, tower: ImageTower) -> dict[str, str | int]:
    """Of the whole classifier. Raises SettingError for a plan whose head is another kind."""
    asked = dict(plan.architecture)
    hidden = asked.pop("hidden", 256)
    if asked.pop("network", NETWORK) != NETWORK or asked or not (isinstance(hidden, int) and 0 < hidden <= 4096):
        wanted = f'architecture = {{network = "{NETWORK}", hidden = 256}}'
        raise SettingError(f"architecture = {dict(plan.architecture)} came with a tower; give {wanted}")
    return {"network": NETWORK, "hidden": hidden, **tower.settings}
