"""What Latent Shift found for one finding, with its checks and what a reader ought to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..cards import Operation
from ..contracts import cells_to_pixels
from ..explanations import Counterfactual
from ..models._predict import sigmoid
from ..types import Frame, Provenance
from ._latent_search import TOLERANCE, Stop

if TYPE_CHECKING:
    from numpy.typing import NDArray

REASONS = {
    "monotone": "the prediction turned back",
    "distortion": "the picture would have changed too much",
    "range": "the prediction hardly follows this direction",
    "flat": "the prediction does not depend on the latent here",
}
FIDELITY = 0.6  # a reconstruction that keeps less of a probability (or 1 / FIDELITY of it) gets a warning
SEEN = 0.01  # if that is a change of at least so much


@dataclass(frozen=True, eq=False)
class Path:
    """The pictures of one finding from lambda < 0 over 0 to lambda > 0, and what the classifier makes of them.

    base  the model's view of the radiograph; pictures ``[k, h, w]``, logits ``[k, F]``; original ``[F]``: logits of the
    radiograph itself. wanted, stop: per side, the change asked for in logits and why the search ended. looked: places
    that the search and the frames took. trims: whether the ends where the prediction turns back are left out.
    revised: times that the frames contradicted the search.
    """

    finding: str
    column: int
    findings: tuple[str, ...]
    operation: Operation
    frame: Frame
    base: NDArray[np.float32]
    original: NDArray[np.float64]
    lambdas: NDArray[np.float64]
    pictures: NDArray[np.float32]
    logits: NDArray[np.float64]
    wanted: tuple[float, float]
    stop: tuple[Stop, Stop]
    looked: int
    trims: bool = True
    revised: int = 0

    def explanation(self, provenance: Provenance) -> Counterfactual:
        """The path where its prediction rises with lambda, or all of it where ends are not trimmed."""
        rises = rising(self.logits[:, self.column], int(np.argmin(np.abs(self.lambdas))))
        kept = rises if self.trims else np.ones(len(rises), bool)
        values, lambdas = self.logits[kept, self.column], self.lambdas[kept]
        zero = int(np.argmin(np.abs(lambdas)))
        stop = tuple("monotone" if t else s for s, t in zip(self.stop, (not kept[0], not kept[-1]), strict=True))
        checks = {
            "reconstruction_error": float(np.abs(self.pictures[kept][zero] - self.base).mean()),
            "kept": self.probability(values[zero]) / max(self.probability(self.original[self.column]), 1e-9),
            "reached_removal": share(values[zero] - values[0], self.wanted[0]),
            "reached_exaggeration": share(values[-1] - values[zero], self.wanted[1]),
            "trimmed": float(len(kept) - kept.sum()),
            "turned": float(len(rises) - rises.sum()),
            "revised": float(self.revised),
            "looked": float(self.looked),
        }
        scale = cells_to_pixels(self.base.shape, self.frame.pixels.shape[1:])
        return Counterfactual(
            finding=self.finding,
            provenance=provenance,
            checks=checks,
            notes=self.notes(checks, stop),
            frames=self.pictures[kept].clip(0, 1),
            lambdas=lambdas,
            logits=self.logits[kept],
            findings=self.findings,
            probabilities=np.array([self.probability(v) for v in values]),
            base=self.base,
            to_source=self.frame.to_source @ scale,
            source_shape=self.frame.source_shape,
            stop=(stop[0], stop[1]),
        )

    def probability(self, logit: float) -> float:
        """As the card gives it."""
        return sigmoid(self.operation.slope * logit + self.operation.intercept)

    def notes(self, checks: dict[str, float], stop: tuple[str, ...]) -> tuple[str, ...]:
        """The fidelity badge, and sides that did not reach what was asked for."""
        words = self.finding.replace("_", " ")
        out = ["The pictures are drawn by a model: they show what would change its prediction, not the patient."]
        before = self.probability(self.original[self.column])
        if abs(checks["kept"] - 1) * before > SEEN and not FIDELITY <= checks["kept"] <= 1 / FIDELITY:
            change = f"{'lost' if checks['kept'] < 1 else 'gained'} {100 * abs(checks['kept'] - 1):.0f} % of"
            out.append(f"The reconstruction already {change} this prediction ({words}): do not trust it.")
        for name, why, asked in zip(("removal", "exaggeration"), stop, self.wanted, strict=True):
            if asked > 0 and why != "target":
                out.append(f"The {name} of {words} stopped short: {REASONS[why]}.")
        return tuple(out)


def share(moved: float, wanted: float) -> float:
    """Of the change asked for; NaN where none was."""
    return float(moved / wanted) if wanted > 0 else float("nan")


def rising(values: NDArray[np.float64], zero: int, tolerance: float = TOLERANCE) -> NDArray[np.bool_]:
    """The frames around ``zero`` along which the prediction rises: each side ends before the first that turns back."""
    kept = np.zeros(len(values), bool)
    kept[zero] = True
    for step in (-1, 1):
        i = zero + step
        while 0 <= i < len(values) and step * (values[i] - values[i - step]) >= -tolerance:
            kept[i] = True
            i += step
    return kept
