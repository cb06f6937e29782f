"""Files that are no pictures: pipes, devices, links, archives, pages, noise; and NIfTI."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from corpus import BASE, COLUMNS, ROWS, Case
from writers import dicom, png


def cases() -> Iterator[Case]:
    yield from nodes()
    yield from others()
    yield from names()
    yield from nifti()


def sparse(path: Path, size: int, start: bytes = b"") -> None:
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(size)


def socket_at(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has room for 107 bytes only
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(here)


def nodes() -> Iterator[Case]:
    start = dicom(BASE)[:400]
    yield Case("fifo.dcm", lambda p: os.mkfifo(p), "refuse", "regular file")
    yield Case("zero.dcm", lambda p: p.symlink_to("/dev/zero"), "refuse", "regular file")
    yield Case("random.png", lambda p: p.symlink_to("/dev/urandom"), "refuse", "regular file")
    yield Case("socket.png", socket_at, "refuse", "")
    yield Case("folder.dcm", lambda p: p.mkdir(), "refuse", "folder")
    yield Case("missing.png", lambda p: None, "refuse", "no such file")
    yield Case("dangling.png", lambda p: p.symlink_to("nowhere"), "refuse", "no such file")
    yield Case("round.png", lambda p: p.symlink_to(p.name), "refuse", "")
    yield Case("sparse_8gb.dcm", lambda p: sparse(p, 8 << 30), "refuse", "256 MiB")
    yield Case("sparse_8gb_with_start.dcm", lambda p: sparse(p, 8 << 30, start), "refuse", "256 MiB")
    yield Case("sparse_200mb.dcm", lambda p: sparse(p, 200 << 20), "refuse", "no PNG")
    yield Case("sparse_200mb_with_start.dcm", lambda p: sparse(p, 200 << 20, start), "refuse", "")
    yield Case("sparse_200mb.png", lambda p: sparse(p, 200 << 20, png(BASE)[:60]), "refuse", "")
    yield Case("sparse_200mb.jpg", lambda p: sparse(p, 200 << 20, b"\xff\xd8\xff\xe0\0\x10JFIF\0"), "refuse", "")


def others() -> Iterator[Case]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("a.png"), png(BASE))
    array = io.BytesIO()
    np.save(array, BASE)
    rng = np.random.default_rng(11)
    bad = {
        "empty.png": (b"", "empty"),
        "archive.zip": (archive.getvalue(), "ZIP"),
        "packed.png.gz": (gzip.compress(png(BASE)), "gzip"),
        "page.dcm": (b"<!DOCTYPE html><title>Login</title>", "web page"),
        "paper.pdf": (b"%PDF-1.7\n" + bytes(99), "PDF"),
        "old.gif": (b"GIF89a" + bytes(99), "GIF"),
        "old.bmp": (b"BM" + bytes(99), "BMP"),
        "new.webp": (b"RIFF\0\0\0\0WEBP" + bytes(99), "WebP"),
        "array.npy": (array.getvalue(), "NumPy"),
        "pickle.dcm": (pickle.dumps([1, 2]), "pickle"),
        "text.txt": (b"two lungs\n" * 50, "no PNG"),
        "one_byte.png": (b"\x89", "no PNG"),
        "zeros.dcm": (bytes(5000), "no PNG"),
        "bare.j2k": (b"\xff\x4f\xff\x51" + bytes(50), "JPEG 2000"),
    }
    for name, (content, says) in bad.items():
        yield Case(name, content, "refuse", says)
    for i in range(10):
        yield Case(f"noise_{i}.dcm", rng.bytes(int(rng.integers(1, 5000))), "refuse", "")
    for i in range(6):
        yield Case(f"noise_dicom_{i}.dcm", bytes(128) + b"DICM" + rng.bytes(3000), "refuse", "")
    for i in range(6):
        yield Case(f"noise_png_{i}.png", png(BASE)[: 33 + i * 8] + rng.bytes(3000), "refuse", "")
    for i in range(6):
        yield Case(f"noise_jpeg_{i}.jpg", b"\xff\xd8\xff" + rng.bytes(3000), "refuse", "")


def names() -> Iterator[Case]:
    data = png(BASE)
    for name in (
        "name with spaces.png",
        "нейм 中文 é.png",
        "no_suffix",
        "-o.png",
        "UPPER.PNG",
        "a.b.c.png",
        "x" * 240 + ".png",
    ):
        yield Case(name, data, "same")
    for name in ("new\nline.png", "esc\x1b[31mape.png", "<script>.png", "'; drop.png", "=1+1.png", "y" * 240 + ".png"):
        yield Case(name, data[:50], "refuse", "")


def nifti() -> Iterator[Case]:
    good = nifti_file(BASE.T)
    yield Case("good.nii", good, "accept", "which grey")
    yield Case("good.nii.gz", gzip.compress(good), "accept", "which grey")
    yield Case("bad_cut.nii", good[:9000], "refuse", "")
    yield Case("bad_volume.nii", nifti_file(np.repeat(BASE.T[:, :, None], 5, axis=2)), "refuse", "single slice")
    yield Case("bad_header.nii", good[:340] + bytes(8) + good[348:], "refuse", "NIfTI")
    yield Case("bad_gzip.nii.gz", gzip.compress(good)[:3000], "refuse", "gzip")
    yield Case("bad_gzip_bomb.nii.gz", gzip.compress(bytes(300 << 20), 1), "refuse", "MiB")
    yield Case("bad_huge.nii", good[:42] + struct.pack("<2h", 30000, 30000) + good[46:], "refuse", "million")


def nifti_file(values: np.ndarray) -> bytes:
    """NIfTI-1, uint8, axes to the patient's right and to the head (``values[x, z]``)."""
    dims = [values.ndim, *values.shape, *[1] * (7 - values.ndim)]
    head = struct.pack("<i", 348) + bytes(36) + struct.pack("<8h", *dims) + bytes(14) + struct.pack("<3h", 2, 8, 0)
    head += struct.pack("<8f", 1, 0.5, 0.25, 1, 1, 1, 1, 1) + struct.pack("<3f", 352, 1, 0)
    head = head.ljust(252, b"\0") + struct.pack("<2h", 0, 1) + bytes(24)
    head += struct.pack("<12f", 0.5, 0, 0, 0, 0, 0, 1, 0, 0, 0.25, 0, 0)
    return head.ljust(344, b"\0") + b"n+1\0" + bytes(4) + np.asfortranarray(values).tobytes(order="F")


SIZE = (ROWS, COLUMNS)
