"""NIfTI radiographs (optional): one slice, turned to display orientation."""

from __future__ import annotations

import gzip
import io
import zlib

import numpy as np

from ..errors import MissingExtra
from .dicom_pixels import check_size
from .greyscale import natural_range
from .limits import limits
from .picture import Picture
from .refusal import Malformed

HEADER = 348


def read_nifti(data: bytes) -> Picture:
    """A 2-D NIfTI-1 file, or a 3-D one with a single slice. Raises Malformed, or MissingExtra without nibabel."""
    plain = _plain(data)
    if plain[344:348] not in (b"n+1\0", b"ni1\0") or len(plain) < HEADER:
        raise Malformed("it is no single-file NIfTI-1 picture")
    try:
        import nibabel
    except ImportError:
        raise MissingExtra("nibabel", "reading NIfTI", "nifti") from None
    sides = _sides(plain)
    check_size(sides[1], sides[0])
    try:
        image = nibabel.Nifti1Image.from_stream(io.BytesIO(plain))
        codes = nibabel.aff2axcodes(image.affine)  # type: ignore[no-untyped-call]
        stored = np.asarray(image.dataobj)
        zooms = [float(z) for z in image.header.get_zooms()]  # type: ignore[no-untyped-call]
    except Exception:  # nibabel raises many kinds; none of its words may be shown
        raise Malformed("its NIfTI structure is damaged or ends in the middle") from None
    if stored.dtype.kind not in "iuf" or not np.isfinite(stored).all():
        raise Malformed("its NIfTI values are no plain numbers")
    values, spacing = _displayed(stored, codes, zooms)
    low, high = natural_range(float(values.min()), float(values.max()), 16)
    pixels = ((values - low) / max(high - low, 1e-30)).astype(np.float32)
    facts = {"format": "NIfTI", "axes": "".join(code or "?" for code in codes)}
    note = "NIfTI does not say which grey is air; bright was taken as dense."
    return Picture(np.ascontiguousarray(pixels), stored.dtype.itemsize * 8, facts, (note,), "range", spacing)


def _displayed(
    stored: np.ndarray, codes: tuple[str | None, ...], zooms: list[float]
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """``[h, w]``: rows run to the feet (or as stored), columns to the patient's left, as a reader faces him."""
    kept = [i for i, n in enumerate(stored.shape) if n > 1]
    if len(kept) != 2:
        raise Malformed("its NIfTI picture is no single slice", "give one radiograph a file")
    plane = stored.reshape([stored.shape[i] for i in kept]).astype(np.float64)
    axes = [codes[i] if i < len(codes) else None for i in kept]
    if axes[0] in ("L", "R"):
        plane, axes, kept = plane.T, axes[::-1], kept[::-1]
    if axes[0] in ("S", "A"):
        plane = plane[::-1]
    if axes[1] == "R":
        plane = plane[:, ::-1]
    spacing = (zooms[kept[0]], zooms[kept[1]]) if all(0.01 <= zooms[i] <= 10 for i in kept) else None
    return plane, spacing


def _sides(plain: bytes) -> tuple[int, int]:
    for order in ("<i2", ">i2"):
        dims = np.frombuffer(plain[40:56], order)
        if 1 <= dims[0] <= 7:
            kept = [int(d) for d in dims[1 : 1 + int(dims[0])] if d != 1]
            if len(kept) != 2 or min(kept) < 1:
                raise Malformed("its NIfTI picture is no single slice", "give one radiograph a file")
            return kept[0], kept[1]
    raise Malformed("its NIfTI header is damaged")


def _plain(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            plain = file.read(limits().plain_bytes + 1)
    except (OSError, EOFError, zlib.error):
        raise Malformed("its gzip data are damaged or incomplete") from None
    if len(plain) > limits().plain_bytes:
        raise Malformed(f"it takes more than {limits().plain_bytes >> 20} MiB")
    return plain
