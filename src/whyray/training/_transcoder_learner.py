"""One member of an ensemble while it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import SettingError
from ..networks.transcoder import Shape, Transcoder
from ._sparse_step import Loss, Weights, encoded, gradients, squares
from ._state import isolated_rng
from ._transcoder_plan import TranscodersPlan


@dataclass
class Tally:
    """Sums over the tokens since it was made: squared error, variance, codes, loss; and how many tokens."""

    tokens: int = 0
    loss: float = 0.0
    squared: float = 0.0
    variance: float = 0.0
    codes: int = 0

    def facts(self, dead: float) -> dict[str, float]:
        """loss, explained variance, L0 and dead share."""
        tokens = max(1, self.tokens)
        explained = 1 - self.squared / self.variance if self.variance else 0.0
        return {"loss": self.loss / tokens, "explained": explained, "l0": self.codes / tokens, "dead": dead}


class Learner:
    """Weights, their optimiser, how long each latent has been silent, and how far through the run it is."""

    def __init__(self, plan: TranscodersPlan, shape: Shape, number: int) -> None:
        self.plan, self.shape, self.number = plan, shape, number
        self.loss = Loss(plan.aux, max(1, shape.d_in // 2), plan.dead_after, plan.l1, plan.precision)
        with isolated_rng(plan.seed * 100_003 + number):
            module = Transcoder(shape)
        self.tensors = {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}
        self.optimiser = torch.optim.Adam(list(self.tensors.values()), lr=plan.rate, fused=True)
        self.silent = torch.zeros(shape.width, dtype=torch.int64)
        self.position = 0
        self.tally = Tally()

    @property
    def weights(self) -> Weights:
        """The weights as they are."""
        return Weights(**{name: tensor.detach() for name, tensor in self.tensors.items()})

    @property
    def dead(self) -> Tensor:
        """Indices of the latents that have been silent for too long."""
        return (self.silent >= self.loss.dead_after).nonzero()[:, 0]

    @torch.no_grad()
    def step(self, x: Tensor, y: Tensor, share: float) -> None:
        """Learn from one batch; ``share`` of the run that is behind. Raises SettingError where the loss diverges."""
        weights = self.weights
        found = gradients(weights, self.shape, self.loss, x, y, self.dead)
        if not found.loss < float("inf"):
            raise SettingError(f"the loss of member {self.number} is {found.loss}; lower lr={self.plan.rate:g}")
        along = (found.by_name["decoder"] * weights.decoder).sum(1, keepdim=True)
        found.by_name["decoder"].addcmul_(along, weights.decoder, value=-1)
        self._apply(found.by_name, self.plan.rate * rate(share, self.plan.warmup, self.plan.decay))
        weights.decoder.div_(weights.decoder.norm(dim=1, keepdim=True).clamp(min=1e-12))
        self.silent += len(x)
        self.silent[found.fired > 0] = 0
        self._count(x, y, found.loss, found.squared, int(found.fired.sum()))

    @torch.no_grad()
    def measured(self, x: Tensor, y: Tensor) -> dict[str, float]:
        """loss (mean squared error), explained variance, L0 and dead share on held-out tokens."""
        exact = replace(self.loss, precision="float32")  # as the member will be used
        tally, ever = Tally(), torch.zeros(self.shape.width, dtype=torch.bool)
        for start in range(0, len(x), self.plan.batch):
            part, wanted = x[start : start + self.plan.batch], y[start : start + self.plan.batch]
            codes, _, active = encoded(self.weights, self.shape, exact, part)
            error = codes.decoded(self.weights.decoder) + self.weights.decoder_bias - wanted
            squared = squares(error)
            tally.tokens, tally.loss = tally.tokens + len(part), tally.loss + squared
            tally.squared, tally.codes = tally.squared + squared, tally.codes + int(active.sum())
            ever[codes.latents[active]] = True
        tally.variance = squares(y - y.mean(0))
        return {**tally.facts(1 - float(ever.float().mean())), "tokens": float(tally.tokens)}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) of a checkpoint."""
        slots = {
            f"adam.{name}.{key}": value
            for name, tensor in self.tensors.items()
            for key, value in self.optimiser.state[tensor].items()
        }
        tensors = {f"weights.{name}": tensor.detach() for name, tensor in self.tensors.items()}
        return {**tensors, **slots, "silent": self.silent}, {"position": self.position}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """The inverse of ``state``."""
        for name, tensor in self.tensors.items():
            with torch.no_grad():
                tensor.copy_(tensors[f"weights.{name}"])
            prefix = f"adam.{name}."
            slots = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            self.optimiser.state[tensor] = {key: value.clone() for key, value in slots.items()}
        self.silent = tensors["silent"].clone()
        self.position = int(facts["position"])

    def _apply(self, by_name: Mapping[str, Tensor], lr: float) -> None:
        """One step of Adam on the clipped gradients."""
        norm = torch.stack([g.norm() for g in by_name.values()]).norm()
        shrink = (self.plan.clip / (norm + 1e-6)).clamp(max=1.0)
        for name, tensor in self.tensors.items():
            tensor.grad = by_name[name].mul_(shrink)
        self.optimiser.param_groups[0]["lr"] = lr
        self.optimiser.step()
        for tensor in self.tensors.values():
            tensor.grad = None

    def _count(self, x: Tensor, y: Tensor, loss: float, squared: float, codes: int) -> None:
        tally = self.tally
        tally.tokens, tally.loss = tally.tokens + len(x), tally.loss + loss * len(x)
        tally.squared, tally.codes = tally.squared + squared, tally.codes + codes
        tally.variance += squares(y - y.mean(0))


def rate(share: float, warmup: float, decay: float) -> float:
    """Share of the highest learning rate when ``share`` of the run is behind: up, level, and down to nothing."""
    rise = min(1.0, 0.01 + share / warmup) if warmup else 1.0
    fall = min(1.0, (1 - share) / decay) if decay else 1.0
    return min(rise, fall)
