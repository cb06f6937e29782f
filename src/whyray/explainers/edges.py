"""Control: the edges of the radiograph itself, which know nothing of the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..contracts import Asked, Classifier, Context, Explainer, in_range
from ..explanations import Explanation
from ..types import Radiograph


@dataclass(frozen=True)
class Edges(Explainer):
    """Gaussian gradient magnitude of the model input, the same map for every finding.

    sigma  width of the Gaussian in model-input pixels.
    """

    control: ClassVar[bool] = True
    cost: ClassVar[float] = 0.1
    paper: ClassVar[str] = "Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018"

    sigma: float = 2.0

    def __post_init__(self) -> None:
        in_range("sigma", self.sigma, 0.1, 100)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps at the resolution of the model input."""
        from scipy.ndimage import gaussian_gradient_magnitude

        asked = Asked(self, classifier, radiographs, findings, context)
        edges = np.stack([gaussian_gradient_magnitude(f.pixels.mean(0), self.sigma) for f in asked.frames])
        return asked.attributions(np.repeat(edges[:, None], len(findings), axis=1), signed=False)
