"""From logits to predictions: calibration and operating points of a card. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards import Card, Operation
from ..types import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray


def predictions(logits: NDArray[np.floating[Any]], findings: Sequence[str], card: Card) -> list[list[Prediction]]:
    """One list a row of ``logits [n, f]``, in the order of ``findings``."""
    operations = [card.operations.get(f) for f in findings]
    return [[prediction(f, float(v), o) for f, v, o in zip(findings, row, operations, strict=True)] for row in logits]


def prediction(finding: str, logit: float, operation: Operation | None) -> Prediction:
    """One finding: calibrated where the card declares a reference prevalence, else the plain sigmoid."""
    if operation is None:
        return Prediction(finding, logit, sigmoid(logit))
    return Prediction(
        finding, logit, sigmoid(operation.slope * logit + operation.intercept), threshold=operation.threshold,
        prevalence=operation.prevalence, calibrated=operation.prevalence is not None,
    )


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    return float(0.5 * (1 + np.tanh(0.5 * value)))
