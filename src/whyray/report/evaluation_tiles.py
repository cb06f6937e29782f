"""Small pictures of maps with the experts' contour: what a table cannot show. Segment maps show their segments."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..explanations import Attribution
from .contours import segments
from .figures import grey, heat, on_grid, scale_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..types import Radiograph

SIDE = 288  # longest side of a tile
EXPERT, MASK, RIM, LINES = (64, 235, 120), (255, 255, 255), (0, 0, 0), (150, 150, 150)


def tile_jpeg(
    radiograph: Radiograph,
    truth: NDArray[np.bool_],
    attribution: Attribution | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> bytes:
    """The radiograph, under a map where one is given; the experts' contour in green, that of the scored mask in white.

    ``truth`` and ``mask`` are ``[h, w]`` of the radiograph. A map of segments shows the lines between them.
    """
    small = grey(radiograph)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture = small.convert("RGB")
    if attribution is not None:
        scale = scale_of([attribution])
        values = on_grid(attribution, SIDE)
        if not scale.empty:
            colour, alpha = heat(scale.position(values), scale)
            picture.paste(colour.resize(picture.size), mask=alpha.resize(picture.size))
        if attribution.unit == "logit/segment":
            _between(picture, values)
    if mask is not None:
        _outline(picture, mask, MASK, 1)
    _outline(picture, truth, EXPERT, 2)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=82)
    return out.getvalue()


def _between(picture: Image.Image, values: NDArray[np.float32]) -> None:
    """Lines where a map of segments changes its value."""
    step = 1e-3 * (float(np.nanmax(np.abs(values))) or 1.0)
    edge = np.zeros(values.shape, bool)
    edge[:, 1:] |= np.abs(np.diff(values, axis=1)) > step
    edge[1:] |= np.abs(np.diff(values, axis=0)) > step
    faint = Image.fromarray((edge * 110).astype(np.uint8)).resize(picture.size)
    picture.paste(LINES, (0, 0), faint)


def _outline(picture: Image.Image, mask: NDArray[np.bool_], ink: tuple[int, int, int], width: int) -> None:
    """The contour of a mask of the whole radiograph, with a dark rim."""
    field = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.BOX)
    lines = segments(np.asarray(field, np.float32) / 255, 0.5)
    draw = ImageDraw.Draw(picture)
    for colour, thick in ((RIM, width + 2), (ink, width)):
        for (x0, y0), (x1, y1) in lines.tolist():
            draw.line((x0, y0, x1, y1), fill=colour, width=thick)
