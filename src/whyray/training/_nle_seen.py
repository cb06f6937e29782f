"""What a generator reads of a picture while it learns: stored activations, or a classifier that learns beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from ..contracts import Classifier
from ..errors import UnmetNeed
from ..networks.three_states import by_state
from ..patterns.activations import ActivationStore, Part, write_activations
from ..patterns.site import site_of
from ..types import Case, Report
from .augment import augmented, draws
from .classifier import MEAN, STD, as_pixels
from .examples import cached_pictures, scaled
from .plan import MARGIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._nle_plan import NlePlan

Listed = Sequence[tuple[str, Case]]
"""(spec of the data set, case)"""


class Seen(Protocol):
    """Features ``[b, d, h, w]`` and probabilities ``[b, p]`` of pictures by index, and the raw states ``[b, 3 f]`` of
    a classifier that learns (else None). ``epoch`` < 0: the picture as it is."""

    depth: int
    grid: tuple[int, int]
    predictions: int

    def __call__(self, module: nn.Module, rows: Sequence[int], epoch: int) -> tuple[Tensor, Tensor, Tensor | None]: ...


class Stored:
    """Of a classifier that stays as it is: features and probabilities from a store of activations."""

    def __init__(self, store: ActivationStore, rows: NDArray[np.int64]) -> None:
        self.store, self.rows = store, rows
        self.depth, self.grid, self.predictions = store.site.d_in, store.site.grid, len(store.site.bias)
        self.probabilities = torch.from_numpy(store.logits(rows)).float().sigmoid()

    def __call__(self, module: nn.Module, rows: Sequence[int], epoch: int) -> tuple[Tensor, Tensor, None]:
        cells = torch.from_numpy(self.store.tokens(self.rows[np.asarray(rows)]))
        return cells.transpose(1, 2).reshape(len(cells), -1, *self.grid), self.probabilities[list(rows)], None


class Looking:
    """Of a classifier that learns: ``module["vision"]`` on augmented pictures."""

    def __init__(self, plan: NlePlan, listed: Listed, cache: Path, depth: int, grid: tuple[int, int]) -> None:
        self.plan, self.depth, self.grid = plan, depth, grid
        self.predictions = 3 * len(plan.findings)
        self.pictures = cached_pictures([case for _, case in listed], cache, plan.stored)
        self._near: NDArray[np.uint8] | None = None

    def __call__(self, module: nn.Module, rows: Sequence[int], epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        x = (self.grey(rows, epoch) - MEAN) / STD
        features, states = looked(module["vision"], x.to(self.plan.loop.device))  # type: ignore[index]
        return features, by_state(states).softmax(-1).flatten(1), states

    def grey(self, rows: Sequence[int], epoch: int) -> Tensor:
        """Pictures ``[b, 1, size, size]`` in 0..1, changed where an epoch is given."""
        plan, which = self.plan, np.asarray(rows)
        if epoch < 0:
            sized = (plan.size, plan.size)
            return nf.interpolate(as_pixels(self.pictures[which]), size=sized, mode="bilinear", antialias=True)
        if self._near is None:
            self._near = scaled(self.pictures, round(MARGIN * plan.size))
        drawn = draws(plan.loop.seed, epoch, [int(r) for r in which])
        return augmented(as_pixels(self._near[which]), drawn, plan.size, plan.augment)


def looked(vision: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """(last features ``[b, d, h, w]``, states ``[b, 3 f]``) of our DenseNet."""
    features: Tensor = vision.maps(x)  # type: ignore[operator]
    return features, vision.head(vision.dropout(vision.pool(features).flatten(1)))  # type: ignore[operator]


def stored(
    classifier: Classifier, listed: Listed, folder: Path, activations: Path | None, report: Report | None
) -> Stored:
    """The activations of these pictures: those in ``activations`` where it holds all of them, else made in ``folder``.

    Raises UnmetNeed for a classifier whose logits are no linear read-out of its last feature map's mean.
    """
    if activations is not None:
        store = ActivationStore(activations)
        store.require(classifier)
        index = {(image.case, image.split): i for i, image in enumerate(store.images)}
        if all((case.id, case.split) in index for _, case in listed):
            return Stored(store, np.array([index[case.id, case.split] for _, case in listed]))
    site = site_of(classifier)
    if site.tap_in != "features":
        raise UnmetNeed(
            f"{classifier.name} has no feature map that sentences can be read from; name another classifier"
        )
    specs = dict.fromkeys(spec for spec, _ in listed)
    parts = [Part(spec, [case for s, case in listed if s == spec]) for spec in specs]
    store = ActivationStore(write_activations(classifier, parts, folder, site=site, report=report))
    index = {(image.spec, image.case): i for i, image in enumerate(store.images)}
    return Stored(store, np.array([index[spec, case.id] for spec, case in listed]))
