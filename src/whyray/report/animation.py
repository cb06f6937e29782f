"""A counterfactual as a looping animation (WebP, GIF, MP4) or a strip; each frame says what the model predicts for it.

Forwards and backwards without a jump. Every frame carries that a model drew it. The pictures are grey as the model sees
them, never stretched to look better.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..errors import MissingExtra
from ..explanations import Counterfactual
from ..io.records import NOTICE
from .lettering import fitted, letters, plain, small

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 448  # pixels of the longer side of a frame
MILLISECONDS = 110
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
    """A looping animation, there and back; the first and last frame stay longer."""
    return _animated(frames, "WEBP", milliseconds, quality=80, method=4)


def gif(frames: Sequence[Image.Image], milliseconds: int = MILLISECONDS) -> bytes:
    """The same as GIF, for viewers without WebP."""
    palette = [f.quantize(128, dither=Image.Dither.NONE) for f in frames]
    return _animated(palette, "GIF", milliseconds, disposal=1)


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


def mp4(frames: Sequence[Image.Image], milliseconds: int = MILLISECONDS, loops: int = 6) -> bytes:
    """H.264 in MP4, ``loops`` times there and back. Raises MissingExtra without the package av."""
    try:
        import av
    except ImportError:
        raise MissingExtra("av", "writing MP4", "video") from None
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(1000 / milliseconds))
        stream.width, stream.height = (n // 2 * 2 for n in frames[0].size)  # H.264 halves the colours
        stream.pix_fmt = "yuv420p"
        for i in looped(len(frames)) * loops:
            picture = frames[i].crop((0, 0, stream.width, stream.height))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))  # type: ignore[no-untyped-call]
        container.mux(stream.encode())
    return file.getvalue()


def save_animation(made: Counterfactual, path: str | Path, **drawn: object) -> Path:
    """Write one animation; its kind follows the name: ``.webp``, ``.gif``, ``.mp4``, or ``.png`` for the strip."""
    from ..errors import SettingError
    from ..io.whole import write_whole

    path = Path(path)
    makers = {".webp": webp, ".gif": gif, ".mp4": mp4, ".png": strip}
    if path.suffix.lower() not in makers:
        raise SettingError(f"the animation {path.name!r} came; give a name that ends in {', '.join(makers)}")
    write_whole(path, makers[path.suffix.lower()](drawn_frames(made, **drawn)))  # type: ignore[arg-type]
    return path


def _animated(frames: Sequence[Image.Image], kind: str, milliseconds: int, **options: object) -> bytes:
    order = looped(len(frames))
    ends = {0, len(frames) - 1}
    durations = [milliseconds * (5 if i in ends else 1) for i in order]
    file = io.BytesIO()
    first, *rest = (frames[i] for i in order)
    first.save(file, kind, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    return file.getvalue()


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
    panel = round(4.6 * letter)
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
    note = fitted(plain(f"Drawn by a model, not a radiograph. {NOTICE}"), small(letter), size[0] - 2 * pad)
    draw.text((pad, top + round(2.5 * letter)), note, font=letters(small(letter)), fill=_DIM)
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
