"""Pictures of maps: the only place that scales and colours. Everything in source pixels, origin at the top left.

An overlay's pixel (x, y) is the source's pixel (x, y); the colour bar and the words lie outside the picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from ..explanations import Attribution, resample
from ..io.records import NOTICE
from . import colours
from .contours import segments
from .lettering import fitted, letters, plain, small
from .segmented import SEGMENTED, borders, outlines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..types import Radiograph

LEVELS = (0.3, 0.6)  # contours, as shares of the end of the scale
OPACITY = 0.78  # of the strongest colour
NOTHING = 1e-12  # a map that nowhere exceeds this is empty: rounding noise is never drawn
_FINE = 4096  # a map of more cells than this has outliers, so its scale ends at a percentile
_GREY, _INK, _DIM = (16, 18, 22), (228, 231, 235), (150, 157, 167)


@dataclass(frozen=True)
class Scale:
    """What the ends of the colour bar mean: ``limit`` > 0, or 0 for a map that is empty.

    signed  from -limit to limit, else from 0 to limit.
    beyond  some values lie beyond the limit and are drawn in its colour.
    """

    limit: float
    signed: bool
    unit: str = "a.u."
    beyond: bool = False

    @property
    def empty(self) -> bool:
        """Nothing to draw."""
        return self.limit <= NOTHING

    def position(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Values in -1..1 (signed) or 0..1 of the colour bar; NaN stays NaN; an empty scale gives 0."""
        share = np.asarray(values, np.float32) / np.float32(1.0 if self.empty else self.limit)
        if self.empty:
            share = share * np.float32(0)
        return np.asarray(np.clip(share, -1 if self.signed else 0, 1), np.float32)


def scale_of(maps: Sequence[Attribution]) -> Scale:
    """One scale for one map, or shared by several. Raises ValueError where units differ: they cannot share one."""
    units = {m.unit for m in maps}
    if len(units) != 1:
        raise ValueError(f"maps in {' and '.join(sorted(units)) or 'no unit'} came; a shared scale needs one unit")
    signed = any(m.signed for m in maps)
    ends = [_ends(m.values if signed else np.maximum(m.values, 0)) for m in maps]
    limit = max(end for end, _ in ends)
    return Scale(limit=limit, signed=signed, unit=units.pop(), beyond=any(top > limit for _, top in ends))


def _ends(values: NDArray[np.float32]) -> tuple[float, float]:
    """(end of the scale, largest magnitude): the 99.5th percentile for a fine map, else the maximum."""
    size = np.abs(values[np.isfinite(values)])
    if not size.size:
        return 0.0, 0.0
    top = float(size.max())
    end = float(np.percentile(size, 99.5)) if size.size > _FINE else top
    return (end if end > NOTHING else top), top


def grey(radiograph: Radiograph) -> Image.Image:
    """The plain picture, 8 bits."""
    return Image.fromarray(np.rint(np.clip(radiograph.pixels, 0, 1) * 255).astype(np.uint8))


def picture_png(radiograph: Radiograph) -> bytes:
    """The plain picture with the notice below it."""
    return png(_framed(grey(radiograph).convert("RGB"), None, "Radiograph, without overlay"))


def thumbnail_png(radiograph: Radiograph, side: int = 160) -> bytes:
    """The plain picture, its long side at most ``side`` pixels, with the notice below it."""
    picture = grey(radiograph)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return png(_framed(picture.convert("RGB"), None, ""))


def overlay_png(radiograph: Radiograph, attribution: Attribution, scale: Scale | None = None, title: str = "") -> bytes:
    """The picture in source pixels under the map: heat, contours, colour bar with numbers and unit, notice.

    An empty map leaves the picture as it is and says so. What the model did not see is dimmed and hatched.
    Raises ValueError where the map belongs to a picture of another size.
    """
    if attribution.source_shape != radiograph.shape:
        raise ValueError(f"the map is of a picture of {attribution.source_shape}, this one is {radiograph.shape}")
    scale = scale or scale_of([attribution])
    values = attribution.at_source()
    picture = _shaded(grey(radiograph), np.isnan(values)).convert("RGB")
    if not scale.empty:
        colour, alpha = heat(scale.position(values), scale)
        picture.paste(colour, mask=alpha)
        _draw_contours(picture, attribution, scale)
    return png(_framed(picture, scale, title or attribution.finding.replace("_", " ")))


def map_png(attribution: Attribution, scale: Scale | None = None, side: int | None = None) -> bytes:
    """The map alone as RGBA, transparent where it says nothing; source size, or its long side ``side`` pixels."""
    scale = scale or scale_of([attribution])
    values = attribution.at_source() if side is None else on_grid(attribution, side)
    colour, alpha = heat(scale.position(values), scale)
    colour.putalpha(alpha)
    return png(colour)


def on_grid(attribution: Attribution, side: int) -> NDArray[np.float32]:
    """The map over the whole source picture on a small grid whose long side is at most ``side``; NaN unseen."""
    (h, w), long = attribution.source_shape, max(attribution.source_shape)
    shape = (max(1, round(h * side / long)), max(1, round(w * side / long))) if long > side else (h, w)
    return resample(attribution.values, source_to_grid((h, w), shape) @ attribution.to_source, shape)


def source_to_grid(source: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Affine from source pixels to the pixels of a grid ``(h, w)`` over the same area."""
    sy, sx = grid[0] / source[0], grid[1] / source[1]
    return np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])


def contour_lines(attribution: Attribution, scale: Scale, side: int = 256) -> list[tuple[float, NDArray[np.float64]]]:
    """(level as a signed share of the limit, ``[n, 2, 2]`` segments in source pixels) for each level that is met.

    A map of more than 32 cells a side is averaged down to about that before its lines are sought: noise has no shape.
    A map of segments has no levels: its lines run around the strongest segments for and against.
    """
    if scale.empty:
        return []
    if attribution.unit == SEGMENTED:
        return [(sign * LEVELS[1], lines) for sign, lines in outlines(attribution, LEVELS[0] * scale.limit)]
    field = scale.position(on_grid(_coarse(attribution), side))
    back = np.linalg.inv(source_to_grid(attribution.source_shape, (field.shape[0], field.shape[1])))
    found = []
    for level in [*LEVELS, *(-v for v in LEVELS if scale.signed)]:
        lines = segments(np.sign(level) * field, abs(level))
        if len(lines):
            found.append((level, lines * [back[0, 0], back[1, 1]] + [back[0, 2], back[1, 2]]))
    return found


def _coarse(attribution: Attribution) -> Attribution:
    """Cells averaged in blocks, for contours only."""
    import dataclasses

    block = -(-max(attribution.values.shape) // 32)
    if block == 1:
        return attribution
    values = attribution.values
    h, w = values.shape[0] // block * block, values.shape[1] // block * block
    small = values[:h, :w].reshape(h // block, block, w // block, block).mean(axis=(1, 3))
    grow = np.array([[block, 0, (block - 1) / 2], [0, block, (block - 1) / 2], [0, 0, 1]])
    return dataclasses.replace(attribution, values=small, to_source=attribution.to_source @ grow)


def heat(position: NDArray[np.float32], scale: Scale) -> tuple[Image.Image, Image.Image]:
    """Colour and alpha of each pixel; alpha grows with the magnitude, and is 0 where the model saw nothing."""
    unseen = np.isnan(position)
    index = np.where(unseen, 0, np.rint(position * 127.5 + 127.5 if scale.signed else position * 255)).astype(np.uint8)
    colour = Image.fromarray(index)
    alpha = colour.point(_alphas(scale.signed).tolist())
    if unseen.any():
        alpha.paste(0, mask=Image.fromarray(unseen))
    colour.putpalette((colours.diverging() if scale.signed else colours.sequential()).tobytes())
    return colour.convert("RGB"), alpha


@cache
def _alphas(signed: bool) -> NDArray[np.uint8]:
    """``[256]`` alpha of each colour: magnitude to the power 0.75, so that a weak value still shows."""
    size = np.abs(np.linspace(-1, 1, 256)) if signed else np.linspace(0, 1, 256)
    size = np.where(size < 1 / 128, 0, size)  # 0 of a signed map lies between two colours
    return np.rint(255 * OPACITY * size**0.75).astype(np.uint8)


def _shaded(picture: Image.Image, unseen: NDArray[np.bool_]) -> Image.Image:
    """Darker, with slanted lines, where the model saw nothing."""
    if not unseen.any():
        return picture
    period = max(8, max(picture.size) // 64)
    y, x = np.ogrid[: unseen.shape[0], : unseen.shape[1]]
    lines = Image.fromarray(((x + y) % period < max(1, period // 8)) & unseen)
    picture.paste(picture.point([int(v * 0.4) for v in range(256)]), mask=Image.fromarray(unseen))
    picture.paste(96, mask=lines)
    return picture


def _draw_contours(picture: Image.Image, attribution: Attribution, scale: Scale) -> None:
    """Light lines with a dark rim; the inner level thicker. Between segments, thin lines."""
    unit = max(1.0, max(picture.size) / 800)
    if attribution.unit == SEGMENTED and len(between := borders(attribution)):
        _draw_lines(picture, between, 0.8 * unit, (200, 205, 212, 90))
    for level, lines in contour_lines(attribution, scale):
        thick = unit * (1.1 if abs(level) == LEVELS[0] else 1.9)
        _draw_lines(picture, lines, thick + 1.8 * unit, (0, 0, 0, 190))
        _draw_lines(picture, lines, thick, (255, 255, 255, 255) if level > 0 else (170, 215, 255, 255))


def _draw_lines(picture: Image.Image, lines: NDArray[np.float64], width: float, ink: tuple[int, int, int, int]) -> None:
    """Segments in source pixels, drawn at twice the size for smooth edges, on no more of the picture than they need."""
    fine, margin = 2 if max(picture.size) <= 2048 else 1, int(width) + 2
    corner = np.maximum(np.floor(lines.min(axis=(0, 1))).astype(int) - margin, 0)
    end = np.minimum(np.ceil(lines.max(axis=(0, 1))).astype(int) + margin, picture.size)
    (left, top), (w, h) = corner.tolist(), ((end - corner) * fine).tolist()
    mask = Image.new("L", (w, h))
    draw = ImageDraw.Draw(mask)
    for (x0, y0), (x1, y1) in ((lines - corner + 0.5) * fine - 0.5).tolist():
        draw.line((x0, y0, x1, y1), fill=ink[3], width=max(1, round(width * fine)))
    picture.paste(ink[:3], (left, top), mask.reduce(fine))


def _framed(picture: Image.Image, scale: Scale | None, title: str) -> Image.Image:
    """The picture with the colour bar to its right, the title and the notice below."""
    w, h = picture.size
    size = int(np.clip(max(w, h) / 52, 11, 48))
    bar = 0 if scale is None else 9 * size
    foot = round((3.6 if title else 2.0) * size)
    least_w, least_h = (0, 0) if scale is None else (round(22 * size), round(15 * size))
    canvas = Image.new("RGB", (max(w + bar, round(19.5 * size), least_w), max(h, least_h) + foot), _GREY)
    canvas.paste(picture, (0, 0))
    draw, y = ImageDraw.Draw(canvas), canvas.height - foot + round(0.5 * size)
    if title:
        draw.text((size * 0.6, y), fitted(plain(title), size, canvas.width - 1.2 * size), font=letters(size), fill=_INK)
        y += round(1.5 * size)
    draw.text((size * 0.6, y), NOTICE, font=letters(small(size)), fill=_DIM)
    if scale is not None:
        _draw_bar(canvas, (canvas.width - bar, 0, canvas.width, canvas.height - foot), scale, size)
    return canvas


def _draw_bar(canvas: Image.Image, box: tuple[int, int, int, int], scale: Scale, size: int) -> None:
    """Colour bar with numbers, unit and the meaning of the signs; or the words that the map is empty."""
    draw, font, left = ImageDraw.Draw(canvas), letters(size), box[0] + size
    if scale.empty:
        draw.text((left, box[1] + size), "Map is\nempty:\nno evidence\nto show", font=font, fill=_INK)
        return
    draw.text((left, box[1] + round(0.7 * size)), "for" if scale.signed else "more", font=font, fill=_INK)
    draw.text((left, box[3] - round(3.4 * size)), "against" if scale.signed else "less", font=font, fill=_INK)
    draw.text((left, box[3] - round(1.8 * size)), f"in {scale.unit}", font=letters(small(size)), fill=_DIM)
    top, bottom, width = box[1] + round(2.5 * size), box[3] - round(4.2 * size), round(1.3 * size)
    ramp = np.linspace(1, -1 if scale.signed else 0, bottom - top, dtype=np.float32)[:, None].repeat(width, 1)
    colour, alpha = heat(ramp, scale)
    canvas.paste((46, 49, 54), (left, top, left + width, bottom))
    canvas.paste(colour, (left, top), mask=alpha)
    for share in (1.0, 0.5, 0.0, -0.5, -1.0) if scale.signed else (1.0, 0.5, 0.0):
        y = top + (1 - share) / (2 if scale.signed else 1) * (bottom - top - 1)
        draw.line((left + width, y, left + width + 0.35 * size, y), fill=_DIM, width=max(1, size // 12))
        draw.text((left + width + 0.6 * size, y), tick(share, scale), font=font, fill=_INK, anchor="lm")


def tick(share: float, scale: Scale) -> str:
    """The number at a share of the colour bar, with its sign; ``>`` or ``<`` where values lie beyond."""
    value = share * scale.limit
    text = "0" if share == 0 else f"{value:+.2g}" if scale.signed else f"{value:.2g}"
    edge = {1.0: "> ", -1.0: "< "}.get(share, "") if scale.beyond and (scale.signed or share > 0) else ""
    return edge + text


def png(image: Image.Image) -> bytes:
    """PNG bytes with the notice in a text chunk."""
    info = PngInfo()
    info.add_text("Disclaimer", NOTICE)
    info.add_text("Software", "whyray")
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info, compress_level=3)
    return out.getvalue()
