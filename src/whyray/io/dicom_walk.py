"""The structure of a DICOM file, walked once under limits before any value is believed.

Every declared length is held against what is left of the file, so nothing is allocated on a file's word. What was
walked is what is read: values are taken from the same bytes, and no second parser can see another file. Elements that
whyray never reads are stepped over. Text is never decoded beyond ASCII; identity is never read at all.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from .limits import limits
from .refusal import Malformed

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)
TRANSFER_SYNTAX = 0x00020010
SEQUENCES_READ = (0x00283000, 0x00283010)  # Modality LUT, VOI LUT
LONG_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"


@dataclass(frozen=True)
class Element:
    """Where a value lies: ``data[start : start + length]``; ``items`` of the few sequences that are read."""

    vr: str
    start: int
    length: int
    items: tuple[dict[int, Element], ...] = ()


@dataclass(frozen=True)
class Walked:
    """A walked file: its bytes (inflated), top-level elements, and the fragments of encapsulated pixel data."""

    data: bytes
    syntax: str
    big: bool
    elements: dict[int, Element]
    fragments: tuple[tuple[int, int], ...] | None = None

    def raw(self, element: Element | None) -> bytes:
        """The bytes of one value."""
        return b"" if element is None else self.data[element.start : element.start + element.length]

    def text(self, tag: int) -> str:
        """An ASCII value without padding, at most 64 characters (code strings and UIDs only)."""
        return self.raw(self.elements.get(tag))[:64].decode("ascii", "replace").strip(" \0").strip()

    def shorts(self, tag: int) -> tuple[int, ...]:
        """Unsigned 16-bit values."""
        return self.shorts_of(self.elements.get(tag))

    def shorts_of(self, element: Element | None) -> tuple[int, ...]:
        raw = self.raw(element)[:64]
        return struct.unpack(f"{'>' if self.big else '<'}{len(raw) // 2}H", raw[: len(raw) // 2 * 2])

    def numbers(self, tag: int) -> tuple[float, ...] | None:
        """Decimal strings as floats: () where absent or empty, None where they are not finite numbers."""
        text = self.raw(self.elements.get(tag))[:1024].decode("ascii", "replace").strip(" \0")
        try:
            values = tuple(float(part) for part in text.split("\\")) if text else ()
        except ValueError:
            return None
        return values if all(abs(v) < 1e30 for v in values) else None


def is_dicom(head: bytes) -> bool:
    """Whether a file begins as a DICOM file does: 128 free bytes, then DICM."""
    return head[128:132] == b"DICM"


def walk(data: bytes) -> Walked:
    """Walk one file. Raises Malformed."""
    meta = _Walk(data)
    at, elements = meta.file_meta()
    name = Walked(data, "", False, elements).text(TRANSFER_SYNTAX)
    if not name:
        raise Malformed("its header names no transfer syntax")
    if name == DEFLATED:
        data, at = _inflated(data, at), 0
    body = _Walk(data, big=name == BIG_ENDIAN)
    found, _ = body.elements_until(at, len(data), name == IMPLICIT, 0)
    return Walked(data, name, body.big, found, body.fragments)


def _inflated(data: bytes, at: int) -> bytes:
    most = limits().plain_bytes
    inflate = zlib.decompressobj(-15)
    try:
        plain = inflate.decompress(memoryview(data)[at:], most)
    except zlib.error:
        raise Malformed("its compressed data set is damaged") from None
    if not inflate.eof:
        raise Malformed("its compressed data set is too large" if len(plain) >= most else "it ends in the middle")
    return plain


@dataclass
class _Walk:
    """One pass over ``data``; counts elements against the limit."""

    data: bytes
    big: bool = False
    seen: int = 0
    fragments: tuple[tuple[int, int], ...] | None = None
    order: str = field(init=False)

    def __post_init__(self) -> None:
        self.order = ">" if self.big else "<"

    def file_meta(self) -> tuple[int, dict[int, Element]]:
        """Group 2, always explicit little endian; its own length element is not trusted."""
        at, found = 132, {}
        while at + 8 <= len(self.data) and self.data[at : at + 2] == b"\x02\x00":
            tag, vr, length, start = self.head(at, len(self.data), implicit=False)
            if length == UNDEFINED:
                raise Malformed("its file header is damaged")
            found[tag] = Element(vr, start, length)
            at = start + length
        return at, found

    def head(self, at: int, end: int, implicit: bool) -> tuple[int, str, int, int]:
        """(tag, VR, length, where the value starts) of the element at ``at``."""
        self.seen += 1
        if self.seen > limits().elements:
            raise Malformed(f"it has more than {limits().elements} elements")
        if at + 8 > end:
            raise Malformed("it ends in the middle")
        group, element, vr_bytes, short = struct.unpack_from(f"{self.order}HH2sH", self.data, at)
        tag = group << 16 | element
        if implicit or group == 0xFFFE:
            vr, start = "", at + 8
            (length,) = struct.unpack_from(f"{self.order}I", self.data, at + 4)
        else:
            vr = vr_bytes.decode("latin-1")
            if not (vr.isascii() and vr.isalpha() and vr.isupper()):
                raise Malformed("its structure is damaged")
            length, start = short, at + 8
            if vr in LONG_VRS:
                if at + 12 > end:
                    raise Malformed("it ends in the middle")
                (length,), start = struct.unpack_from(f"{self.order}I", self.data, at + 8), at + 12
        if length != UNDEFINED and start + length > end:
            raise Malformed("it ends in the middle, or a length in it is wrong")
        return tag, vr, length, start

    def elements_until(self, at: int, end: int, implicit: bool, depth: int) -> tuple[dict[int, Element], int]:
        """Elements from ``at`` to ``end``, to the end of the item, or up to and with the pixel data."""
        found: dict[int, Element] = {}
        while at < end:
            if depth == 0 and not any(self.data[at : at + 8]) and found:
                break  # zeros behind the last element
            tag, vr, length, start = self.head(at, end, implicit)
            if tag == ITEM_END and depth:
                return found, start
            if tag in found or tag >> 16 == 0xFFFE:
                raise Malformed("its structure is damaged")
            if length == UNDEFINED and tag in PIXEL_DATA:
                self.fragments, at = self.frames(start, end)
                found[tag] = Element(vr, start, at - start)
            elif length == UNDEFINED or tag in SEQUENCES_READ:
                # an unknown VR of undefined length is implicit little endian inside (PS3.5 6.2.2)
                stop = end if length == UNDEFINED else start + length
                items, at = self.items(start, stop, implicit or vr == "UN", depth + 1, length != UNDEFINED)
                found[tag] = Element(vr, start, at - start, items)
            else:
                found[tag], at = Element(vr, start, length), start + length
            if tag in PIXEL_DATA and depth == 0:
                break
        return found, at

    def items(
        self, at: int, end: int, implicit: bool, depth: int, closed: bool
    ) -> tuple[tuple[dict[int, Element], ...], int]:
        """The items of a sequence that ends at ``end`` (``closed``) or at its delimiter."""
        if depth > limits().nesting:
            raise Malformed(f"its sequences are nested more than {limits().nesting} deep")
        found: list[dict[int, Element]] = []
        while at < end:
            tag, _vr, length, start = self.head(at, end, implicit)
            if tag == SEQUENCE_END and not closed:
                return tuple(found), start
            if tag != ITEM:
                raise Malformed("one of its sequences is damaged")
            stop = end if length == UNDEFINED else start + length
            elements, at = self.elements_until(start, stop, implicit, depth)
            found.append(elements)
        if not closed:
            raise Malformed("it ends in the middle of a sequence")
        return tuple(found), at

    def frames(self, at: int, end: int) -> tuple[tuple[tuple[int, int], ...], int]:
        """(start, length) of the fragments of encapsulated pixel data, without the offset table."""
        found: list[tuple[int, int]] = []
        while at < end:
            tag, _vr, length, start = self.head(at, end, implicit=True)
            if tag == SEQUENCE_END:
                return tuple(found[1:]), start
            if tag != ITEM or length == UNDEFINED:
                raise Malformed("its compressed pixel data are damaged")
            found.append((start, length))
            at = start + length
            if len(found) > limits().fragments:
                raise Malformed(f"its pixel data have more than {limits().fragments} fragments")
        raise Malformed("it ends in the middle of its pixel data")
