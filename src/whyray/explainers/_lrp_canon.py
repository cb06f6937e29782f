"""The same program in the form that relevance rules want: normalisation merged, pooling before 1x1 convolutions.

Nothing here changes the function; ``traced`` programs are copied, never edited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._lrp_graph import Program, Ref, Step, aten, filled, pruned
from ._lrp_layers import CONV_ARGUMENTS, folded_norm, pair

if TYPE_CHECKING:
    from torch import Tensor

SAME = {"dropout", "alias", "clone", "contiguous", "detach", "to", "_to_copy", "feature_dropout", "lift_fresh_copy"}


def canonical(program: Program) -> Program:
    """Identities removed, each normalisation merged into the convolution or linear layer right before it, and average
    pooling moved before the 1x1 convolution that it follows (both are linear; it then pools what a ReLU has made
    positive, and no longer divides by sums that may vanish)."""
    steps = without_identities(program).steps
    merged = [i for i, s in enumerate(steps) if s.op == "batch_norm" and _only_reader(steps, s.inputs[0])]
    for i in merged:
        before = steps[steps[i].inputs[0]]
        if before.op in ("conv2d", "linear") and isinstance(before.args[1], torch.Tensor):
            steps[i] = _merged(before, steps[i])
    for i, step in enumerate(steps):
        if step.op == "avg_pool2d" and _only_reader(steps, step.inputs[0]) and _pointwise(steps[step.inputs[0]]):
            _swap(steps, step.inputs[0], i)
    return Program(pruned(steps, len(steps) - 1))


def plain(program: Program) -> Program:
    """The layers as they stand, run in the layout that peers run them in: rules that divide by sums which may vanish
    make more of a rounding error than of anything else."""
    steps = without_identities(program).steps
    for i, step in enumerate(steps):
        if step.op == "conv2d" and isinstance(step.args[1], torch.Tensor):
            args = (step.args[0], step.args[1].clone(memory_format=torch.contiguous_format), *step.args[2:])
            steps[i] = Step(step.op, step.call, args, step.kwargs)
    return Program(steps)


def without_identities(program: Program) -> Program:
    """Without the steps that return what they were given."""
    place: dict[int, Ref] = {-1: Ref(-1)}
    steps: list[Step] = []
    for i, step in enumerate(program.steps):
        args, kwargs = filled((step.args, step.kwargs), lambda r: place[r.index])
        if step.op in SAME and i < len(program.steps) - 1:
            place[i] = args[0]
            continue
        steps.append(Step(step.op, step.call, args, kwargs, step.held))
        place[i] = Ref(len(steps) - 1)
    return Program(steps)


def _only_reader(steps: list[Step], index: int) -> bool:
    return index >= 0 and sum(s.inputs.count(index) for s in steps) == 1


def _merged(layer: Step, norm: Step) -> Step:
    scale, shift = folded_norm(norm)
    weight: Tensor = layer.args[1]
    bias = layer.arg(2, "bias")
    weight = weight * scale.reshape(-1, *([1] * (weight.ndim - 1)))
    if weight.ndim == 4:
        weight = weight.contiguous(memory_format=torch.channels_last)
    bias = shift if bias is None else shift + bias * scale
    return Step(layer.op, layer.call, (layer.args[0], weight, bias, *layer.args[3:]), _without_bias(layer))


def _without_bias(layer: Step) -> dict[str, object]:
    return {k: v for k, v in layer.kwargs.items() if k != "bias"}


def _pointwise(step: Step) -> bool:
    if step.op != "conv2d" or not isinstance(step.args[1], torch.Tensor):
        return False
    stride, padding, _ = (pair(step.arg(i, n, d)) for i, n, d in CONV_ARGUMENTS)
    return tuple(step.args[1].shape[2:]) == (1, 1) and stride == (1, 1) and padding == (0, 0)


def _swap(steps: list[Step], conv: int, pool: int) -> None:
    """Pool first; without padding a mean of cells and a map of each cell can be exchanged."""
    before, after = steps[conv], steps[pool]
    if pair(after.arg(3, "padding", 0)) != (0, 0):
        return
    steps[conv] = Step(after.op, after.call, (before.args[0], *after.args[1:]), after.kwargs)
    steps[pool] = Step(before.op, aten.conv2d.default, (Ref(conv), *before.args[1:]), before.kwargs, before.held)
