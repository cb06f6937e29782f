"""What is known of each image and of each of its cells: labels, metadata, and where in the body a cell lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Classifier, cells_to_pixels
from ..types import Case, Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZONES = ("border", "upper third", "middle third", "lower third", "picture's left", "picture's right")
ANATOMY = ("heart", "lung", "lung rim", "outside the lungs")
OLD = 65  # years


@dataclass(frozen=True, eq=False)
class Attributes:
    """n images, c cells. Values are 1 yes, 0 no, NaN not known.

    names    of the attributes: those of images ("label:edema", "view:AP", "source:phantom"), then those of cells
             ("place:heart").
    images   float32 ``[n, k]``.
    places   float32 ``[n, j, c]``.
    sources  where each image comes from: log-odds are taken within a source.
    """

    names: tuple[str, ...]
    images: NDArray[np.float32] = field(repr=False)
    places: NDArray[np.float32] = field(repr=False)
    sources: tuple[str, ...] = field(repr=False)

    def at(self, rows: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.float32]:
        """``[m, k + j]`` of images ``rows [m]``, each at one cell ``cells [m]``."""
        return np.concatenate([self.images[rows], self.places[rows, :, cells]], axis=1)


def attributes(
    cases: Sequence[Case],
    grid: tuple[int, int],
    anatomy: Callable[[Case], NDArray[np.float32] | None] = lambda _case: None,
) -> Attributes:
    """Attributes of cases on a grid of cells; ``anatomy`` gives ``[4, c]`` in the order of ``ANATOMY``, or None."""
    sources = tuple(source_of(case) for case in cases)
    told = [_told(case, source) for case, source in zip(cases, sources, strict=True)]
    names = sorted({name for one in told for name in one})
    images = np.array([[one.get(name, np.nan) for name in names] for one in told], np.float32)
    for column, name in enumerate(names):
        if name.startswith("source:"):
            images[:, column] = np.nan_to_num(images[:, column])  # an image has one source, so not the others
    zones = zone_masks(grid)
    places = np.full((len(cases), len(ZONES) + len(ANATOMY), zones.shape[1]), np.nan, np.float32)
    places[:, : len(ZONES)] = zones
    for row, case in enumerate(cases):
        body = anatomy(case)
        if body is not None:
            places[row, len(ZONES) :] = body
    every = (*names, *(f"place:{name}" for name in (*ZONES, *ANATOMY)))
    return Attributes(every, images.reshape(len(cases), len(names)), places, sources)


def source_of(case: Case) -> str:
    """The data set a case comes from; statistics are made within it."""
    named = case.facts.get("dataset")
    return str(named) if named else case.id.rpartition("-")[0] or "unknown"


def zone_masks(grid: tuple[int, int]) -> NDArray[np.float32]:
    """``[6, c]`` in the order of ``ZONES``: the outermost ring, thirds by row, halves by column."""
    h, w = grid
    rows, columns = np.mgrid[:h, :w].reshape(2, -1)
    third = np.minimum(3 * rows // h, 2)
    ring = (rows == 0) | (rows == h - 1) | (columns == 0) | (columns == w - 1)
    left, right = 2 * columns + 1 < w, 2 * columns + 1 > w
    parts = [ring if min(h, w) > 2 else np.zeros_like(ring), third == 0, third == 1, third == 2, left, right]
    return np.stack(parts).astype(np.float32)


def anatomy_of(classifier: Classifier, case: Case, grid: tuple[int, int]) -> NDArray[np.float32] | None:
    """``[4, c]`` in the order of ``ANATOMY``, at the centres of the cells; None where the lungs were not drawn.

    The rim is the lungs' cells that touch a cell outside them. Without a heart its row, and what needs it, is NaN.
    """
    regions = [r for r in case.regions() if r.kind != "finding" and r.mask is not None]
    if not any("lung" in r.finding for r in regions):
        return None
    frame = classifier.prepare(case.radiograph())
    to_source = frame.to_source @ cells_to_pixels(grid, frame.pixels.shape[1:])
    lung = _sampled([r for r in regions if "lung" in r.finding], to_source, grid)
    hearts = [r for r in regions if r.finding == "heart"]
    heart = _sampled(hearts, to_source, grid)
    padded = np.pad(lung, 1)
    within = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    inner, rim, outside = lung & within, lung & ~within, ~lung & ~heart
    out = np.stack([heart, inner, rim, outside]).reshape(4, -1).astype(np.float32)
    if not hearts:
        out[[0, 3]] = np.nan
    return out


def _sampled(regions: Sequence[Region], to_source: NDArray[np.float64], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Which cells' centres lie in any of the masks, ``[h', w']``."""
    rows, columns = np.mgrid[: grid[0], : grid[1]].reshape(2, -1)
    x, y, _ = np.rint(to_source @ np.stack([columns, rows, np.ones_like(rows)])).astype(int)
    found = np.zeros(grid[0] * grid[1], np.bool_)
    for region in regions:
        assert region.mask is not None
        h, w = region.mask.shape
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        found[inside] |= region.mask[y[inside], x[inside]]
    return found.reshape(grid)


def _told(case: Case, source: str) -> dict[str, float]:
    """Attributes of one image that are known."""
    facts: Mapping[str, Any] = case.facts
    told = {f"label:{finding}": float(value) for finding, value in case.labels.items() if value == value}
    if facts.get("view") in ("PA", "AP"):
        told["view:AP"] = float(facts["view"] == "AP")
    if facts.get("sex") in ("F", "M"):
        told["sex:F"] = float(facts["sex"] == "F")
    if isinstance(age := facts.get("age"), int):
        told[f"age:{OLD} or more"] = float(age >= OLD)
    return {**told, f"source:{source}": 1.0}
