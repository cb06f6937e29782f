"""The four kinds of explanation: Attribution | Counterfactual | PatternSum | Statement.

Frozen, raw and signed, at the resolution they were computed. Scaling and colour happen in ``report/figures.py`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from .types import Provenance

if TYPE_CHECKING:
    from numpy.typing import NDArray


Unit = Literal["logit", "logit/segment", "a.u."]


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """What every kind has: the finding it explains, how it was made, and its own checks.

    checks  name -> number: completeness gap, convergence, stability ... (NaN: could not be checked).
    notes   sentences for the reader ("all evidence is against this finding").
    """

    kind: ClassVar[str]
    finding: str
    provenance: Provenance
    checks: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """How other explanations refer to this one as evidence: ``finding/explainer``."""
        return f"{self.finding}/{self.provenance.explainer}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution(Explanation):
    """Where: a signed map.

    values        float32 ``[h', w']``; positive speaks for the finding, negative against it.
    to_source     affine from map cells to source pixels.
    source_shape  (h, w) of the radiograph.
    unit          what one value is: "logit" where the map sums to a part of the logit, "logit/segment" where each pixel
                  holds the share of the segment it lies in, else "a.u.".
    signed        False where the method cannot give evidence against (Grad-CAM after its ReLU).
    """

    kind: ClassVar[str] = "attribution"
    values: NDArray[np.float32]
    to_source: NDArray[np.float64]
    source_shape: tuple[int, int]
    unit: Unit = "a.u."
    signed: bool = True

    def __post_init__(self) -> None:
        for name, dtype in (("values", np.float32), ("to_source", np.float64)):
            array = np.array(getattr(self, name), dtype=dtype)
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def at_source(self) -> NDArray[np.float32]:
        """The map resampled bilinearly to source pixels ``[h, w]``; NaN outside what the model saw."""
        return resample(self.values, self.to_source, self.source_shape)

    def attribution(self) -> Attribution:
        """Itself: every kind that has a map answers to this."""
        return self


@dataclass(frozen=True, eq=False, kw_only=True)
class Counterfactual(Explanation):
    """What if: the same radiograph with the finding weaker or stronger.

    frames         float32 ``[k, h', w']`` in 0..1, ordered by lambda.
    lambdas        float64 ``[k]``; 0 is the reconstruction.
    logits         float64 ``[k, f]`` of **all** findings of the classifier, in its order.
    findings       the classifier's findings, in order.
    probabilities  float64 ``[k]`` of the explained finding, as the classifier's card gives them.
    base           float32 ``[h', w']``: the model's own view of the original, on the same grid.
    to_source      affine from frame pixels to source pixels.
    stop           why the search ended, per side: "target", "monotone", "distortion", "range".
    """

    kind: ClassVar[str] = "counterfactual"
    frames: NDArray[np.float32]
    lambdas: NDArray[np.float64]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    findings: tuple[str, ...]
    base: NDArray[np.float32]
    to_source: NDArray[np.float64]
    source_shape: tuple[int, int]
    stop: tuple[str, str] = ("target", "target")

    @property
    def zero(self) -> int:
        """Index of the reconstruction: the frame at lambda = 0 (the nearest to it)."""
        return int(np.argmin(np.abs(self.lambdas)))

    def attribution(self, mode: MapMode = "max") -> Attribution:
        """The change along the path as an unsigned map, in grey 0..1.

        mode  "max" and "mean" of |frame - reconstruction| over the frames; "mm" |first - last frame|; "int" mean of
              |consecutive differences|; "max_frame0" |first frame - reconstruction|: what the published "max" computes,
              for comparison with published figures only.
        Raises ValueError for another mode.
        """
        if mode not in _CHANGES:
            raise ValueError(f"the map {mode!r} came; known: {', '.join(_CHANGES)}")
        return Attribution(
            finding=self.finding,
            provenance=self.provenance,
            values=_CHANGES[mode](np.asarray(self.frames, np.float64), self.zero).astype(np.float32),
            to_source=self.to_source,
            source_shape=self.source_shape,
            signed=False,
        )

    def alignment(self) -> dict[str, float]:
        """finding -> its change of logit along the path over that of the explained finding (which is 1).

        1 = moves alike, 0 = does not move, below 0 = moves against; NaN where the explained finding does not move.
        (Relative change after Cohen et al., arXiv 2312.02186.)
        """
        moved = np.asarray(self.logits[-1] - self.logits[0], np.float64)
        own = moved[self.findings.index(self.finding)]
        share = moved / own if own else np.full(len(moved), np.nan)
        return {name: float(value) for name, value in zip(self.findings, share, strict=True)}


MapMode = Literal["max", "mean", "mm", "int", "max_frame0"]
_CHANGES: dict[str, Callable[[NDArray[np.float64], int], NDArray[np.float64]]] = {
    "max": lambda frames, zero: np.abs(frames - frames[zero]).max(axis=0),
    "mean": lambda frames, zero: np.abs(frames - frames[zero]).mean(axis=0),
    "mm": lambda frames, _zero: np.abs(frames[-1] - frames[0]),
    "int": lambda frames, _zero: np.abs(np.diff(frames, axis=0)).sum(axis=0) / max(1, len(frames) - 1),
    "max_frame0": lambda frames, zero: np.abs(frames[0] - frames[zero]),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class PatternSum(Explanation):
    """What: ``logit = bias + sum(contributions) + others + unnamed + residual``.

    patterns       ids of the patterns shown, largest contribution first: those that carry the prediction, then the
                   strongest against it. ``names``: what to call them; ``categories``: theirs.
    contributions  float64 ``[p]``, one a pattern, in logits.
    maps           float32 ``[p, h', w']``: where each pattern fired; each sums to its contribution.
    probabilities  float64 ``[p]``: the probability without each pattern, measured by running the head again.
    probability    with all of them.
    others         the named patterns that are not shown.
    unnamed        what fired without being a pattern of the bank.
    residual       what the bank does not reproduce.
    rest           float32 ``[h', w']``: others + unnamed + residual, by cell; with the maps it sums to logit - bias.
    """

    kind: ClassVar[str] = "pattern_sum"
    patterns: tuple[str, ...]
    names: tuple[str, ...]
    categories: tuple[str, ...]
    contributions: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    probability: float
    bias: float
    others: float
    unnamed: float
    residual: float
    maps: NDArray[np.float32]
    rest: NDArray[np.float32]
    to_source: NDArray[np.float64]
    source_shape: tuple[int, int]

    @property
    def logit(self) -> float:
        """The sum of all parts."""
        return float(self.bias + self.contributions.sum() + self.others + self.unnamed + self.residual)

    def attribution(self, pattern: str = "") -> Attribution:
        """The sum of the shown patterns' maps, or the map of one of them, in logits. Raises ValueError for another."""
        if pattern and pattern not in self.patterns:
            raise ValueError(f"the pattern {pattern!r} came; this explanation shows {', '.join(self.patterns)}")
        values = self.maps[self.patterns.index(pattern)] if pattern else self.maps.sum(axis=0)
        return Attribution(
            finding=self.finding,
            provenance=self.provenance,
            values=values,
            to_source=self.to_source,
            source_shape=self.source_shape,
            unit="logit",
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Statement(Explanation):
    """Why, in words. ``evidence`` holds keys of other explanations; without evidence there is no statement."""

    kind: ClassVar[str] = "statement"
    text: str
    audience: Literal["clinician", "lay"]
    evidence: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError("a Statement must name the explanations it rests on")


def resample(
    values: NDArray[np.float32], to_target: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Bilinear resampling of ``values [h', w']`` onto a target grid of ``shape``; NaN outside its cells.

    Inside the outermost half cell the nearest cell's value holds, so a constant map stays constant to the crop's edge.
    """
    from scipy.ndimage import map_coordinates

    inverse = np.linalg.inv(to_target)
    if inverse[0, 1] or inverse[1, 0]:  # rotated or sheared: the general case
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
        rows = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
        columns = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
        out = map_coordinates(values.astype(np.float64), [rows, columns], order=1, mode="nearest")
        outside = (np.abs(rows - (values.shape[0] - 1) / 2) > values.shape[0] / 2 + 1e-9) | (
            np.abs(columns - (values.shape[1] - 1) / 2) > values.shape[1] / 2 + 1e-9
        )
        out[outside] = np.nan
        return np.asarray(out, np.float32)
    rows = _weights(inverse[1, 1] * np.arange(shape[0]) + inverse[1, 2], values.shape[0])
    columns = _weights(inverse[0, 0] * np.arange(shape[1]) + inverse[0, 2], values.shape[1])
    return np.asarray(rows @ values.astype(np.float64) @ columns.T, np.float32)


def _weights(position: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Linear interpolation as a matrix ``[len(position), cells]``; rows outside the cells are NaN."""
    inside = np.clip(position, 0, cells - 1)
    low = np.minimum(inside.astype(int), max(cells - 2, 0))
    share = inside - low
    matrix = np.zeros((len(position), cells))
    index = np.arange(len(position))
    matrix[index, low] = 1 - share
    matrix[index, np.minimum(low + 1, cells - 1)] += share
    matrix[(position < -0.5 - 1e-9) | (position > cells - 0.5 + 1e-9)] = np.nan
    return matrix
