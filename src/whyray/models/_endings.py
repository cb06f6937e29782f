"""Whether a network ends in a sigmoid or a softmax: whyray explains logits, and applies the sigmoid itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ._taps import output_tensor, quiet

ENDINGS = ("sigmoid", "softmax", "logsigmoid", "logsoftmax", "hardsigmoid")
LINEAR = ("addmm", "mm", "linear", "bmm", "baddbmm", "convolution")
LINEAR_ONNX = ("Gemm", "MatMul", "Conv")
# What moves or picks numbers and leaves each as it is: one looks through it.
MOVES: tuple[str, ...] = (
    "view",
    "unsafeview",
    "reshapealias",
    "squeeze",
    "unsqueeze",
    "select",
    "slice",
    "index",
    "indexselect",
)
MOVES += ("clone", "alias", "tocopy", "cat", "stack", "split", "unbind", "t", "transpose", "permute", "expand")
MOST_MOVES = 32
SCALES = (1.0, -1.0, 30.0, -30.0, 1000.0, -1000.0)
LEAST_SPREAD = 0.05


def check_ending(module: nn.Module, x: Tensor, name: str) -> tuple[str, ...]:
    """Warnings about the outputs of a module on a probe ``x [b, c, h, w]``: none where they may be logits.

    Raises SettingError where its last operation is a sigmoid or a softmax.
    """
    last = last_operation(module, x[:1])
    refuse_ending(last, name)

    def run(inputs: Tensor) -> Tensor:
        with quiet(module), torch.no_grad():
            return output_tensor(module(inputs))

    return () if last in LINEAR else bounded(run, x, name)


def refuse_ending(operation: str, name: str) -> None:
    """Raises SettingError where an operation (``sigmoid``, ``Softmax`` ...) gives no logits."""
    word = operation.lower()
    if word not in ENDINGS:
        return
    more = "; of two exclusive classes give one logit, the difference of their scores" if "softmax" in word else ""
    raise SettingError(f"{name} ends in a {word}, and logits are wanted: take the last {operation} off{more}")


def last_operation(module: nn.Module, x: Tensor) -> str:
    """The last operation that computes something ("sigmoid", "addmm" ...), as autograd names it; "" = not known."""
    try:
        with quiet(module), torch.enable_grad(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            returned = output_tensor(module(x.detach().requires_grad_().clone()))  # a copy: it may be changed in place
    except Exception:  # a network that only runs without gradients may raise anything here
        return ""
    return _computing(returned.grad_fn)


def bounded(run: Callable[[Tensor], Tensor], x: Tensor, name: str) -> tuple[str, ...]:
    """A warning where the outputs stay in [0, 1] and move, also on inputs far larger than any picture."""
    try:
        rows = torch.cat([run(x * scale).double().cpu() for scale in SCALES])
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError):  # the plain probe went through before
        return ()
    rows = rows[~rows.isnan().any(1)]
    if len(rows) < len(SCALES) or rows.min() < 0 or rows.max() > 1:
        return ()
    if float((rows.amax(0) - rows.amin(0)).max()) < LEAST_SPREAD:
        return ()
    whole = rows.shape[1] > 1 and bool(((rows.sum(1) - 1).abs() < 1e-3).all())
    seen = "add up to 1, as after a softmax" if whole else "lie in [0, 1], as after a sigmoid"
    return (
        f"The outputs of {name} {seen}, on every input tried, and are taken for logits: if they are "
        "probabilities, all that is shown is wrong; give the network without that last step.",
    )


def _computing(node: Any, left: int = MOST_MOVES) -> str:
    """The name of an autograd node, or of what all its sources agree on where it only moves numbers."""
    if node is None or not left:
        return ""
    name = re.sub(r"Backward\d*$", "", node.name()).lower()
    if name not in MOVES:
        return name
    sources: Sequence[Any] = [source for source, _ in node.next_functions]
    found = {_computing(source, left - 1) for source in sources}
    return found.pop() if len(found) == 1 else ""
