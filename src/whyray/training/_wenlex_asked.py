"""Which sentences each picture is asked for, and what the classifier's own evidence says of side and severity.

No annotation is read: a diagnosis is asked for where the classifier calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..cards import Card
from ..models._predict import predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..patterns.activations import ActivationStore

SIDES = ("left", "right", "both", "")
SEVERITIES = ("slight", "marked", "")
LEANING = 0.6  # share of the evidence on one side for a sentence to name it
OUTER = 0.25  # share of the called pictures that count as slight, and as marked
CALLED = 0.5  # probability above which a finding without an operating point is called
PART = 256


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of each picture.

    called      bool ``[n, d]``: diagnoses that are explained.
    sides       int64 ``[n, d]``: index in ``SIDES`` of the side that a sentence should name, -1 = none is wanted.
    severities  int64 ``[n, d]``: index in ``SEVERITIES``, -1 = none is wanted.
    """

    called: NDArray[np.bool_]
    sides: NDArray[np.int64]
    severities: NDArray[np.int64]


def called(
    logits: NDArray[np.floating], findings: Sequence[str], card: Card, diagnoses: Sequence[str], least: int
) -> NDArray[np.bool_]:
    """``[n, d]``: the classifier calls it, or it is among the ``least`` pictures with the highest logit of it."""
    out = np.zeros((len(logits), len(diagnoses)), bool)
    told = predictions(logits, findings, card)
    for k, diagnosis in enumerate(diagnoses):
        column = list(findings).index(diagnosis)
        for i, row in enumerate(told):
            threshold = row[column].threshold
            out[i, k] = row[column].probability >= (CALLED if threshold is None else threshold)
        if least:
            out[np.argsort(-logits[:, column], kind="stable")[:least], k] = True
    return out


def evidence(store: ActivationStore, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(share ``[n, f]`` of the positive evidence on the patient's left, mean evidence ``[f, cells]``).

    Evidence of a cell is its part of the logit, less what that cell has in the mean picture. The left half of a picture
    is the patient's right side.
    """
    mean = sum(_parts(store, rows[start : start + PART]).sum(0) for start in range(0, len(rows), PART)) / len(rows)
    shares = [left_share(_parts(store, rows[s : s + PART]) - mean, store.site.grid) for s in range(0, len(rows), PART)]
    return np.concatenate(shares), np.asarray(mean, np.float32)


def shares(store: ActivationStore, rows: NDArray[np.int64], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares ``[n, f]`` as of ``evidence``, beside the mean of other pictures."""
    parts = [_parts(store, rows[start : start + PART]) - mean for start in range(0, len(rows), PART)]
    return np.concatenate([left_share(part, store.site.grid) for part in parts])


def left_share(evidence: NDArray[np.float32], grid: tuple[int, int]) -> NDArray[np.float32]:
    """``[n, f, cells]`` -> ``[n, f]``; a half where no evidence is positive, and a middle column counts for both."""
    positive = np.maximum(evidence, 0).reshape(*evidence.shape[:2], *grid).sum(2)
    half = grid[1] / 2
    weight = np.clip(np.arange(1, grid[1] + 1) - half, 0, 1)
    whole = positive.sum(-1)
    share: NDArray[np.float32] = np.where(whole > 0, (positive * weight).sum(-1) / np.maximum(whole, 1e-9), 0.5)
    return share.astype(np.float32)


def wanted_sides(left: NDArray[np.float32], called: NDArray[np.bool_], spoken: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``[n, d]``: the side with at least ``LEANING`` of the evidence, else -1; only where examples name sides."""
    out = np.full(left.shape, -1, np.int64)
    out[left >= LEANING] = SIDES.index("left")
    out[left <= 1 - LEANING] = SIDES.index("right")
    out[~(called & spoken[None])] = -1
    return out


def quantiles(logits: NDArray[np.floating], called: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``[2, d]``: below the first a called diagnosis is slight, above the second it is marked."""
    columns = [logits[called[:, k], k] if called[:, k].any() else np.zeros(1) for k in range(logits.shape[1])]
    return np.stack([np.quantile(c, (OUTER, 1 - OUTER)) for c in columns], 1)


def wanted_severities(
    logits: NDArray[np.floating], called: NDArray[np.bool_], spoken: NDArray[np.bool_], at: NDArray[np.float64]
) -> NDArray[np.int64]:
    """``[n, d]``: slight below the first quantile ``at``, marked above the second, else -1."""
    out = np.full(logits.shape, -1, np.int64)
    out[logits <= at[0]] = SEVERITIES.index("slight")
    out[logits >= at[1]] = SEVERITIES.index("marked")
    out[~(called & spoken[None])] = -1
    return out


def _parts(store: ActivationStore, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Each cell's part of each logit, ``[n, f, cells]``."""
    weights = store.site.weights.astype(np.float32)
    return np.ascontiguousarray((store.outputs(rows) @ weights.T).transpose(0, 2, 1))
