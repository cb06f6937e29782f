"""What a classifier says of itself: Preparation (part of its fingerprint) and Card (facts, not part of it)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import WeightsError
from .types import Voi


@dataclass(frozen=True)
class Preparation:
    """How a radiograph becomes model input. The order: fit, resize, range, mean and std.

    size  (h, w) of the input.
    fit   "crop" = largest centred box of the input's aspect; "pad" = black borders; "squash" = aspect lost.
    low, high  what black and white become (torchxrayvision: -1024 and 1024).
    mean, std  one number a channel, applied after the range.
    voi   which grey-scale window the model was trained on.
    """

    size: tuple[int, int] = (224, 224)
    channels: int = 1
    fit: Literal["crop", "pad", "squash"] = "crop"
    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    voi: Voi = "file"


@dataclass(frozen=True)
class Operation:
    """Calibration and operating point of one finding, at a declared reference prevalence.

    probability = sigmoid(slope * logit + intercept); ``threshold`` is on that probability; None = not declared.
    """

    slope: float = 1.0
    intercept: float = 0.0
    prevalence: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Card:
    """Model card: where a classifier comes from, what it was trained on, how well it does, what it cannot do.

    operations      finding -> Operation; a finding without one gets the plain sigmoid, marked uncalibrated.
    views           views the model was trained on; another one is a warning.
    unfamiliar_above  distance in feature space above which an input gets a warning; None = not measured.
    results         rows of measured performance (finding, metric, value, low, high, n, data).
    """

    name: str
    licence: str = "unknown"
    source: str = ""
    training: str = ""
    paper: str = ""
    preparation: Preparation = field(default_factory=Preparation)
    operations: Mapping[str, Operation] = field(default_factory=dict)
    views: tuple[str, ...] = ("PA", "AP")
    unfamiliar_above: float | None = None
    results: tuple[Mapping[str, Any], ...] = ()
    limits: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Card:
        """The inverse of ``to_dict``. Raises WeightsError for a field that does not exist."""
        parts = dict(data)
        parts["preparation"] = built(Preparation, parts.get("preparation", {}))
        parts["operations"] = {k: built(Operation, v) for k, v in parts.get("operations", {}).items()}
        card: Card = built(Card, parts)
        return card


def built(cls: type, values: Mapping[str, Any]) -> Any:
    """An instance from JSON values; lists become tuples. Raises WeightsError for a field that does not exist."""
    known = [f.name for f in dataclasses.fields(cls)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise WeightsError(f"a model card has the unknown field {unknown[0]!r}; known: {', '.join(known)}")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
