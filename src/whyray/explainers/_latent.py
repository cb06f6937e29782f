"""Latent Shift in three steps (Cohen et al., MIDL 2021): direction, search along it, sweep of frames.

z = E(x), x'(lambda) = D(z + lambda g), g = d logit / dz at z. A negative lambda removes the finding. The published g is
the gradient of the probability, which is p (1 - p) times ours: the same direction, another scale of lambda.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..contracts import Classifier
    from ..models._autoencoders import Autoencoder

    Array = NDArray[np.float64]

Stop = Literal["target", "monotone", "distortion", "range", "flat"]
Side = Literal[-1, 1]
GRID = (0.25, 0.5, 1.0, 2.0, 4.0)
FARTHEST = 64.0  # times the lambda that a straight line would need
TOLERANCE = 0.02  # logits: how far a prediction may turn back before it counts as turning back


@dataclass(frozen=True, eq=False)
class Shift:
    """One radiograph's latent, its reconstruction and the directions of some findings.

    z          ``[1, d, h', w']``; directions ``[f, d, h', w']``.
    base       reconstruction, grey ``[1, 1, h, w]``.
    logits     of the reconstruction, all findings ``[F]``.
    decode     latents ``[b, ...]`` -> grey ``[b, 1, h, w]``; predict: grey -> logits ``[b, F]``.
    """

    z: Tensor
    directions: Tensor
    base: Tensor
    logits: Array
    decode: Callable[[Tensor], Tensor]
    predict: Callable[[Tensor], Tensor]
    batch: int = 16

    def frames(self, which: Sequence[int], lambdas: Sequence[float]) -> tuple[NDArray[np.float32], Array]:
        """Grey ``[k, h, w]`` and logits ``[k, F]`` of (finding index, lambda) pairs, batch by batch."""
        import torch

        grey, logits = [], []
        for start in range(0, len(which), self.batch):
            rows = list(which[start : start + self.batch])
            scale = torch.tensor(lambdas[start : start + self.batch], dtype=self.z.dtype, device=self.z.device)
            with torch.no_grad():
                made = self.decode(self.z + scale.reshape(-1, 1, 1, 1) * self.directions[rows])
                logits.append(self.predict(made).double().cpu().numpy())
            grey.append(made[:, 0].float().cpu().numpy())
        return np.concatenate(grey), np.concatenate(logits)


def shift_of(
    classifier: Classifier, autoencoder: Autoencoder, grey: Tensor, columns: Sequence[int], *, batch: int = 16
) -> Shift:
    """Encode once, decode once, one gradient a finding. ``grey [1, 1, h, w]`` at the autoencoder's size."""
    import torch

    from ..models._autoencoders import from_grey, sized

    wanted = classifier.card.preparation

    def decode(z: Tensor) -> Tensor:
        return autoencoder.decode(z).clamp(0, 1)

    def predict(pictures: Tensor) -> Tensor:
        return classifier.logits(from_grey(sized(pictures, wanted.size), wanted))

    with torch.enable_grad():
        z = autoencoder.encode(grey).detach().requires_grad_()
        base = decode(z)
        logits = predict(base)
        rows = [torch.autograd.grad(logits[0, c], z, retain_graph=True)[0] for c in columns]
    found = logits[0].detach().double().cpu().numpy()
    return Shift(z.detach(), torch.cat(rows), base.detach(), found, decode, predict, batch)


@dataclass
class Bound:
    """How far one finding goes on one side: ``lam`` (0 = nowhere), why it ends there, and what was looked at."""

    lam: float = 0.0
    stop: Stop = "flat"
    seen: dict[float, tuple[float, float]] = field(default_factory=dict)  # lambda -> (progress in logits, distortion)


def search(
    shift: Shift,
    columns: Sequence[int],
    wanted: Sequence[float],
    *,
    sign: Side,
    distortion: float,
    rounds: int = 5,
    accuracy: float = 0.05,
) -> list[Bound]:
    """For each finding the lambda at which its logit has moved by ``wanted`` (> 0, in logits) to one side.

    Brackets and narrows with all findings in one batch a round. ``accuracy`` is in logits. A side also ends where the
    prediction turns back ("monotone"), where the picture has changed by more than ``distortion`` of its mean grey value
    ("distortion"), or at ``FARTHEST`` ("range"); a finding without gradient stays ("flat").
    """
    bounds = [Bound() for _ in columns]
    slopes = shift.directions.double().flatten(1).square().sum(1).cpu().numpy()
    unit = np.array([w / s if s > 0 and np.isfinite(s) else 0.0 for w, s in zip(wanted, slopes, strict=True)])
    asked = {i: [unit[i] * g for g in GRID] for i in range(len(columns)) if unit[i] > 0 and wanted[i] > 0}
    for _ in range(rounds):
        if not asked:
            break
        look(shift, columns, bounds, asked, sign)
        asked = {
            i: more
            for i in asked
            if (more := narrowed(bounds[i], wanted[i], distortion, accuracy, farthest=unit[i] * FARTHEST))
        }
    for i, bound in enumerate(bounds):
        if bound.seen:
            settle(bound, wanted[i], distortion)
        bound.lam *= sign
    return bounds


def look(
    shift: Shift, columns: Sequence[int], bounds: Sequence[Bound], asked: dict[int, list[float]], sign: int
) -> None:
    """Evaluate the asked lambdas of every finding in one go."""
    pairs = [(i, lam) for i, lambdas in asked.items() for lam in lambdas]
    grey, logits = shift.frames([i for i, _ in pairs], [sign * lam for _, lam in pairs])
    base = shift.base[0, 0].cpu().numpy()
    size = max(float(np.abs(base).mean()), 1e-6)
    for (i, lam), picture, row in zip(pairs, grey, logits, strict=True):
        progress = sign * float(row[columns[i]] - shift.logits[columns[i]])
        bounds[i].seen[lam] = progress, float(np.abs(picture - base).mean()) / size


def first_stop(
    seen: dict[float, tuple[float, float]], wanted: float, distortion: float
) -> tuple[float, float, Stop] | None:
    """(last good lambda, first one that ends the way, why), going outward from 0; None where nothing ends it."""
    good, best = 0.0, 0.0
    for lam in sorted(seen):
        progress, changed = seen[lam]
        if changed > distortion:
            return good, lam, "distortion"
        if progress < best - TOLERANCE:
            return good, lam, "monotone"
        if progress >= wanted:
            return good, lam, "target"
        good, best = lam, max(best, progress)
    return None


def narrowed(bound: Bound, wanted: float, distortion: float, accuracy: float, farthest: float) -> list[float]:
    """Lambdas to look at next: farther out, or inside the bracket; none when it is narrow enough."""
    ended = first_stop(bound.seen, wanted, distortion)
    if ended is None:
        last = max(bound.seen)
        return [lam for lam in (2 * last, 4 * last) if lam <= farthest]
    good, end, why = ended
    if why == "target" and bound.seen[end][0] - wanted <= accuracy:
        return []
    if end - good <= 0.02 * end:
        return []
    inside = [good + (end - good) * share for share in (0.25, 0.5, 0.75)]
    if why == "target":  # the secant: the prediction is nearly straight between neighbours
        low = bound.seen[good][0] if good else 0.0
        share = (wanted - low) / max(bound.seen[end][0] - low, 1e-9)
        inside = [good + (end - good) * min(0.98, share + step) for step in (-0.05, 0.005, 0.06) if share + step > 0]
    return inside


def settle(bound: Bound, wanted: float, distortion: float) -> None:
    """The final lambda and the reason: the target's own, else the last good one."""
    ended = first_stop(bound.seen, wanted, distortion)
    if ended is None:
        bound.lam, bound.stop = max(bound.seen), "range"
        return
    good, end, why = ended
    bound.lam, bound.stop = (end, why) if why == "target" else (good, why)
