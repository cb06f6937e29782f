"""A bank of patterns as one self-contained page: search, filter, sort, and the images that show what each pattern is.

The page holds no picture but those it is given; an image without one is named, with its region on an empty field.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..findings import FINDINGS
from ..io.records import NOTICE
from .pages import asset, digest, environment

SIDE = 144  # pixels of a picture's long side


@dataclass(frozen=True, eq=False)
class Shown:
    """One image: its name for people, the size its paths are drawn for, and a JPEG, or None where it is not copied."""

    label: str
    width: int
    height: int
    jpeg: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Tile:
    """An image of a gallery: its key among the page's images, the SVG path of the firing region, the activation."""

    image: str
    path: str
    activation: float


@dataclass(frozen=True)
class Card:
    """One pattern. NaN = not measured.

    origin    where the name comes from, in a few words, with how it held out.
    effects   finding -> what the pattern adds to its logit, mean over its strongest images; those it moves.
    evidence  one sentence each: what is enriched.
    groups    heading -> tiles.
    """

    id: str
    name: str
    category: str
    origin: str = ""
    density: float = math.nan
    stability: float = math.nan
    monosemanticity: float = math.nan
    relevance: float = math.nan
    effects: Mapping[str, float] = field(default_factory=dict)
    evidence: Sequence[str] = ()
    groups: Mapping[str, Sequence[Tile]] = field(default_factory=dict)


def bank_html(
    title: str,
    facts: Mapping[str, str],
    funnel: Sequence[tuple[str, int]],
    cards: Sequence[Card],
    images: Mapping[str, Shown],
) -> str:
    """The page as text. ``funnel``: how many patterns each gate let through, in order; no network."""
    from .. import __version__

    style, script = asset("bank.css"), asset("bank.js")
    csp = (
        f"default-src 'none'; img-src data:; style-src '{digest(style)}'; script-src '{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    findings = sorted({finding for card in cards for finding in card.effects})
    used = {tile.image for card in cards for tiles in card.groups.values() for tile in tiles}
    data: dict[str, Any] = {
        "cards": [_card(card) for card in cards],
        "images": {key: _image(images[key]) for key in sorted(used)},
        "findings": {finding: _words(finding) for finding in findings},
    }
    page: str = (
        environment()
        .get_template("bank.html.j2")
        .render(
            title=title,
            facts=facts,
            funnel=[(name, count, _share(count, funnel[0][1])) for name, count in funnel],
            cards=cards,
            categories=sorted({card.category for card in cards}),
            findings=data["findings"],
            absent=sum(image["src"] is None for image in data["images"].values()),
            shown=len(data["images"]),
            data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
            style=style,
            script=script,
            csp=csp,
            notice=NOTICE,
            whyray=__version__,
        )
    )
    return page


def _card(card: Card) -> dict[str, Any]:
    figures = ("density", "stability", "monosemanticity", "relevance")
    return {
        "id": card.id,
        "name": card.name,
        "category": card.category,
        "origin": card.origin,
        **{name: _finite(getattr(card, name)) for name in figures},
        "effects": {f: round(v, 4) for f, v in sorted(card.effects.items(), key=lambda e: -abs(e[1])) if v == v},
        "evidence": list(card.evidence),
        "groups": {
            name: [[t.image, t.path, float(f"{t.activation:.3g}")] for t in g] for name, g in card.groups.items()
        },
    }


def _image(image: Shown) -> dict[str, Any]:
    src = None if image.jpeg is None else "data:image/jpeg;base64," + base64.b64encode(image.jpeg).decode()
    return {"label": image.label, "w": image.width, "h": image.height, "src": src}


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _words(finding: str) -> str:
    return next((f.name for f in FINDINGS if f.id == finding), finding.replace("_", " "))


def _share(count: int, whole: int) -> str:
    return f"{100 * count / whole:.2f}" if whole else "0"
