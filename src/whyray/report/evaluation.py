"""One self-contained page for a measurement: facts, tables, plots and pictures, in the order they are given."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..io.records import NOTICE
from .pages import asset, digest, environment


@dataclass(frozen=True)
class Table:
    """Text cells; the first of each row names it. ``dim``: rows of controls, by number."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    dim: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """An SVG made by ``curves_svg`` or ``bars_svg``, and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Tile:
    """A picture (JPEG) with its caption."""

    jpeg: bytes = field(repr=False)
    caption: str

    @property
    def source(self) -> str:
        """As a ``data:`` address."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class Panel:
    """Tiles of one radiograph side by side."""

    title: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Section:
    """A heading with sentences, then its tables, figures and panels."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    panels: Sequence[Panel] = ()


def evaluation_html(
    title: str, lead: Sequence[str], facts: Mapping[str, str], sections: Sequence[Section], failures: Sequence[str] = ()
) -> str:
    """The page as text; no network, no script. Everything is escaped but the SVGs, which escape their own words."""
    style = asset("evaluation.css")
    csp = f"default-src 'none'; img-src data:; style-src '{digest(style)}'; base-uri 'none'; form-action 'none'"
    from .. import __version__

    page: str = (
        environment()
        .get_template("evaluation.html.j2")
        .render(
            title=title,
            lead=lead,
            facts=facts,
            sections=sections,
            failures=failures,
            style=style,
            csp=csp,
            notice=NOTICE,
            whyray=__version__,
        )
    )
    return page
