"""The cheapest safe forward pass: batches of constant memory, no gradient recorded, values as in plain eager to 1e-5.

The free settings are channels_last (set when a model is loaded), batches of 16, and, for a program that owns its
process, ``use_large_malloc``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..contracts import Classifier, Context
from ..errors import WhyrayError
from ..models._predict import predictions
from ..types import Prediction, Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

T = TypeVar("T")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def predict(classifier: Classifier, radiographs: Sequence[Radiograph], batch: int = 16) -> list[list[Prediction]]:
    """Logit, probability and operating point of every finding, one list a radiograph.

    Pictures are prepared batch by batch, so memory does not grow with their number.
    """
    out: list[list[Prediction]] = []
    for start in range(0, len(radiographs), batch):
        x = np.stack([classifier.prepare(r).pixels for r in radiographs[start : start + batch]])
        found = finite(logits(classifier, x, batch=batch), classifier.name)
        out += predictions(found, classifier.findings, classifier.card)
    return out


def finite(found: NDArray[np.floating[Any]], name: str) -> NDArray[Any]:
    """Logits ``[n, f]`` as they came. Raises WhyrayError, by the model's ``name``, where one of them is not finite."""
    wrong = int((~np.isfinite(found)).any(axis=1).sum())
    if wrong:
        raise WhyrayError(
            f"{name} gives logits that are not finite for {wrong} of {len(found)} pictures; check its weights and "
            "preparation"
        )
    return found


def logits(
    classifier: Classifier, inputs: NDArray[np.float32], *, batch: int = 16, context: Context | None = None
) -> NDArray[np.float32]:
    """Logits ``[n, f]`` of model inputs ``[n, c, h, w]``. Progress and cancel through ``context``."""
    out = np.empty((len(inputs), len(classifier.findings)), np.float32)
    for part, values, _ in passes(classifier, inputs, batch=batch, context=context):
        out[part] = values
    return out


def passes(
    classifier: Classifier,
    inputs: NDArray[np.float32],
    taps: Sequence[str] = (),
    *,
    batch: int = 16,
    context: Context | None = None,
) -> Iterator[tuple[slice, NDArray[np.float32], dict[str, NDArray[np.float32]]]]:
    """(which inputs, their logits, their taps), batch by batch; a batch that does not fit into memory is halved."""
    found = batches(len(inputs), batch, lambda part: _once(classifier, inputs[part], taps), classifier.name)
    for part, (values, read) in found:
        yield part, values, read
        if context is not None:
            context.step(part.stop / len(inputs))


def batches(count: int, batch: int, once: Callable[[slice], T], name: str) -> Iterator[tuple[slice, T]]:
    """(which inputs, ``once`` of them) up to ``count``; a batch that does not fit into memory is halved for good."""
    start = 0
    while start < count:
        part = slice(start, min(start + batch, count))
        try:
            made = once(part)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if batch == 1:
                raise WhyrayError(f"{name} does not fit into memory, even one picture at a time") from None
            batch //= 2
            continue
        yield part, made
        start = part.stop


def out_of_memory(error: BaseException) -> bool:
    """Whether torch (or Python) says that memory ran out, on any device."""
    import torch

    words = ("can't allocate memory", "out of memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error).lower() for w in words)


def use_large_malloc() -> bool:
    """Keep big blocks in the heap instead of mapping them anew each time (glibc); True where it took effect.

    A setting of the whole process, so only a program that owns it calls this: the command line does.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**31 - 1) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def _once(
    classifier: Classifier, pixels: NDArray[np.float32], taps: Sequence[str]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    import torch

    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(pixels))
        values, read = classifier.run(x, taps) if taps else (classifier.logits(x), {})
        return _array(values), {name: _array(value) for name, value in read.items()}


def _array(value: Tensor) -> NDArray[Any]:
    return value.detach().float().cpu().contiguous().numpy()
