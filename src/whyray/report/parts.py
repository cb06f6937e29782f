"""A sum of patterns inside report.html: a bar for every part of the logit, and the map of each pattern."""

from __future__ import annotations

import base64
from typing import Any

from ..explanations import PatternSum
from . import figures

SIDE = 96  # longest side of an embedded map
MAPS = 12  # patterns that are shown with their map


def parts(made: PatternSum) -> dict[str, Any]:
    """What the template needs: one row a part, in the order of the sum, and maps on one colour scale."""
    size = int(made.checks.get("size", len(made.patterns)))
    rows = [
        _row(name, value, "for" if i < size else "against", category, chance)
        for i, (name, value, category, chance) in enumerate(
            zip(made.names, made.contributions.tolist(), made.categories, made.probabilities.tolist(), strict=True)
        )
    ]
    rest = [
        _row("other named patterns", made.others, "rest"),
        _row("without a name", made.unnamed, "rest"),
        _row("not reproduced (residual)", made.residual, "rest"),
    ]
    shares = [made.checks.get(name, float("nan")) for name in ("named_share", "named_share_least")]
    limit = max((abs(r["value"]) for r in rows + rest), default=0.0) or 1.0
    return {
        "rows": [_drawn(r, limit) for r in rows],
        "rest": [_drawn(r, limit) for r in rest],
        "bias": made.bias,
        "logit": made.logit,
        "probability": made.probability,
        "size": size,
        "share": None if shares[0] != shares[0] else shares[0],
        "least": None if shares[1] != shares[1] else shares[1],
        "maps": _maps(made),
        "hidden": max(0, len(made.patterns) - MAPS),
    }


def _row(name: str, value: float, side: str, category: str = "", without: float | None = None) -> dict[str, Any]:
    return {"name": name, "value": float(value), "side": side, "category": category, "without": without}


def _drawn(row: dict[str, Any], limit: float) -> dict[str, Any]:
    """With the bar's start and width on an axis from -50 to 50."""
    width = 50 * abs(row["value"]) / limit
    return row | {"start": round(-width if row["value"] < 0 else 0.0, 2), "width": round(width, 2)}


def _maps(made: PatternSum) -> list[dict[str, str]]:
    """The first patterns' maps as pictures over the source; one scale, so that they can be compared."""
    chosen = made.patterns[:MAPS]
    if not chosen:
        return []
    each = [made.attribution(p) for p in chosen]
    scale = figures.scale_of(each)
    if scale.empty:
        return []
    return [
        {
            "name": name,
            "heat": "data:image/png;base64," + base64.b64encode(figures.map_png(one, scale, SIDE)).decode(),
            "value": f"{value:+.2f}",
        }
        for name, one, value in zip(made.names, each, made.contributions.tolist(), strict=False)
    ]
