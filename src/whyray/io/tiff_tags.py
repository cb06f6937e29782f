"""The first directory of a TIFF structure: also what Exif is made of."""

from __future__ import annotations

import struct

from .refusal import Malformed

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
LETTERS = {1: "B", 3: "H", 4: "I", 13: "I"}
MOST_VALUES = 200_000


def directory(data: bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """(tag -> unsigned integers, offset of the next directory) of the first one. Raises Malformed."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or data[2:4] not in (b"*\0", b"\0*"):
        raise Malformed("its TIFF header is damaged")
    return directory_at(data, struct.unpack_from(f"{order}I", data, 4)[0] if len(data) >= 8 else 0, order)


def directory_at(data: bytes, at: int, order: str) -> tuple[dict[int, tuple[int, ...]], int]:
    """The directory at ``at``. Raises Malformed."""
    if at < 8 or at + 2 > len(data):
        raise Malformed("its TIFF directory is missing")
    (count,) = struct.unpack_from(f"{order}H", data, at)
    if at + 2 + count * 12 + 4 > len(data):
        raise Malformed("its TIFF directory ends in the middle")
    found: dict[int, tuple[int, ...]] = {}
    for i in range(count):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * i)
        letter = LETTERS.get(kind)
        if letter is None:
            continue
        size = SIZES[kind] * number
        start = at + 10 + 12 * i
        if size > 4:
            (start,) = struct.unpack_from(f"{order}I", data, start)
        if number > MOST_VALUES or start + size > len(data):
            raise Malformed("its TIFF directory points outside the file")
        found[tag] = struct.unpack_from(f"{order}{number}{letter}", data, start)
    return found, struct.unpack_from(f"{order}I", data, at + 2 + count * 12)[0]


def orientation_of(exif: bytes) -> int:
    """Exif orientation 1..8; 1 where there is none or it cannot be read."""
    try:
        value = directory(exif)[0].get(274, (1,)) if exif else (1,)
    except (Malformed, struct.error):
        return 1
    return value[0] if value and 1 <= value[0] <= 8 else 1
