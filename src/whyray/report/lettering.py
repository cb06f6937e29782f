"""Words in a picture: the font built into Pillow, so that a report looks the same on every machine."""

from __future__ import annotations

from functools import cache
from typing import Any

from PIL import ImageFont


def small(size: int) -> int:
    """The size of lesser words."""
    return max(10, round(size * 0.9))


def plain(text: str) -> str:
    """What the built-in font can draw: other characters become ``?``."""
    return "".join(c if " " <= c <= "~" or c in "±·" else "?" for c in text)


def fitted(text: str, size: int, width: float) -> str:
    """The text, cut at its end to fit."""
    if letters(size).getlength(text) <= width:
        return text
    while text and letters(size).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


@cache
def letters(size: int) -> Any:
    """The font at a size in pixels."""
    return ImageFont.load_default(size)
