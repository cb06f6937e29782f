"""From trained weights to a bundle: calibration, operating points, what is familiar, and the card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..cards import Card, Preparation
from .calibrate import operation
from .plan import ClassifierPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from .loop import Trained


class Labelled(Protocol):
    """What a split says of its pictures: labels ``[n, f]`` (NaN = not labelled), source ``[n]``, patients."""

    @property
    def labels(self) -> NDArray[np.float32]: ...
    @property
    def source(self) -> NDArray[np.int64]: ...
    @property
    def patients(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network, and what it makes of its own data.

    architecture      as ``models/_networks.py`` builds it; ``paper`` names it on the card.
    known, embedded   embeddings of the training ``[n, d]`` and of the validation pictures ``[m, d]``.
    logits            of the validation pictures ``[m, f]``.
    """

    module: nn.Module
    architecture: Mapping[str, Any]
    preparation: Preparation
    paper: str
    known: Tensor
    embedded: Tensor
    logits: NDArray[np.float64]


def write_bundle(
    plan: ClassifierPlan, splits: tuple[Labelled, Labelled], trained: Trained, fitted: Fitted, out: Path
) -> Path:
    """Write ``out/model.json`` + ``model.safetensors``; ``splits`` are training and validation. Returns the JSON."""
    from ..models._familiar import distance, fit_unfamiliar
    from ..models._store import Config, save_bundle

    mean, whitening = fit_unfamiliar(fitted.known)
    far = float(np.percentile(distance(fitted.embedded, mean, whitening).numpy(), plan.unfamiliar_percentile))
    val = splits[1]
    operations = {
        finding: operation(
            fitted.logits[rows, k],
            val.labels[rows, k],
            plan.prevalences.get(finding),
            [p for p, chosen in zip(val.patients, rows, strict=True) if chosen],
        )
        for k, finding, rows in _calibration_rows(plan, val)
    }
    card = Card(
        name=plan.name,
        licence=plan.licence,
        source="trained by whyray",
        training=_training(plan, splits, trained),
        paper=fitted.paper,
        operations=operations,
        unfamiliar_above=far,
        limits=plan.limits,
        preparation=fitted.preparation,
    )
    extras = {"unfamiliar.mean": mean, "unfamiliar.whitening": whitening}
    settings = {**settings_of(plan), "loop": asdict(plan.loop), "init": Path(plan.init).name}  # names, never paths
    settings["tower"] = Path(plan.tower).name
    provenance = {"plan": settings, "history": [dict(h) for h in trained.history], "seconds": trained.seconds}
    path = out / "model.json"
    config = Config(dict(fitted.architecture), plan.findings, extras)
    save_bundle(path, fitted.module, config, card, provenance=provenance)
    return path


def settings_of(plan: ClassifierPlan) -> dict[str, Any]:
    """What decides the weights, as plain JSON."""
    after = ("prevalences", "prevalence_source", "unfamiliar_percentile", "licence", "limits", "name")
    return {k: v for k, v in asdict(plan).items() if k not in (*after, "loop")}


def _calibration_rows(plan: ClassifierPlan, val: Labelled) -> Iterator[tuple[int, str, NDArray[np.bool_]]]:
    """(column, finding, validation rows to calibrate on): of the source that says so, else of all that label it."""
    for k, finding in enumerate(plan.findings):
        named = [i for i, s in enumerate(plan.data) if finding in s.calibrates]
        yield k, finding, np.isin(val.source, named) if named else np.ones(len(val.source), bool)


def _training(plan: ClassifierPlan, splits: tuple[Labelled, Labelled], trained: Trained) -> str:
    """One sentence a data set: what it was trained on, and how long."""
    train, val = splits
    parts = [
        f"{source.about or source.spec}: {int((train.source == i).sum())} training and "
        f"{int((val.source == i).sum())} validation pictures"
        for i, source in enumerate(plan.data)
    ]
    whose = f" Probabilities are calibrated to {plan.prevalence_source}." if plan.prevalence_source else ""
    before = f", after those of {Path(plan.init).name}" if plan.init else ""
    frozen = f" The image tower {Path(plan.tower).name} was not trained." if plan.tower else ""
    return f"{'; '.join(parts)}. {plan.loop.epochs} epochs, {trained.seconds / 60:.0f} minutes{before}.{frozen}{whose}"
