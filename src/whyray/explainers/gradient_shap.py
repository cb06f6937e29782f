"""GradientShap: expected gradients over random baselines, in logits (Erion et al., Nat. Mach. Intell. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..contracts import Asked, Capability, Classifier, Context, Explainer, in_range
from ..engine.gradients import Sweep
from ..engine.passes import logits
from ..engine.perturb import DEFAULT_FILL
from ..explanations import Explanation
from ..types import Radiograph
from ._gradient_paths import baseline, check_fill, mean_and_error

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """What one map is the mean over: sample i is ``gradient(b + alpha * (x - b)) * (x - b)``.

    alphas     float32 ``[n]``, in 0..1.
    baselines  float32 ``[k, c, h, w]``; sample i starts from ``baselines[of[i]]``.
    of         int ``[n]``.
    """

    alphas: NDArray[np.float32]
    baselines: NDArray[np.float32]
    of: NDArray[np.intp]


@dataclass(frozen=True)
class GradientShap(Explainer):
    """The mean of gradients at random points between random baselines and the input, times their difference.

    ``sum(map) = logit(x) - mean logit(baselines) - completeness_gap``, where the gap has the standard error
    "completeness_error"; each baseline lies at random between the fill and a picture of noise.

    samples    gradients that are averaged.
    baselines  how many baselines are drawn; the samples are shared evenly between them.
    baseline   the fill: "blur", "mean", "black", "white" or a value of the model input.
    spread     how far towards noise a baseline may lie: 0 = the fill itself, 1 = all the way.
    """

    needs: ClassVar[frozenset[Capability]] = frozenset({"gradients"})
    cost: ClassVar[float] = 150.0
    paper: ClassVar[str] = "Erion et al., Axiomatic attribution priors and expected gradients, Nat. Mach. Intell. 2021"

    samples: int = 48
    baselines: int = 8
    baseline: str = DEFAULT_FILL
    spread: float = 0.1

    def __post_init__(self) -> None:
        in_range("samples", self.samples, 1, 100_000)
        in_range("baselines", self.baselines, 1, self.samples)
        in_range("spread", self.spread, 0, 1)
        check_fill("baseline", self.baseline)

    def passes(self, findings: int) -> float:
        """A forward pass a sample, about two more for each finding's backward pass, and the baselines' logits."""
        return self.samples * (1 + 2 * findings) + self.baselines + 1

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input, in logits.

        "relative_error" is the root mean square of the map's standard error over that of the map.
        """
        asked = Asked(self, classifier, radiographs, findings, context)
        made = [self._one(asked, i) for i in range(len(radiographs))]
        checks = {name: np.stack([m[1][name] for m in made]) for name in made[0][1]} if made else {}
        return asked.attributions(np.stack([maps for maps, _ in made]), unit="logit", checks=checks)

    def _one(self, asked: Asked, index: int) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Maps ``[f, h, w]`` and checks ``[f]`` of one radiograph."""
        frame, columns = asked.frames[index], asked.columns
        fill = baseline(asked.classifier, frame, self.baseline)
        draws = drawn(frame.pixels, fill, self, asked.context.rng(asked.radiographs[index]))

        def step(share: float) -> None:
            asked.context.step((index + share) / len(asked.frames))

        total, squares, sums = expected(asked, frame.pixels, draws, step)
        ends = np.concatenate([frame.pixels[None], draws.baselines])
        found = logits(asked.classifier, ends, batch=asked.context.batch).astype(np.float64)[:, columns]
        fall = found[0] - found[1:][draws.of]  # [n, f]: what sample i estimates
        maps, error = mean_and_error(total, squares, self.samples)
        gap = fall.mean(0) - maps.sum((1, 2))
        spread = (fall - sums).std(0, ddof=1) if self.samples > 1 else np.full(len(columns), np.nan)
        checks = {"completeness_gap": gap, "completeness_error": spread / np.sqrt(self.samples)}
        return maps, {**checks, "relative_error": error}


def drawn(x: NDArray[np.float32], fill: NDArray[np.float32], settings: GradientShap, rng: np.random.Generator) -> Draws:
    """Baselines between the fill and noise of the input's range; points spread evenly over each one's own line."""
    count = settings.baselines
    noise = rng.uniform(x.min(), x.max(), (count, *x.shape)).astype(np.float32)
    towards = (settings.spread * rng.random((count, 1, 1, 1))).astype(np.float32)
    of = np.arange(settings.samples) % count
    number = np.arange(settings.samples) // count  # which of its baseline's points
    alphas = (number + rng.random(settings.samples)) / np.bincount(of, minlength=count)[of]
    return Draws(alphas.astype(np.float32), fill + towards * (noise - fill), of)


def expected(
    asked: Asked, x: NDArray[np.float32], draws: Draws, step: Callable[[float], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum and sum of squares of the samples' maps ``[f, h, w]``, and each one's sum over pixels ``[n, f]``."""
    import torch

    picture, shape = torch.from_numpy(np.array(x)), (len(asked.columns), *x.shape[1:])

    def away(part: slice) -> Tensor:
        return picture - torch.from_numpy(draws.baselines[draws.of[part]])

    def make(part: slice) -> Tensor:
        return picture - (1 - torch.from_numpy(draws.alphas[part])[:, None, None, None]) * away(part)

    def keep(gradient: Tensor, part: slice) -> Tensor:
        return (gradient * away(part)).sum(1)

    total, squares, sums = np.zeros(shape), np.zeros(shape), []
    sweep = Sweep(len(draws.alphas), make, keep, asked.columns, asked.context.batch, step)
    for _, _, kept in sweep.run(asked.classifier):  # [f, b, h, w]
        total += kept.sum(1)
        squares += np.einsum("fbhw,fbhw->fhw", kept, kept)
        sums.append(kept.sum((2, 3), dtype=np.float64).T)
    return total, squares, np.concatenate(sums)
