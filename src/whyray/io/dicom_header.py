"""The few facts of a DICOM header that grey values depend on, and those worth keeping. No identity is read here,
save for the salted patient key.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from dataclasses import dataclass

import numpy as np

from .dicom_walk import Element, Walked
from .greyscale import FUNCTIONS, Lut, Window
from .refusal import Malformed

_PROCESS_SALT = secrets.token_bytes(16)
COMPONENTS = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_RCT": 3,
    "YBR_ICT": 3,
}


@dataclass(frozen=True, eq=False)
class Header:
    """``bits`` stored of ``allocated``; ``notes`` become warnings; ``padding`` (low, high) in stored values."""

    rows: int
    columns: int
    frames: int
    samples: int
    allocated: int
    bits: int
    high_bit: int
    signed: bool
    photometric: str
    planar: bool
    padding: tuple[int, int] | None
    modality_lut: Lut | None
    slope: float
    intercept: float
    voi_lut: Lut | None
    windows: tuple[Window, ...]
    inverse_shape: bool
    spacing: tuple[float, float] | None
    spacing_kind: str | None
    aspect: float
    notes: tuple[str, ...]

    @property
    def inverted(self) -> bool:
        """Whether high values are dark. MONOCHROME1 and shape INVERSE say the same thing: once, not twice."""
        return self.photometric == "MONOCHROME1" or self.inverse_shape


def header(walked: Walked) -> Header:
    """The header of a walked file that holds a picture. Raises Malformed."""
    notes: list[str] = []
    bits = _integer(walked, 0x00280101, "Bits Stored")
    signed = bool((walked.shorts(0x00280103) or (0,))[0])
    slope, intercept = _rescale(walked)
    spacing, kind = _spacing(walked)
    photometric = walked.text(0x00280004)
    if photometric not in COMPONENTS:
        raise Malformed("it does not say how grey values are to be shown (Photometric Interpretation)")
    shape = walked.text(0x20500020)
    if photometric == "MONOCHROME1" and shape == "IDENTITY":
        notes.append("The header contradicts itself about which grey is dark; its MONOCHROME1 was followed.")
    return Header(
        rows=_integer(walked, 0x00280010, "Rows"),
        columns=_integer(walked, 0x00280011, "Columns"),
        frames=_frames(walked),
        samples=(walked.shorts(0x00280002) or (1,))[0],
        allocated=_integer(walked, 0x00280100, "Bits Allocated"),
        bits=bits,
        high_bit=(walked.shorts(0x00280102) or (bits - 1,))[0],
        signed=signed,
        photometric=photometric,
        planar=bool((walked.shorts(0x00280006) or (0,))[0]),
        padding=_padding(walked, signed),
        modality_lut=_lut(walked, 0x00283000, signed),
        slope=slope,
        intercept=intercept,
        voi_lut=_lut(walked, 0x00283010, signed or intercept < 0),
        windows=_windows(walked, notes),
        inverse_shape=shape == "INVERSE",
        spacing=spacing,
        spacing_kind=kind,
        aspect=_aspect(walked, spacing),
        notes=tuple(notes),
    )


def patient_key(walked: Walked, salt: str | None) -> str | None:
    """Salted hash of Patient ID and its issuer: the same within a process, or wherever WHYRAY_SALT is the same."""
    identity = walked.raw(walked.elements.get(0x00100020)).strip(b" \0")
    if not identity:
        return None
    issuer = walked.raw(walked.elements.get(0x00100021)).strip(b" \0")
    chosen = salt if salt is not None else os.environ.get("WHYRAY_SALT")
    key = chosen.encode() if chosen else _PROCESS_SALT
    return hashlib.blake2b(identity + b"\0" + issuer, key=hashlib.sha256(key).digest(), digest_size=8).hexdigest()


def _integer(walked: Walked, tag: int, name: str) -> int:
    values = walked.shorts(tag)
    if not values or values[0] == 0:
        raise Malformed(f"its header has no value for {name}")
    return values[0]


def _frames(walked: Walked) -> int:
    values = walked.numbers(0x00280008)
    if values is None or any(v != int(v) or v < 0 for v in values):
        raise Malformed("its Number of Frames is no whole number")
    return int(values[0]) if values else 1


def _rescale(walked: Walked) -> tuple[float, float]:
    slope, intercept = walked.numbers(0x00281053), walked.numbers(0x00281052)
    if slope is None or intercept is None or len(slope) > 1 or len(intercept) > 1 or 0.0 in slope:
        raise Malformed("its rescale slope or intercept is no usable number")
    return (slope or (1.0,))[0], (intercept or (0.0,))[0]


def _windows(walked: Walked, notes: list[str]) -> tuple[Window, ...]:
    """Windows in file order; unusable ones are left out, and said so."""
    centres, widths = walked.numbers(0x00281050), walked.numbers(0x00281051)
    function = walked.text(0x00281056) or "LINEAR"
    if function not in FUNCTIONS:
        notes.append("The file asks for an unknown kind of grey-scale window; it was read as LINEAR.")
        function = "LINEAR"
    if not centres and not widths and centres is not None and widths is not None:
        return ()
    if centres is None or widths is None or len(centres) != len(widths):
        notes.append("The file's grey-scale window is unusable and was left out.")
        return ()
    least = 1.0 if function == "LINEAR" else math.ulp(1.0)
    good = tuple(Window(c, w, function) for c, w in zip(centres, widths) if w >= least)
    if len(good) < len(centres):
        notes.append("The file's grey-scale window has a width that is not allowed and was left out.")
    elif len(good) > 1:
        notes.append(f"The file brings {len(good)} grey-scale windows; the first was used.")
    return good


def _padding(walked: Walked, signed: bool) -> tuple[int, int] | None:
    value, limit = walked.shorts(0x00280120), walked.shorts(0x00280121)
    if not value:
        return None
    ends = [v - 65536 if signed and v > 32767 else v for v in (value[0], (limit or value)[0])]
    return min(ends), max(ends)


def _lut(walked: Walked, tag: int, signed_input: bool) -> Lut | None:
    """The first table of a LUT sequence."""
    sequence = walked.elements.get(tag)
    if sequence is None or not sequence.items:
        return None
    item = sequence.items[0]
    descriptor = walked.shorts_of(item.get(0x00283002))
    data: Element | None = item.get(0x00283006)
    if len(descriptor) != 3 or data is None or not 1 <= descriptor[2] <= 16:
        raise Malformed("its look-up table is damaged")
    count = descriptor[0] or 65536
    raw = walked.raw(data)
    if len(raw) >= count * 2:
        entries = np.frombuffer(raw[: count * 2], ">u2" if walked.big else "<u2").astype(np.uint16)
    elif len(raw) >= count and descriptor[2] <= 8:
        entries = np.frombuffer(raw[:count], np.uint8).astype(np.uint16)
    else:
        raise Malformed("its look-up table is shorter than it says")
    first = descriptor[1] - 65536 if signed_input and descriptor[1] > 32767 else descriptor[1]
    return Lut(first, descriptor[2], entries)


def _spacing(walked: Walked) -> tuple[tuple[float, float] | None, str | None]:
    """(row, column) in mm: calibrated, else at the detector (bodies appear enlarged there)."""
    for tag, kind in ((0x00280030, "image"), (0x00181164, "detector"), (0x00182010, "scanned film")):
        values = walked.numbers(tag)
        if values and len(values) == 2 and all(0.01 <= v <= 10 for v in values):
            return (values[0], values[1]), kind
    return None, None


def _aspect(walked: Walked, spacing: tuple[float, float] | None) -> float:
    """Height of a pixel by its width."""
    ratio = walked.numbers(0x00280034)
    if ratio and len(ratio) == 2 and min(ratio) > 0:
        return ratio[0] / ratio[1]
    return spacing[0] / spacing[1] if spacing else 1.0
