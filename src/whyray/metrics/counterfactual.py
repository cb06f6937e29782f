"""How good a counterfactual is: validity, proximity, sparsity, realism, monotonicity, distance to the true one.

Pure functions on arrays: pictures are grey 0..1 ``[h, w]``; logits along a path ``[k]`` run from the finding weaker to
stronger. "reconstruction" is the frame at lambda = 0: changes are measured from it, all that the classifier ever sees.
Alignment is ``Counterfactual.alignment``; where the change lies is scored by ``metrics/localisation.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.floating]
    Values = NDArray[np.floating]

SEEN = 0.02  # a change of grey below this share of the range is not seen
LEAST = 1 / 255  # mean grey; pictures nearer than a step of eight bits are the same, and no ratio is taken


def validity(moved: float, wanted: float) -> float:
    """1 where the prediction moved as far as was asked (both in logits, in the direction asked), else 0."""
    return float(moved >= wanted)


def proximity(changed: Picture, reconstruction: Picture) -> float:
    """Mean absolute change of grey (L1), 0..1; lower = closer."""
    return float(np.abs(changed - reconstruction).mean())


def log_odds(probability: float) -> float:
    """log(p / (1 - p)), finite for 0 and 1."""
    p = min(max(float(probability), 1e-12), 1 - 1e-12)
    return float(np.log(p) - np.log1p(-p))


def perceptual_distance(changed: Values, reconstruction: Values) -> float:
    """LPIPS-like, in one layer of the classifier: features ``[d, h', w']`` are brought to unit length in each cell, and
    the squared difference is summed over channels and averaged over cells. 0 = the same; at most 2 for features never
    negative (Zhang et al., CVPR 2018, without learned weights)."""
    first, second = (_unit(np.asarray(v, np.float64)) for v in (changed, reconstruction))
    return float(((first - second) ** 2).sum(axis=0).mean())


def _unit(features: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.sqrt((features**2).sum(axis=0))
    return np.asarray(np.divide(features, length, out=np.zeros_like(features), where=length > 0))


def sparsity(changed: Picture, reconstruction: Picture, least: float = SEEN) -> float:
    """Share of pixels that change by less than ``least`` of the grey range, 0..1; higher = more local."""
    return float((np.abs(changed - reconstruction) < least).mean())


def monotonicity(logits: Values, tolerance: float = 0.02) -> float:
    """Share of the steps of a path along which the prediction does not fall, 0..1; NaN for a path of one frame."""
    steps = np.diff(logits)
    return float((steps >= -tolerance).mean()) if len(steps) else float("nan")


def spill(logits: Values, column: int) -> float:
    """Mean |change of another finding| over |change of the explained one| along a path ``[k, f]``; 0 = it moves alone.

    NaN where the explained finding does not move, or there is no other.
    """
    moved = np.abs(np.asarray(logits[-1], np.float64) - logits[0])
    others = np.delete(moved, column)
    return float(others.mean() / moved[column]) if moved[column] > 0 and len(others) else float("nan")


def realism(distance: float, reconstruction_distance: float) -> float:
    """Distance from the training data over that of the reconstruction; 1 = as familiar, above 1 = stranger."""
    return distance / reconstruction_distance if reconstruction_distance > 0 else float("nan")


def twin_ratio(changed: Picture, before: Picture, twin: Picture, mask: NDArray[np.bool_] | None = None) -> float:
    """Distance (L1) to the true counterfactual of the changed picture over that of the picture ``before``, inside the
    mask or everywhere; below 1 = the change led nearer to it. NaN where ``before`` is the twin already."""
    here = np.ones(np.shape(twin), bool) if mask is None else mask
    distances = [float(np.abs(np.subtract(p, twin, dtype=np.float64))[here].mean()) if here.any() else 0.0
                 for p in (changed, before)]  # fmt: skip
    return distances[0] / distances[1] if distances[1] > LEAST else float("nan")


def twin_gain(changed: Picture, reconstruction: Picture, twin: Picture, mask: NDArray[np.bool_]) -> float:
    """How much nearer the removed picture is to the true counterfactual than the reconstruction is, inside the mask.

    1 = all of the way, 0 = no nearer, below 0 = farther. ``twin``: the same case without the finding, reconstructed by
    the same autoencoder, so that only the finding's absence counts. NaN where the two reconstructions are the same.
    """
    return 1 - twin_ratio(changed, reconstruction, twin, mask)


def elsewhere(changed: Picture, reconstruction: Picture, mask: NDArray[np.bool_]) -> float:
    """Share of all change that lies outside the mask, 0..1; NaN where nothing changed."""
    change = np.abs(np.subtract(changed, reconstruction, dtype=np.float64))
    whole = float(change.sum())
    return float(change[~mask].sum()) / whole if whole > 0 else float("nan")


_PAPER = "Cohen et al., Gifsplanation via Latent Shift, MIDL 2021"
METRICS: tuple[Metric, ...] = (
    Metric("proximity", proximity, "lower", (0.0, 1.0), paper=_PAPER),
    Metric("perceptual_distance", perceptual_distance, "lower", (0.0, 4.0), frozenset({"features"})),
    Metric("sparsity", sparsity, "higher", (0.0, 1.0)),
    Metric("monotonicity", monotonicity, "higher", (0.0, 1.0), paper=_PAPER),
    Metric("elsewhere", elsewhere, "lower", (0.0, 1.0), frozenset({"mask"})),
)
