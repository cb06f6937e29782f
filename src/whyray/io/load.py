"""The one door for pictures: ``load_image`` takes a file to a Radiograph, or says in one sentence why not."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import InputError, SettingError
from ..types import Radiograph, Voi
from . import files
from .child import DecodeFailed
from .picture import Picture
from .refusal import AGAIN, Malformed

LEAST_LEVELS, MOST_OF_ONE_VALUE = 16, 0.98
SUFFIXES = {
    "DICOM": (".dcm", ".dicom", ".dic", ".ima", ""),
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe"),
    "TIFF": (".tif", ".tiff"),
    "NIfTI": (".nii", ".gz"),
}
OTHERS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"RIFF", "a WebP or other RIFF file"),
    (b"<", "a web page or XML"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000 file"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"II+\0", "a BigTIFF"),
    (b"MM\0+", "a BigTIFF"),
)
DECODING = {
    "incomplete": "its compressed picture is incomplete",
    "damaged": "its compressed picture is damaged",
    "unsupported": "its compression is not supported",
    "memory": "decoding it needs too much memory",
    "time": "decoding it takes too long",
    "crash": "its compressed picture broke the decoder",
    "missing": "the package imagecodecs, which decodes it, is missing or broken",
}


def load_image(path: str | os.PathLike[str], *, voi: Voi = "file", salt: str | None = None) -> Radiograph:
    """Read one radiograph: PNG, JPEG, TIFF, DICOM or NIfTI, known by content; ``-`` reads standard input.

    voi   "file" = the file's own VOI LUT or first window, else its range of values; "none" = all values that its bits
          can hold; (centre, width) = that window. Only DICOM pictures have a window.
    salt  of the patient key; by default WHYRAY_SALT, else random for this process.
    Returns pixels float32 ``[h, w]``, 0 = black .. 1 = white. Raises InputError (one sentence, no tag value in it)
    for every file that is refused; what is odd but readable is in ``warnings``.
    """
    _check_voi(voi)
    try:
        piped = os.fspath(path) == "-"
        data = files.stdin_bytes("standard input", sys.stdin.fileno()) if piped else files.read_file(path)
        return decode_image(data, path, voi=voi, salt=salt)
    except MemoryError:
        raise InputError(path, "there is not enough memory to read it", "close other programs") from None


def decode_image(
    data: bytes, path: str | os.PathLike[str], *, voi: Voi = "file", salt: str | None = None
) -> Radiograph:
    """The same from bytes (an upload); ``path`` only names it. Raises InputError."""
    kind, read = _reader(data, path, voi, salt)
    try:
        picture = read(data)
    except Malformed as refused:
        raise InputError(path, refused.reason, refused.remedy) from None
    except DecodeFailed as failed:
        raise InputError(path, DECODING.get(failed.reason, DECODING["damaged"]), AGAIN) from None
    _check_levels(picture, path)
    suffix = Path(os.fspath(path)).suffix.lower()
    known = {s for suffixes in SUFFIXES.values() for s in suffixes if s}
    renamed = suffix in known and suffix not in SUFFIXES[kind]
    name = "stdin" if os.fspath(path) == "-" else files.label(path).encode("utf-8", "replace").decode()
    return Radiograph(
        picture.pixels,
        bits=picture.bits,
        spacing_mm=picture.spacing_mm,
        view=picture.view,
        laterality=picture.laterality,
        voi=picture.voi,
        facts=picture.facts,
        sha256=hashlib.sha256(data).hexdigest(),
        warnings=((f"The file is {kind}, though its name says otherwise.",) if renamed else ()) + picture.warnings,
        patient_key=picture.patient_key,
        name=name,
    )


def _reader(
    data: bytes, path: str | os.PathLike[str], voi: Voi, salt: str | None
) -> tuple[str, Callable[[bytes], Picture]]:
    """Format by content. Each reader is imported when a file needs it."""
    if data[128:132] == b"DICM":
        from .dicom import read_dicom

        return "DICOM", lambda d: read_dicom(d, voi, salt)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        from .png import read_png

        return "PNG", read_png
    if data.startswith(b"\xff\xd8\xff"):
        from .images import read_jpeg

        return "JPEG", read_jpeg
    if data[:4] in (b"II*\0", b"MM\0*"):
        from .images import read_tiff

        return "TIFF", read_tiff
    if data[344:348] == b"n+1\0" or os.fspath(path).lower().endswith((".nii", ".nii.gz")):
        from .nifti import read_nifti

        return "NIfTI", read_nifti
    what = next((name for magic, name in OTHERS if data.startswith(magic)), None)
    reason = f"it is {what}" if what else "it is no PNG, JPEG, TIFF or DICOM file (or its beginning is damaged)"
    raise InputError(path, reason, "give a radiograph as DICOM, PNG, JPEG or TIFF")


def _check_levels(picture: Picture, path: str | os.PathLike[str]) -> None:
    """Raises InputError for a picture that is blank or has next to no grey levels."""
    pixels = picture.pixels
    if not np.isfinite(pixels).all():
        raise InputError(path, "some of its grey values are no numbers", AGAIN)
    sample = pixels if pixels.size < 4_000_000 else pixels[:: max(1, pixels.shape[0] // 1000)]
    counts = np.bincount((sample * 4095).astype(np.int32).ravel(), minlength=4096)
    levels = np.count_nonzero(counts)
    if counts.max() > MOST_OF_ONE_VALUE * sample.size:
        raise InputError(path, "(nearly) every pixel has the same value", "check how it was exported")
    if levels < LEAST_LEVELS:
        raise InputError(path, f"it has only {levels} grey levels", "give the original picture")


def _check_voi(voi: Voi) -> None:
    if voi in ("file", "none"):
        return
    if not isinstance(voi, tuple) or len(voi) != 2 or not voi[1] > 0:
        raise SettingError(f"voi={voi!r}: give 'file', 'none' or (centre, width) with a width above 0")
