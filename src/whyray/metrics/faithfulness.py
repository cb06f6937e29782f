"""Does the classifier use what the map marks: deletion, insertion, ROAD, sensitivity-n, stability, weights.

Pure functions of logits and maps; the passes are made in ``jobs/faithfulness.py``. None of them asks whether the map is
right about the patient, and each is blind to something: see docs/metrics-faithfulness.md.

A curve is ``[..., steps + 1]``, the logit after a share k / steps of the pixels was removed (or shown) in the order of
the map. With a map of evidence *against* (sign "negative") give negated logits: then every direction below holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Metric
from ._curves import LEAST_SPAN, area, bands, deletion_rows, insertion_rows, normalised, relevance
from ._imputation import RoadFill, impute
from ._masks import Sign
from ._similarity import pairwise_spearman, spearman, spearman_absolute, ssim

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Map = NDArray[np.floating[Any]]

__all__ = [
    "LEAST_SPAN",
    "METRICS",
    "RoadFill",
    "Sign",
    "area",
    "bands",
    "deletion",
    "deletion_rows",
    "gap",
    "impute",
    "insertion",
    "insertion_rows",
    "max_sensitivity",
    "normalised",
    "pairwise_spearman",
    "probability_area",
    "relevance",
    "sensitivity_n",
    "spearman",
    "spearman_absolute",
    "ssim",
    "subsets",
]


def deletion(curve: Array, full: float, baseline: float, least: float = LEAST_SPAN) -> float:
    """Area under the deletion curve, 0 = the filled picture's logit, 1 = the whole one's (Petsiuk et al., BMVC 2018).

    Low = the logit falls as soon as the most relevant pixels go. May leave 0..1, as a half-filled picture may score
    outside both ends. NaN where whole and filled picture are less than ``least`` logits apart.
    """
    return float(area(normalised(curve, full, baseline, least)))


def insertion(curve: Array, full: float, baseline: float, least: float = LEAST_SPAN) -> float:
    """Area under the insertion curve on the same scale; high = few pixels bring the logit back (Petsiuk, 2018)."""
    return deletion(curve, full, baseline, least)


def probability_area(curve: Array) -> float:
    """Area under a curve of sigmoid(logit), as published for deletion and insertion. 0..1.

    A logit of +8 that falls to +3 hardly shows here; a finding with a low logit has no room.
    """
    return float(area(1 / (1 + np.exp(-np.asarray(curve, np.float64)))))


def gap(most_first: Array, least_first: Array) -> float:
    """Area between two deletion curves, least relevant first minus most relevant first, in logits.

    Above 0 = the order means something; a random order gives 0 on average; no denominator, so every picture counts.
    With one fill this is the insertion area minus the deletion area; with imputation it is ROAD's comparison of orders.
    """
    return float(area(np.asarray(least_first, np.float64)) - area(np.asarray(most_first, np.float64)))


def subsets(units: int, sizes: Sequence[int], draws: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Random sets of units to remove: (bool ``[sizes * draws, units]``, the size of each row).

    Raises ValueError for a size below 1 or above ``units``.
    """
    if not all(1 <= size <= units for size in sizes):
        raise ValueError(f"sizes {tuple(sizes)} came for {units} units; give 1 to {units}")
    rng = np.random.default_rng(seed)
    of = np.repeat(np.asarray(sizes, np.int64), draws)
    return rng.permuted(np.tile(np.arange(units), (len(of), 1)), axis=1) < of[:, None], of


def sensitivity_n(parts: Array, removed: NDArray[np.bool_], drops: Array) -> float:
    """Correlation of what the map says and what removal does, averaged over set sizes (Ancona et al., ICLR 2018).

    parts    ``[u]``: the map summed over each unit.
    removed  bool ``[m, u]``: units removed in each trial; one correlation for each number of units.
    drops    ``[m]``: logit of the whole picture minus that of the trial.
    -1..1, 1 = proportional, as for a linear model. A map (or model) that does not vary gives 0: it predicts nothing.
    """
    said, sizes = removed @ np.asarray(parts, np.float64), removed.sum(1)
    found = [_correlation(said[sizes == n], np.asarray(drops, np.float64)[sizes == n]) for n in np.unique(sizes)]
    return float(np.mean(found))


def max_sensitivity(original: Map, disturbed: Sequence[Map]) -> float:
    """Largest change of a map under small noise on the picture, over its own size: ``max |m' - m| / |m|``, 2-norms.

    Yeh et al., NeurIPS 2019 (there without the division). 0 = does not move, also when it looks at nothing. NaN for an
    empty map, whose size is 0. Cells that are NaN in either map are left out; NaN where no cell is left.
    """
    first = np.asarray(original, np.float64)
    shares = []
    for other in disturbed:
        gap = np.asarray(other, np.float64) - first
        known = ~np.isnan(gap)
        size = float(np.linalg.norm(first[known]))
        shares.append(float(np.linalg.norm(gap[known])) / size if size else float("nan"))
    return float(np.max(shares)) if shares else float("nan")


def _correlation(first: Array, second: Array) -> float:
    a, b = first - first.mean(), second - second.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    scale = max(float(np.abs(first).max()) * float(np.abs(second).max()) * len(first), 1e-300)
    return float(a @ b) / size if size > 1e-12 * scale else 0.0


_ANY, _ONE = (-float("inf"), float("inf")), (-1.0, 1.0)
METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("deletion", deletion, "lower", _ANY, frozenset({"curve"}), "Petsiuk et al., BMVC 2018"),
        Metric("insertion", insertion, "higher", _ANY, frozenset({"curve"}), "Petsiuk et al., BMVC 2018"),
        Metric(
            "deletion_probability", probability_area, "lower", (0.0, 1.0), frozenset({"curve"}), "Petsiuk et al., 2018"
        ),
        Metric("insertion_probability", probability_area, "higher", (0.0, 1.0), frozenset({"curve"}), "Petsiuk, 2018"),
        Metric("gap", gap, "higher", _ANY, frozenset({"curve"}), "area between insertion and deletion, in logits"),
        Metric("road", gap, "higher", _ANY, frozenset({"curve"}), "Rong et al., ICML 2022"),
        Metric("sensitivity_n", sensitivity_n, "higher", _ONE, frozenset({"subsets"}), "Ancona et al., ICLR 2018"),
        Metric(
            "max_sensitivity", max_sensitivity, "lower", (0.0, float("inf")), frozenset({"redraws"}), "Yeh et al., 2019"
        ),
        Metric("seed_stability", pairwise_spearman, "higher", _ONE, frozenset({"redraws"}), "Spearman over seeds"),
        Metric("weights_spearman", spearman, "lower", _ONE, frozenset({"module"}), "Adebayo et al., NeurIPS 2018"),
        Metric(
            "weights_absolute", spearman_absolute, "lower", _ONE, frozenset({"module"}), "Adebayo et al., NeurIPS 2018"
        ),
        Metric("weights_ssim", ssim, "lower", _ONE, frozenset({"module"}), "Adebayo et al., NeurIPS 2018"),
    )
}
