"""Plots made of lines, discs and words, written as SVG or PNG from the same shapes: dark ink on white, for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from PIL import Image, ImageDraw

from .figures import png as png_of
from .lettering import fitted, letters, plain

SCALE = 2  # pixels of the PNG a unit
INK, DIM, RULE = "#1b2430", "#5b6672", "#d3d9df"


@dataclass(frozen=True)
class Line:
    """From (x0, y0) to (x1, y1)."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float = 1.0
    colour: str = INK


@dataclass(frozen=True)
class Disc:
    """A filled disc, or a ring on white."""

    x: float
    y: float
    radius: float
    filled: bool = True
    colour: str = INK


@dataclass(frozen=True)
class Words:
    """One line of text; (x, y) is its left, middle or right end at half height. ``room``: cut at so many units."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    size: int = 12
    colour: str = INK
    room: float = 1e9


Shape = Line | Disc | Words


@dataclass(frozen=True)
class Drawing:
    """Shapes in units from the top left corner; ``title`` and ``told`` (its content in words) are read aloud."""

    width: int
    height: int
    shapes: Sequence[Shape]
    title: str
    told: str

    def svg(self) -> str:
        """A file of its own, or an element of a page."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'width="{self.width}" height="{self.height}" font-family="system-ui, sans-serif">'
            f"<title>{escape(self.title)}</title><desc>{escape(self.told)}</desc>"
            f'<rect width="{self.width}" height="{self.height}" fill="#fff"/>'
            f"{''.join(_element(s) for s in self.shapes)}</svg>\n"
        )

    def png(self) -> bytes:
        """The same, ``SCALE`` pixels a unit."""
        picture = Image.new("RGB", (self.width * SCALE, self.height * SCALE), "#fff")
        draw = ImageDraw.Draw(picture)
        for shape in self.shapes:
            _draw(draw, shape)
        return png_of(picture)


def _element(shape: Shape) -> str:
    if isinstance(shape, Line):
        return (
            f'<path d="M{shape.x0:.1f} {shape.y0:.1f}L{shape.x1:.1f} {shape.y1:.1f}" '
            f'stroke="{shape.colour}" stroke-width="{shape.width:g}"/>'
        )
    if isinstance(shape, Disc):
        look = f'fill="{shape.colour if shape.filled else "#fff"}" stroke="{shape.colour}" stroke-width="1.5"'
        return f'<circle cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}" {look}/>'
    text = fitted(shape.text, shape.size, shape.room)
    return (
        f'<text x="{shape.x:.1f}" y="{shape.y + 0.35 * shape.size:.1f}" text-anchor="{shape.anchor}" '
        f'font-size="{shape.size}" fill="{shape.colour}">{escape(text)}</text>'
    )


def _draw(draw: ImageDraw.ImageDraw, shape: Shape) -> None:
    if isinstance(shape, Line):
        ends = [SCALE * v for v in (shape.x0, shape.y0, shape.x1, shape.y1)]
        draw.line(ends, fill=shape.colour, width=max(1, round(SCALE * shape.width)))
    elif isinstance(shape, Disc):
        fill = shape.colour if shape.filled else "#fff"
        centre, radius = (SCALE * shape.x, SCALE * shape.y), SCALE * shape.radius
        draw.circle(centre, radius, fill=fill, outline=shape.colour, width=round(1.5 * SCALE))
    else:
        anchor = {"start": "lm", "middle": "mm", "end": "rm"}[shape.anchor]
        text = fitted(plain(shape.text), shape.size * SCALE, shape.room * SCALE)
        font = letters(shape.size * SCALE)
        draw.text((SCALE * shape.x, SCALE * shape.y), text, font=font, fill=shape.colour, anchor=anchor)
