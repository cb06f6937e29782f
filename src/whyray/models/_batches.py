"""For programs exported with a fixed batch of one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._taps import output_tensor, quiet


class OneByOne(nn.Module):
    """Runs a module picture by picture."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([output_tensor(self.inner(row)) for row in x.unsqueeze(1)])


def takes_batches(module: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether two pictures at once give what each gives alone."""
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with quiet(module), torch.no_grad():
            both = output_tensor(module(x))
            alone = torch.cat([output_tensor(module(row)) for row in x.unsqueeze(1)])
    except (RuntimeError, ValueError, AssertionError, TypeError):
        return False
    return both.shape == alone.shape and torch.allclose(both, alone, rtol=1e-3, atol=1e-4)
