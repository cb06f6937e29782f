"""What is read at all: sizes, counts and seconds. An administrator may lower each, never raise it.

``WHYRAY_LIMITS="pixels=16000000,seconds=5"`` lowers two of them for a process and its children.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass

from ..errors import SettingError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Every field is a ceiling, but ``side_least`` which is a floor.

    file_bytes    of one file (a 4096 x 4096 picture of 16 bits is 32 MiB).
    pixels        of one frame; ``side_least`` .. ``side_most`` per side; ``aspect`` = longer by shorter side.
    plain_bytes   after inflating or decoding, before conversion.
    nesting, elements, fragments   of a DICOM file.
    text_chunks, text_bytes        of a PNG file (count; bytes of one).
    scans         of a progressive JPEG.
    seconds, memory_bytes          of one decode in the child process (processor time; above its idle size).
    """

    file_bytes: int = 256 * MIB
    pixels: int = 64_000_000
    side_least: int = 64
    side_most: int = 65_535
    aspect: float = 8.0
    plain_bytes: int = 256 * MIB
    nesting: int = 64
    elements: int = 50_000
    fragments: int = 10_000
    text_chunks: int = 1_000
    text_bytes: int = MIB
    scans: int = 200
    seconds: float = 8.0
    memory_bytes: int = 600 * MIB


def limits() -> Limits:
    """The limits of this process."""
    return _lowered(os.environ.get("WHYRAY_LIMITS", ""))


@functools.cache
def _lowered(text: str) -> Limits:
    base = Limits()
    changes: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        default = getattr(base, name, None)
        try:
            wanted = type(default)(value) if default is not None else None
        except ValueError:
            wanted = None
        if default is None or wanted is None:
            raise SettingError(f"WHYRAY_LIMITS: {part!r} is no limit; known: {', '.join(vars(base))}")
        changes[name] = max(default, wanted) if name == "side_least" else min(default, wanted)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]
