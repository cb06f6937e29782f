"""Forward once, then relevance from the logits to the pixels: findings are a batch dimension, nothing is recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from ..errors import UnmetNeed
from . import _lrp_rules as rules
from ._lrp_attention import ATTENTION
from ._lrp_layers import layer_of
from ._lrp_ops import OPS as CONVOLUTIONAL
from ._lrp_ops import Moment
from ._lrp_rules import Ledger, Place, Rule, Stabiliser

if TYPE_CHECKING:
    from torch import Tensor

    from ._lrp_graph import Program, Step

OPS = {**CONVOLUTIONAL, **ATTENTION}
LAYERS = ("conv2d", "linear", "batch_norm")
AT_ONCE = 2**28  # bytes of the largest activations of all findings together: bounds memory


@dataclass(frozen=True, eq=False)
class Composite:
    """A rule for each kind of layer.

    pixels  the first convolution; conv: the others and normalisations that stand alone; dense: fully connected ones.
    norm    for normalisations that stand alone; None = relevance passes.
    """

    pixels: Rule
    conv: Rule
    dense: Rule
    norm: Rule | None
    stabiliser: Stabiliser


def composite(name: str, stabiliser: Stabiliser, bounds: tuple[Tensor, Tensor], *, merge: bool) -> Composite:
    """The composite of that name; ``bounds`` of the pixels are read by the box rule."""
    box = partial(rules.box, bounds=bounds)
    table: dict[str, tuple[Rule, Rule]] = {
        "epsilon_plus_flat": (rules.flat, rules.zplus),
        "epsilon_alpha2_beta1_flat": (rules.flat, rules.alpha2beta1),
        "gamma_box": (box, rules.gamma),
        "epsilon": (rules.epsilon, rules.epsilon),
    }
    pixels, conv = table[name]
    norm = rules.zplus if conv is rules.alpha2beta1 else conv  # of two terms, alpha-beta would double one at each layer
    return Composite(pixels, conv, rules.epsilon, norm if merge else None, stabiliser)


def checked(program: Program) -> None:
    """Raises UnmetNeed for the operations that no rule is known for."""
    unknown = sorted({s.op for s in program.steps} - set(OPS) - set(LAYERS))
    if unknown:
        raise UnmetNeed(f"lrp has no rule for {', '.join(unknown)}; use gradient, integrated_gradients or occlusion")


def relevance(
    program: Program, chosen: Composite, x: Tensor, columns: Sequence[int], step: Callable[[float], None]
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Maps ``[f, c, h, w]``, logits ``[f]`` and where the rest went (name -> ``[f]``), of an input ``[1, c, h, w]``."""
    with torch.no_grad():
        values = [in_order(v) for v in program.values(x)]
        logits = values[-2][0, list(columns)]
        largest = max(v.numel() for v in values) * 4
        size = max(1, AT_ONCE // largest)
        maps, shares = [], []
        for start in range(0, len(columns), size):
            part = list(columns[start : start + size])
            ledger = Ledger()
            maps.append(_backward(program, chosen, values, part, ledger))
            shares.append(ledger.shares)
            step(min(1.0, (start + size) / len(columns)))
    names = sorted({n for s in shares for n in s})
    zeros = [m.new_zeros(len(m), dtype=torch.float64) for m in maps]
    gathered = {n: torch.cat([s.get(n, z) for s, z in zip(shares, zeros, strict=True)]) for n in names}
    return torch.cat(maps), logits, gathered


def _backward(
    program: Program, chosen: Composite, values: Sequence[Tensor], columns: Sequence[int], ledger: Ledger
) -> Tensor:
    """Relevance ``[f, c, h, w]`` of the input, for these outputs."""
    last = values[-2]
    seed = last.new_zeros((len(columns), *last.shape))
    for i, column in enumerate(columns):
        seed[i, 0, column] = last[0, column]
    held: dict[int, Tensor] = {len(program.steps) - 1: seed}
    for i in range(len(program.steps) - 1, -1, -1):
        r = held.pop(i, None)
        if r is None:
            continue
        for j, share in zip(program.steps[i].inputs, _handed(program, i, chosen, values, r, ledger), strict=True):
            held[j] = held[j].add_(share) if j in held else share
    return held[-1][:, 0]


def _handed(
    program: Program, index: int, chosen: Composite, values: Sequence[Tensor], r: Tensor, ledger: Ledger
) -> Sequence[Tensor]:
    step = program.steps[index]
    inputs = [values[j] for j in step.inputs]
    if step.op not in LAYERS:
        makers = [program.steps[j].op if j >= 0 else "" for j in step.inputs]
        return OPS[step.op](Moment(step, inputs, values[index], makers, chosen.stabiliser, ledger), r)
    if len(inputs) != 1:
        raise UnmetNeed(f"the weights of a {step.op} depend on the picture; lrp has no rule for that")
    rule = _rule(program, step, chosen)
    if rule is None:
        return (r,)
    place = Place(layer_of(step, inputs[0]), inputs[0], values[index], chosen.stabiliser, ledger)
    return (rule(place, r),)


def _rule(program: Program, step: Step, chosen: Composite) -> Rule | None:
    if step.op == "batch_norm":
        return chosen.norm
    if step.op == "linear":
        return chosen.dense
    return chosen.pixels if first(program, step) else chosen.conv


def in_order(value: Tensor) -> Tensor:
    """Maps channels_last, where the convolutions of the backward run are fastest."""
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def first(program: Program, step: Step) -> bool:
    """Whether no other layer lies between this one and the pixels."""
    todo = list(step.inputs)
    while todo:
        i = todo.pop()
        if i < 0:
            continue
        if program.steps[i].op in LAYERS:
            return False
        todo += program.steps[i].inputs
    return True
