"""Files that are whole or not there: bytes beside the target, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFullError, SettingError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.EISDIR})


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all, also when power fails; a folder in its place is set aside, never deleted."""
    target = Path(path)
    part = target.with_name(target.name + ".part")
    if target.is_dir():
        target.rename(target.with_name(f"{target.name}.aside-{os.getpid()}"))
    with open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, target)
    handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
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
