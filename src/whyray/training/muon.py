"""Muon: steps of kernels whose singular values are all alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the odd quintic that brings singular values near 1
ROUNDS = 5
AS_ADAMW = 0.2  # root mean square of a step of AdamW, in learning rates


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum of each kernel ``[out, ...]``, as a matrix ``[out, rest]`` made nearly orthogonal.

    After Jordan et al. 2024; a step is as long as AdamW's, so that ``lr`` and ``weight_decay`` mean what they mean
    there (Liu et al., arXiv:2502.16982). What ``torch.optim.Muon`` does with ``match_rms_adamw``, which takes matrices
    only, and steps in bfloat16.
    """

    def __init__(
        self, kernels: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(kernels, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every kernel that has a gradient; ``closure`` is not called."""
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is not None:
                    self._step(kernel, **{k: v for k, v in group.items() if k != "params"})

    def _step(self, kernel: nn.Parameter, lr: float, weight_decay: float, momentum: float) -> None:
        gradient, state = kernel.grad, self.state[kernel]
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(kernel)
        state["momentum"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(state["momentum"], momentum).flatten(1)
        length = lr * AS_ADAMW * max(ahead.shape) ** 0.5
        kernel.mul_(1 - lr * weight_decay).sub_(orthogonal(ahead).view(kernel.shape), alpha=length)


def orthogonal(matrix: Tensor) -> Tensor:
    """``matrix`` ``[a, b]`` with singular values near 1, by rounds of Newton-Schulz; small ones less so."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / wide.norm().clamp(min=1e-7)
    first, third, fifth = NEWTON_SCHULZ
    for _ in range(ROUNDS):
        square = x @ x.T
        x = first * x + (third * square + fifth * square @ square) @ x
    return x if wide is matrix else x.T
