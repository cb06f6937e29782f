"""Train a classifier from a plan, and leave a bundle: network, calibration, operating points, unfamiliarity, card."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from ..cards import Preparation
from ..errors import SettingError
from ..metrics.classification import auc
from ..types import Report
from .augment import augmented, draws
from .examples import Examples, gathered, mixed_order, scaled
from .finish import Fitted, Labelled, settings_of, write_bundle
from .loop import Task, Trained, train
from .plan import MARGIN, ClassifierPlan, load_plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ClassifierPlan", "ClassifierTask", "load_plan", "train_classifier"]

MEAN, STD = 0.5, 0.25
RESNET = "blocks, stem, expansion (1, 4), stride (2, 4), surround (odd widths)"
PAPERS = {"densenet": "DenseNet: Huang et al., CVPR 2017", "resnet": "ResNet: He et al., CVPR 2016"}


def train_classifier(
    plan: ClassifierPlan, out: Path, report: Report | None = None, *, cache: Path | None = None
) -> Path:
    """Train, calibrate and write ``out/model.json`` + ``model.safetensors``; returns the path of the JSON.

    ``cache`` keeps the pictures (``out/cache`` where None). Run again after a stop, it goes on from the last checkpoint
    in ``out``. With ``plan.tower`` only a head is trained, on embeddings. Raises SettingError, DataError, WeightsError,
    LockedError, DiskFullError, Stopped.
    """
    if plan.tower:
        from .tower import train_head

        return train_head(plan, out, report, cache=cache or out / "cache")
    task = ClassifierTask(plan, cache or out / "cache", report)
    trained = train(task, plan.loop, out, report)
    return finished(task, trained, out)


class ClassifierTask(Task):
    """A classifier's examples, loss and validation."""

    def __init__(self, plan: ClassifierPlan, cache: Path, report: Report | None = None) -> None:
        self.plan = plan
        parts = {
            split: gathered(
                plan.data, split, plan.findings, cache, stored=plan.stored, uncertain=plan.uncertain, report=report
            )
            for split in ("train", "val")
        }
        self.train, self.val = parts["train"], parts["val"]
        self.balance = balance(self.train.labels, plan.weighting)
        self._scaled: tuple[int, NDArray[np.uint8]] = (plan.stored, self.train.pictures)
        self.about = {**settings_of(plan), "pictures": [len(p.pictures) for p in parts.values()]}

    def build(self) -> nn.Module:
        """The plan's network, with weights from ``init`` where there is one."""
        return new_network(self.plan)

    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Each source's share of the epoch, mixed."""
        return mixed_order(self.plan.data, self.train.source, rng)

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Masked cross-entropy of one batch of changed pictures."""
        plan, rows = self.plan, np.asarray(examples)
        side = plan.side(epoch)
        pixels = as_pixels(self._pictures(round(MARGIN * side))[rows])
        x = augmented(pixels, draws(plan.loop.seed, epoch, examples), side, plan.augment)
        x = ((x - MEAN) / STD).to(plan.loop.device, memory_format=torch.channels_last)
        logits = module(x).float()
        return masked_bce(logits, torch.from_numpy(self.train.labels[rows]).to(logits.device), self.balance)

    def _pictures(self, side: int) -> NDArray[np.uint8]:
        """The training pictures near the size they are sampled at; kept until another size is asked for."""
        if self._scaled[0] != side:
            self._scaled = side, scaled(self.train.pictures, side)
        return self._scaled[1]

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """Mean AUC of the sources that select, then of each source."""
        return mean_aucs(self.plan, logits_of(module, self.val.pictures, self.plan, check), self.val)


def mean_aucs(plan: ClassifierPlan, logits: NDArray[np.float64], val: Labelled) -> dict[str, float]:
    """Mean AUC of the sources that select, then of each source, from validation ``logits [n, f]``."""
    means = {}
    for number, source in enumerate(plan.data):
        rows = val.source == number
        found = [auc(logits[rows, k], val.labels[rows, k]) for k in range(len(plan.findings))]
        means[source.name] = float(np.nanmean(found)) if not np.isnan(found).all() else math.nan
    chosen = [means[s.name] for s in plan.data if s.selects and not math.isnan(means[s.name])]
    return {"auc": float(np.mean(chosen)) if chosen else math.nan, **{f"auc-{k}": v for k, v in means.items()}}


def masked_bce(logits: Tensor, labels: Tensor, balance: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the labels that are there; NaN contributes nothing. ``balance [f]`` weighs positives."""
    known = ~torch.isnan(labels)
    weights = None if balance is None else balance.to(logits.device)
    errors = nf.binary_cross_entropy_with_logits(
        logits, torch.where(known, labels, torch.zeros_like(labels)), reduction="none", pos_weight=weights
    )
    return (errors * known).sum() / known.sum().clamp(min=1)


def balance(labels: NDArray[np.float32], weighting: float) -> Tensor | None:
    """(negatives / positives) ** weighting of each finding ``[f]``; 1 where one of them is missing."""
    if not weighting:
        return None
    positives, negatives = (labels == 1).sum(0), (labels == 0).sum(0)
    both = (positives > 0) & (negatives > 0)
    weights = np.where(both, np.maximum(negatives, 1) / np.maximum(positives, 1), 1.0) ** weighting
    return torch.from_numpy(weights.astype(np.float32))


def new_network(plan: ClassifierPlan) -> nn.Module:
    """An untrained network as the plan says. Raises SettingError for one whyray does not have."""
    from ..networks.densenet import DenseNet
    from ..networks.resnet import ResNet

    networks = {"densenet": (DenseNet, "growth, blocks, stem, bottleneck"), "resnet": (ResNet, RESNET)}
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in plan.architecture.items()}
    name = settings.pop("network", None)
    if name not in networks:
        raise SettingError(f"architecture.network = {name!r}; known: {', '.join(networks)}")
    network, known = networks[name]
    try:
        module: nn.Module = network(len(plan.findings), dropout=plan.dropout, **settings)
    except (TypeError, ValueError):
        raise SettingError(f"architecture = {dict(plan.architecture)}; known: {known}") from None
    if plan.init:
        from .transfer import start_from

        start_from(module, plan.init, plan.findings)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module


def as_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 ``[b, s, s]`` -> 0..1 ``[b, 1, s, s]``."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).unsqueeze(1).float() / 255


def logits_of(
    module: nn.Module, pictures: NDArray[np.uint8], plan: ClassifierPlan, check: Callable[[], None] = lambda: None
) -> NDArray[np.float64]:
    """Logits ``[n, f]`` of cached pictures, unchanged but for the size; float32, or as the loop's precision says."""
    out = []
    for x in batches(pictures, plan):
        with torch.inference_mode(), _precision(plan):
            out.append(module(x).float().cpu().numpy())
        check()
    return np.concatenate(out).astype(np.float64)


def batches(pictures: NDArray[np.uint8], plan: ClassifierPlan, batch: int = 64) -> Iterator[Tensor]:
    """Normalised model inputs ``[b, 1, size, size]``."""
    for start in range(0, len(pictures), batch):
        x = nf.interpolate(
            as_pixels(pictures[start : start + batch]), size=(plan.size, plan.size), mode="bilinear", antialias=True
        )
        yield ((x - MEAN) / STD).to(plan.loop.device, memory_format=torch.channels_last)


def finished(task: ClassifierTask, trained: Trained, out: Path) -> Path:
    """Calibrate the kept weights, measure what is familiar, and write the bundle."""
    plan = task.plan
    module = new_network(plan).eval()
    module.load_state_dict(dict(trained.weights))
    module.to(plan.loop.device)
    known, _ = _embedded(module, task.train, plan)
    embedded, logits = _embedded(module, task.val, plan)
    preparation = Preparation(size=(plan.size, plan.size), mean=(MEAN,), std=(STD,))
    paper = PAPERS[plan.architecture["network"]]
    fitted = Fitted(module, plan.architecture, preparation, paper, known, embedded, logits)
    return write_bundle(plan, (task.train, task.val), trained, fitted, out)


def _embedded(module: Any, examples: Examples, plan: ClassifierPlan) -> tuple[Tensor, NDArray[np.float64]]:
    """(embeddings ``[n, d]``, logits ``[n, f]``) in float32."""
    rows, logits = [], []
    with torch.inference_mode():
        for x in batches(examples.pictures, plan):
            pooled = module.maps(x).mean((2, 3))
            rows.append(pooled.cpu())
            logits.append(module.head(pooled).cpu())
    return torch.cat(rows), torch.cat(logits).double().numpy()


def _precision(plan: ClassifierPlan) -> contextlib.AbstractContextManager[Any]:
    wide = plan.loop.precision == "float32"
    return torch.autocast(plan.loop.device.split(":")[0], torch.bfloat16, enabled=not wide)
