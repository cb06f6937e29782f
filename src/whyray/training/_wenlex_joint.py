"""In-model: a copy of the classifier that learns beside the generator, and what becomes of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from ..contracts import Classifier
from ..errors import UnmetNeed
from ..models._autoencoders import from_grey
from ..models._taps import reading
from ..models._torch import TorchClassifier
from ._wenlex_plan import WenlexPlan
from ._wenlex_seen import Split
from .classifier import as_pixels
from .examples import cached_pictures, labels_of
from .finish import Fitted, write_bundle
from .loop import Trained
from .plan import ClassifierPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 32


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a classifier that learns reads: pictures uint8 ``[n, s, s]``, labels ``[n, f]`` (NaN = not labelled)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32]
    source: NDArray[np.int64]
    patients: tuple[str, ...]

    def inputs(self, rows: Sequence[int], classifier: Classifier) -> Tensor:
        """The classifier's input ``[b, c, s, s]``."""
        return from_grey(as_pixels(self.pixels[np.asarray(rows)]), classifier.card.preparation)


def pictures_of(plan: WenlexPlan, classifier: Classifier, split: Split, path: Path) -> Pictures:
    """The pictures of a split, and the labels of their data sets."""
    cases = [case for _, case in split.cases]
    side = classifier.card.preparation.size[0]
    specs = [spec for spec, _ in split.cases]
    source = np.array([next(i for i, s in enumerate(plan.data) if s.spec == spec) for spec in specs])
    parts = [labels_of([c], classifier.findings, plan.data[i], "ignore") for c, i in zip(cases, source, strict=True)]
    return Pictures(cached_pictures(cases, path, side), np.concatenate(parts), source, split.patients)


def copied(classifier: Classifier) -> nn.Module:
    """The network of a classifier, to train. Raises UnmetNeed where it could not be written as one afterwards."""
    if not isinstance(classifier, TorchClassifier) or not classifier.architecture.startswith("{"):
        raise UnmetNeed(
            f"{classifier.name} is no network of whyray's own; train one (whyray train classifier), or joint=false"
        )
    return copy.deepcopy(classifier.module).requires_grad_(True)


def around(classifier: Classifier, module: nn.Module) -> TorchClassifier:
    """The classifier with the weights of ``module``, wired as before."""
    assert isinstance(classifier, TorchClassifier)
    return TorchClassifier(
        module, classifier.findings, classifier.card, architecture=classifier.architecture, wiring=classifier.wiring
    )


def seeing(classifier: Classifier, module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """(features ``[b, d, h, w]``, logits ``[b, f]``) of a network that learns; its norms keep what they measured."""
    assert isinstance(classifier, TorchClassifier)
    module.eval()
    x = x.to(next(module.parameters()).device)
    with reading(module, {"features": classifier.wiring.taps["features"]}) as seen:
        logits: Tensor = module(x.contiguous(memory_format=torch.channels_last))
    columns = classifier.wiring.columns
    return seen["features"].float(), (logits if columns is None else logits[:, list(columns)]).float()


def image_loss(logits: Tensor, labels: NDArray[np.float32]) -> Tensor:
    """Mean cross-entropy of the known labels ``[b, f]``."""
    wanted = torch.from_numpy(labels).to(logits.device)
    known = ~torch.isnan(wanted)
    errors = nf.binary_cross_entropy_with_logits(logits, wanted.nan_to_num(), reduction="none")
    mean: Tensor = (errors * known).sum() / known.sum().clamp(min=1)
    return mean


class Looked:
    """Stands in place of stored features: those of a classifier that has learned."""

    def __init__(self, classifier: Classifier, pictures: Pictures) -> None:
        self.classifier, self.pictures = classifier, pictures

    def __call__(self, _module: nn.Module, rows: Sequence[int], _epoch: int) -> tuple[Tensor, Tensor, None]:
        with torch.no_grad():
            logits, taps = self.classifier.run(self.pictures.inputs(rows, self.classifier), ("features",))
        return taps["features"].float(), logits.sigmoid(), None


def looked_at(split: Split, classifier: Classifier, pictures: Pictures) -> Split:
    """The split as a classifier that has learned sees it."""
    return replace(split, seen=Looked(classifier, pictures))  # type: ignore[arg-type]


def written_classifier(
    plan: WenlexPlan,
    classifier: Classifier,
    module: nn.Module,
    splits: tuple[Pictures, Pictures],
    trained: Trained,
    out: Path,
) -> Path:
    """Write the classifier that learned as a bundle, calibrated anew on the validation pictures; returns its card."""
    assert isinstance(classifier, TorchClassifier)
    seen = [_embedded(classifier, module, pictures) for pictures in splits]
    architecture: dict[str, Any] = json.loads(classifier.architecture)
    fitted = Fitted(
        module,
        architecture,
        classifier.card.preparation,
        "WeNLEX, in-model (arXiv 2603.18752)",
        seen[0][0],
        seen[1][0],
        seen[1][1].double().numpy(),
    )
    prevalences = {f: o.prevalence for f, o in classifier.card.operations.items() if o.prevalence is not None}
    settings = ClassifierPlan(
        plan.name,
        classifier.findings,
        plan.data,
        architecture,
        plan.loop,
        prevalences=prevalences,
        licence=plan.licence,
        limits=plan.limits,
        init=plan.classifier,
    )
    return write_bundle(settings, splits, trained, fitted, out)


def _embedded(classifier: Classifier, module: nn.Module, pictures: Pictures) -> tuple[Tensor, Tensor]:
    """(pooled features ``[n, d]``, logits ``[n, f]``)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pictures.pixels), BATCH):
            rows = range(start, min(start + BATCH, len(pictures.pixels)))
            features, logits = seeing(classifier, module, pictures.inputs(rows, classifier))
            parts.append((features.mean((2, 3)).cpu(), logits.cpu()))
    return torch.cat([p for p, _ in parts]), torch.cat([p for _, p in parts])
