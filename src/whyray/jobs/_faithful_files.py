"""The files of a faithfulness run: everything as JSON, tables as CSV, and the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..report.curves import Curve

if TYPE_CHECKING:
    from ..metrics._intervals import Means
    from .faithfulness import Faithfulness

SCORES = ("explainer", "finding", "metric", "value", "low", "high", "n", "note")
COMPARED = ("metric", "first", "second", "difference", "low", "high", "p", "adjusted", "n", "patients")


def files_of(result: Faithfulness) -> dict[str, bytes]:
    """Name -> content."""
    from ..report.faithfulness import faithfulness_html

    page = faithfulness_html(
        result.facts,
        result.scores,
        result.differences,
        lines_of(result),
        controls=result.controls,
        skipped=result.skipped,
        failures=result.failures,
    )
    compared = [{"metric": m, **asdict(d)} for m, found in result.differences.items() for d in found]
    return {
        "faithfulness.json": json.dumps(document(result), indent=1, ensure_ascii=False).encode(),
        "faithfulness.csv": _csv(SCORES, (asdict(s) for s in result.scores)),
        "faithfulness_differences.csv": _csv(COMPARED, compared),
        "faithfulness.html": page.encode(),
    }


def lines_of(result: Faithfulness) -> dict[str, list[Curve]]:
    """Key of ``report.faithfulness.FIGURES`` -> its lines, methods before controls."""
    out = {name: _lines(by, result.controls) for name, by in result.curves.items()}
    cascades = {label: means for label, (_, means) in result.cascade.items()}
    shares = {label: layers / max(1, layers[-1]) for label, (layers, _) in result.cascade.items()}
    return out | {"weights": _lines(cascades, result.controls, shares)}


def document(result: Faithfulness) -> dict[str, Any]:
    """Everything, as JSON holds it: NaN is null."""
    curves = {name: {label: _curve(means) for label, means in by.items()} for name, by in result.curves.items()}
    cascade = {label: {"layers": layers.tolist(), **_curve(m)} for label, (layers, m) in result.cascade.items()}
    made: dict[str, Any] = _plain(
        {
            "facts": result.facts,
            "controls": result.controls,
            "scores": [asdict(s) for s in result.scores],
            "differences": {m: [asdict(d) for d in found] for m, found in result.differences.items()},
            "curves": curves,
            "random_layers": cascade,
            "skipped": result.skipped,
            "failures": result.failures,
        }
    )
    return made


def _lines(by: Any, controls: Sequence[str], shares: Any = None) -> list[Curve]:
    lines = []
    for label in sorted(by, key=lambda name: name in controls):
        means = by[label]
        x = np.linspace(0, 1, len(means.mean)) if shares is None else shares[label]
        lines.append(Curve(label, x, means.mean, means.low, means.high, label in controls))
    return lines


def _curve(means: Means) -> dict[str, list[float]]:
    return {"mean": means.mean.tolist(), "low": means.low.tolist(), "high": means.high.tolist(), "n": means.n.tolist()}


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None or v != v else v for k, v in row.items()} for row in rows)
    return out.getvalue().encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
