"""ReLUs whose backward pass lets only positive gradients through, for modules, functions and in-place calls alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Call = Callable[..., Any]
aten, functional = torch.ops.aten, torch.nn.functional
RELUS: set[Call] = {torch.relu, Tensor.relu, functional.relu, aten.relu, aten.relu.default}
RELUS_IN_PLACE: set[Call] = {torch.relu_, Tensor.relu_, aten.relu_, aten.relu_.default}
CLAMPS: set[Call] = {torch.clamp, Tensor.clamp, torch.clamp_min, Tensor.clamp_min, torch.clip, Tensor.clip}
CLAMPS_IN_PLACE: set[Call] = {torch.clamp_, Tensor.clamp_, torch.clamp_min_, Tensor.clamp_min_}


class GuidedReLU(torch.autograd.Function):
    """``max(x, 0)``; the gradient passes where ``x > 0`` and where it is itself positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.relu()
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        return torch.where(out > 0, gradients[0].clamp(min=0), 0.0)


class Guided(TorchFunctionMode):
    """Every ReLU computed inside is a guided one; ``count`` says how many there were. Nothing is left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        in_place = relu_call(func, args, kwargs or {})
        if in_place is None:
            return func(*args, **(kwargs or {}))
        self.count += 1
        x: Tensor = args[0] if args else kwargs["input"]
        out: Tensor = GuidedReLU.apply(x)  # type: ignore[no-untyped-call]
        return x.copy_(out) if in_place else out


def relu_call(func: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool | None:
    """Whether this call is a ReLU that works in place, one that does not (False), or none at all (None)."""
    if func in RELUS_IN_PLACE:
        return True
    if func in RELUS:
        return bool(kwargs.get("inplace") or args[1:2] == (True,))
    if func in CLAMPS or func in CLAMPS_IN_PLACE:
        low, high = ((*args[1:], None, None)[:2]) if len(args) > 1 else (kwargs.get("min"), kwargs.get("max"))
        is_relu = isinstance(low, int | float) and low == 0 and high is None and kwargs.get("max") is None
        return func in CLAMPS_IN_PLACE if is_relu else None
    return None
