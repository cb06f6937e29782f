"""Small writers of PNG, TIFF and DICOM files for the tests: every byte is ours, so every fault can be planted."""

from __future__ import annotations

import struct
import zlib

import numpy as np

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"
J = "1.2.840.10008.1.2.4."
LONG = ("OB", "OW", "OF", "SQ", "UN", "UT", "UC")
CR = "1.2.840.10008.5.1.4.1.1.1"


# ---------------------------------------------------------------- PNG


def chunk(name: bytes, content: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)


def ihdr(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def scan_lines(values: np.ndarray, filters: bool = False) -> bytes:
    """Rows of big-endian samples, each with its filter byte; ``filters`` cycles through all five kinds."""
    rows = values.reshape(values.shape[0], -1)
    raw = np.ascontiguousarray(rows.astype(f">u{rows.dtype.itemsize}")).view(np.uint8).reshape(rows.shape[0], -1)
    step = rows.dtype.itemsize * (values.shape[2] if values.ndim == 3 else 1)
    if not filters:
        return b"".join(b"\0" + row.tobytes() for row in raw)
    above, out = np.zeros(raw.shape[1], np.int16), []
    for i, row in enumerate(raw.astype(np.int16)):
        left = np.concatenate([np.zeros(step, np.int16), row[:-step]])
        corner = np.concatenate([np.zeros(step, np.int16), above[:-step]])
        guess = [0, left, above, (left + above) // 2, paeth(left, above, corner)][i % 5]
        out.append(bytes([i % 5]) + (row - guess).astype(np.uint8).tobytes())
        above = row
    return b"".join(out)


def paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    p = left + above - corner
    a, b, c = abs(p - left), abs(p - above), abs(p - corner)
    return np.where((a <= b) & (a <= c), left, np.where(b <= c, above, corner))


def png(
    values: np.ndarray,
    colour: int = 0,
    before: bytes = b"",
    after: bytes = b"",
    *,
    filters: bool = False,
    lines: bytes | None = None,
    header: bytes | None = None,
    pieces: int = 1,
    depth: int | None = None,
) -> bytes:
    """A PNG of ``[h, w]`` or ``[h, w, samples]``; ``before`` / ``after`` are chunks around the pixels."""
    height, width = values.shape[:2]
    packed = zlib.compress(scan_lines(values, filters) if lines is None else lines, 6)
    size = -(-len(packed) // pieces)
    data = b"".join(chunk(b"IDAT", packed[i : i + size]) for i in range(0, len(packed), size))
    head = header if header is not None else ihdr(width, height, depth or values.dtype.itemsize * 8, colour)
    return b"\x89PNG\r\n\x1a\n" + head + before + data + after + chunk(b"IEND", b"")


def interlaced(values: np.ndarray) -> bytes:
    """An 8-bit grey PNG in seven passes."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    lines = b"".join(scan_lines(values[y::dy, x::dx]) for y, x, dy, dx in passes)
    return png(values, lines=lines, header=ihdr(values.shape[1], values.shape[0], interlace=1))


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)


# ---------------------------------------------------------------- TIFF


def tiff(
    values: np.ndarray,
    photometric: int = 1,
    order: str = "<",
    extra: dict[int, tuple[str, tuple[int, ...]]] | None = None,
    drop: tuple[int, ...] = (),
    following: int = 0,
) -> bytes:
    """An uncompressed TIFF in one strip. ``extra`` tag -> (letter, values) adds or replaces."""
    raw = values.astype(values.dtype.newbyteorder(order)).tobytes()
    samples = values.shape[2] if values.ndim == 3 else 1
    tags: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (values.shape[1],)),
        257: ("I", (values.shape[0],)),
        258: ("H", (values.dtype.itemsize * 8,) * samples),
        259: ("H", (1,)),
        262: ("H", (photometric,)),
        273: ("I", (8,)),
        277: ("H", (samples,)),
        278: ("I", (values.shape[0],)),
        279: ("I", (len(raw),)),
        **(extra or {}),
    }
    tags = {t: v for t, v in sorted(tags.items()) if t not in drop}
    at = 8 + len(raw) + len(raw) % 2
    body, tail = b"", b""
    tail_at = at + 2 + 12 * len(tags) + 4
    for tag, (letter, content) in tags.items():
        packed = struct.pack(f"{order}{len(content)}{letter}", *content)
        kind = {"B": 1, "H": 3, "I": 4, "f": 11}[letter]
        if len(packed) > 4:
            body += struct.pack(f"{order}HHII", tag, kind, len(content), tail_at + len(tail))
            tail += packed + b"\0" * (len(packed) % 2)
        else:
            body += struct.pack(f"{order}HHI", tag, kind, len(content)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    directory = struct.pack(f"{order}H", len(tags)) + body + struct.pack(f"{order}I", following)
    return head + raw + b"\0" * (len(raw) % 2) + directory + tail


# ---------------------------------------------------------------- DICOM


def element(tag: int, vr: str, value: bytes, syntax: str = EXPLICIT, length: int | None = None) -> bytes:
    order = ">" if syntax == BIG else "<"
    if len(value) % 2:
        value += b"\0" if vr in ("UI", *LONG) else b" "
    count = len(value) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<I", count) + value
    if vr in LONG:
        return head + vr.encode() + b"\0\0" + struct.pack(f"{order}I", count) + value
    return head + vr.encode() + struct.pack(f"{order}H", count) + value


def item(content: bytes, order: str = "<", length: int | None = None) -> bytes:
    return struct.pack(f"{order}HHI", 0xFFFE, 0xE000, len(content) if length is None else length) + content


def ending(kind: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}HHI", 0xFFFE, kind, 0)


def encapsulated(*frames: bytes, pieces: int = 1, table: bool = False, close: bool = True) -> bytes:
    """Fragments of compressed pixel data, with or without an offset table."""
    out = item(struct.pack("<I", 0) if table else b"")
    for frame in frames:
        frame += b"\0" * (len(frame) % 2)
        size = -(-len(frame) // pieces)
        size += size % 2
        out += b"".join(item(frame[i : i + size]) for i in range(0, len(frame), size))
    return out + (ending(0xE0DD) if close else b"")


def shorts(*values: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(values)}H", *(v & 0xFFFF for v in values))


def lut(tag: int, first: int, bits: int, entries: np.ndarray, syntax: str = EXPLICIT) -> bytes:
    order = ">" if syntax == BIG else "<"
    content = element(0x00283002, "US", shorts(len(entries), first, bits, order=order), syntax)
    content += element(0x00283006, "OW", entries.astype(f"{order}u2").tobytes(), syntax)
    return element(tag, "SQ", item(content, order), syntax)


Values = dict[int, tuple[str, bytes] | None]


def dicom(
    pixels: np.ndarray | bytes,
    values: Values | None = None,
    *,
    syntax: str = EXPLICIT,
    bits: int | None = None,
    extra: bytes = b"",
    tail: bytes = b"",
    preamble: bytes = b"\0" * 128,
    shape: tuple[int, int] | None = None,
    allocated: int | None = None,
    pixel_vr: str = "OW",
) -> bytes:
    """A CR file. ``pixels`` is an array (native) or encapsulated bytes; ``values`` tag -> (VR, bytes) replaces or, with
    None, drops; ``extra`` is put before the pixel data."""
    order = ">" if syntax == BIG else "<"
    native = isinstance(pixels, np.ndarray)
    height, width = shape or (pixels.shape[:2] if native else (0, 0))  # type: ignore[union-attr]
    size = allocated or (pixels.dtype.itemsize * 8 if native else 8)  # type: ignore[union-attr]
    signed = int(native and pixels.dtype.kind == "i")  # type: ignore[union-attr]
    samples = pixels.shape[2] if native and pixels.ndim == 3 else 1  # type: ignore[union-attr]
    stored = bits or size

    def us(value: int) -> tuple[str, bytes]:
        return "US", shorts(value, order=order)

    tags: dict[int, tuple[str, bytes] | None] = {
        0x00080016: ("UI", CR.encode()),
        0x00080018: ("UI", b"1.2.3.4"),
        0x00080060: ("CS", b"CR"),
        0x00180015: ("CS", b"CHEST"),
        0x00185101: ("CS", b"PA"),
        0x00280002: us(samples),
        0x00280004: ("CS", b"RGB" if samples == 3 else b"MONOCHROME2"),
        0x00280010: us(height),
        0x00280011: us(width),
        0x00280100: us(size),
        0x00280101: us(stored),
        0x00280102: us(stored - 1),
        0x00280103: us(signed),
        **({0x00280006: us(0)} if samples == 3 else {}),
        **(values or {}),
    }
    body = b"".join(element(t, v[0], v[1], syntax) for t, v in sorted(tags.items()) if v is not None) + extra
    if native:
        raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()  # type: ignore[union-attr]
        body += element(0x7FE00010, pixel_vr, raw, syntax)
    elif pixels:
        body += element(0x7FE00010, "OB", pixels, syntax, 0xFFFFFFFF)  # type: ignore[arg-type]
    body += tail
    if syntax == DEFLATED:
        squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = squeeze.compress(body) + squeeze.flush()
    return preamble + b"DICM" + meta(syntax) + body


def meta(syntax: str, extra: bytes = b"") -> bytes:
    content = element(0x00020010, "UI", syntax.encode()) + extra
    return element(0x00020000, "UL", struct.pack("<I", len(content))) + content


def rle(values: np.ndarray) -> bytes:
    """One PackBits segment a byte plane, most significant first."""
    import imagecodecs

    planes = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(">"))).view(np.uint8)
    planes = planes.reshape(values.size, -1).T
    segments = [imagecodecs.packbits_encode(np.ascontiguousarray(p).tobytes()) for p in planes]
    segments = [s + b"\0" * (len(s) % 2) for s in segments]
    offsets = np.cumsum([64, *map(len, segments)])[:-1]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)
