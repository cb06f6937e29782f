"""Files that are whole or not there: bytes beside the target, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DiskFullError, SettingError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.EISDIR})


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: ``whole_file`` of bytes that are there."""
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write that appears whole or not at all, also when power fails; a folder in its place is set aside,
    never deleted.

    Several may write one file at a time: it is then what one of them gave. What was begun is taken away on errors.
    """
    target = Path(path)
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    if target.is_dir():
        target.rename(target.with_name(f"{target.name}.aside-{os.getpid()}"))
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def in_turn(folder: str | os.PathLike[str]) -> Iterator[None]:
    """One at a time, among threads and runs, for short work on what sums a folder up; the others wait.

    The kernel holds the lock, so nobody waits for a run that was killed; a file system without locks goes without.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def disk_errors(folder: str | os.PathLike[str]) -> Iterator[None]:
    """A full disk, or a folder that cannot be written, as whyray's own errors."""
    try:
        yield
    except OSError as error:
        if error.errno in DENIED:
            raise SettingError(f"{os.fspath(folder)} is no folder that can be written; give another one") from None
        if error.errno not in FULL:
            raise
        raise DiskFullError(f"no room left on the disk of {os.fspath(folder)}; free some and run again") from None
