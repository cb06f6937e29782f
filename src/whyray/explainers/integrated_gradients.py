"""Integrated gradients: the logit's change from a baseline, as a sum over pixels (Sundararajan et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..engine.passes import logits
from ..engine.perturb import DEFAULT_FILL
from ..errors import SettingError
from ..explanations import Explanation
from ..types import Radiograph
from ._gradient_paths import baseline, check_fill, path_sum, quadrature

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """The gradient integrated along the straight line from a baseline to the input, times their difference.

    ``sum(map) = logit(x) - logit(baseline) - completeness_gap``.

    baseline   "blur", "mean", "black", "white" or a value of the model input.
    steps      points of the quadrature.
    rule       "gauss" (Gauss-Legendre) or "midpoint" (Riemann).
    tolerance  a finding's steps are doubled until its completeness gap is at most this many logits; 0 = never doubled.
    most       the most steps that doubling may reach.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    cost: ClassVar[float] = 100.0
    paper: ClassVar[str] = "Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017"

    baseline: str = DEFAULT_FILL
    steps: int = 32
    rule: Literal["gauss", "midpoint"] = "gauss"
    tolerance: float = 0.05
    most: int = 128

    def __post_init__(self) -> None:
        in_range("steps", self.steps, 1, 1024)
        in_range("tolerance", self.tolerance, 0, 1e6)
        in_range("most", self.most, 1, 4096)
        check_fill("baseline", self.baseline)
        if self.rule not in ("gauss", "midpoint"):
            raise SettingError(f"setting rule={self.rule!r:.40} came; it is gauss or midpoint")

    def passes(self, findings: int) -> float:
        """A forward pass a step, and about two more for each finding's backward pass; doubling is not counted."""
        return self.steps * (1 + 2 * findings) + 2

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input, in logits."""
        asked = Asked(self, classifier, radiographs, findings, context)
        maps, gaps, steps = zip(*(self._one(asked, i) for i in range(len(radiographs))), strict=True)
        checks = {"completeness_gap": np.stack(gaps), "steps": np.stack(steps)}
        return asked.attributions(np.stack(maps), unit="logit", checks=checks)

    def _one(self, asked: Asked, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Maps ``[f, h, w]``, completeness gaps ``[f]`` and steps ``[f]`` of one radiograph.

        Which findings go on to more steps depends on each finding alone, never on its company.
        """
        classifier, columns = asked.classifier, np.array(asked.columns)
        ends = asked.frames[index].pixels, baseline(classifier, asked.frames[index], self.baseline)
        top, bottom = logits(classifier, np.stack(ends)).astype(np.float64)[:, columns]
        maps = np.zeros((len(columns), *ends[0].shape[1:]))
        gaps, used = np.zeros(len(columns)), np.zeros(len(columns))
        left, steps = np.arange(len(columns)), self.steps
        while len(left):
            points, step = quadrature(self.rule, steps), _progress(asked, index, self.steps / steps)
            maps[left] = path_sum(classifier, ends, points, columns[left], asked.context.batch, step)
            gaps[left], used[left] = (top - bottom)[left] - maps[left].sum((1, 2)), steps
            steps *= 2
            again = self.tolerance > 0 and steps <= self.most
            left = left[np.abs(gaps[left]) > self.tolerance] if again else left[:0]
        return maps, gaps, used


def _progress(asked: Asked, index: int, left: float) -> Callable[[float], None]:
    """Progress of a round that starts with the share ``left`` of a radiograph to do, and may be followed by another."""
    return lambda share: asked.context.step((index + 1 - left + left / 2 * share) / len(asked.frames))
