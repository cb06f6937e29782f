"""Control: a Gaussian in the middle of the picture, which looks at neither the picture nor the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..contracts import Asked, Classifier, Context, Explainer, in_range
from ..explanations import Explanation
from ..types import Radiograph


@dataclass(frozen=True)
class Centre(Explainer):
    """The same bump for every picture and finding.

    sigma  width of the Gaussian as a share of the picture's side.
    cells  side of the map.
    """

    control: ClassVar[bool] = True
    cost: ClassVar[float] = 0.0

    sigma: float = 0.25
    cells: int = 32

    def __post_init__(self) -> None:
        in_range("sigma", self.sigma, 0.01, 10)
        in_range("cells", self.cells, 2, 512)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[cells, cells]`` with their peak of 1 in the middle."""
        asked = Asked(self, classifier, radiographs, findings, context)
        place = (np.arange(self.cells) + 0.5) / self.cells - 0.5
        bump = np.exp(-(place[:, None] ** 2 + place**2) / (2 * self.sigma**2))
        return asked.attributions(np.broadcast_to(bump, (len(radiographs), len(findings), *bump.shape)), signed=False)
