"""DICOM radiographs: walk, header, policy, pixels, grey scale; identity stays outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..types import Voi
from . import greyscale
from .dicom_header import Header, header, patient_key
from .dicom_pixels import NAMES, check_header, check_size, stored_pixels
from .dicom_walk import Walked, walk
from .picture import Picture, grey_of_rgb
from .policy import subject
from .refusal import Malformed

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROGRAMS = (b"MZ", b"\x7fELF", b"#!", b"\xcf\xfa\xed\xfe")
LEAST_LEVELS = 16
Placing = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]


def read_dicom(data: bytes, voi: Voi = "file", salt: str | None = None) -> Picture:
    """One chest radiograph. Order: structure, policy, header, size, codestream, pixels, grey scale.

    Raises Malformed or DecodeFailed.
    """
    walked = walk(data)
    about = subject(walked, walked.text(0x00280004).startswith("MONOCHROME"))
    if not any(tag in walked.elements for tag in (0x7FE00008, 0x7FE00009, 0x7FE00010)):
        raise Malformed("it holds no pixel data", "give the file that holds the picture")
    head = header(walked)
    check_size(head.rows, head.columns)
    check_header(walked, head)
    if head.frames > 1:
        raise Malformed(f"it holds {head.frames} frames", "give one radiograph a file")
    stored = stored_pixels(walked, head)
    notes = [*head.notes, *about.warnings]
    if data[:128].startswith(PROGRAMS):
        notes.append("The free space before the DICOM header looks like a program; do not run this file.")
    if head.samples == 3:
        pixels, colour_note = grey_of_rgb(stored)
        shown, padded = "none", 0.0
        notes += [colour_note or "The picture is in colour mode."]
    else:
        pixels, shown, padded, voi_notes = grey(stored, head, voi)
        notes += voi_notes
    if not 0.99 <= head.aspect <= 1.01:
        notes.append(f"Pixels are not square (height / width {head.aspect:.2f}); shapes appear squeezed.")
    facts = {
        "format": "DICOM",
        "encoding": NAMES[walked.syntax],
        "modality": about.modality,
        "body_part": about.body_part,
        "photometric": head.photometric,
        "inverted": head.inverted,
        "bits_allocated": head.allocated,
        "signed": head.signed,
        "spacing_kind": head.spacing_kind,
        "pixel_aspect": round(head.aspect, 4),
        "padding_share": round(padded, 4),
        "modality_lut": head.modality_lut is not None,
    }
    return Picture(
        pixels,
        head.bits,
        facts,
        tuple(notes),
        shown,
        head.spacing,
        about.view,
        about.laterality,
        patient_key(walked, salt),
    )


def decoded(data: bytes) -> tuple[Walked, Header, NDArray[Any]]:
    """Stored values of the first frame, of whatever modality: what the policy refuses can still be looked at."""
    walked = walk(data)
    head = header(walked)
    check_header(walked, head)
    return walked, head, stored_pixels(walked, head)


def grey(stored: NDArray[Any], head: Header, voi: Voi) -> tuple[NDArray[np.float32], str, float, list[str]]:
    """(pixels 0..1, which window was used, share of padding, notes) of stored values ``[h, w]``.

    The chain runs over the values that occur, not over the pixels. Padding becomes black and counts for nothing.
    """
    values, counts, place = _occurring(stored)
    padding = np.zeros(values.size, bool)
    if head.padding:
        padding = (values >= head.padding[0]) & (values <= head.padding[1])
    if padding.all():
        raise Malformed("every pixel is padding")
    table, shown, notes = _table(values, ~padding, head, voi)
    table[padding] = 0
    share = float(counts[padding].sum() / stored.size)
    return place(table.astype(np.float32)), shown, share, notes


def _occurring(stored: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64], Placing]:
    """Values that occur, how often, and a function that puts one new value for each of them in its pixels."""
    if stored.dtype.itemsize > 2:
        values, index, counts = np.unique(stored, return_inverse=True, return_counts=True)
        return values.astype(np.float64), counts, lambda table: table[index].reshape(stored.shape)
    size, signed = 256**stored.dtype.itemsize, stored.dtype.kind == "i"
    codes = stored.view(f"u{stored.dtype.itemsize}")  # two's complement as a place in a table
    every = np.zeros(size, np.int64)
    for rows in np.array_split(codes, max(1, codes.size >> 20)):  # bincount needs eight bytes a pixel
        every += np.bincount(rows.ravel(), minlength=size)
    present = np.flatnonzero(every)
    values = np.where(present >= size // 2, present - size, present) if signed else present

    def placed(table: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.zeros(size, np.float32)
        whole[present] = table
        out: NDArray[np.float32] = whole[codes]
        return out

    return values.astype(np.float64), every[present], placed


def _table(
    stored: NDArray[np.float64], valid: NDArray[np.bool_], head: Header, voi: Voi
) -> tuple[NDArray[np.float64], str, list[str]]:
    """Grey for each stored value; ``valid`` marks those that are picture."""
    values = _modality(stored, head)
    picture = values[valid]
    plain_range = greyscale.natural_range(float(picture.min()), float(picture.max()), head.bits)
    shown, notes = "range", []
    if voi == "none":
        grey, shown = greyscale.ranged(values, *_representable(head)), "none"
    elif isinstance(voi, tuple):
        grey, shown = greyscale.windowed(values, greyscale.Window(*voi)), f"{voi[0]:g}/{voi[1]:g}"
    elif head.voi_lut is not None:
        grey, shown = greyscale.voi_table(values, head.voi_lut), "file"
    elif head.windows:
        grey, shown = greyscale.windowed(values, head.windows[0]), "file"
    else:
        grey = greyscale.ranged(values, *plain_range)
    if shown == "file" and _levels(grey[valid]) < LEAST_LEVELS <= picture.size:
        grey, shown = greyscale.ranged(values, *plain_range), "range"
        notes = ["The file's grey-scale window would leave next to no contrast; the full range of values was used."]
    return greyscale.polarised(grey, head.inverted), shown, notes


def _modality(stored: NDArray[np.float64], head: Header) -> NDArray[np.float64]:
    if head.modality_lut is not None:
        return greyscale.looked_up(stored, head.modality_lut)
    return greyscale.rescaled(stored, head.slope, head.intercept)


def _representable(head: Header) -> tuple[float, float]:
    """Lowest and highest value that the modality step can give."""
    if head.modality_lut is not None:
        return 0.0, 2.0**head.modality_lut.bits - 1
    low = -(2.0 ** (head.bits - 1)) if head.signed else 0.0
    ends = greyscale.rescaled(np.array([low, low + 2.0**head.bits - 1]), head.slope, head.intercept)
    return float(ends.min()), float(ends.max())


def _levels(grey: NDArray[np.float64]) -> int:
    return int(np.unique(np.round(grey * 255)).size)
