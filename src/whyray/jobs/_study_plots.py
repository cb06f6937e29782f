"""The three plots of a reader study: gains, over-reliance beside the gain on right predictions, agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..report.drawing import Drawing
from ..report.forest import Row, forest

if TYPE_CHECKING:
    from ..metrics.reader import Gain
    from .study import Study


def plots(study: Study) -> dict[str, Drawing]:
    """File stem -> plot. A part of the study without rows has none."""
    made = {"gains": gains(study), "over-reliance": reliance(study), "agreement": agreement(study)}
    return {name: drawing for name, drawing in made.items() if drawing is not None}


def gains(study: Study) -> Drawing | None:
    """Paired differences: all findings together, then each of them, under each question."""
    found = _by_question([g for g in study.gains if g.slice == "all"])
    groups = [(question, [_gain_row(g) for g in members]) for question, members in found.items()]
    return _forest(groups, f"Gain of {study.arms[1]} over {study.arms[0]}", "paired difference of ratings")


def reliance(study: Study) -> Drawing | None:
    """The gain on right predictions, that on wrong ones, and how far they lie apart, under each question."""
    parts = {(g.question, g.slice): g for g in study.gains if g.finding == "all"}
    groups = []
    for r in study.reliance:
        rows = [
            Row(f"{slice_} predictions", g.difference, g.low, g.high, f"n = {g.n}", open=slice_ == "wrong")
            for slice_ in ("right", "wrong")
            if (g := parts.get((r["question"], slice_)))
        ]
        rows.append(Row("right less wrong", r["difference"], r["low"], r["high"]))
        groups.append((r["question"], rows))
    title = f"Gain of {study.arms[1]} over {study.arms[0]}, on right and on wrong predictions"
    return _forest(groups, title, "paired difference of ratings; a gain on wrong predictions is over-reliance")


def agreement(study: Study) -> Drawing | None:
    """ICC (filled) and weighted kappa (open) between readers, and between the reads of one."""
    found: dict[str, list[Row]] = {}
    for a in study.agreement:
        rows = found.setdefault(a.question, [])
        rows.append(Row(f"{a.between}: ICC", a.icc, a.icc_low, a.icc_high, f"n = {a.n}"))
        rows.append(Row(f"{a.between}: kappa", a.kappa, a.kappa_low, a.kappa_high, f"n = {a.n}", open=True))
    ends = [v for rows in found.values() for r in rows for v in (r.value, r.low)]
    low = min((v for v in ends if v == v), default=0.0)
    return _forest(list(found.items()), "Agreement", "ICC(2,1) and quadratic weighted kappa", (min(0.0, low), 1.0))


def _gain_row(g: Gain) -> Row:
    p = g.p if g.finding == "all" else g.p_holm
    name = "all findings" if g.finding == "all" else g.finding.replace("_", " ")
    test = f", p {'' if g.finding == 'all' else 'Holm '}{p:.2g}" if p == p else ""
    return Row(name, g.difference, g.low, g.high, f"n = {g.n}{test}", open=g.finding != "all")


def _by_question(gains: Sequence[Gain]) -> dict[str, list[Gain]]:
    out: dict[str, list[Gain]] = {}
    for g in gains:
        out.setdefault(g.question, []).append(g)
    return out


def _forest(
    groups: Sequence[tuple[str, Sequence[Row]]], title: str, axis: str, limits: tuple[float, float] | None = None
) -> Drawing | None:
    if not any(rows for _, rows in groups):
        return None
    return forest(groups, title=title, axis=f"{axis}, 95 % intervals", limits=limits)
