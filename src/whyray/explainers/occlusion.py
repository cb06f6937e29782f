"""Occlusion: how much each finding's logit falls when a window is covered (Zeiler and Fergus, ECCV 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..contracts import Asked, Classifier, Context, Explainer, in_range
from ..engine._fills import DEFAULT_FILL
from ..engine.backends import Backend, Precision
from ..engine.perturb import Perturbed
from ..engine.superpixels import Segments, cells
from ..explanations import Explanation
from ..types import Radiograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Occlusion(Explainer):
    """One shared set of passes for all findings; a pixel's value is the mean drop over the windows that cover it.

    window     side of the square window in pixels of the model input; 0 = a seventh of the shorter side.
    stride     step between windows; 0 = half the window.
    fill       what a covered pixel becomes ("blur", "mean", "black" ..., or a value of the model input).
    precision  "float32", "bfloat16", or "auto"; backend "torch", "openvino", or "auto".
    """

    paper: ClassVar[str] = "Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014"

    window: int = 0
    stride: int = 0
    fill: str | float = DEFAULT_FILL
    precision: Precision = "auto"
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        in_range("window", self.window, 0, 4096)
        in_range("stride", self.stride, 0, self.window or 4096)

    def explain(
        self, classifier: Classifier, radiographs: Sequence[Radiograph], findings: Sequence[str], context: Context
    ) -> list[dict[str, Explanation]]:
        """Maps ``[h, w]`` at the resolution of the model input, in logits a window."""
        asked = Asked(self, classifier, radiographs, findings, context)
        maps, backend = [], classifier.backend
        for i, frame in enumerate(asked.frames):
            shape = frame.pixels.shape[1], frame.pixels.shape[2]
            segments, removed = windows(shape, *self.geometry(shape))
            engine = Perturbed(
                classifier, frame, segments, self.fill, context, precision=self.precision, backend=self.backend
            )
            share = len(asked.frames)
            drops = engine.full - engine.logits(~removed, span=(i / share, (i + 1) / share))  # [windows, all findings]
            maps.append(mean_drop(drops[:, asked.columns], removed)[:, segments.labels])
            backend = engine.backend
        return [
            {f: replace(e, provenance=replace(e.provenance, backend=backend)) for f, e in one.items()}
            for one in asked.attributions(np.stack(maps))
        ]

    def geometry(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(window, stride) in pixels for a model input of ``shape``."""
        window = min(self.window or max(2, round(min(shape) / 7)), *shape)
        return window, min(self.stride or max(1, window // 2), window)

    def passes(self, findings: int) -> float:
        """Windows on 224 x 224 pixels, and the whole picture."""
        window, stride = self.geometry((224, 224))
        return len(spans(224, window, stride)) ** 2 + 1


def spans(length: int, window: int, stride: int) -> Spans:
    """(start, stop) of the windows along one side: every pixel is covered, the last window may be cut at the border."""
    return [(k * stride, min(k * stride + window, length)) for k in range(ceil((length - window) / stride) + 1)]


@lru_cache(maxsize=8)
def windows(shape: tuple[int, int], window: int, stride: int) -> tuple[Segments, NDArray[np.bool_]]:
    """Cells between all borders of windows, and which cells each window covers: bool ``[windows, cells]``."""
    tall, wide = (spans(length, window, stride) for length in shape)
    rows, columns = (sorted({e for span in side for e in span}) for side in (tall, wide))
    about = f"windows of {window} pixels every {stride}"
    segments = cells(shape, rows[1:-1], columns[1:-1], about)
    over = [
        np.array([[a <= c < b for c in cuts[:-1]] for a, b in side]) for side, cuts in ((tall, rows), (wide, columns))
    ]
    covered = over[0][:, None, :, None] & over[1][None, :, None, :]  # [down, across, rows, columns]
    return segments, covered.reshape(len(tall) * len(wide), -1)


def mean_drop(drops: NDArray[np.float32], removed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``[f, cells]``: the mean of ``drops [windows, f]`` over the windows that cover a cell."""
    return np.asarray(drops.T.astype(np.float64) @ removed / removed.sum(0))
