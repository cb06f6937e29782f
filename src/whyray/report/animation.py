"""A counterfactual as a looping animation (WebP, GIF, MP4) or a strip; each frame says what the model predicts for it.

Forwards and backwards without a jump. Every frame says that a model drew it. The pictures are grey as the model sees
them, never stretched to look better.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from ..errors import MissingExtra, SettingError
from ..explanations import Counterfactual
from ..io.records import NOTICE
from ..io.whole import write_whole
from .lettering import fitted, letters, plain, small

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 448  # pixels of the longer side of a frame
MILLISECONDS = 110
HOLD = 5  # how many times as long as the others the first and the last frame are shown
MADE_UP = "Model-made picture, not a radiograph."
_PANEL, _INK, _DIM, _LINE, _FILL = (16, 18, 22), (228, 231, 235), (150, 157, 167), (70, 75, 82), (217, 140, 40)


def drawn_frames(made: Counterfactual, threshold: float | None = None, side: int = SIDE) -> list[Image.Image]:
    """One RGB picture a frame, from the finding weaker to stronger, with a gauge of its probability below.

    threshold  the operating point, marked on the gauge.
    """
    h, w = made.frames.shape[1:]
    size = (round(w * side / max(h, w)), round(h * side / max(h, w)))
    return [
        _frame(picture, size, float(p), threshold, words(made, i))
        for i, (picture, p) in enumerate(zip(made.frames, made.probabilities, strict=True))
    ]


def looped(count: int) -> list[int]:
    """Indices of a loop there and back: 0 1 2 3 2 1."""
    return [*range(count), *range(count - 2, 0, -1)]


def webp(frames: Sequence[Image.Image], milliseconds: int = MILLISECONDS) -> bytes:
    """A looping animation, there and back; the first and the last frame stay longer."""
    return _animated(frames, "WEBP", milliseconds, quality=80, method=4, kmax=1)  # whole frames: parts leave patches


def gif(frames: Sequence[Image.Image], milliseconds: int = MILLISECONDS) -> bytes:
    """The same as GIF, for viewers without WebP: some five times as large, one palette for all frames."""
    same = [f.quantize(palette=_palette(), dither=Image.Dither.NONE) for f in frames]
    return _animated(same, "GIF", milliseconds, disposal=1)


def strip(frames: Sequence[Image.Image], most: int = 7) -> bytes:
    """At most ``most`` frames side by side as one PNG, the first and the last among them."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    pictures = [frames[i] for i in chosen]
    out = Image.new("RGB", (sum(p.width for p in pictures) + 4 * (len(pictures) - 1), pictures[0].height), _PANEL)
    x = 0
    for picture in pictures:
        out.paste(picture, (x, 0))
        x += picture.width + 4
    file = io.BytesIO()
    out.save(file, "PNG", optimize=True)
    return file.getvalue()


def mp4(frames: Sequence[Image.Image], milliseconds: int = MILLISECONDS, loops: int = 4) -> bytes:
    """H.264 in MP4, ``loops`` times there and back. Raises MissingExtra without the package av."""
    av = _av()
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(1000, milliseconds))
        stream.width, stream.height = (n // 2 * 2 for n in frames[0].size)  # H.264 halves the colours
        stream.pix_fmt = "yuv420p"
        for i in [i for i, held in _shown(len(frames)) for _ in range(held)] * loops:
            picture = frames[i].crop((0, 0, stream.width, stream.height))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())
    return file.getvalue()


MAKERS: dict[str, Callable[[Sequence[Image.Image]], bytes]] = {"webp": webp, "gif": gif, "mp4": mp4, "png": strip}


def check_kind(kind: str) -> None:
    """Raises SettingError for a kind that is neither made nor "none", MissingExtra where its package is missing."""
    if kind not in (*MAKERS, "none"):
        raise SettingError(f"the animation {kind!r} came; give {', '.join(MAKERS)} or none")
    if kind == "mp4":
        _av()


def save_animation(made: Counterfactual, path: str | Path, threshold: float | None = None, side: int = SIDE) -> Path:
    """Write one animation; its kind follows the name: ``.webp``, ``.gif``, ``.mp4``, or ``.png`` for the strip."""
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in MAKERS:
        raise SettingError(f"the animation {path.name!r} came; give a name that ends in .{', .'.join(MAKERS)}")
    write_whole(path, MAKERS[kind](drawn_frames(made, threshold, side)))
    return path


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtra("av", "writing MP4", "video") from None
    return av


def _shown(count: int) -> list[tuple[int, int]]:
    """(frame, how many times as long as the others it is shown) of one loop there and back."""
    return [(i, HOLD if i in (0, count - 1) else 1) for i in looped(count)]


def _animated(frames: Sequence[Image.Image], kind: str, milliseconds: int, **options: object) -> bytes:
    order, held = zip(*_shown(len(frames)), strict=True)
    file = io.BytesIO()
    first, *rest = (frames[i] for i in order)
    durations = [milliseconds * h for h in held]
    first.save(file, kind, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    return file.getvalue()


@cache
def _palette() -> Image.Image:
    """Grey values, and the way from the gauge's colours to the panel's."""
    mixes = [
        tuple(round(a + (b - a) * k / 4) for a, b in zip(_FILL, end, strict=True))
        for end in (_PANEL, _INK, _LINE)
        for k in range(4)
    ]
    greys = [(v, v, v) for v in np.linspace(0, 255, 256 - len(mixes) - 3).round().astype(int).tolist()]
    picture = Image.new("P", (1, 1))
    picture.putpalette([v for colour in (*greys, *mixes, _PANEL, _INK, _LINE) for v in colour])
    return picture


def words(made: Counterfactual, i: int) -> str:
    """What the frame is: its finding, and which way it was changed."""
    name = made.finding.replace("_", " ")
    if i == made.zero:
        return f"{name}: reconstruction"
    return f"{name}: {'weaker' if made.lambdas[i] < 0 else 'stronger'}"


def _frame(
    picture: NDArray[np.float32], size: tuple[int, int], probability: float, threshold: float | None, words: str
) -> Image.Image:
    letter = max(11, size[0] // 30)
    panel = round(5.4 * letter)
    out = Image.new("RGB", (size[0], size[1] + panel), _PANEL)
    grey = Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    out.paste(grey.resize(size, Image.Resampling.BICUBIC), (0, 0))
    draw = ImageDraw.Draw(out)
    pad, top = letter // 2 + 2, size[1] + letter // 2
    number = f"{100 * probability:.1f} %"
    room = size[0] - 3 * pad - letters(letter).getlength(number)
    draw.text((pad, top), fitted(plain(words), letter, room), font=letters(letter), fill=_INK)
    draw.text((size[0] - pad, top), number, font=letters(letter), fill=_INK, anchor="ra")
    _gauge(draw, (pad, top + round(1.5 * letter), size[0] - pad, top + round(2.0 * letter)), probability, threshold)
    font = letters(small(letter))
    for line, text in enumerate((MADE_UP, NOTICE)):
        note = fitted(plain(text), small(letter), size[0] - 2 * pad)
        draw.text((pad, top + round((2.4 + 1.15 * line) * letter)), note, font=font, fill=_DIM)
    return out


def _gauge(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], probability: float, threshold: float | None
) -> None:
    """A bar filled up to the probability, and a line at the operating point."""
    left, top, right, bottom = box
    draw.rectangle(box, fill=_LINE)
    if probability > 0:
        draw.rectangle((left, top, left + round((right - left) * min(1.0, probability)), bottom), fill=_FILL)
    if threshold is not None:
        x = left + round((right - left) * threshold)
        draw.rectangle((x - 1, top - 3, x + 1, bottom + 3), fill=_INK)
