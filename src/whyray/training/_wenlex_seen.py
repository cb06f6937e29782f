"""What is seen of the pictures of one split: stored features of the classifier, and its evidence; no sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..types import Report
from . import _wenlex_asked as asked
from ._nle_seen import Listed, Stored, stored
from .examples import load_cases

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .wenlex import WenlexTask


@dataclass(frozen=True, eq=False)
class Measures:
    """What is measured once on the training pictures.

    mean, std  float32 ``[d]`` of the channels, over pictures and cells.
    evidence   float32 ``[f, cells]``: mean part of each logit.
    at         ``[2, diagnoses]``: logits below which a called diagnosis is slight, above which it is marked.
    """

    mean: Tensor
    std: Tensor
    evidence: NDArray[np.float32]
    at: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Split:
    """One split: its pictures, what is stored of them, logits ``[n, f]``, and what is asked of each."""

    cases: Listed
    seen: Stored
    logits: NDArray[np.float64]
    asked: asked.Asked

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each picture."""
        return tuple(case.patient or case.id for _, case in self.cases)

    def read(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Features ``[b, d, h, w]`` and probabilities ``[b, f]``."""
        features, probabilities, _ = self.seen(torch.nn.Identity(), rows, 0)
        return features, probabilities


def split_of(task: WenlexTask, name: str, report: Report | None) -> tuple[Split, Measures]:
    """A split, and the measures of the training pictures (made here where the task has none yet)."""
    plan, classifier, diagnoses = task.plan, task.classifier, task.known.diagnoses
    listed: Listed = [(source.spec, case) for source in plan.data for case in load_cases(source, name)]
    if name != "train":
        listed = thinned(listed, plan.validated if name == "val" else plan.tested)
    seen = stored(classifier, listed, task.cache / f"activations-{name}", task.activations, report)
    logits = seen.store.logits(seen.rows)
    columns = [list(classifier.findings).index(d) for d in diagnoses]
    least = plan.least if name == "train" else 0
    called = asked.called(logits, classifier.findings, classifier.card, diagnoses, least)
    if task.measures is None:
        left, evidence = asked.evidence(seen.store, seen.rows)
        measures = Measures(*channel_measures(seen), evidence, asked.quantiles(logits[:, columns], called))
    else:
        measures = task.measures
        left = asked.shares(seen.store, seen.rows, measures.evidence)
    sides = asked.wanted_sides(left[:, columns], called, task.known.spoken("side"))
    severities = asked.wanted_severities(logits[:, columns], called, task.known.spoken("severity"), measures.at)
    return Split(listed, seen, logits, asked.Asked(called, sides, severities)), measures


def thinned(listed: Listed, most: int) -> Listed:
    """At most so many pictures, evenly from all of them."""
    if len(listed) <= most:
        return listed
    return [listed[i] for i in np.linspace(0, len(listed) - 1, most).round().astype(int)]


def channel_measures(seen: Stored) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ``[d]`` of each channel over all pictures and cells."""
    total, squares, count = 0.0, 0.0, 0
    for start in range(0, len(seen.rows), asked.PART):
        cells = seen.store.tokens(seen.rows[start : start + asked.PART]).astype(np.float64)
        total, squares = total + cells.sum((0, 1)), squares + (cells**2).sum((0, 1))
        count += cells.shape[0] * cells.shape[1]
    mean = np.asarray(total) / count
    std = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 1e-6))
    return torch.from_numpy(mean).float(), torch.from_numpy(std).float()
