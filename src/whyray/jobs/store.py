"""Results that are made once: a folder of cells, each named by the hash of everything it depends on.

A cell is one ``.npz`` of plain arrays with its facts as JSON inside, so it is whole or not there. What is damaged (the
hash of an array is not the one in its facts) is as good as missing, and is made again.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.whole import disk_errors, write_whole
from ..types import array_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

FACTS = "__facts__"
_DAMAGED = (ValueError, TypeError, KeyError, OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Result:
    """What a cell holds: arrays by name, and JSON-able facts."""

    arrays: Arrays = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]


def cell_key(facts: Mapping[str, Any]) -> str:
    """sha256 of the facts as JSON with sorted keys: two cells with equal facts are one cell.

    Raises TypeError for what JSON cannot hold: a key that depends on how an object prints would not be stable.
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Store:
    """A folder of cells. Several processes may read and write it: the last one that writes a cell wins, whole."""

    folder: Path

    def path(self, key: str) -> Path:
        """Where the cell of this key lies."""
        return self.folder / key[:2] / f"{key}.npz"

    def get(self, key: str) -> Result | None:
        """The cell, or None where it is missing or damaged. Arrays are never unpickled."""
        try:
            with np.load(io.BytesIO(self.path(key).read_bytes()), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            told = json.loads(arrays.pop(FACTS).tobytes())
            if told["key"] != key or told["sha256"] != _hashes(arrays):
                return None
            return Result(arrays, told["facts"])
        except _DAMAGED:
            return None

    def put(self, key: str, arrays: Arrays, facts: Mapping[str, Any] | None = None) -> Result:
        """Write a cell, whole. Raises DiskFullError, and SettingError where the folder cannot be written."""
        plain = {name: np.asarray(value) for name, value in arrays.items()}
        if wrong := [name for name, value in plain.items() if value.dtype.hasobject or name == FACTS]:
            raise TypeError(f"a cell holds plain arrays; {wrong[0]!r} is none")
        told = json.dumps({"key": key, "sha256": _hashes(plain), "facts": dict(facts or {})})
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{**plain, FACTS: np.frombuffer(told.encode(), np.uint8)})  # type: ignore[arg-type]
        with disk_errors(self.folder):
            self.path(key).parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path(key), buffer.getvalue())
        return Result(plain, json.loads(told)["facts"])

    def have(self, facts: Mapping[str, Any], make: Callable[[], Arrays]) -> Result:
        """The cell with these facts: as it was kept, or made now and kept."""
        key = cell_key(facts)
        return self.get(key) or self.put(key, make(), facts)

    def keys(self) -> Iterator[str]:
        """Keys of all cells, damaged ones included."""
        return (path.stem for path in sorted(self.folder.glob("??/*.npz")))


def _hashes(arrays: Arrays) -> dict[str, str]:
    return {name: array_hash(np.asarray(value)) for name, value in sorted(arrays.items())}
