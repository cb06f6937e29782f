"""JPEG and TIFF radiographs; PNG has its own file."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .child import decode
from .codestream import checked, codestream
from .dicom_pixels import check_size
from .limits import limits
from .picture import Picture, grey_of_integers, grey_of_rgb, opaque, oriented
from .refusal import Malformed
from .tiff_tags import directory, directory_at, orientation_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

REDUCED = 1
DEFLATE = (8, 32946)
COMPRESSIONS = (1, 5, 32773, *DEFLATE)  # none, LZW, PackBits; JPEG inside TIFF is left out: damage would go unseen


def read_jpeg(data: bytes) -> Picture:
    """One JPEG of 8 bits (or 12), grey or colour. Raises Malformed or DecodeFailed."""
    stream = checked(codestream(data), data)
    if stream.kind != "jpeg":
        raise Malformed("it is a JPEG-LS file", "give it as DICOM or PNG")
    if stream.components not in (1, 3):
        raise Malformed("its JPEG picture has an unusual number of colours", "save it as a grey PNG")
    check_size(stream.rows, stream.columns)
    values = decode("jpeg", data)
    if values.shape[:2] != (stream.rows, stream.columns):
        raise Malformed("its JPEG picture came out in another size")
    orientation = orientation_of(stream.exif)
    values = oriented(values, orientation)
    facts = {"format": "JPEG", "channels": stream.components, "orientation": orientation, "scans": stream.scans}
    return _picture(values, stream.bits, facts, [])


def read_tiff(data: bytes) -> Picture:
    """The picture of a TIFF of 8 or 16 bits, grey, palette or RGB. Raises Malformed or DecodeFailed."""
    tags, following = directory(data)
    _check_tiff(data, tags, following)
    values = decode("tiff", data)
    height, width, samples = tags[257][0], tags[256][0], tags.get(277, (1,))[0]
    if values.ndim == 3 and values.shape[0] == samples != values.shape[2]:
        values = np.moveaxis(values, 0, 2)  # planes one behind another
    if values.shape != ((height, width) if samples == 1 else (height, width, samples)) or values.dtype.kind != "u":
        raise Malformed("its TIFF picture came out in another size")
    bits, photometric = tags[258][0], tags[262][0]
    notes: list[str] = []
    if samples in (2, 4):
        values, note = opaque(values)
        notes += [note] if note else []
        values = values[..., 0] if samples == 2 else values
    if photometric == 0:
        values = np.iinfo(values.dtype).max - values
    if photometric == 3:
        values, bits = _palette(values, tags), 8
    orientation = tags.get(274, (1,))[0]
    facts = {"format": "TIFF", "channels": samples, "orientation": orientation, "inverted": photometric == 0}
    return _picture(oriented(values, orientation), bits, facts, notes)


def _picture(values: NDArray[Any], bits: int, facts: dict[str, Any], notes: list[str]) -> Picture:
    if values.ndim == 3:
        pixels, note = grey_of_rgb(values)
        notes = [*notes, note] if note else notes
    else:
        pixels = grey_of_integers(values, bits)
    return Picture(pixels, bits, facts, tuple(notes))


def _check_tiff(data: bytes, tags: dict[int, tuple[int, ...]], following: int) -> None:
    """Raises Malformed for a TIFF that is damaged, or that would have to be guessed at."""
    if any(not tags.get(tag) for tag in (256, 257, 258, 262)):
        raise Malformed("its TIFF header is damaged")
    check_size(tags[257][0], tags[256][0])
    order = "<" if data[:2] == b"II" else ">"
    if following and not directory_at(data, following, order)[0].get(254, (0,))[0] & REDUCED:
        raise Malformed("it holds several pictures", "give one radiograph a file")
    samples, bits = tags.get(277, (1,))[0], set(tags[258])
    if bits not in ({8}, {16}) or set(tags.get(339, (1,))) != {1}:
        raise Malformed("its TIFF values are not of 8 or 16 bits", "save it as a 16-bit grey PNG or TIFF")
    if samples not in {0: (1,), 1: (1, 2), 2: (3, 4), 3: (1,)}.get(tags[262][0], ()) or len(tags[258]) != samples:
        raise Malformed("its TIFF colours are of an unusual kind", "save it as a grey PNG")
    if tags.get(259, (1,))[0] not in COMPRESSIONS:
        raise Malformed("its TIFF compression is not read", "save it without compression")
    plain = tags[257][0] * tags[256][0] * samples * tags[258][0] // 8
    if plain > limits().plain_bytes:
        raise Malformed(f"its picture takes more than {limits().plain_bytes >> 20} MiB")
    _check_strips(data, tags, plain)


def _check_strips(data: bytes, tags: dict[int, tuple[int, ...]], plain: int) -> None:
    """Every strip or tile lies inside the file; uncompressed ones make up the picture."""
    starts, lengths = (tags.get(324), tags.get(325)) if 324 in tags else (tags.get(273), tags.get(279))
    if not starts or not lengths or len(starts) != len(lengths):
        raise Malformed("its TIFF header is damaged")
    if any(s < 8 or n == 0 or s + n > len(data) for s, n in zip(starts, lengths)):
        raise Malformed("its TIFF picture ends in the middle")
    compression = tags.get(259, (1,))[0]
    held = sum(lengths) if compression == 1 else plain
    if compression in DEFLATE:
        held = sum(_inflated_size(data[s : s + n], plain) for s, n in zip(starts, lengths))
    if held < plain:
        raise Malformed("it holds fewer pixels than its size asks for")


def _inflated_size(packed: bytes, most: int) -> int:
    """Bytes of one deflated strip, whose checksum must be right: libtiff passes over a wrong one."""
    inflate = zlib.decompressobj()
    try:
        size = len(inflate.decompress(packed, most + limits().side_most * 8))
    except zlib.error:
        raise Malformed("its compressed pixels are damaged") from None
    if not inflate.eof:
        raise Malformed("its compressed pixels are incomplete")
    return size


def _palette(values: NDArray[Any], tags: dict[int, tuple[int, ...]]) -> NDArray[np.uint8]:
    """uint8 ``[h, w, 3]`` of palette numbers."""
    colours = np.array(tags.get(320, ()), np.uint16)
    if values.dtype != np.uint8 or colours.size != 768:
        raise Malformed("its palette is damaged")
    table = (colours.reshape(3, 256).T / 257).round().astype(np.uint8)
    out: NDArray[np.uint8] = table[values]
    return out
