"""What is trained, and all that a checkpoint keeps: adapters, text to picture, weights of the terms, memory, critic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..models._text_autoencoders import TextCoder
from ..models._wenlex import new_adapter, new_network
from ..networks.critic import Critic, critic_loss
from ._wenlex_plan import CriticPlan, WenlexPlan

TERMS = ("plausibility", "alignment", "reconstruction", "side", "severity", "commitment", "matching", "image")
FOLLOWED = 0.02  # share of a step in the running mean of a term


def terms_of(plan: WenlexPlan) -> tuple[str, ...]:
    """The terms of a plan's loss."""
    wanted = {
        "plausibility": plan.terms.plausibility != "none",
        **{name: getattr(plan.terms, name) for name in ("alignment", "reconstruction", "side", "severity")},
        "commitment": plan.through == "words",
        "matching": plan.matched > 0,
        "image": plan.joint,
    }
    return tuple(name for name in TERMS if wanted[name])


class Memory(nn.Module):
    """The last generated vectors of each group (a diagnosis for an audience)."""

    def __init__(self, groups: int, length: int, width: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("rows", torch.zeros(groups, length, width))
        self.register_buffer("count", torch.zeros(groups, dtype=torch.int64))
        self.rows: Tensor
        self.count: Tensor

    def filled(self) -> Tensor:
        """Rows that are in use, of each group."""
        return self.count.clamp(max=self.length)

    def push(self, made: Tensor, group: Tensor) -> None:
        """Remember rows ``made [b, w]`` of the groups ``[b]``, over the oldest ones."""
        for row, g in zip(made.detach().float(), group.tolist(), strict=True):
            self.rows[g, int(self.count[g]) % self.length] = row
            self.count[g] += 1


class Judge(nn.Module):
    """A critic that is trained by itself: Adam (0, 0.9), whose second moments are part of the checkpoint."""

    def __init__(self, width: int, groups: int, plan: CriticPlan) -> None:
        super().__init__()
        self.plan = plan
        self.critic = Critic(width, groups, plan.hidden).requires_grad_(False)
        for i, weight in enumerate(self.critic.parameters()):
            self.register_buffer(f"square{i}", torch.zeros_like(weight))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.count: Tensor

    def learn(self, made: Tensor, known: Tensor, group: Tensor, known_group: Tensor) -> None:
        """Some steps on what was made ``[b, w]`` and, for each row, a known one of its group."""
        made = made.detach().float()
        weights = list(self.critic.parameters())
        for _ in range(self.plan.steps):
            real = known[drawn_of(group, known_group)]
            share = torch.rand(len(made), 1, device=made.device)
            for weight in weights:
                weight.requires_grad_(True)
            loss = critic_loss(self.critic, made, real, group, share, self.plan.penalty)
            slopes = torch.autograd.grad(loss, weights)
            for weight in weights:
                weight.requires_grad_(False)
            self._step(weights, slopes)

    def _step(self, weights: Sequence[nn.Parameter], slopes: Sequence[Tensor]) -> None:
        self.count += 1
        whole = 1 - 0.9 ** int(self.count)
        for i, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
            square = self.get_buffer(f"square{i}")
            square.lerp_(slope**2, 0.1)
            weight.sub_(self.plan.lr * slope / ((square / whole).sqrt() + 1e-8))


def drawn_of(group: Tensor, known_group: Tensor) -> Tensor:
    """For each row of ``group [b]`` the index of a known row of its group, at random."""
    same = (group[:, None] == known_group[None]).float()
    return torch.multinomial(same, 1)[:, 0]


class Parts(nn.Module):
    """Everything of a run that changes.

    adapters   audience -> adapter; ``pictures``: z to a picture; ``vision``: the classifier, where it is trained too.
    shares     term -> what is learned of its weight; ``logs()``: s of the weight exp(-s).
    """

    def __init__(self, plan: WenlexPlan, coder: TextCoder, depth: int, predictions: int, groups: int) -> None:
        super().__init__()
        made = {a: new_adapter(plan.adapter, coder, depth, predictions) for a in plan.audiences}
        self.adapters = nn.ModuleDict(made)
        self.pictures = new_network(plan.pictures, coder.width)
        self.weighting = plan.weighting
        self.shares = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in terms_of(plan)})
        self.memory = Memory(groups, plan.queue, coder.width)
        self.judge = Judge(coder.width, groups, plan.critic) if plan.terms.plausibility == "wgan-gp" else None
        self.vision: nn.Module | None = None
        for name in self.shares:
            self.register_buffer(f"mean_{name}", torch.zeros(()))

    def note(self, terms: Mapping[str, Tensor]) -> None:
        """Keep the running mean of each term."""
        for name, value in terms.items():
            mean = self.get_buffer(f"mean_{name}")
            mean.lerp_(value.detach().float(), 1.0 if float(mean) == 0 else FOLLOWED)

    def noted(self) -> dict[str, float]:
        """The running means, as ``loss_TERM``."""
        return {f"loss_{name}": float(self.get_buffer(f"mean_{name}")) for name in self.shares}

    def logs(self) -> dict[str, Tensor]:
        """Term -> s, within the bounds of the plan."""
        bound, speed = self.weighting.bound, self.weighting.speed
        return {name: bound * torch.tanh(speed * share / bound) for name, share in self.shares.items()}
