"""A classifier's forward pass as a list of steps: traced once, nothing in place, the module itself never touched."""

from __future__ import annotations

import operator
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import UnmetNeed

if TYPE_CHECKING:
    from ..contracts import Classifier

aten = torch.ops.aten
_PROGRAMS: weakref.WeakKeyDictionary[nn.Module, tuple[str, Program]] = weakref.WeakKeyDictionary()
_SPLITS = {"unbind", "split", "split_with_sizes", "chunk", "tensor_split"}
TOLERANCE = 1e-4  # of the largest logit, between the program and the module


@dataclass(frozen=True)
class Ref:
    """The output of step number ``index``; -1 is the model input."""

    index: int


@dataclass(eq=False)
class Step:
    """One operation on values that depend on the input. Everything that does not is folded into ``args``.

    op    name of the operation ("conv2d", "cat" ...), always the one that returns a new tensor.
    call  computes it from ``args``, where each Ref stands for a value.
    held  weights made from its own for a rule; kept with the program.
    """

    op: str
    call: Callable[..., Tensor]
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    held: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def inputs(self) -> list[int]:
        """Steps it reads, once for each time it reads them."""
        return [r.index for r in refs((self.args, self.kwargs))]

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """An argument given by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


@dataclass(eq=False)
class Program:
    """Steps in order; the last one gives the logits ``[1, f]`` of one input ``[1, c, h, w]``."""

    steps: list[Step]
    forms: dict[str, Program] = field(default_factory=dict, repr=False)

    def form(self, make: Callable[[Program], Program]) -> Program:
        """Another form of it, made once."""
        if make.__name__ not in self.forms:
            self.forms[make.__name__] = make(self)
        return self.forms[make.__name__]

    def values(self, x: Tensor) -> list[Tensor]:
        """The output of each step, and the input itself at the end (where -1 finds it)."""
        found: list[Tensor] = []
        for step in self.steps:
            found.append(computed(step, [*found, x]))
        return [*found, x]

    def readers(self) -> list[list[int]]:
        """The steps that read each step."""
        out: list[list[int]] = [[] for _ in self.steps]
        for i, step in enumerate(self.steps):
            for j in set(step.inputs) - {-1}:
                out[j].append(i)
        return out


def refs(item: Any) -> list[Ref]:
    """All Refs in nested arguments."""
    if isinstance(item, Ref):
        return [item]
    if isinstance(item, dict):
        return [r for v in item.values() for r in refs(v)]
    return [r for v in item for r in refs(v)] if isinstance(item, list | tuple) else []


def filled(item: Any, get: Callable[[Ref], Any]) -> Any:
    """Nested arguments with each Ref replaced."""
    if isinstance(item, Ref):
        return get(item)
    if isinstance(item, dict):
        return {k: filled(v, get) for k, v in item.items()}
    return type(item)(filled(v, get) for v in item) if type(item) in (list, tuple) else item


def computed(step: Step, values: Sequence[Tensor]) -> Tensor:
    """The step on values that its Refs index."""
    args, kwargs = filled((step.args, step.kwargs), lambda r: values[r.index])
    return step.call(*args, **kwargs)


def program_for(classifier: Classifier) -> Program:
    """The traced program, made once for each state of the weights. Raises UnmetNeed where it cannot be had."""
    module = classifier.module
    if any(m._forward_hooks or m._forward_pre_hooks for m in module.modules()):
        return traced(classifier)  # a hook may do anything: never from the store
    held = _PROGRAMS.get(module)
    key = classifier.fingerprint + classifier.name
    if held is None or held[0] != key:
        held = key, traced(classifier)
        _PROGRAMS[module] = held
    return held[1]


def traced(classifier: Classifier) -> Program:
    """Run the classifier once on a probe, writing down what it does, and check that the program does the same."""
    x = probe(classifier)
    with torch.no_grad():
        expected = classifier.logits(x)
        try:
            made = recorded(lambda given: classifier.logits(given), x)
        except RuntimeError as error:
            raise UnmetNeed(_cannot(classifier, str(error))) from error
        again = made.values(x)[-2]
    gap = float((again - expected).abs().max()) if again.shape == expected.shape else float("inf")
    if not gap <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise UnmetNeed(_cannot(classifier, f"the traced program differs by {gap:.2g}"))
    return made


def recorded(function: Callable[[Tensor], Tensor], x: Tensor) -> Program:
    """What a function does to ``x [1, c, h, w]``, step by step. Raises RuntimeError where it branches on values."""
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = make_fx(function, pre_dispatch=True)(x)
        return Program(_Walk(graph, x).steps())


def probe(classifier: Classifier) -> Tensor:
    """A fixed made-up model input ``[1, c, h, w]`` on the module's device, in the range of its preparation."""
    p = classifier.card.preparation
    first = next((t for t in classifier.module.parameters() if t.is_floating_point()), torch.zeros(()))
    if first.dtype != torch.float32:
        raise UnmetNeed(f"{classifier.name} computes in {first.dtype}; lrp needs float32: load it with .float()")
    unit = torch.rand((1, p.channels, *p.size), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (p.mean, p.std))
    return ((p.low + unit * (p.high - p.low) - mean) / std).to(first.device)


def _cannot(classifier: Classifier, why: str) -> str:
    return (
        f"{classifier.name} cannot be traced for lrp ({why[:160]}); "
        "give a forward pass that does not branch on pixel values, or use gradient or integrated_gradients"
    )


class _Walk:
    """From the traced graph to steps: constants folded, parts of a split as slices, nothing in place."""

    def __init__(self, graph: Any, x: Tensor) -> None:
        self.graph, self.x = graph, x
        self.made: list[Step] = []
        self.values: list[Tensor] = []
        self.env: dict[Any, Any] = {}

    def steps(self) -> list[Step]:
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                self.env[node] = Ref(-1)
            elif node.op == "get_attr":
                self.env[node] = _attribute(self.graph, node.target)
            elif node.op == "output":
                return self._ending(self._of(node.args[0]))
            else:
                self._call(node)
        raise AssertionError("a graph has an output")

    def _of(self, item: Any) -> Any:
        if isinstance(item, torch.fx.Node):
            return self.env[item]
        if isinstance(item, dict):
            return {k: self._of(v) for k, v in item.items()}
        return [self._of(v) for v in item] if isinstance(item, list | tuple) else item

    def _ending(self, result: Any) -> list[Step]:
        """Only the steps that the result needs, with the result last."""
        if not isinstance(result, Ref):
            raise UnmetNeed("the logits do not depend on the input; there is nothing to explain")
        return pruned(self.made, result.index)

    def _call(self, node: Any) -> None:
        args, kwargs = self._of(node.args), self._of(node.kwargs)
        if node.target is operator.getitem:
            whole, index = args
            self.env[node] = self._part(whole, index) if isinstance(whole, _Parts) else whole[index]
            return
        name = node.target._schema.name.partition("::")[2] if hasattr(node.target, "_schema") else str(node.target)
        if not refs((args, kwargs)):
            self.env[node] = node.target(*args, **kwargs)
            return
        if name in _SPLITS:
            self.env[node] = _Parts(
                name, args[0], self._numbers(node.target, args, kwargs), self._dim(name, args, kwargs)
            )
            return
        in_place = name.endswith("_") and not name.endswith("__")
        call = getattr(getattr(aten, name[:-1]), node.target._overloadname) if in_place else node.target
        if name in ("view", "_unsafe_view"):
            call = aten.reshape.default  # our values may lie in another memory order
        made = self._add(Step(name.rstrip("_") if in_place else name, call, tuple(args), kwargs))
        self.env[node] = made
        if in_place:
            old = args[0]
            self.env.update({k: made for k, v in self.env.items() if v == old})

    def _add(self, step: Step) -> Ref:
        self.values.append(computed(step, [*self.values, self.x]))
        self.made.append(step)
        return Ref(len(self.made) - 1)

    def _numbers(self, target: Any, args: Any, kwargs: Any) -> list[Tensor]:
        values, named = filled((args, kwargs), lambda r: [*self.values, self.x][r.index])
        return list(target(*values, **named))

    def _dim(self, name: str, args: Any, kwargs: Any) -> int:
        return int(
            args[1] if name == "unbind" and len(args) > 1 else args[2] if len(args) > 2 else kwargs.get("dim", 0)
        )

    def _part(self, whole: _Parts, index: int) -> Ref:
        if whole.name == "unbind":
            return self._add(Step("select", aten.select.int, (whole.source, whole.dim, index)))
        start = sum(p.shape[whole.dim] for p in whole.parts[:index])
        end = start + whole.parts[index].shape[whole.dim]
        return self._add(Step("slice", aten.slice.Tensor, (whole.source, whole.dim, start, end)))


@dataclass(eq=False)
class _Parts:
    """A value split into several; each that is read becomes a slice."""

    name: str
    source: Ref
    parts: list[Tensor]
    dim: int


def pruned(steps: list[Step], last: int) -> list[Step]:
    """The steps that number ``last`` needs, renumbered; ``last`` is at the end."""
    wanted, todo = set[int](), [last]
    while todo:
        i = todo.pop()
        if i >= 0 and i not in wanted:
            wanted.add(i)
            todo += steps[i].inputs
    order = sorted(wanted)
    place = {-1: -1, **{old: new for new, old in enumerate(order)}}
    made = []
    for step in (steps[i] for i in order):
        args, kwargs = filled((step.args, step.kwargs), lambda r: Ref(place[r.index]))
        made.append(Step(step.op, step.call, args, kwargs, step.held))
    return made


def _attribute(graph: Any, target: str) -> Any:
    found = graph
    for part in target.split("."):
        found = getattr(found, part)
    return found.detach() if isinstance(found, Tensor) else found
