"""PNG, walked chunk by chunk: every checksum, length and scan line is checked before anything is decoded."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .child import decode
from .dicom_pixels import check_size
from .limits import limits
from .picture import Fact, Picture, grey_of_integers, grey_of_rgb, opaque, oriented
from .refusal import Malformed
from .tiff_tags import orientation_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


@dataclass(frozen=True)
class Png:
    """A walked PNG: ``bare`` is the same picture with nothing but what its pixels need."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool
    bare: bytes
    palette: bytes
    alphas: bytes
    orientation: int
    animated: bool


def read_png(data: bytes) -> Picture:
    """One PNG of any kind. Raises Malformed or DecodeFailed."""
    png = walk_png(data)
    values = oriented(_samples(png), png.orientation)
    notes = ["The PNG is an animation; its still picture was taken."] if png.animated else []
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values, note = opaque(values)
        notes += [note] if note else []
    bits = 16 if png.depth == 16 else 8 if png.colour == 3 else png.depth
    facts: dict[str, Fact] = {
        "format": "PNG",
        "channels": CHANNELS[png.colour],
        "palette": png.colour == 3,
        "orientation": png.orientation,
    }
    if values.ndim == 3 and values.shape[2] == 3:
        pixels, note = grey_of_rgb(values)
        notes += [note] if note else []
    else:
        pixels = grey_of_integers(values.reshape(values.shape[:2]), bits)
    return Picture(pixels, bits, facts, tuple(notes))


def walk_png(data: bytes) -> Png:
    """Check the whole file. Raises Malformed."""
    chunks = _chunks(data)
    names = [name for name, _ in chunks]
    if names[0] != b"IHDR" or len(chunks[0][1]) != 13 or names.count(b"IHDR") != 1 or names.count(b"PLTE") > 1:
        raise Malformed("its PNG header is damaged")
    width, height, depth, colour, method, filters, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth not in DEPTHS.get(colour, ()) or method or filters or interlace > 1:
        raise Malformed("its PNG header is damaged")
    check_size(height, width)
    if colour == 3 and b"PLTE" not in names:
        raise Malformed("its palette is missing")
    packed = b"".join(c for n, c in chunks if n == b"IDAT")
    _check_lines(packed, width, height, depth * CHANNELS[colour], bool(interlace))
    exif, palette, alphas = (next((c for n, c in chunks if n == name), b"") for name in (b"eXIf", b"PLTE", b"tRNS"))
    bare = SIGNATURE + b"".join(_chunk(n, c) for n, c in chunks if n in KEPT)
    return Png(
        width, height, depth, colour, bool(interlace), bare, palette, alphas, orientation_of(exif), b"acTL" in names
    )


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    at, texts, closed = 8, 0, False
    while not closed:
        if at + 12 > len(data):
            raise Malformed("its PNG picture ends in the middle")
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise Malformed("its PNG picture ends in the middle, or a length in it is wrong")
        content = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(content, zlib.crc32(name)) != checksum:
            raise Malformed("a PNG checksum in it is wrong")
        if name[:1].isupper() and name not in KEPT:
            raise Malformed("it has a PNG part of an unknown kind")
        if name in (b"tEXt", b"zTXt", b"iTXt"):
            texts += 1
            if texts > limits().text_chunks or length > limits().text_bytes:
                raise Malformed("it has more text in it than a picture needs")
        found.append((name, content))
        if len(found) > limits().elements:
            raise Malformed("it has too many parts")
        at, closed = at + 12 + length, name == b"IEND"
    return found


def _check_lines(packed: bytes, width: int, height: int, pixel_bits: int, interlaced: bool) -> None:
    """The inflated scan lines must be exactly as many as the header says, each with a filter that exists."""
    passes = [(width, height)]
    if interlaced:
        passes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for y, x, dy, dx in ADAM7]
    strides = [(1 + (w * pixel_bits + 7) // 8, h) for w, h in passes if w > 0 and h > 0]
    wanted = sum(stride * h for stride, h in strides)
    if wanted > limits().plain_bytes:
        raise Malformed(f"its picture takes more than {limits().plain_bytes >> 20} MiB")
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(packed, wanted)
        more = inflate.decompress(inflate.unconsumed_tail, 1)
    except zlib.error:
        raise Malformed("its compressed pixels are damaged") from None
    if len(plain) < wanted:
        raise Malformed("it holds fewer pixels than its size asks for")
    if more or not inflate.eof:
        raise Malformed("it holds more pixels than its size asks for, or its end is damaged")
    at, lines = 0, np.frombuffer(plain, np.uint8)
    for stride, h in strides:
        if (lines[at : at + stride * h : stride] > 4).any():
            raise Malformed("its PNG scan lines are damaged")
        at += stride * h


def _samples(png: Png) -> NDArray[Any]:
    """``[h, w]`` or ``[h, w, samples]`` of uint8 or uint16."""
    if png.depth == 16 and png.colour != 0:  # Pillow would drop the lower eight bits
        return decode("png", png.bare)
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(png.bare), formats=["PNG"])
    if png.colour == 3:
        return _through_palette(np.asarray(image), png)
    if png.depth == 16:
        return np.asarray(image).astype(np.uint16)
    return np.asarray(image.convert({0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}[png.colour]))


def _through_palette(numbers: NDArray[Any], png: Png) -> NDArray[np.uint8]:
    """uint8 ``[h, w, 3]``, or ``[h, w, 4]`` where the palette has transparent entries."""
    table = np.frombuffer(png.palette[: len(png.palette) // 3 * 3], np.uint8).reshape(-1, 3)
    if not 0 <= int(numbers.max()) < len(table):
        raise Malformed("its pixels point outside its palette")
    if png.alphas:
        alphas = np.frombuffer(png.alphas.ljust(len(table), b"\xff")[: len(table)], np.uint8)
        table = np.concatenate([table, alphas[:, None]], axis=1)
    out: NDArray[np.uint8] = table[numbers]
    return out


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
