"""A Wasserstein critic with gradient penalty (Gulrajani et al., NeurIPS 2017), for the vectors of texts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as nf


class Critic(nn.Module):
    """(z ``[b, width]``, group ``[b]``) -> score ``[b]``, higher = more like the texts of the database."""

    def __init__(self, width: int, groups: int, hidden: int = 512) -> None:
        super().__init__()
        self.groups = groups
        self.body = nn.Sequential(
            *(nn.Linear(width + groups, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2)),
            nn.Linear(hidden, 1),
        )

    def forward(self, z: Tensor, group: Tensor) -> Tensor:
        asked = nf.one_hot(group, self.groups).to(z.dtype)
        score: Tensor = self.body(torch.cat([z, asked], 1))[:, 0]
        return score


def critic_loss(critic: Critic, made: Tensor, real: Tensor, group: Tensor, share: Tensor, penalty: float) -> Tensor:
    """Mean score of what was made minus that of real rows of the same groups, and the penalty of the gradient.

    ``share [b, 1]`` in 0..1 says where between both the gradient is taken; its norm should be 1.
    """
    between = (share * real + (1 - share) * made).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, group).sum(), between, create_graph=True)
    steep = ((slope.norm(dim=1) - 1) ** 2).mean()
    loss: Tensor = critic(made, group).mean() - critic(real, group).mean() + penalty * steep
    return loss
