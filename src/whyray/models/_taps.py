"""Reading layers of a module during one forward pass, and leaving the module exactly as it was found."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import WeightsError

Layout = Literal["map", "nhwc", "tokens", "flat"]
POOLINGS: tuple[Callable[..., Any], ...] = (
    torch.nn.functional.adaptive_avg_pool2d,
    torch.nn.functional.adaptive_max_pool2d,
    torch.nn.functional.avg_pool2d,
    torch.mean,
    torch.Tensor.mean,
)


@dataclass(frozen=True)
class Tap:
    """Where a value is read.

    layer   name of the module whose output or input is read; for "call", what is shown to people.
    side    "output", "input", or "call": the input of pooling call number ``index``, where no module has it.
    layout  "map" [b, d, h, w]; "nhwc" [b, h, w, d]; "tokens" [b, prefix + h * w, d]; "flat" [b, d].
    """

    layer: str
    side: Literal["output", "input", "call"] = "output"
    layout: Layout = "map"
    prefix: int = 0
    grid: tuple[int, int] = (0, 0)
    index: int = 0

    @property
    def label(self) -> str:
        """What is shown to people."""
        grid = f" (tokens: {self.prefix} before a grid of {self.grid[0]} x {self.grid[1]})"
        return ("input of " if self.side == "input" else "") + self.layer + (grid if self.layout == "tokens" else "")


def to_map(value: Tensor, tap: Tap) -> Tensor:
    """A layer's value as ``[b, d, h', w']`` (or ``[b, d]`` for "flat")."""
    if tap.layout == "nhwc":
        return value.permute(0, 3, 1, 2)
    if tap.layout == "tokens":
        grid = value[:, tap.prefix :].transpose(1, 2)  # [b, d, h * w]
        return grid.reshape(*grid.shape[:2], *tap.grid)
    return value


def from_map(value: Tensor, original: Tensor, tap: Tap) -> Tensor:
    """The inverse of ``to_map``; prefix tokens come from ``original``."""
    if tap.layout == "nhwc":
        return value.permute(0, 2, 3, 1)
    if tap.layout == "tokens":
        return torch.cat([original[:, : tap.prefix], value.flatten(2).transpose(1, 2)], dim=1)
    return value.clone()  # an in-place operation behind the tap must not reach what was read


@dataclass
class _Flags:
    """What a module in use was like: how many use it, which parts were training, which parameters wanted gradients."""

    inside: int = 0
    training: list[nn.Module] = field(default_factory=list)
    wanting: list[nn.Parameter] = field(default_factory=list)


_LOCK = threading.Lock()
_QUIET: weakref.WeakKeyDictionary[nn.Module, _Flags] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def quiet(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, and no gradient recorded for parameters; every flag is put back, also on errors.

    Of several threads inside at once, the last to leave puts the flags back.
    """
    with _LOCK:
        found = _QUIET.setdefault(module, _Flags())
        found.inside += 1
        below = parts(module)
        found.training += [m for m in below if m.training]
        found.wanting += [p for m in below for p in m._parameters.values() if p is not None and p.requires_grad]
        for m in found.training:
            m.training = False
        for p in found.wanting:
            p.requires_grad_(False)
    try:
        yield
    finally:
        with _LOCK:
            found.inside -= 1
            if not found.inside:
                del _QUIET[module]
                for m in found.training:
                    m.training = True
                for p in found.wanting:
                    p.requires_grad_(True)


def parts(module: nn.Module) -> list[nn.Module]:
    """The module and all below it: what ``modules()`` gives, in a tenth of the time (a part that two share, twice)."""
    found = [module]
    for part in found:  # grows while it is read
        found += [m for m in part._modules.values() if m is not None]
    return found


def tensors(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers of all parts."""
    held = (kept for part in parts(module) for kept in (part._parameters, part._buffers) if kept)
    return [t for kept in held for t in kept.values() if t is not None]


@contextlib.contextmanager
def reading(module: nn.Module, taps: Mapping[str, Tap]) -> Iterator[dict[str, Tensor]]:
    """Fills a dictionary tap -> value during the forward passes of this thread; hooks are gone afterwards."""
    seen: dict[str, Tensor] = {}
    thread = threading.get_ident()

    def read(name: str, value: Tensor) -> Tensor:
        kept = to_map(value, taps[name])
        if torch.is_grad_enabled() and not kept.requires_grad:
            kept = kept.detach().requires_grad_()  # nothing below the tap is recorded, everything above is
        seen[name] = kept
        return from_map(kept, value, taps[name])

    def after(name: str) -> Callable[..., Any]:
        return lambda _m, _inputs, out: read(name, out) if threading.get_ident() == thread else None

    def before(name: str) -> Callable[..., Any]:
        return lambda _m, inputs: (read(name, inputs[0]), *inputs[1:]) if threading.get_ident() == thread else None

    with contextlib.ExitStack() as stack:
        for name, tap in taps.items():
            if tap.side == "call":
                stack.enter_context(_PoolingCalls(tap.index, lambda value, name=name: read(name, value)))  # type: ignore[misc]
                continue
            part = module.get_submodule(tap.layer)
            if tap.side == "output":
                stack.callback(part.register_forward_hook(after(name)).remove)
            else:
                stack.callback(part.register_forward_pre_hook(before(name)).remove)
        yield seen


def output_tensor(output: object) -> Tensor:
    """The logits in what a module returns: a tensor, the first of a tuple, or the field "logits"."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        return output["logits"]  # type: ignore[no-any-return]
    found = getattr(output, "logits", output[0] if isinstance(output, tuple | list) and output else None)
    if not isinstance(found, Tensor):
        raise WeightsError(f"the network returns a {type(output).__name__}; logits [b, f] are wanted as a tensor")
    return found


def pooled_layout(function: Callable[..., Any], value: object, result: object) -> Layout | None:
    """The layout of ``value`` where this call pooled its whole space away, else None."""
    if function not in POOLINGS or not isinstance(value, Tensor) or not isinstance(result, Tensor):
        return None
    if value.ndim not in (3, 4) or result.ndim < 2 or result.shape[0] != value.shape[0]:
        return None
    batch, *sides = value.shape
    left = result.numel() // batch
    if value.ndim == 3:
        return "tokens" if left == sides[1] and sides[0] > 1 else None
    if left == sides[0] and sides[1] * sides[2] > 1:
        return "map"
    return "nhwc" if left == sides[2] and sides[0] * sides[1] > 1 else None


class _PoolingCalls(TorchFunctionMode):
    """Passes the input of one pooling call through ``read``."""

    def __init__(self, index: int, read: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.index, self.read, self.count = index, read, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if args and pooled_layout(func, args[0], result):
            self.count += 1
            if self.count - 1 == self.index:
                return func(self.read(args[0]), *args[1:], **(kwargs or {}))
        return result
