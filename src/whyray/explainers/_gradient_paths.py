"""Gradients along straight lines from a baseline to an input: quadrature, sums, and the baseline itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Classifier
from ..engine.gradients import Sweep
from ..engine.perturb import filled
from ..engine.superpixels import grid
from ..errors import SettingError
from ..types import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

FILLS = ("blur", "mean", "black", "white")


def quadrature(rule: str, steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in 0..1 and their weights, which sum to 1: "gauss" (Gauss-Legendre) or "midpoint" (Riemann)."""
    if rule == "gauss":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return (1 + points) / 2, weights / 2
    return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)


def path_sum(
    classifier: Classifier,
    ends: tuple[NDArray[np.float32], NDArray[np.float32]],
    points: tuple[NDArray[np.float64], NDArray[np.float64]],
    columns: Sequence[int] | NDArray[np.intp],
    batch: int,
    step: Callable[[float], None],
) -> NDArray[np.float64]:
    """``(x - base) * sum of weight * gradient at base + point * (x - base)``, summed over channels: ``[f, h, w]``.

    ends    (x, base), each ``[c, h, w]``.
    points  (points in 0..1, weights).
    """
    import torch

    x, base = (torch.from_numpy(np.array(end)) for end in ends)
    shares, weights = (torch.from_numpy(p.astype(np.float32)) for p in points)

    def make(part: slice) -> Tensor:
        return base + shares[part, None, None, None] * (x - base)

    def keep(gradient: Tensor, part: slice) -> Tensor:
        return ((gradient * weights[part, None, None, None]).sum(0) * (x - base)).sum(0)

    sweep = Sweep(len(shares), make, keep, columns, batch, step)
    total = np.zeros((len(columns), *x.shape[1:]))
    for _, _, kept in sweep.run(classifier):
        total += kept
    return total


def check_fill(name: str, fill: str) -> None:
    """Raises SettingError for a baseline that is neither a known word nor a number."""
    try:
        known = fill in FILLS or math.isfinite(float(fill))
    except ValueError:
        known = False
    if not known:
        raise SettingError(f"setting {name}={fill!r:.40} came; give {', '.join(FILLS)}, or a value of the model input")


def baseline(classifier: Classifier, frame: Frame, fill: str) -> NDArray[np.float32]:
    """The model input ``[c, h, w]`` without evidence, as the perturbation engine fills what is removed."""
    value = fill if fill in FILLS else float(fill)
    whole = grid(frame.pixels.shape[1:], max(frame.pixels.shape[1:]))  # these fills know of no segments
    return filled(frame.pixels, value, whole, classifier.card.preparation)


def mean_and_error(
    total: NDArray[np.float64], squares: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means ``[f, h, w]`` of ``n`` maps and their standard error over their size, root mean squares ``[f]``.

    NaN for one map, or where the mean is zero everywhere.
    """
    mean = total / n
    if n < 2:
        return mean, np.full(len(total), np.nan)
    variance = np.maximum(squares / n - mean**2, 0) / (n - 1)
    size = (mean**2).mean((1, 2))
    return mean, np.sqrt(np.divide(variance.mean((1, 2)), size, out=np.full(len(total), np.nan), where=size > 0))
