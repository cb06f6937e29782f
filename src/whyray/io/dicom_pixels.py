"""Stored values of a DICOM picture: native, or decoded in the child process; bits masked, sign extended, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .child import decode
from .codestream import Codestream, checked, codestream
from .dicom_header import COMPONENTS, Header
from .dicom_walk import BIG_ENDIAN, DEFLATED, IMPLICIT, Walked
from .limits import limits
from .refusal import Malformed

if TYPE_CHECKING:
    from numpy.typing import NDArray

NATIVE = (IMPLICIT, BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.1")
RLE = "1.2.840.10008.1.2.5"
_J = "1.2.840.10008.1.2.4."
NAMES = {
    IMPLICIT: "implicit little endian",
    "1.2.840.10008.1.2.1": "explicit little endian",
    BIG_ENDIAN: "big endian",
    DEFLATED: "deflated",
    RLE: "RLE",
    _J + "50": "JPEG baseline",
    _J + "51": "JPEG extended",
    _J + "53": "JPEG spectral selection",
    _J + "55": "JPEG progressive",
    _J + "57": "JPEG lossless",
    _J + "70": "JPEG lossless SV1",
    _J + "80": "JPEG-LS",
    _J + "81": "JPEG-LS near-lossless",
    _J + "90": "JPEG 2000 lossless",
    _J + "91": "JPEG 2000",
    _J + "201": "HTJ2K lossless",
    _J + "202": "HTJ2K lossless RPCL",
    _J + "203": "HTJ2K",
}
PIXEL_DATA, FLOATS = 0x7FE00010, (0x7FE00008, 0x7FE00009)


def check_size(rows: int, columns: int) -> None:
    """Raises Malformed for a picture too small, too large or too long to be a radiograph."""
    now, sides = limits(), (rows, columns)
    if min(sides) < now.side_least:
        raise Malformed(f"its picture is {columns} x {rows} pixels, too small for a radiograph")
    if rows * columns > now.pixels or max(sides) > now.side_most:
        raise Malformed(f"its picture is {columns} x {rows} pixels, more than {now.pixels / 1e6:g} million")
    if max(sides) > now.aspect * min(sides):
        shape = "wide" if columns > rows else "narrow"
        raise Malformed(f"its picture is {columns} x {rows} pixels, too {shape} for a radiograph")


def check_header(walked: Walked, head: Header) -> None:
    """Raises Malformed for a picture that cannot be read as grey or RGB values."""
    if any(tag in walked.elements for tag in FLOATS):
        raise Malformed("it holds floating-point pixel data, which no radiograph does")
    if head.photometric == "PALETTE COLOR":
        raise Malformed("its picture is in palette colours", "export it in grey")
    if head.samples != COMPONENTS[head.photometric]:
        raise Malformed("its samples per pixel and photometric interpretation disagree")
    if head.allocated not in (8, 16, 32) or (head.samples == 3 and head.allocated != 8):
        raise Malformed(f"{head.allocated} bits a pixel cannot be read")
    if head.bits > head.allocated or not head.bits - 1 <= head.high_bit < head.allocated:
        raise Malformed("its bits stored, bits allocated and high bit disagree")


def stored_pixels(walked: Walked, head: Header) -> NDArray[Any]:
    """Stored values of the first frame: ``[rows, columns]`` integers, or ``[rows, columns, 3]`` uint8 RGB.

    Raises Malformed for a file that is refused, DecodeFailed for a codestream that is.
    """
    if PIXEL_DATA not in walked.elements:
        raise Malformed("it holds no pixel data")
    if walked.syntax not in NAMES:
        raise Malformed("its transfer syntax is not supported", "export it uncompressed or as JPEG lossless")
    compressed = walked.syntax not in NATIVE
    if compressed != (walked.fragments is not None):
        raise Malformed("its transfer syntax and its pixel data disagree")
    pixels = _decoded(walked, head) if compressed else _native(walked, head)
    if head.samples == 3:
        return _rgb(pixels, head) if not compressed or walked.syntax == RLE else pixels
    return significant(pixels, head, _overlay_bits(walked))


def significant(pixels: NDArray[Any], head: Header, overlays: bool) -> NDArray[Any]:
    """Values of the stored bits, sign extended. Bits that mean nothing raise Malformed: the header may be wrong."""
    stored, shift = head.bits, head.high_bit + 1 - head.bits
    if stored == head.allocated and pixels.dtype.itemsize * 8 == stored:
        return pixels.view(f"i{stored // 8}") if head.signed and pixels.dtype.kind == "u" else pixels
    if not head.signed and shift == 0 and pixels.dtype.kind == "u" and int(pixels.max()) < 1 << stored:
        return pixels  # the usual case, without two copies of four bytes a pixel
    wide: NDArray[Any] = pixels.astype(np.int64 if head.allocated == 32 else np.int32)
    value = (wide >> shift) & ((1 << stored) - 1)
    if head.signed:
        value -= (value & (1 << (stored - 1))) << 1
    if shift == 0 and not overlays and not _same(value, wide, head):
        raise Malformed("pixel values need more bits than its header says")
    kind = np.int32 if head.allocated == 32 else np.int16 if head.signed else np.uint16
    out: NDArray[Any] = value.astype(kind)
    return out


def _same(value: NDArray[Any], wide: NDArray[Any], head: Header) -> bool:
    """Whether masking changed nothing but the sign's spelling (two's complement of the stored or allocated bits)."""
    if np.array_equal(value, wide):
        return True
    if not head.signed and int(wide.min()) >= 0:
        return False
    whole = (1 << head.allocated) - 1
    plain = (1 << head.bits) - 1
    return bool((((value & whole) == (wide & whole)) | ((value & plain) == wide)).all())


def _native(walked: Walked, head: Header) -> NDArray[Any]:
    element = walked.elements[PIXEL_DATA]
    wanted = head.rows * head.columns * head.samples * head.allocated // 8
    if element.length < wanted:
        raise Malformed("it holds fewer pixels than rows x columns")
    if element.length > wanted * max(1, head.frames) + 64:
        raise Malformed("it holds more pixels than rows x columns")
    raw = memoryview(walked.data)[element.start : element.start + element.length]
    if walked.big and element.vr == "OW" and head.allocated == 8:  # bytes travel in swapped pairs
        raw = memoryview(np.frombuffer(raw[: wanted + wanted % 2], ">u2").astype("<u2").tobytes())
    flat = np.frombuffer(raw[:wanted], f"{'>' if walked.big else '<'}u{head.allocated // 8}")
    flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    if head.samples == 1:
        return flat.reshape(head.rows, head.columns)
    if head.planar:
        return flat.reshape(3, head.rows, head.columns).transpose(1, 2, 0)
    if head.photometric == "YBR_FULL_422":
        raise Malformed("its colours are stored in a way that is not read")
    return flat.reshape(head.rows, head.columns, 3)


def _decoded(walked: Walked, head: Header) -> NDArray[Any]:
    assert walked.fragments is not None
    body = b"".join(_first_frame(walked, head))
    if walked.syntax == RLE:
        sizes = {"rows": head.rows, "columns": head.columns, "samples": head.samples, "bytes": head.allocated // 8}
        return decode("rle", body, **sizes)
    stream = checked(codestream(body), body)
    if (stream.rows, stream.columns, stream.components) != (head.rows, head.columns, head.samples):
        raise Malformed("its header and its compressed picture disagree about the size")
    if stream.bits > head.allocated:
        raise Malformed("its header and its compressed picture disagree about the bits")
    pixels = decode(stream.kind, body, colour=_colour(stream, head) if stream.kind == "jpeg" else None)
    if pixels.shape[:2] != (head.rows, head.columns) or pixels.dtype.kind not in "iu":
        raise Malformed("its compressed picture came out in another size")
    if head.samples == 3 and stream.kind == "jpeg" and _colour(stream, head) == "YCBCR":
        return _from_ybr(pixels)
    return pixels


def _first_frame(walked: Walked, head: Header) -> list[bytes]:
    """Its fragments: all of them, or in a file of several frames those up to the next codestream's first bytes."""
    parts: list[bytes] = []
    for start, length in walked.fragments or ():
        part = walked.data[start : start + length]
        if parts and head.frames > 1 and (walked.syntax == RLE or part[:2] == parts[0][:2]):
            break
        parts.append(part)
    return parts


def _colour(stream: Codestream, head: Header) -> str | None:
    """Colour space handed to the JPEG codec so that it converts nothing: what the header says counts."""
    if head.samples == 1:
        return None
    return "RGB" if head.photometric == "RGB" and stream.adobe != 1 else "YCBCR"


def _rgb(pixels: NDArray[Any], head: Header) -> NDArray[Any]:
    return _from_ybr(pixels) if head.photometric == "YBR_FULL" else pixels


def _from_ybr(ybr: NDArray[Any]) -> NDArray[np.uint8]:
    """Full-range YCbCr -> RGB (PS3.3 C.7.6.3.1.2)."""
    y, blue, red = (ybr[..., i].astype(np.float32) for i in range(3))
    blue, red = blue - 128, red - 128
    rgb = np.stack([y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue], axis=-1)
    out: NDArray[np.uint8] = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return out


def _overlay_bits(walked: Walked) -> bool:
    """Whether a retired overlay lives in the unused high bits of the pixels."""
    return any(t >> 16 & 0xFF00 == 0x6000 and t & 0xFFFF == 0x0102 and any(walked.shorts(t)) for t in walked.elements)
