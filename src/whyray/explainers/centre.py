"""Control: a Gaussian in the middle of the picture, which looks at neither the picture nor the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..contracts import Asked, Classifier, Context, Explainer, in_range
from ..explanations import Explanation
from ..types import Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGMA = 0.25


@dataclass(frozen=True)
class Centre(Explainer):
    """The same bump for every picture and finding.

    sigma  width of the Gaussian as a share of the picture's side.
    cells  side of the map.
    """

    control: ClassVar[bool] = True
    cost: ClassVar[float] = 0.0

    sigma: float = SIGMA
    cells: int = 32

    def __post_init__(self) -> None:
        in_range("sigma", self.sigma, 0.01, 10)
        in_range("cells", self.cells, 2, 512)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[cells, cells]`` with their peak of 1 in the middle."""
        asked = Asked(self, classifier, radiographs, findings, context)
        made = bump(self.cells, self.cells, self.sigma)
        return asked.attributions(np.broadcast_to(made, (len(radiographs), len(findings), *made.shape)), signed=False)


def bump(rows: int, columns: int, sigma: float = SIGMA) -> NDArray[np.float64]:
    """A Gaussian ``[rows, columns]`` in the middle, 1 at its peak; ``sigma`` as a share of each side."""
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in (rows, columns))
    return np.asarray(np.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2)))
