"""Which pictures stand beside the table: chosen by rule, never by eye."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..metrics.localisation import otsu_filled, saliency, smoothed
from ..report.evaluation import Panel, Tile
from ..report.evaluation_tiles import tile_jpeg
from ._located import truths
from ._maps import attributions
from .plan import EvaluationPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .localisation import Localisation, Subject
    from .store import Store

FINDINGS = 4  # with the most pictures


def panels(result: Localisation, store: Store) -> list[Panel]:
    """For each of the most frequent findings the picture with the best overlap (mean true-positive IoU over methods)
    and the one the model is surest of; then one picture with several findings, each of them. Where no method but the
    controls could be measured, the overlap is theirs."""
    tables = result.tables
    own = [m for m in tables.values if m not in result.controls] or list(tables.values)
    metric = f"iou_true_positive:{result.plan.localisation.modes[0]}"
    subjects = result.measured.subjects
    count = {f: sum(f in s.truth for s in subjects) for f in tables.findings}
    chosen: list[tuple[str, int, str]] = []
    for finding in sorted(count, key=lambda f: -count[f])[:FINDINGS]:
        column = np.stack([tables.values[m][metric][:, tables.findings.index(finding)] for m in own])
        here = np.array([finding in s.truth for s in subjects])
        overlap = np.where(here, np.nan_to_num(column).mean(axis=0), -1.0)
        sure = [s.probability.get(finding, -1.0) for s in subjects]
        chosen.append((finding, int(overlap.argmax()), "best overlap"))
        chosen.append((finding, int(np.argmax(sure)), "highest probability"))
    several = [len(s.truth) + max(s.probability.values(), default=0) if s.several else 0 for s in subjects]
    if max(several, default=0) >= 2:
        most = int(np.argmax(several))
        chosen += [(f, most, "several findings") for f in subjects[most].truth[:FINDINGS]]
    return [_panel(result, store, subjects[i], finding, why) for finding, i, why in dict.fromkeys(chosen)]


def _panel(result: Localisation, store: Store, subject: Subject, finding: str, why: str) -> Panel:
    radiograph = subject.case.radiograph()
    wanted = {f: tuple(names) for f, names in result.facts["map"].items()}
    truth = truths(subject.case.regions(), radiograph.shape, wanted)[0][finding]
    tiles = [Tile(tile_jpeg(radiograph, truth), "radiograph, experts' region in green")]
    place = result.measured.subjects.index(subject), result.tables.findings.index(finding)
    for label, cell in subject.maps.items():
        stored = store.get(cell.key)
        if stored is None or label not in result.tables.values:
            continue
        made = attributions(cell.facts, stored)[finding]
        mask = _mask(made.at_source(), label, result.plan)
        tiles.append(Tile(tile_jpeg(radiograph, truth, made, mask), _caption(label, result, place)))
    called = "called" if subject.called[finding] else "not called"
    probability = f"probability {subject.probability[finding]:.2f}, {called}"
    title = f"{finding.replace('_', ' ')}: {why} ({subject.name}; {probability}; {_present(subject.present)})"
    return Panel(title, tiles)


def _caption(label: str, result: Localisation, place: tuple[int, int]) -> str:
    values = result.tables.values[label]
    overlap = values[f"iou_true_positive:{result.plan.localisation.modes[0]}"][place]
    told = "no mask" if np.isnan(overlap) else f"IoU {overlap:.2f}"
    control = " (control)" if label in result.controls else ""
    return f"{label}{control}: {told}, {values['mass_in'][place]:.0%} of its mass inside"


def _mask(values: NDArray[np.float32], label: str, plan: EvaluationPlan) -> NDArray[np.bool_] | None:
    """The mask that Otsu's threshold gives, where that is the first mode."""
    if plan.localisation.modes[0] != "otsu_filled":
        return None
    return otsu_filled(smoothed(saliency(values, plan.localisation.sign_of(label)), plan.localisation.smooth_px))


def _present(present: Sequence[str]) -> str:
    return "present: " + (", ".join(f.replace("_", " ") for f in present) or "nothing labelled")
