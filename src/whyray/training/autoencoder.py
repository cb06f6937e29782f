"""Train an autoencoder whose reconstructions keep what a classifier sees (after Cohen et al., MIDL 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..cards import Preparation
from ..contracts import Classifier
from ..errors import SettingError, UnmetNeed
from ..io.artefacts import Artefact, load_artefact, save_artefact
from ..io.weights import halved, load_into, widened
from ..metrics._intervals import known_mean
from ..models._autoencoders import KIND, build, from_grey, to_grey
from ..types import Report
from .augment import Augment, augmented, draws
from .classifier import as_pixels
from .examples import gathered, mixed_order, scaled
from .loop import LoopPlan, Task, Trained, train
from .plan import MARGIN, Source
from .settings import Plans

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class AutoencoderPlan:
    """An autoencoder to train.

    classifier    whose input it reconstructs ("mini", a trained folder ...): the artefact carries its fingerprint.
    architecture  {"network": "small", "widths": [...], "latent": 128}, or {"network": "resnet"}: the published one.
    squared, absolute  weights of the errors of grey values (0..1); ``summed`` over pixels and batch as published, else
                  their means.
    features, logits   weights of two terms through the frozen classifier: the relative squared change of its last map,
                  and the squared change of its logits, in units of their spread over the batch.
    noise         Gaussian noise on the latent while training, in units of its spread over the batch: for smoothness.
    sizes         sides of the square cut out of the training pictures, one a part of the run of equal length.
    init          a folder that an earlier training wrote: begin with its weights.
    """

    name: str
    classifier: str
    data: tuple[Source, ...]
    architecture: Mapping[str, Any] = field(default_factory=lambda: {"network": "small"})
    loop: LoopPlan = field(default_factory=LoopPlan)
    augment: Augment = field(default_factory=Augment)
    squared: float = 1.0
    absolute: float = 1.0
    summed: bool = False
    features: float = 0.0
    logits: float = 0.0
    noise: float = 0.0
    size: int = 224
    sizes: tuple[int, ...] = ()
    stored: int = 256
    init: str = ""
    licence: str = "unknown"
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.data:
            raise SettingError(f"the plan {self.name!r} needs at least one data set")
        if min(self.squared, self.absolute, self.features, self.logits) < 0 or self.squared + self.absolute == 0:
            raise SettingError("weights of the loss are 0 or more, and squared or absolute is above 0")
        if not 0 <= self.noise <= 2:
            raise SettingError(f"noise={self.noise:g} came; give a value from 0 to 2")
        if any(not 32 <= side <= self.size for side in self.sizes):
            raise SettingError(f"sizes = {list(self.sizes)}; give sides from 32 to {self.size}")

    def side(self, epoch: int) -> int:
        """Side of the training squares in an epoch."""
        return self.sizes[epoch * len(self.sizes) // self.loop.epochs] if self.sizes else self.size


_PLANS = Plans(AutoencoderPlan, "autoencoder")
load_plan, plan_from = _PLANS.load, _PLANS.read


def train_autoencoder(
    plan: AutoencoderPlan, out: Path, report: Report | None = None, *, cache: Path | None = None
) -> Path:
    """Train, measure on the test split and write the artefact into ``out``; returns the folder.

    Run again after a stop, it goes on from the last checkpoint. Raises SettingError, DataError, UnmetNeed (a classifier
    without gradients), LockedError, DiskFullError, Stopped.
    """
    from ..models._resolve import load_model

    classifier = load_model(plan.classifier, device=plan.loop.device)
    if "gradients" not in classifier.capabilities:
        raise UnmetNeed(f"{classifier.name} has no gradients; a counterfactual needs them: name another classifier")
    task = AutoencoderTask(plan, classifier, cache or out / "cache", report)
    trained = train(task, plan.loop, out, report)
    return finished(task, trained, out, report)


class AutoencoderTask(Task):
    """An autoencoder's examples, loss and validation."""

    def __init__(
        self, plan: AutoencoderPlan, classifier: Classifier, cache: Path, report: Report | None = None
    ) -> None:
        self.plan, self.classifier = plan, classifier
        parts = {
            split: gathered(plan.data, split, classifier.findings, cache, stored=plan.stored, report=report)
            for split in ("train", "val")
        }
        self.train, self.val = parts["train"], parts["val"]
        self.preparation = Preparation(size=(plan.size, plan.size), mean=(0.5,), std=(0.25,))
        self._near: NDArray[np.uint8] | None = None
        counts = [len(p.pictures) for p in parts.values()]
        self.about = {**_settings(plan), "fingerprint": classifier.fingerprint, "pictures": counts}

    def build(self) -> nn.Module:
        """The plan's network, with the weights it begins with."""
        module = build(self.plan.architecture)
        if self.plan.init:
            earlier = load_artefact(Path(self.plan.init), KIND, self.classifier.fingerprint)
            load_into(module, widened(earlier.tensors), f"the autoencoder {Path(self.plan.init).name}")
        return module.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]

    def order(self, epoch: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Each source's share of the epoch, mixed."""
        return mixed_order(self.plan.data, self.train.source, rng)

    def loss(self, module: nn.Module, examples: Sequence[int], epoch: int) -> Tensor:
        """Errors of the grey values, and what the classifier makes of them, on a square of each changed picture."""
        plan = self.plan
        if self._near is None:
            self._near = scaled(self.train.pictures, round(MARGIN * plan.size))
        drawn = draws(plan.loop.seed, epoch, examples)
        grey = augmented(as_pixels(self._near[np.asarray(examples)]), drawn, plan.size, plan.augment)
        grey = squares(grey, drawn, plan.side(epoch)).to(plan.loop.device, memory_format=torch.channels_last)
        made = to_grey(self._made(module, from_grey(grey, self.preparation)).float(), self.preparation)
        error = made - grey
        pixels = plan.squared * error**2 + plan.absolute * error.abs()
        loss = pixels.sum() if plan.summed else pixels.mean()
        return loss + self._seen(grey, made) if plan.features or plan.logits else loss

    def _made(self, module: nn.Module, x: Tensor) -> Tensor:
        """Reconstructions, in training with noise on the latent where the plan says so."""
        if not self.plan.noise:
            return module(x)  # type: ignore[no-any-return]
        z: Tensor = module.encode(x)  # type: ignore[operator]
        spread = z.detach().std(dim=(0, 2, 3), keepdim=True)
        return module.decode(z + self.plan.noise * spread * torch.randn_like(z))  # type: ignore[operator, no-any-return]

    def _seen(self, grey: Tensor, made: Tensor) -> Tensor:
        """The weighted change of the classifier's last map and of its logits."""
        wanted = self.classifier.card.preparation
        with torch.no_grad():
            logits, taps = self.classifier.run(from_grey(grey, wanted), ("features",))
        x = from_grey(made, wanted)
        logits_made, taps_made = self.classifier.run(x, ("features",))
        features, spread = taps["features"].float(), logits.std(0).clamp(min=0.1)
        moved = ((taps_made["features"].float() - features) ** 2).mean() / (features**2).mean().clamp(min=1e-6)
        return self.plan.features * moved + self.plan.logits * (((logits_made - logits) / spread) ** 2).mean()

    def validate(self, module: nn.Module, check: Callable[[], None]) -> Mapping[str, float]:
        """Mean correlation of the logits of picture and reconstruction, and the mean absolute error (negative)."""
        from .fidelity import logits_before_and_after, mean_correlation

        before, after, error = logits_before_and_after(
            module, self.preparation, self.classifier, self.val.pictures, check=check
        )
        by_source = {
            f"fidelity-{source.name}": mean_correlation(before[rows], after[rows])
            for i, source in enumerate(self.plan.data)
            if (rows := self.val.source == i).sum() > 2
        }
        overall = float(known_mean(np.array(list(by_source.values())), axis=0))  # a source may have none: NaN
        return {"fidelity": overall, **by_source, "mae": -float(error[:, 0].mean())}


def squares(pictures: Tensor, drawn: NDArray[np.float32], side: int) -> Tensor:
    """One square of each picture ``[b, 1, s, s]`` -> ``[b, 1, side, side]``, its place from what was drawn."""
    room = pictures.shape[-1] - side
    if room == 0:
        return pictures
    corners = np.rint((drawn[:, 11:13] + 1) / 2 * room).astype(int)
    return torch.stack(
        [p[:, top : top + side, left : left + side] for p, (top, left) in zip(pictures, corners, strict=True)]
    )


def finished(task: AutoencoderTask, trained: Trained, out: Path, report: Report | None = None) -> Path:
    """Measure the kept weights on the test split, and write the artefact."""
    from .fidelity import measured

    plan = task.plan
    module = task.build().eval()
    module.load_state_dict(widened(halved(trained.weights)))
    module.to(plan.loop.device)
    facts = {
        "name": plan.name,
        "architecture": dict(plan.architecture),
        "preparation": asdict(task.preparation),
        "classifier": task.classifier.name,
        "licence": plan.licence,
        "limits": list(plan.limits),
        "data": [{"name": s.name, "about": s.about, "licence": s.licence} for s in plan.data],
        "results": measured(module, task.preparation, task.classifier, plan.data, out / "cache", plan.stored, report),
        "provenance": {
            "plan": {**_settings(plan), "loop": asdict(plan.loop)},
            "pictures": [int((task.train.source == i).sum()) for i in range(len(plan.data))],
            "history": [dict(h) for h in trained.history],
            "seconds": trained.seconds,
        },
    }
    return save_artefact(out, Artefact(KIND, task.classifier.fingerprint, halved(module.state_dict()), facts))


def _settings(plan: AutoencoderPlan) -> dict[str, Any]:
    """What decides the weights, as plain JSON; the classifier by its fingerprint, beside it."""
    settings = {k: v for k, v in asdict(plan).items() if k not in ("loop", "licence", "limits", "name", "classifier")}
    return {**settings, "init": Path(plan.init).name}  # a name, never a path
