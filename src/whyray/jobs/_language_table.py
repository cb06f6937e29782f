"""The table of a language evaluation: a line a metric, a column a writer, one table a slice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..report.evaluation import Table

if TYPE_CHECKING:
    from ..types import Score
    from .language import Language


def tables(result: Language) -> Iterator[Table]:
    """One a slice, then generated less constant sentence."""
    for name in dict.fromkeys(s.slice for s in result.scores):
        rows = [s for s in result.scores if s.slice == name]
        writers = list(dict.fromkeys(s.explainer for s in rows))
        held = {(s.metric, s.explainer): s for s in rows}
        most = {m: str(max(s.n for s in rows if s.metric == m)) for m in dict.fromkeys(s.metric for s in rows)}
        lines = [(metric, n, *(_cell(held.get((metric, w))) for w in writers)) for metric, n in most.items()]
        yield Table(("metric", "n", *map(str, writers)), tuple(lines), str(name))
        apart = [s for s in result.differences if s.slice == name]
        gaps = [(s.metric.removesuffix("_difference"), str(s.n), _cell(s)) for s in apart]
        yield Table(("metric", "n", "difference"), tuple(gaps), f"{name}: generated less constant sentence")


def _cell(score: Score | None) -> str:
    return "" if score is None else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
