"""The published searches for the far end of lambda, as rules that ``_latent_search`` follows.

"gif" are the rules of Gifsplanation's first release, "later" those of the package that followed it. Both follow the
probability (one sigmoid of the logit) along its own gradient, from 0 to negative lambda in steps, over pictures that
are not clipped, and end at the first step that breaks a rule: the last frame may have a higher prediction than the one
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ._latent_search import Bound, Rules, Target, search
from ._latent_sweep import confirmed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._latent import Shift

    Array = NDArray[np.float64]

Published = Literal["gif", "later"]
DROP: dict[Published, float] = {"gif": 0.15, "later": 0.8}
FLOOR = 0.05  # of "later": it ends below this probability
FRAMES: dict[Published, int] = {"gif": 11, "later": 10}  # gif: arange's ten, which leave out 0, and the reconstruction


def rules_of(name: Published) -> Rules:
    """The published steps and stops by name. Changes of grey are those of pictures in -1024..1024, as published."""
    return Rules(
        distortion=0.05 if name == "later" else np.inf,
        tolerance=0.0,
        accuracy=0.0,
        value=probability,
        size=lambda grey: float(np.abs(grey - 0.5).mean()),
        grid=grid_of(name),
    )


def grid_of(name: Published) -> tuple[float, ...]:
    """The places of a walk, |lambda| ascending."""
    if name == "gif":
        return tuple(float(g) for g in (*range(1, 11), *range(20, 1001, 10)))
    steps = [-10]
    while steps[-1] > -3000:
        steps.append(steps[-1] - 10 + steps[-1] // 10)
    return tuple(float(-s) for s in steps)


def wanted(name: Published, probabilities: Array) -> Array:
    """How far the probabilities of the reconstruction may fall before a walk ends."""
    drop = np.full(len(probabilities), DROP[name])
    return np.minimum(drop, probabilities - FLOOR) if name == "later" else drop


def wanted_logits(name: Published, logits: Array) -> Array:
    """The same in logits; no probability falls below a millionth."""
    p = probability(logits)
    left = np.clip(p - wanted(name, p), 1e-6, 1 - 1e-6)
    return np.asarray(logits - np.log(left / (1 - left)))


def walked(
    shift: Shift, columns: Sequence[int], name: Published, lambdas: Callable[[float, float], Array]
) -> tuple[list[Bound], list[int]]:
    """The end of each finding's walk, and how often the frames at ``lambdas(end, 0)`` made the search look again."""
    rules, zero = rules_of(name), probability(shift.logits)[columns]
    targets = [Target(j, c, -1, float(w)) for j, (c, w) in enumerate(zip(columns, wanted(name, zero), strict=True))]
    return confirmed(shift, targets, rules, search(shift, targets, rules), lambdas)


def probability(logits: Array) -> Array:
    """One sigmoid."""
    return np.asarray((1 + np.tanh(logits / 2)) / 2)
