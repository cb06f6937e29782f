"""Which counterfactuals stand beside the table: chosen by rule, never by eye."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..explanations import Counterfactual
from ..metrics.localisation import area_matched, saliency
from ..report.evaluation import Panel, Tile
from ..report.evaluation_tiles import tile_jpeg
from ..types import Radiograph
from ._located import truths
from ._paths import paths

if TYPE_CHECKING:
    from ._counterfactual_bench import Pictured
    from .counterfactual import Counterfactuals
    from .store import Store

FINDINGS = 6  # with the most pictures


def panels(result: Counterfactuals, store: Store) -> list[Panel]:
    """Of each of the most frequent findings the true positive that the model is surest of: radiograph, finding removed,
    reconstruction, exaggerated, map, and the true twin where there is one."""
    pictures, count = (
        result.pictures,
        {f: sum(f in p.positive for p in result.pictures) for f in result.tables.findings},
    )
    out = []
    for finding in sorted((f for f in count if count[f]), key=lambda f: -count[f])[:FINDINGS]:
        surest = max((p for p in pictures if finding in p.positive), key=lambda p: p.located.probability[finding])
        for label in result.labels.paths:
            cell = store.get(surest.paths[label].key)
            if cell is not None:
                path = paths(cell.facts, cell, ("",) * cell["logits_0"].shape[1])[finding]
                out.append(_panel(result, surest, label, path))
    return out


def _panel(result: Counterfactuals, picture: Pictured, label: str, path: Counterfactual) -> Panel:
    radiograph = replace(picture.case.radiograph(), name=picture.case.id)
    wanted = {f: tuple(names) for f, names in result.facts["map"].items()}
    nothing = np.zeros(radiograph.shape, bool)
    truth = truths(picture.case.regions(), radiograph.shape, wanted)[0].get(path.finding, nothing)
    p, made = path.probabilities, path.attribution(result.plan.counterfactual.maps[0])
    mask = area_matched(saliency(made.at_source(), "positive"), int(truth.sum())) if truth.any() else None
    tiles = [
        Tile(tile_jpeg(radiograph, truth), "radiograph, experts' region in green"),
        Tile(_frame(path, 0), f"removed: probability {p[0]:.2f}, {path.stop[0]}"),
        Tile(_frame(path, path.zero), f"reconstruction: {p[path.zero]:.2f}"),
        Tile(_frame(path, -1), f"exaggerated: {p[-1]:.2f}, {path.stop[1]}"),
        Tile(tile_jpeg(radiograph, truth, made, mask), "where it changes; white: the mask that was scored"),
    ]
    if path.finding in picture.twins:
        twin = picture.twins[path.finding].radiograph()
        tiles.append(Tile(tile_jpeg(twin, np.zeros(twin.shape, bool)), "the true counterfactual"))
    said = picture.located.probability[path.finding]
    title = f"{path.finding.replace('_', ' ')}: {label} ({picture.case.id}; probability {said:.2f})"
    return Panel(title, tiles)


def _frame(path: Counterfactual, number: int) -> bytes:
    """A frame as a small picture; it is drawn by a model."""
    pixels = np.clip(path.frames[number], 0, 1)
    return tile_jpeg(Radiograph(pixels, name="frame"), np.zeros(pixels.shape, bool))
