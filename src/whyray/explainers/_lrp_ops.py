"""Relevance through everything that is not a linear layer: pass, move, split, average, win, gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..errors import UnmetNeed
from ._lrp_canon import SAME
from ._lrp_graph import Ref, Step, filled
from ._lrp_layers import pair
from ._lrp_rules import Ledger, Stabiliser, inner

if TYPE_CHECKING:
    from torch import Tensor

PASS = SAME | {
    "relu", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "elu", "celu", "selu", "leaky_relu", "prelu",
    "hardtanh", "relu6", "mish", "softplus", "clamp", "clamp_min", "clip", "neg",
}  # fmt: skip
MOVE = {
    "view", "_unsafe_view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "squeeze", "unsqueeze",
    "select", "slice", "narrow", "expand", "expand_as", "index", "index_select", "roll", "flip", "constant_pad_nd",
    "pad", "movedim", "swapaxes", "pixel_shuffle", "pixel_unshuffle", "repeat", "numpy_T", "adaptive_max_pool2d",
    "max_pool2d_with_indices", "amax",
}  # fmt: skip
AVERAGE = {
    "avg_pool2d", "adaptive_avg_pool2d", "mean", "sum", "upsample_bilinear2d", "upsample_nearest2d",
    "linalg_vector_norm",
}  # fmt: skip
GATES = {"sigmoid", "hardsigmoid"}


@dataclass(eq=False)
class Moment:
    """A step during the backward run: its inputs and output, and how relevance is kept finite and accounted for.

    inputs   the values ``[b, ...]`` that the step's Refs stand for, in their order; ``makers`` names the steps.
    """

    step: Step
    inputs: Sequence[Tensor]
    out: Tensor
    makers: Sequence[str]
    stabiliser: Stabiliser
    ledger: Ledger

    def again(self, *inputs: Tensor) -> Tensor:
        """The step on other inputs."""
        given = iter(inputs)
        step = self.step
        args, kwargs = filled((step.args, step.kwargs), lambda _: next(given))
        made: Tensor = step.call(*args, **kwargs)
        return made


Handed = Sequence["Tensor"]  # one relevance [f, b, ...] an input


def pulled(function: Callable[..., Tensor], inputs: Sequence[Tensor], r: Tensor) -> Handed:
    """``r [f, b, ...]`` through the transposed Jacobian of a function of all inputs."""
    pull = torch.func.vjp(function, *inputs)[1]
    return tuple(torch.func.vmap(pull)(r))


def passed(_: Moment, r: Tensor) -> Handed:
    """Activation functions hand over what they get."""
    return (r,)


def moved(at: Moment, r: Tensor) -> Handed:
    """What only moves values moves their relevance; a maximum hands it to the winner."""
    return pulled(at.again, at.inputs, r)


def averaged(at: Moment, r: Tensor) -> Handed:
    """In proportion to what each cell adds to the mean, or to a length (by Euler: ``sum x_i dn/dx_i = n``)."""
    s = r / at.stabiliser(at.out)
    at.ledger.add("stabiliser", at.stabiliser.lost(s, at.out))
    (g,) = pulled(at.again, at.inputs, s)
    return (g * at.inputs[0],)


def pooled(at: Moment, r: Tensor) -> Handed:
    """Max pooling: the winner takes all."""
    x, f = at.inputs[0], len(r)
    size = pair(at.step.args[1])
    stride = pair(at.step.arg(2, "stride") or size)
    padding, dilation = pair(at.step.arg(3, "padding", 0)), pair(at.step.arg(4, "dilation", 1))
    rest = (size, stride, padding, dilation, bool(at.step.arg(5, "ceil_mode", False)))
    aten = torch.ops.aten
    _, winners = aten.max_pool2d_with_indices(x, *rest)
    copies, where = (t.expand(f, *t.shape).flatten(0, 1) for t in (x, winners))
    g = aten.max_pool2d_with_indices_backward(r.flatten(0, 1), copies, *rest, where)
    return (g.reshape(f, *x.shape),)


def joined(at: Moment, r: Tensor) -> Handed:
    """Concatenation: each part takes its own; parts that do not depend on the input count as biases."""
    parts = at.step.args[0]
    dim = int(at.step.arg(1, "dim", 0))
    dim = dim % at.out.ndim + 1
    values = iter(at.inputs)
    sizes = [(next(values) if isinstance(p, Ref) else p).shape[dim - 1] for p in parts]
    pieces = torch.split(r, sizes, dim)
    for piece, p in zip(pieces, parts, strict=True):
        if not isinstance(p, Ref):
            at.ledger.add("bias", piece.flatten(1).sum(1))
    return [piece for piece, p in zip(pieces, parts, strict=True) if isinstance(p, Ref)]


def added(at: Moment, r: Tensor) -> Handed:
    """A sum splits in proportion to its terms; a constant term counts as a bias."""
    s = r / at.stabiliser(at.out)
    at.ledger.add("stabiliser", at.stabiliser.lost(s, at.out))
    zeros = [torch.zeros_like(x) for x in at.inputs]
    constant = at.again(*zeros)
    if bool(constant.any()):
        at.ledger.add("bias", inner(s, constant.expand_as(at.out)))
    if all(x.shape == at.out.shape for x in at.inputs) and at.step.op == "add" and not at.step.kwargs:
        return [s * x for x in at.inputs]
    return [g * x for g, x in zip(pulled(at.again, at.inputs, s), at.inputs, strict=True)]


def scaled(at: Moment, r: Tensor) -> Handed:
    """A product: with a constant, relevance passes; a gate (sigmoid) hands all to what it gates; else half to each."""
    if len(at.inputs) == 1:
        return (_gathered(r, at.inputs[0]),)
    gates = [m in GATES for m in at.makers]
    weights = (0.5, 0.5) if gates[0] == gates[1] else tuple(0.0 if gate else 1.0 for gate in gates)
    return [_gathered(w * r, x) for w, x in zip(weights, at.inputs, strict=True)]


def _gathered(r: Tensor, x: Tensor) -> Tensor:
    """Relevance of a value that was broadcast: summed over its copies."""
    return r.sum_to_size((len(r), *[1] * (r.ndim - 1 - x.ndim), *x.shape)).reshape(len(r), *x.shape)


def divided(at: Moment, r: Tensor) -> Handed:
    """All to the numerator: what it is divided by counts as a constant, as the deviation of a normalisation does."""
    if not isinstance(at.step.args[0], Ref):
        raise UnmetNeed("lrp has no rule for a constant divided by what depends on the picture; use gradient instead")
    whole, rest = _gathered(r, at.inputs[0]), at.inputs[1:]
    return [whole, *(r.new_zeros((len(r), *x.shape)) for x in rest)]


OPS: dict[str, Callable[[Moment, Tensor], Handed]] = {
    **dict.fromkeys(PASS, passed),
    **dict.fromkeys(MOVE, moved),
    **dict.fromkeys(AVERAGE, averaged),
    **dict.fromkeys(("add", "sub", "rsub"), added),
    "max_pool2d": pooled,
    "cat": joined,
    "concat": joined,
    "mul": scaled,
    "div": divided,
}
