"""Guided backpropagation: the gradient with only positive parts passed at every ReLU (Springenberg et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..contracts import Asked, Capability, Classifier, Context, Explainer
from ..engine.gradients import Sweep
from ..explanations import Explanation
from ..types import Radiograph

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GuidedBackprop(Explainer):
    """Sharp and easy to mistake for an explanation: it largely redraws edges of the input, whatever the weights are
    (Adebayo et al., NeurIPS 2018). It is here because published comparisons have it.

    ReLUs are caught where they are computed: modules, functions, methods, in place or not. Other activations (GELU,
    SiLU) keep their own gradient, and the check "relus" is 0 where none was met: the map is then the plain gradient.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    cost: ClassVar[float] = 3.0
    paper: ClassVar[str] = "Springenberg et al., Striving for Simplicity, ICLR Workshop 2015"

    def passes(self, findings: int) -> float:
        """A forward pass, and about two more for each finding's backward pass."""
        return 1 + 2 * findings

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input; the check "relus" counts the ReLUs that were met."""
        import torch

        from ..engine.guided import Guided

        asked = Asked(self, classifier, radiographs, findings, context)
        met: list[Guided] = []

        def guided() -> Guided:
            met.append(Guided())
            return met[-1]

        def make(part: slice) -> Tensor:
            return torch.from_numpy(np.stack([f.pixels for f in asked.frames[part]]))

        sweep = Sweep(
            len(asked.frames), make, lambda g, _: g.sum(1), asked.columns, context.batch, context.step, around=guided
        )
        maps = np.concatenate([np.swapaxes(kept, 0, 1) for _, _, kept in sweep.run(classifier)])
        relus = np.full(maps.shape[:2], float(met[-1].count))
        return asked.attributions(maps, checks={"relus": relus})
