"""Finding the layers of a module nobody has told us about: last spatial map, embedding, and where it can be cut.

One pass over a probe records every module's output and every pooling call. The last map is what the last pooling reads;
in a transformer with a class token it is the last token grid that the logits still depend on.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import SettingError, UnknownName
from ._taps import Layout, Tap, from_map, output_tensor, pooled_layout, quiet, reading, to_map
from ._torch import Head, Wiring

MOST_PREFIX = 16
LOOK_BACK = 40


@dataclass(frozen=True)
class Layer:
    """One candidate: module name and the shape of its output for one picture, as computed."""

    name: str
    shape: tuple[int, ...]


@dataclass
class Event:
    """A module's output, or the input of a pooling call."""

    name: str
    shape: tuple[int, ...]
    ref: weakref.ref[Tensor]
    version: int
    pooling: Layout | None = None
    index: int = 0
    tap: Tap | None = None

    def holds(self, value: Tensor) -> bool:
        """Whether this is the very tensor, not changed in place since."""
        return self.ref() is value and self.version == _version(value)


@dataclass
class Trace:
    """What one pass showed."""

    outputs: list[Event] = field(default_factory=list)
    poolings: list[Event] = field(default_factory=list)
    grid: tuple[int, int] | None = None
    linear: str | None = None
    width: int = 0


def wire(module: nn.Module, x: Tensor, layer: str | None = None) -> Wiring:
    """Taps and heads of a module, found with a probe ``x [b, c, h, w]`` (b >= 2); ``layer`` names the one to use."""
    with quiet(module):
        seen = trace(module, x)
        taps: dict[str, Tap] = {}
        features = named(module, seen, layer) if layer else last_map(module, x, seen)
        if features is not None:
            taps["features"] = features
        if seen.linear is not None:
            taps["embedding"] = Tap(seen.linear, "input", "flat")
        return Wiring(taps, closed_heads(module, x, taps), chosen=layer is not None)


def layers(module: nn.Module, x: Tensor) -> list[Layer]:
    """Modules whose output is a spatial map or a token grid, in the order they ran."""
    with quiet(module):
        seen = trace(module, x)
    return [Layer(e.name, e.shape[1:]) for e in seen.outputs if layout_of(e.shape, seen) is not None]


def trace(module: nn.Module, x: Tensor) -> Trace:
    """Run once without gradient, recording."""
    seen = Trace()
    with ExitStack() as stack, torch.no_grad():
        inputs: list[tuple[str, Tensor]] = []  # of the modules now running
        for name, part in module.named_modules():
            if name:
                stack.callback(part.register_forward_pre_hook(_entering(inputs, name)).remove)
                stack.callback(part.register_forward_hook(_leaving(inputs, name, part, seen)).remove)
        stack.enter_context(_Poolings(seen, inputs))
        logits = output_tensor(module(x))
        for event in (e for e in seen.outputs if e.holds(logits)):
            part = module.get_submodule(event.name)
            if isinstance(part, nn.Linear):
                seen.linear, seen.width = event.name, part.in_features
    return seen


def layout_of(shape: tuple[int, ...], seen: Trace) -> Layout | None:
    """How an output ``[b, ...]`` lies in space, or None where it does not."""
    if len(shape) == 3:
        return "tokens" if token_grid(shape[1], seen) else None
    if len(shape) != 4 or min(shape) < 1:
        return None
    last = seen.width == shape[3] != shape[1]  # the embedding's width tells the channels
    if last or (shape[1] == shape[2] != shape[3] and seen.width != shape[1]):
        return "nhwc" if shape[1] * shape[2] > 1 else None
    return "map" if shape[2] * shape[3] > 1 else None


def token_grid(tokens: int, seen: Trace) -> tuple[int, tuple[int, int]] | None:
    """(tokens before the grid, its rows and columns): the grid of the patch embedding, else a square."""
    if seen.grid is not None and 0 <= tokens - math.prod(seen.grid) <= MOST_PREFIX:
        return tokens - math.prod(seen.grid), seen.grid
    for prefix in range(MOST_PREFIX + 1 if seen.grid is None else 0):
        side = math.isqrt(max(0, tokens - prefix))
        if side > 1 and side * side == tokens - prefix:
            return prefix, (side, side)
    return None


def named(module: nn.Module, seen: Trace, layer: str) -> Tap:
    """The tap of a layer the user named. Raises UnknownName or SettingError with the choices."""
    if layer not in dict(module.named_modules()):
        raise UnknownName("layer", layer, [e.name for e in seen.outputs if layout_of(e.shape, seen)][::-1])
    event = next((e for e in reversed(seen.outputs) if e.name == layer), None)
    tap = _tap(event, seen) if event is not None else None
    if tap is None:
        raise SettingError(f"layer {layer!r} gives no spatial map; `whyray models layers` lists those that do")
    return tap


def last_map(module: nn.Module, x: Tensor, seen: Trace) -> Tap | None:
    """The last spatial map: what the last pooling reads, else the last token grid that matters, else the last map."""
    fitting = [e for e in seen.poolings if not seen.width or seen.width in (e.shape[1], e.shape[-1])]
    if fitting and fitting[-1].tap is not None:
        return fitting[-1].tap
    tokens = [e for e in seen.outputs if len(e.shape) == 3]
    width = seen.width or max(Counter(e.shape[2] for e in tokens).items(), key=lambda i: i[1], default=(0, 0))[0]
    tokens = [e for e in tokens if e.shape[2] == width]
    taps = {e.name: tap for e in tokens[-LOOK_BACK:] if (tap := _tap(e, seen)) is not None}
    if taps:
        end = Tap(seen.linear, "input", "flat") if seen.linear is not None else None
        return last_that_matters(module, x, taps, end)
    maps = [e for e in seen.outputs if len(e.shape) == 4 and layout_of(e.shape, seen)]
    return _tap(maps[-1], seen) if maps else None


def last_that_matters(module: nn.Module, x: Tensor, taps: dict[str, Tap], end: Tap | None) -> Tap | None:
    """Of token grids in the order they ran, the last whose patches (not only a class token) reach the logits."""
    with torch.enable_grad(), reading(module, taps if end is None else {**taps, "": end}) as seen:
        logits = output_tensor(module(x))
        names = [n for n in taps if n in seen]
        what = seen.get("", logits)  # the embedding: an untrained head may be all zeros
        weights = torch.linspace(-1, 1, what.numel(), dtype=what.dtype, device=what.device).reshape(what.shape)
        gradients = torch.autograd.grad((what * weights).sum(), [seen[n] for n in names], allow_unused=True)
    for name, gradient in reversed(list(zip(names, gradients, strict=True))):
        if gradient is not None and float((gradient.abs().sum(1) > 0).float().mean()) > 0.5:
            return taps[name]
    return None


def closed_heads(module: nn.Module, x: Tensor, taps: dict[str, Tap]) -> dict[str, Head]:
    """Functions from a tap's value to the module's output, kept only where they hold on the probe.

    The last linear layer is one by construction; "features" has one where its pooling is the embedding, or where the
    architecture's own ``forward_head`` takes it.
    """
    with torch.no_grad(), reading(module, taps) as seen:
        logits = output_tensor(module(x))
    heads: dict[str, Head] = {}
    linear = module.get_submodule(taps["embedding"].layer) if "embedding" in taps else None
    if linear is not None:
        heads["embedding"] = linear
    if "features" not in seen:
        return heads
    for pool in (_mean, _relu_mean, _max):
        if linear is not None and _same(lambda p=pool: p(seen["features"]), seen["embedding"]):  # type: ignore[misc]
            heads["features"] = lambda v, p=pool: linear(p(v))  # type: ignore[misc]
            return heads
    tap, own = taps["features"], getattr(module, "forward_head", None)
    if own is None or tap.prefix or torch.equal(logits[0], logits[1]):
        return heads
    if _same(lambda: own(from_map(seen["features"], seen["features"], tap)), logits):
        heads["features"] = lambda v: own(from_map(v, v, tap))
    return heads


def _mean(value: Tensor) -> Tensor:
    return value.mean((2, 3))


def _relu_mean(value: Tensor) -> Tensor:
    return value.relu().mean((2, 3))


def _max(value: Tensor) -> Tensor:
    return value.amax((2, 3))


def _same(compute: Callable[[], Tensor], wanted: Tensor) -> bool:
    """Whether it can be computed, and gives this value."""
    try:
        with torch.no_grad():
            came = compute()
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return False
    return came.shape == wanted.shape and torch.allclose(came, wanted, rtol=1e-4, atol=1e-6)


def _tap(event: Event, seen: Trace) -> Tap | None:
    layout = layout_of(event.shape, seen)
    if layout is None:
        return None
    prefix, grid = (token_grid(event.shape[1], seen) or (0, (0, 0))) if layout == "tokens" else (0, (0, 0))
    return Tap(event.name, layout=layout, prefix=prefix, grid=grid)


def _version(value: Tensor) -> int:
    return -1 if value.is_inference() else value._version


def _entering(inputs: list[tuple[str, Tensor]], name: str) -> Callable[..., None]:
    def hook(_module: nn.Module, given: tuple[Any, ...]) -> None:
        inputs.append((name, given[0] if given else None))  # type: ignore[arg-type]

    return hook


def _leaving(inputs: list[tuple[str, Tensor]], name: str, part: nn.Module, seen: Trace) -> Callable[..., None]:
    def hook(_module: nn.Module, _given: tuple[Any, ...], out: object) -> None:
        while inputs and inputs.pop()[0] != name:
            pass
        if isinstance(out, Tensor):
            seen.outputs.append(Event(name, tuple(out.shape), weakref.ref(out), _version(out)))
            patches = isinstance(part, nn.Conv2d) and part.stride == part.kernel_size and part.stride[0] > 1
            if patches and seen.grid is None and out.ndim == 4:
                seen.grid = out.shape[2], out.shape[3]

    return hook


class _Poolings(TorchFunctionMode):
    """Records calls that pool a whole map away, and the best way to read what they pooled."""

    def __init__(self, seen: Trace, inputs: list[tuple[str, Tensor]]) -> None:
        super().__init__()
        self.seen, self.inputs = seen, inputs

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        layout = pooled_layout(func, args[0], result) if args else None
        if layout is not None:
            self._record(func.__name__, args[0], layout)
        return result

    def _record(self, function: str, value: Tensor, layout: Layout) -> None:
        index = len(self.seen.poolings)
        event = Event(function, tuple(value.shape), weakref.ref(value), _version(value), layout, index)
        prefix, grid = (token_grid(value.shape[1], self.seen) or (-1, (0, 0))) if layout == "tokens" else (0, (0, 0))
        source = next((e.name for e in reversed(self.seen.outputs) if e.holds(value)), None)
        reader = next((name for name, given in self.inputs if given is value), None)
        if prefix >= 0 and source is not None:
            event.tap = Tap(source, "output", layout, prefix, grid)
        elif prefix >= 0 and reader is not None:
            event.tap = Tap(reader, "input", layout, prefix, grid)
        elif prefix >= 0:
            last = self.seen.outputs[-1].name if self.seen.outputs else "input"
            event.tap = Tap(f"what {function} reads after {last}", "call", layout, prefix, grid, index)
        self.seen.poolings.append(event)


def probe_input(shape: tuple[int, int, int], like: Tensor) -> Tensor:
    """Two different pictures ``[2, c, h, w]`` of noise, from a generator of their own."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand((2, *shape), generator=generator).to(device=like.device, dtype=like.dtype)


def shape_of(module: nn.Module, x: Tensor, tap: Tap) -> tuple[int, ...]:
    """The shape ``[d, h', w']`` of a tap for one picture."""
    with quiet(module), torch.no_grad(), reading(module, {"it": tap}) as seen:
        module(x)
    return tuple(seen["it"].shape[1:])


__all__ = ["Layer", "layers", "probe_input", "shape_of", "to_map", "wire"]
