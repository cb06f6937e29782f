"""A network whose head tells negative, uncertain and positive apart, read as one logit a finding."""

from __future__ import annotations

from torch import Tensor, nn


class ThreeStates(nn.Module):
    """``[b, c, h, w]`` -> logits ``[b, f]``: the log-odds of uncertain or positive against negative.

    network  one with outputs ``[b, 3 f]``, three beside each other a finding.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return live(self.network(x))


def live(states: Tensor) -> Tensor:
    """``[b, 3 f]`` -> ``[b, f]``: log(uncertain + positive) - log(negative)."""
    three = by_state(states)
    return three[..., 1:].logsumexp(-1) - three[..., 0]


def by_state(states: Tensor) -> Tensor:
    """``[..., 3 f]`` -> ``[..., f, 3]``."""
    return states.reshape(*states.shape[:-1], -1, 3)
