"""Gradient: how a finding's logit changes with each pixel, signed (Simonyan et al., ICLR Workshop 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..engine.gradients import Sweep
from ..explanations import Explanation
from ..types import Radiograph
from ._gradient_paths import mean_and_error

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Gradient(Explainer):
    """The gradient of the logit in the model input, summed over channels with its sign.

    Its absolute value is a matter of drawing and of the sign policy of a measure, not of the map.

    times_input  multiply by the model input (gradient x input).
    samples      average over so many noisy copies of the input (SmoothGrad, Smilkov et al., 2017); 0 = only itself.
    noise        standard deviation of that noise, as a share of the input's range.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    cost: ClassVar[float] = 3.0
    paper: ClassVar[str] = "Simonyan et al., Deep Inside Convolutional Networks, ICLR Workshop 2014"

    times_input: bool = False
    samples: int = 0
    noise: float = 0.1

    def __post_init__(self) -> None:
        in_range("samples", self.samples, 0, 10_000)
        in_range("noise", self.noise, 0, 1)

    def passes(self, findings: int) -> float:
        """A forward pass, and about two more for each finding's backward pass."""
        return (1 + 2 * findings) * max(1, self.samples)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input.

        With ``samples`` the check "relative_error" is the root mean square of the standard error over that of the map.
        """
        asked = Asked(self, classifier, radiographs, findings, context)
        if not self.samples:
            return asked.attributions(np.concatenate(list(self._plain(asked))))
        found = [self._smooth(asked, i) for i in range(len(radiographs))]
        return asked.attributions(
            np.stack([maps for maps, _ in found]), checks={"relative_error": np.stack([error for _, error in found])}
        )

    def _plain(self, asked: Asked) -> list[NDArray[np.float32]]:
        """Maps ``[b, f, h, w]``, batch by batch of radiographs."""
        import torch

        def make(part: slice) -> Tensor:
            return torch.from_numpy(np.stack([f.pixels for f in asked.frames[part]]))

        def keep(gradient: Tensor, part: slice) -> Tensor:
            return (gradient * make(part) if self.times_input else gradient).sum(1)

        sweep = Sweep(len(asked.frames), make, keep, asked.columns, asked.context.batch, asked.context.step)
        return [np.swapaxes(kept, 0, 1) for _, _, kept in sweep.run(asked.classifier)]

    def _smooth(self, asked: Asked, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mean over noisy copies ``[f, h, w]`` and its relative standard error ``[f]``."""
        import torch

        x, rng = asked.frames[index].pixels, asked.context.rng(asked.radiographs[index])
        seeds = rng.integers(2**63, size=self.samples)
        deviation = self.noise * np.ptp(x)

        def make(part: slice) -> Tensor:  # a copy's noise depends on its number, not on its batch
            noise = [np.random.default_rng(s).standard_normal(x.shape, np.float32) for s in seeds[part]]
            return torch.from_numpy(x + np.float32(deviation) * np.stack(noise))

        def keep(gradient: Tensor, part: slice) -> Tensor:
            maps = (gradient * make(part) if self.times_input else gradient).sum(1)
            return torch.stack([maps.sum(0), maps.square().sum(0)])

        def step(share: float) -> None:
            asked.context.step((index + share) / len(asked.frames))

        sweep = Sweep(self.samples, make, keep, asked.columns, asked.context.batch, step)
        total = sum(kept.astype(np.float64) for _, _, kept in sweep.run(asked.classifier))
        return mean_and_error(total[:, 0], total[:, 1], self.samples)  # type: ignore[index]
