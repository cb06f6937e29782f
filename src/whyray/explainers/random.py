"""Control: smooth noise that depends on the seed and the picture only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..contracts import Asked, Classifier, Context, Explainer, in_range
from ..explanations import Explanation
from ..types import Radiograph


@dataclass(frozen=True)
class Random(Explainer):
    """A signed Gaussian field, another one for each finding.

    cells  side of the map: 14 has the grain of a Grad-CAM map.
    """

    control: ClassVar[bool] = True
    cost: ClassVar[float] = 0.0

    cells: int = 14

    def __post_init__(self) -> None:
        in_range("cells", self.cells, 2, 512)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[cells, cells]`` of standard normal values; a finding's map does not depend on what else was asked."""
        asked = Asked(self, classifier, radiographs, findings, context)
        shape = (len(classifier.findings), self.cells, self.cells)
        fields = np.stack([context.rng(r).standard_normal(shape)[asked.columns] for r in radiographs])
        return asked.attributions(fields)
