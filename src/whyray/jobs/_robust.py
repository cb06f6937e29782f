"""Maps made again under noise and blur: does the overlap with the experts' region hold, and the map itself?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..explanations import MapMode
from ..metrics._similarity import spearman
from ..types import Report, array_hash
from ._counterfactual_bench import Bench, Pictured, Task
from ._disturbed import Level, levels
from ._located import VERSION as LOCATED
from ._located import how, located, overlap, truths
from .run import Cell, run
from .store import Result

if TYPE_CHECKING:
    from ._located import Arrays, Bits

VERSION = 1  # raise it when the same maps give other figures
MODE: MapMode = "max"  # what a counterfactual gives where one map of it is asked for


def robustness(bench: Bench, pictures: Sequence[Pictured], report: Report) -> dict[Level, dict[str, list[str]]]:
    """level -> explainer -> keys of its figures on each of the first pictures with a region; nothing where there is
    none. "iou" ``[f]``: area matched; "similarity" ``[f]``: rank correlation with the undisturbed map."""
    few = few_of(bench, pictures)
    settings = bench.plan.counterfactual
    chosen = levels(settings.noise, settings.blur) if few else ()
    out: dict[Level, dict[str, list[str]]] = {}
    for i, level in enumerate(chosen):
        out[level] = {}
        for picture in few:
            cells = _cells(bench, picture, level)
            run([list(cells.values())], bench.work, bench.store, cancelled=bench.maker.cancelled)
            for label, cell in cells.items():
                out[level].setdefault(label, []).append(cell.key)
        report(i + 1, len(chosen), f"pictures with {level.name}" if level.sigma else "pictures as they are")
    return out


def few_of(bench: Bench, pictures: Sequence[Pictured]) -> list[Pictured]:
    """The pictures on which maps are made again."""
    return [p for p in pictures if p.located.truth][: bench.plan.counterfactual.few]


def _cells(bench: Bench, picture: Pictured, level: Level) -> dict[str, Cell]:
    """explainer -> the cell of its figures at this level."""
    radiograph = replace(picture.case.radiograph(), name=picture.case.id)
    found = truths(picture.case.regions(), radiograph.shape, bench.wanted)[0]
    truth = {f: found[f] for f in picture.located.truth}
    changed = level.of(radiograph, bench.classifier.prepare(radiograph), bench.plan.seed)
    frame = bench.classifier.prepare(changed).sha256
    out = {}
    for name, (label, mode) in bench.maps().items():
        if label in out:
            continue
        maker, asked = (bench.painter, picture.findings) if mode else (bench.maker, tuple(truth))
        source = maker.cell(label, changed, asked, frame)
        before = picture.located.maps[name]
        facts = {
            "kind": "robustness",
            "version": VERSION,
            "map": source.key,
            "against": before.key,
            "truth": {f: array_hash(mask) for f, mask in truth.items()},
            "located": LOCATED,
            **how(bench.settings(name), label, None),
        }
        task = Task(source, _figures(bench, name, before, MODE if mode else None, truth))
        out[label] = Cell(facts, f"{source.about}, {level.name}", task)
    return out


def _figures(
    bench: Bench, name: str, before: Cell, mode: MapMode | None, truth: dict[str, Bits]
) -> Callable[[Result], Arrays]:
    def make(result: Result) -> Arrays:
        kept = bench.store.get(before.key)
        then = bench.maps_of(kept, mode) if kept is not None else {}
        now = bench.maps_of(result, mode)
        places = located(now, truth, bench.settings(name), name, None)
        alike = [spearman(now[f].values, then[f].values) if f in then else np.nan for f in truth]
        return {"iou": overlap(places["area_matched"], places["truth"])["iou"], "similarity": np.array(alike)}

    return make
