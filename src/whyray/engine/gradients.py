"""Gradients of logits in the model input: one forward pass a batch, one backward pass a finding, constant memory.

Weights stay frozen, nothing of the caller is touched, and everything is float32: in bfloat16 input gradients turn away
from their direction, so a network in half precision is refused, and autocast is switched off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..contracts import Classifier
from ..errors import UnmetNeed, WhyrayError
from .passes import out_of_memory

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from torch import Tensor

    Make = Callable[[slice], Tensor]  # which inputs -> [b, c, h, w]
    Keep = Callable[[Tensor, slice], Tensor]  # a finding's gradient [b, c, h, w], which inputs -> what is kept of it

RECORDED = 256 * 2**20  # bytes that one forward pass may leave for its backward passes


@dataclass(frozen=True, eq=False)
class Sweep:
    """Gradients of some findings at many inputs.

    count    how many inputs.
    make     makes those of one batch; they are made again where a batch is halved.
    keep     what is kept of one finding's gradient in one batch; any shape.
    columns  which of the classifier's outputs.
    batch    the most inputs at once; fewer where one forward pass would record more than ``RECORDED`` bytes.
    step     called with the share that is done, also between the findings of a batch; may raise ``Stopped``.
    around   entered around each forward pass (``guided``).
    """

    count: int
    make: Make
    keep: Keep
    columns: Sequence[int] | NDArray[np.intp]
    batch: int = 16
    step: Callable[[float], None] = lambda _share: None
    around: Callable[[], AbstractContextManager[object]] = field(default=contextlib.nullcontext)

    def run(self, classifier: Classifier) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float32]]]:
        """(which inputs, their logits ``[b, all findings]``, what was kept ``[f, ...]``), batch by batch."""
        first = self.make(slice(0, 1))
        way = _Way(classifier, self.around, first)
        most = min(self.batch, self.count)
        start, batch = 0, most if most < 2 else int(max(1, min(most, RECORDED // max(way.recorded(first), 1))))
        while start < self.count:
            part = slice(start, min(start + batch, self.count))
            try:
                logits, kept = self._batch(way, part)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if batch == 1:
                    message = f"the gradient of {classifier.name} does not fit into memory, even for one picture"
                    raise WhyrayError(message) from None
                batch //= 2
                continue
            yield part, logits, kept
            start = part.stop

    def _batch(self, way: _Way, part: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """One forward pass, then a backward pass a finding; the graph goes with the last one."""
        import torch

        size, last = part.stop - part.start, len(self.columns) - 1
        logits, backward = way.forward(self.make(part))
        kept = []
        for i, column in enumerate(self.columns):
            kept.append(self.keep(backward(int(column), i == last), part).cpu())
            self.step((part.start + size * (i + 1) / (last + 1)) / self.count)
        return logits.detach().cpu().numpy(), torch.stack(kept).numpy()


class _Way:
    """How one classifier is differentiated: by its program where it has one and nothing is around it, else by autograd.

    What it needs of the classifier is asked once: in each batch it would cost as much as a layer.
    """

    def __init__(self, classifier: Classifier, around: Callable[[], AbstractContextManager[object]], x: Tensor) -> None:
        from ._dense_gradients import program_for

        self.classifier, self.around, backend = classifier, around, classifier.backend
        check_precision(classifier.name, backend)
        self.kind = "cuda" if "/cuda" in backend else "cpu"
        program = program_for(classifier) if around is contextlib.nullcontext else None
        fits = program is not None and x.shape[1:2] == program.channels  # else the classifier says what is wrong
        self.program = program if fits else None

    def forward(self, x: Tensor) -> tuple[Tensor, Callable[[int, bool], Tensor]]:
        """Logits, and the function (column, whether it is the last one asked) -> gradient."""
        import torch

        with self._settled(), torch.set_grad_enabled(self.program is None), self.around():
            x = x.detach().clone(memory_format=torch.channels_last)
            if self.program is not None:
                logits, tape = self.program.forward(x)
            else:
                logits = self.classifier.logits(x.requires_grad_())

        def backward(column: int, last: bool) -> Tensor:
            with self._settled():
                if self.program is not None:
                    return tape.backward(column)
                return torch.autograd.grad(logits[:, column].sum(), x, retain_graph=not last)[0]

        return logits, backward

    def recorded(self, x: Tensor) -> int:
        """Bytes that one forward pass of ``x`` keeps for its backward passes."""
        with self._settled(), self.around():
            return recorded_bytes(self.classifier, x) if self.program is None else self.program.recorded(x)

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """Gradients on, inference mode and autocast off, whatever the caller has set."""
        import torch

        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(self.kind, enabled=False):
            yield


def input_gradients(
    classifier: Classifier, pixels: NDArray[np.float32], columns: Sequence[int], *, batch: int = 16
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits ``[n, all findings]`` and gradients ``[n, f, c, h, w]`` at inputs ``[n, c, h, w]``."""
    import torch

    made = Sweep(len(pixels), lambda part: torch.from_numpy(pixels[part]), lambda g, _: g, columns, batch)
    logits, gradients = zip(*((found, np.swapaxes(kept, 0, 1)) for _, found, kept in made.run(classifier)), strict=True)
    return np.concatenate(logits), np.concatenate(gradients)


def recorded_bytes(classifier: Classifier, x: Tensor) -> int:
    """Bytes that one forward pass of ``x`` keeps for the backward pass, weights left out."""
    import torch

    weights = {p.data_ptr() for p in classifier.module.parameters()} if "module" in classifier.capabilities else set()
    found: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        logits = classifier.logits(x.detach().clone(memory_format=torch.channels_last).requires_grad_())
    del logits  # held until here: a freed block's address would be counted once for two tensors
    return sum(found.values())


def check_precision(name: str, backend: str) -> None:
    """Raises UnmetNeed for a network in half precision, whose input gradients point elsewhere."""
    for half in ("bfloat16", "float16"):
        if f"/{half}/" in backend:
            raise UnmetNeed(f"{name} computes in {half}, which turns input gradients; load it in float32")
