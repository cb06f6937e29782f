"""What a compressed picture says of itself in its first bytes: size, bits, components, scans. Read, not decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .limits import limits
from .refusal import Malformed

SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_LS_SOF = 0xF7


@dataclass(frozen=True)
class Codestream:
    """``kind`` "jpeg", "jpegls" or "jpeg2k" (HTJ2K too); ``bits`` of a sample; ``sof`` the JPEG process byte."""

    kind: str
    rows: int
    columns: int
    bits: int
    components: int
    signed: bool = False
    sof: int = 0
    scans: int = 1
    adobe: int | None = None
    exif: bytes = b""


def codestream(data: bytes) -> Codestream:
    """The header of a JPEG, JPEG-LS or JPEG 2000 codestream. Raises Malformed."""
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:4] == b"\xff\x4f\xff\x51":
        return _jpeg2k(data, 0)
    if data[4:8] == b"jP  ":
        at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
        if at > 0:
            return _jpeg2k(data, at)
    raise Malformed("its compressed picture is of no kind that is known")


def checked(stream: Codestream, data: bytes) -> Codestream:
    """The same, if it is plausible: number of scans, and for JPEG a byte for every 1000 pixels. Raises Malformed."""
    if stream.scans > limits().scans:
        raise Malformed(f"its picture has more than {limits().scans} scans")
    if stream.kind == "jpeg" and len(data) * 1000 < stream.rows * stream.columns:
        raise Malformed("its compressed picture is far too short for its size")
    return stream


def _jpeg2k(data: bytes, at: int) -> Codestream:
    try:
        x1, y1, x0, y0 = struct.unpack_from(">IIII", data, at + 8)
        (components,) = struct.unpack_from(">H", data, at + 40)
        depth = data[at + 42]
    except (struct.error, IndexError):
        raise Malformed("its compressed picture ends in its header") from None
    _tile_parts(data, at + 2)
    return Codestream("jpeg2k", y1 - y0, x1 - x0, (depth & 0x7F) + 1, components, depth > 0x7F)


def _tile_parts(data: bytes, at: int) -> None:
    """JPEG 2000 decoders guess what is missing, so every tile part must be there, up to the end marker."""
    while data[at : at + 2] not in (b"\xff\x90", b"\xff\xd9"):
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            raise Malformed("its JPEG 2000 picture is damaged or ends in its header")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    while data[at : at + 2] == b"\xff\x90" and at + 12 <= len(data):
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        at = data.rfind(b"\xff\xd9", at) if length == 0 else at + max(length, 12)
        if at < 0:
            break
    if at < 0 or data[at : at + 2] != b"\xff\xd9":
        raise Malformed("its JPEG 2000 picture is incomplete")


def _jpeg(data: bytes) -> Codestream:
    """Walk the markers to the end of the picture; every segment must lie inside the file."""
    at, sof, frame, scans, exif = 2, 0, b"", 0, b""
    adobe: int | None = None
    while True:
        at, kind, segment = _segment(data, at)
        if kind == 0xD9:
            break
        if kind in SOF or kind == JPEG_LS_SOF:
            if sof:
                raise Malformed("its JPEG picture has two frames")
            sof, frame = kind, segment
        elif kind == 0xE1 and segment[:6] == b"Exif\0\0":
            exif = segment[6:]
        elif kind == 0xEE and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        elif kind == 0xDA:
            scans += 1
            at = _scan_end(data, at, ls=sof == JPEG_LS_SOF)
    if len(frame) < 6 or not scans:
        raise Malformed("its JPEG picture is incomplete")
    bits, rows, columns, components = struct.unpack_from(">BHHB", frame)
    name = "jpegls" if sof == JPEG_LS_SOF else "jpeg"
    return Codestream(name, rows, columns, bits, components, False, sof, scans, adobe, exif)


def _segment(data: bytes, at: int) -> tuple[int, int, bytes]:
    """(where it ends, marker, content) of the segment at ``at``."""
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    if at + 2 > len(data):
        raise Malformed("its JPEG picture ends in the middle")
    if data[at] != 0xFF:
        raise Malformed("its JPEG picture is damaged")
    kind = data[at + 1]
    if kind == 0xD9:
        return at + 2, kind, b""
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if kind < 0xC0 or length < 2 or at + 2 + length > len(data):
        raise Malformed("its JPEG picture ends in the middle, or is damaged")
    return at + 2 + length, kind, data[at + 4 : at + 2 + length]


def _scan_end(data: bytes, at: int, ls: bool) -> int:
    """The marker behind one scan's coded bytes. JPEG-LS stuffs bits: there a byte below 0x80 follows 0xFF."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise Malformed("its JPEG picture ends in the middle")
        kind = data[at + 1]
        stuffed = kind < 0x80 if ls else kind == 0
        if not stuffed and kind != 0xFF and not 0xD0 <= kind <= 0xD7:
            return at
        at += 1 if kind == 0xFF else 2
