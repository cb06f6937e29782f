"""Bytes of one regular file, and nothing else: no pipe, no device, no file that is too large."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import InputError, clipped, printable
from .limits import limits

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".dcm", ".dicom", ".dic", ".ima", ".nii")


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The whole file. Raises InputError for what is missing, special, empty, too large or unreadable."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not hang the open
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "check the path") from None
    except (OSError, ValueError):
        raise InputError(path, "the file cannot be opened", "check its permissions and the path") from None
    try:
        return _all_of(handle, _regular_size(handle, path), path)
    except OSError:
        raise InputError(path, "the file cannot be read", "check the disk and copy the file again") from None
    finally:
        os.close(handle)


def stdin_bytes(source: str, handle: int) -> bytes:
    """What comes through a pipe, up to the file limit. Raises InputError for nothing or too much."""
    most, parts, total = limits().file_bytes, [], 0
    while part := os.read(handle, 1 << 20):
        total += len(part)
        if total > most:
            raise InputError(source, f"more than {most >> 20} MiB came", "give one radiograph")
        parts.append(part)
    if not parts:
        raise InputError(source, "nothing came", "pipe one picture in")
    return b"".join(parts)


def label(path: str | os.PathLike[str]) -> str:
    """The file's name without its suffix, for tables and folders: printable, at most 100 characters, no path."""
    name = Path(os.fspath(path)).name
    for suffix in (".gz", *SUFFIXES):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            name = name[: -len(suffix)]
    return clipped(printable(name).strip(), 100) or "radiograph"


def _regular_size(handle: int, path: str | os.PathLike[str]) -> int:
    facts = os.fstat(handle)
    if stat.S_ISDIR(facts.st_mode):
        raise InputError(path, "this is a folder", "name the pictures in it")
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(path, "this is no regular file (a pipe, a socket or a device)", "give a picture file")
    if facts.st_size == 0:
        raise InputError(path, "the file is empty", "copy it again from its source")
    if facts.st_size > limits().file_bytes:
        raise InputError(path, f"the file is over {limits().file_bytes >> 20} MiB", "give one radiograph a file")
    return facts.st_size


def _all_of(handle: int, size: int, path: str | os.PathLike[str]) -> bytes:
    parts, left = [], size
    while left and (part := os.read(handle, left)):  # one part, as a rule
        parts.append(part)
        left -= len(part)
    if left:
        raise InputError(path, "the file became shorter while it was read", "wait until it is written, then try again")
    return parts[0] if len(parts) == 1 else b"".join(parts)
