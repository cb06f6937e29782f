"""Latent Shift's pictures (Cohen et al., MIDL 2021): a latent, the directions of some findings, frames along them.

z = E(x), x'(lambda) = D(z + lambda g), g = d value / dz at z. A negative lambda removes the finding. The value is the
logit; the published one is the probability, whose g is p (1 - p) times ours: the same way, lambda in another unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..engine.backends import Backend, runner_for
from ..engine.gradients import check_precision
from ..engine.passes import batches
from ._latent_direction import Slopes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..contracts import Classifier
    from ..models._autoencoders import Autoencoder

    Array = NDArray[np.float64]

Side = Literal[-1, 1]
Place = tuple[int, float]  # (which of the findings, lambda)
NEVER = 1e30  # a lambda that no search comes to


@dataclass(frozen=True, eq=False)
class Leg:
    """A straight piece of the way of each finding: from |lambda| = ``start [f]`` along ``directions [f, d, h', w']``.

    rates  ``[f]``: how fast the value grows there at first, a unit of lambda.
    """

    start: Array
    directions: Tensor
    rates: Array


@dataclass(frozen=True, eq=False)
class Shift:
    """One radiograph's latent, its reconstruction and the ways of some findings.

    z          ``[1, d, h', w']``; directions ``[f, d, h', w']``.
    base       the picture at lambda = 0, grey ``[1, 1, h, w]``; logits: of it, all findings ``[F]``.
    decode     latents ``[b, ...]`` -> grey ``[b, 1, h, w]``; predict: grey -> logits ``[b, F]``; without gradients.
    gradients  latents ``[k, ...]`` and finding indices -> d value / d latent of each finding at its own, ``[k, ...]``.
    bends      per side, the legs of the way after the first, which is straight from z.
    paid       (finding, lambda) -> grey ``[h, w]`` and logits ``[F]``: a place is paid for once.
    """

    z: Tensor
    directions: Tensor
    base: Tensor
    logits: Array
    decode: Callable[[Tensor], Tensor]
    predict: Callable[[Tensor], Tensor]
    gradients: Callable[[Tensor, Sequence[int]], Tensor] | None = None
    batch: int = 16
    check: Callable[[], None] = lambda: None
    bends: Mapping[Side, tuple[Leg, ...]] = field(default_factory=dict)
    paid: dict[Place, tuple[NDArray[np.float32], Array]] = field(default_factory=dict, repr=False)

    def legs(self, side: Side) -> tuple[Leg, ...]:
        """The way to one side, from lambda = 0."""
        rates = self.directions.double().flatten(1).square().sum(1).cpu().numpy()
        return Leg(np.zeros(len(rates)), self.directions, rates), *self.bends.get(side, ())

    def latents(self, which: Sequence[int], lambdas: Sequence[float]) -> Tensor:
        """Latents ``[k, d, h', w']`` of (finding index, lambda) pairs."""
        rows, far = list(which), np.abs(lambdas)
        made = self.z.expand(len(rows), -1, -1, -1).clone()
        sides: tuple[Side, Side] = (-1, 1)
        for side in sides:
            legs = self.legs(side)
            ends = [*(leg.start for leg in legs[1:]), np.full(len(self.directions), NEVER)]
            for leg, end in zip(legs, ends, strict=True):
                done = np.where(
                    side * np.asarray(lambdas) > 0, np.clip(far, leg.start[rows], end[rows]) - leg.start[rows], 0
                )
                if done.any():
                    made += made.new_tensor(side * done).reshape(-1, 1, 1, 1) * leg.directions[rows]
        return made

    def frames(self, which: Sequence[int], lambdas: Sequence[float]) -> tuple[NDArray[np.float32], Array]:
        """Grey ``[k, h, w]`` and logits ``[k, F]`` of (finding index, lambda) pairs, batch by batch."""
        places = [(int(i), float(lam)) for i, lam in zip(which, lambdas, strict=True)]
        new = [place for place in dict.fromkeys(places) if place[1] != 0 and place not in self.paid]

        def once(part: slice) -> tuple[NDArray[np.float32], Array]:
            self.check()
            made = self.decode(self.latents(*zip(*new[part], strict=True)))
            return made[:, 0].float().cpu().numpy(), self.predict(made).double().cpu().numpy()

        for part, (grey, logits) in batches(len(new), self.batch, once, "the autoencoder"):
            self.paid.update(zip(new[part], zip(grey, logits, strict=True), strict=True))
        zero = self.base[0, 0].float().cpu().numpy(), self.logits
        found = [zero if lam == 0 else self.paid[i, lam] for i, lam in places]
        return np.stack([grey for grey, _ in found]), np.stack([logits for _, logits in found])

    def bent(self, side: Side, at: Mapping[int, float]) -> Shift:
        """The same way as far as |lambda| = ``at[finding index]``, then along the gradient there.

        The new directions are as long as the first, so that lambda keeps its unit: length in the latent. Where there is
        no gradient, the way ends.
        """
        if not at:
            return self
        assert self.gradients is not None
        rows = list(at)
        found = self.gradients(self.latents(rows, [side * far for far in at.values()]), rows)
        long, now = (v.flatten(1).norm(dim=1) for v in (self.directions[rows], found))
        start, rates = np.full(len(self.directions), NEVER), np.zeros(len(self.directions))
        start[rows], rates[rows] = list(at.values()), (long * now).double().cpu().numpy()
        directions = self.directions.clone()
        directions[rows] = found * (long / now.clamp(min=1e-30)).reshape(-1, 1, 1, 1)
        paid = {(i, lam): made for (i, lam), made in self.paid.items() if side * lam <= at.get(i, NEVER)}
        bends = {**self.bends, side: (*self.bends.get(side, ()), Leg(start, directions, rates))}
        return replace(self, bends=bends, paid=paid)


@dataclass(frozen=True, eq=False)
class Canvas:
    """What the classifier is shown of a decoded picture: clipped, mixed with the original, changed in a region only.

    original  grey ``[1, 1, h, w]``; mix: its share in each picture.
    first     the decoded picture at lambda = 0; region: weights ``[h, w]`` of the change, or None = everywhere.
    """

    original: Tensor
    first: Tensor
    mix: float = 0.0
    region: Tensor | None = None
    clip: bool = True

    def shown(self, made: Tensor) -> Tensor:
        """Grey ``[b, 1, h, w]`` of decoded pictures ``[b, 1, h, w]``; differentiable."""
        if self.region is not None:
            made = self.first + self.region * (made - self.first)
        if self.mix:
            made = self.mix * self.original + (1 - self.mix) * made
        return made.clamp(0, 1) if self.clip else made


def shift_of(
    classifier: Classifier,
    autoencoder: Autoencoder,
    grey: Tensor,
    columns: Sequence[int],
    *,
    value: Callable[[Tensor], Tensor] = lambda logits: logits,
    smooth: float = 0.0,
    mix: float = 0.0,
    region: Tensor | None = None,
    clip: bool = True,
    backend: Backend = "torch",
    batch: int = 16,
    check: Callable[[], None] = lambda: None,
) -> Shift:
    """Encode once, decode once, one gradient a finding. ``grey [1, 1, h, w]`` at the autoencoder's size.

    ``value`` is what is followed, a function of the logits; ``smooth`` blurs its gradient (``Slopes``). Gradients
    run in torch; the other passes by ``backend``.
    """
    import torch

    from ..models._autoencoders import from_grey, sized

    check_precision(classifier.name, classifier.backend)
    wanted = classifier.card.preparation
    with torch.no_grad():
        z = autoencoder.encode(grey)
        first = autoencoder.decode(z)
    canvas = Canvas(grey, first, mix, region, clip)

    def fed(pictures: Tensor) -> Tensor:
        return from_grey(sized(pictures, wanted.size), wanted)

    slopes = Slopes(classifier, autoencoder, columns, canvas.shown, fed, value, smooth, check)
    directions, base, logits = slopes.first(z)
    decoder, runner = (
        runner_for(decoder_of(autoencoder, z), backend, "float32"),
        runner_for(classifier, backend, "float32"),
    )
    shape = first.shape[1:]
    return Shift(
        z=z,
        directions=directions,
        base=base,
        logits=logits[0].double().cpu().numpy(),
        decode=lambda latents: canvas.shown(torch.from_numpy(decoder(latents)).to(first).reshape(-1, *shape)),
        predict=lambda pictures: torch.from_numpy(runner(fed(pictures))),
        gradients=slopes.at,
        batch=min(batch, decoder.most, runner.most),
        check=check,
    )


def decoder_of(autoencoder: Autoencoder, z: Tensor) -> Classifier:
    """The decoder as the engine takes a network: latents ``[b, d, h', w']`` in, a picture's pixels ``[b, h w]`` out."""
    import torch

    from ..cards import Card, Preparation
    from ..models._torch import TorchClassifier, described

    class Decoder(torch.nn.Module):
        """Registers the network and runs the autoencoder's own way through it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = autoencoder.module

        def forward(self, latents: Tensor) -> Tensor:
            return autoencoder.decode(latents).flatten(1)

    h, w = z.shape[-2:]
    card = Card(name="the autoencoder's decoder", preparation=Preparation(size=(h, w), channels=z.shape[1]))
    module = Decoder()
    module.training = autoencoder.module.training
    return TorchClassifier(module, ("pixels",), card, architecture=f"{described(module)}\n{autoencoder.preparation}")
