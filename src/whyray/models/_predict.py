"""From outputs to predictions: columns that are findings, calibration and operating points. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards import Card, Operation
from ..errors import SettingError, UnknownName
from ..findings import finding
from ..types import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray


def chosen_columns(labels: Sequence[str]) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    """(output columns or None for all, canonical findings) of labels, "" left out; SettingError for none or doubles."""
    if isinstance(labels, str):
        raise SettingError(f"findings={labels!r} is one text; give a list of findings, one an output")
    columns = tuple(i for i, label in enumerate(labels) if label)
    known = tuple(_known(labels[i]) for i in columns)
    if not known or len(set(known)) != len(known):
        raise SettingError("findings must name at least one, and none twice; give one finding an output")
    return columns if len(columns) < len(labels) else None, known


def _known(label: str) -> str:
    """The canonical finding of an output's label. Raises UnknownName with the way to leave the output out."""
    try:
        return finding(label)
    except UnknownName as error:
        way_out = 'for an output that is none of whyray\'s findings write "", and it is dropped'
        raise UnknownName(error.kind, label, error.known, way_out) from None


def predictions(logits: NDArray[np.floating[Any]], findings: Sequence[str], card: Card) -> list[list[Prediction]]:
    """One list a row of ``logits [n, f]``, in the order of ``findings``."""
    operations = [card.operations.get(f) for f in findings]
    return [[prediction(f, float(v), o) for f, v, o in zip(findings, row, operations, strict=True)] for row in logits]


def prediction(name: str, logit: float, operation: Operation | None) -> Prediction:
    """One finding: calibrated where the card declares a reference prevalence, else the plain sigmoid."""
    if operation is None:
        return Prediction(name, logit, sigmoid(logit))
    return Prediction(
        name,
        logit,
        sigmoid(operation.slope * logit + operation.intercept),
        threshold=operation.threshold,
        prevalence=operation.prevalence,
        calibrated=operation.prevalence is not None,
    )


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    return float(0.5 * (1 + np.tanh(0.5 * value)))
