"""One engine under everything that removes parts of a picture: (segments, which are kept) -> logits, paid for once.

LIME, SHAP, occlusion (windows are unions of grid cells) and the faithfulness curves (bands of equal rank are segments)
ask the same question, so they share its answers through ``Context.paid``. The whole and the empty picture always run in
float32 by the classifier itself, whatever runs the rest, and are shared by every precision and segmentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier, Context
from ..errors import SettingError, WhyrayError
from ..types import Frame, array_hash
from ._fills import DEFAULT_FILL, FILLS, fill_key, filled
from .backends import Backend, Precision, Runner, TorchRunner, runner_for
from .passes import batches

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ._fills import Imputer
    from .superpixels import Segments

    Rows = NDArray[np.bool_]
    Logits = NDArray[np.float32]

__all__ = ["DEFAULT_FILL", "FILLS", "Backend", "Perturbed", "Precision", "filled", "painted"]

MOST_PAID = 2**18  # rows kept in Context.paid, a few hundred bytes each
_FULL, _EMPTY = b"full", b"empty"


class Perturbed:
    """One model input of which segments are removed.

    fill       what removed pixels become: a word of ``FILLS``, a value of the model input, or a callable
               ``(keep [b, h, w], pixels [c, h, w]) -> [b, c, h, w]``.
    precision  of the passes between whole and empty: "auto" = bfloat16 where the machine multiplies it.
    backend    "auto" = OpenVINO where it is installed and takes the classifier, else torch.
    batch      inputs at once; of the context where not given.
    passes     how many inputs this object has pushed through a network.
    """

    def __init__(
        self,
        classifier: Classifier,
        frame: Frame,
        segments: Segments,
        fill: str | float | Imputer = DEFAULT_FILL,
        context: Context | None = None,
        *,
        precision: Precision = "auto",
        backend: Backend = "auto",
        batch: int | None = None,
    ) -> None:
        if segments.labels.shape != frame.pixels.shape[1:]:
            came, wanted = segments.labels.shape, frame.pixels.shape[1:]
            raise SettingError(f"segments of shape {came} came for a model input of {wanted}; cut view(frame)")
        self.classifier, self.frame, self.segments, self.fill = classifier, frame, segments, fill
        self.context = context or Context()
        self.batch = batch or self.context.batch
        self.passes = 0
        self._asked: tuple[Backend, Precision] = (backend, precision)

    def logits(self, keep: Rows, *, span: tuple[float, float] = (0.0, 1.0)) -> Logits:
        """Logits ``[n, all findings]`` of coalitions ``keep`` bool ``[n, count]``: True = the segment stays.

        Equal rows, and rows in ``Context.paid``, cost nothing. Progress is reported from ``span[0]`` to ``span[1]``.
        """
        keep = self._checked(keep)
        keys = self._keys(keep)
        found = {key: self.context.paid[key] for key in keys if key in self.context.paid}
        if _FULL in keys:
            found[_FULL] = self.full
        if _EMPTY in keys:
            found[_EMPTY] = self.baseline
        new = list({key: row for row, key in enumerate(keys) if key not in found}.items())
        for part, values in self._run(keep[[row for _, row in new]]):
            for (key, _), value in zip(new[part], values, strict=True):
                found[key] = self._pay(key, value)
            self.context.step(span[0] + (span[1] - span[0]) * part.stop / len(new))
        return np.stack([found[key] for key in keys]) if keys else np.empty((0, len(self.classifier.findings)), "f4")

    @cached_property
    def full(self) -> Logits:
        """Logits ``[f]`` of the picture as it is, float32."""
        return self._whole(self.frame.pixels)

    @cached_property
    def baseline(self) -> Logits:
        """Logits ``[f]`` of the picture with every segment removed, float32."""
        return self._whole(self.empty)

    @cached_property
    def empty(self) -> NDArray[np.float32]:
        """The model input ``[c, h, w]`` with every segment removed."""
        if callable(self.fill):
            none = np.zeros((1, *self.segments.labels.shape), bool)
            return np.asarray(self.fill(none, self.frame.pixels)[0], np.float32)
        return filled(self.frame.pixels, self.fill, self.segments, self.classifier.card.preparation)

    @property
    def precision(self) -> str:
        """ "float32" or "bfloat16": of the passes between whole and empty."""
        return self._runner.precision

    @property
    def backend(self) -> str:
        """Engine, precision and device of those passes."""
        return self._runner.name

    def estimate(self, keep: int | Rows) -> int:
        """Passes that ``logits(keep)`` would take now, whole and empty picture left out; of a number, the most."""
        if isinstance(keep, int):
            return keep
        return len(set(self._keys(self._checked(keep))) - {_FULL, _EMPTY} - set(self.context.paid))

    @cached_property
    def _runner(self) -> Runner:
        return runner_for(self.classifier, *self._asked)

    @cached_property
    def _scope(self) -> bytes:
        """What all rows of this object have in common."""
        fill = fill_key(self.fill, None if callable(self.fill) else self.empty)
        parts = (self.frame.sha256, self.segments.sha256, fill, self.classifier.fingerprint, self._runner.name)
        return hashlib.sha256("\n".join(parts).encode()).digest()

    def _keys(self, keep: Rows) -> list[bytes]:
        keys = [hashlib.sha256(self._scope + row.tobytes()).digest() for row in np.packbits(keep, axis=1)]
        kept = np.count_nonzero(keep, axis=1)
        ends = {0: _EMPTY, self.segments.count: _FULL}
        return [ends.get(int(n), key) for n, key in zip(kept, keys, strict=True)]

    def _pay(self, key: bytes, value: Logits) -> Logits:
        row = np.array(value, np.float32)  # a copy: a view would hold its whole batch
        if not np.isfinite(row).all():
            raise WhyrayError(f"{self.classifier.name} gives logits that are not finite; try precision=float32")
        row.setflags(write=False)
        if len(self.context.paid) < MOST_PAID:
            self.context.paid[key] = row
        return row

    def _whole(self, pixels: NDArray[np.float32]) -> Logits:
        own = TorchRunner(self.classifier, "float32")
        parts = ("whole", array_hash(pixels), self.classifier.fingerprint, own.name)
        key = hashlib.sha256("\n".join(parts).encode()).digest()
        if key not in self.context.paid:
            import torch

            self.passes += 1
            x = torch.from_numpy(np.array(pixels[None])).to(own.device)
            return self._pay(key, own(x)[0])
        return self.context.paid[key]

    def _run(self, keep: Rows) -> Iterator[tuple[slice, Logits]]:
        run, build = self._runner, _Builder(self)

        def once(part: slice) -> Logits:
            self.passes += part.stop - part.start
            return run(build(keep[part]))

        return batches(len(keep), min(self.batch, run.most), once, self.classifier.name)

    def _checked(self, keep: Rows) -> Rows:
        keep = np.asarray(keep)
        if keep.ndim != 2 or keep.shape[1] != self.segments.count or keep.dtype != bool:
            came = f"coalitions of shape {keep.shape} and type {keep.dtype} came"
            raise SettingError(f"{came}; give bool [n, {self.segments.count}], one column a segment")
        return keep


class _Builder:
    """Batches of masked inputs, written into one buffer (channels_last) on the device that runs them."""

    def __init__(self, of: Perturbed) -> None:
        import torch

        self.of, self.device = of, of._runner.device
        self.labels = of.segments.labels.ravel().astype(np.intp)
        self.pixels = torch.from_numpy(np.array(of.frame.pixels)).to(self.device)
        self.removed = None if callable(of.fill) else torch.from_numpy(of.empty).to(self.device)
        self.buffer: Tensor | None = None

    def __call__(self, keep: Rows) -> Tensor:
        """``[b, c, h, w]``; valid until the next call."""
        import torch

        if self.removed is None:
            return self._imputed(keep)
        b, shape = len(keep), self.pixels.shape
        if self.buffer is None or len(self.buffer) < b:
            self.buffer = torch.empty((b, *shape), device=self.device, memory_format=torch.channels_last)
        rows = np.take(keep.view(np.uint8), self.labels, axis=1, mode="clip")  # three times as fast as torch's
        mask = torch.from_numpy(rows.view(bool)).to(self.device).view(b, 1, *shape[1:])
        return torch.where(mask, self.pixels, self.removed, out=self.buffer[:b])

    def _imputed(self, keep: Rows) -> Tensor:
        import torch

        assert callable(self.of.fill)
        masks = keep[:, self.of.segments.labels]  # [b, h, w]
        made = np.asarray(self.of.fill(masks, self.of.frame.pixels), np.float32)
        if made.shape != (len(keep), *self.of.frame.pixels.shape):
            wanted = (len(keep), *self.of.frame.pixels.shape)
            raise SettingError(f"the fill gave an array of shape {made.shape}; {wanted} was wanted")
        return (
            torch.from_numpy(np.ascontiguousarray(made)).to(self.device).contiguous(memory_format=torch.channels_last)
        )


def painted(values: NDArray[np.floating[Any]], segments: Segments) -> NDArray[np.float32]:
    """Values ``[..., count]`` put on their pixels: ``[..., h, w]``."""
    return np.asarray(values, np.float32)[..., segments.labels]
