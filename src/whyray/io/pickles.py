"""Reads tensors out of a published whole-model pickle without running any of it. Only in a child process: ``convert``.

Every class and function that the pickle names becomes an inert stub that keeps its state and does nothing. What is left
of a module is its tree of ``_parameters``, ``_buffers`` and ``_modules``: that is the state dict. Both of torch's own
layouts are read (the zip, and the older stream of pickles), without torch.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..errors import WeightsError
from .weights import check_zip, read_bytes
from .whole import write_whole

MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of torch's older layout
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
MOST_DEPTH, MOST_TENSORS = 64, 100_000


class Stub:
    """An inert object in place of whatever class the pickle names: it takes anything and does nothing."""

    state: Mapping[str, Any] = {}

    def __new__(cls, *_given: object, **_named: object) -> Stub:
        return super().__new__(cls)

    def __call__(self, *_given: object, **_named: object) -> Stub:
        return Stub()

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, Mapping) else {}

    def append(self, _value: object) -> None:
        """Nothing."""

    def extend(self, _values: object) -> None:
        """Nothing."""

    def __setitem__(self, _key: object, _value: object) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Storage:
    """A block of numbers somewhere in the file."""

    dtype: str
    key: str
    numel: int


@dataclass(frozen=True)
class Stored:
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def state_dict(data: bytes, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Tensors by name, from either layout. Raises WeightsError."""
    try:
        root, blocks = _from_zip(data, name) if data[:2] == b"PK" else _from_stream(data)
        found = dict(islice(_walk(root), MOST_TENSORS))
        return {key: _array(stored, blocks) for key, stored in found.items()}
    except WeightsError:
        raise
    except Exception:  # a hostile file may make the unpickler raise anything; it is refused, and nothing else is tried
        raise WeightsError(f"{name} cannot be read as a torch file; download it again") from None


class Inert(pickle.Unpickler):
    """An unpickler that imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _rebuilt
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _first
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        return type("Stub", (Stub,), {})

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or not pid:
            raise pickle.UnpicklingError("odd persistent id")
        if pid[0] == "module":  # (kind, class, source file, source): the class is a stub already
            return pid[1]
        _kind, dtype, key, _location, numel = pid[:5]
        if dtype not in STORAGES.values() or not isinstance(numel, int) or (len(pid) > 5 and pid[5] is not None):
            raise pickle.UnpicklingError("odd storage")
        return Storage(dtype, str(key), numel)


def _rebuilt(storage: Any, offset: Any, size: Any, stride: Any, *_rest: object) -> Stored:
    """In place of ``torch._utils._rebuild_tensor_v2``."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or len(size) != len(stride) or len(size) > 8:
        raise pickle.UnpicklingError("odd tensor")
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in numbers):
        raise pickle.UnpicklingError("odd tensor")
    return Stored(storage, offset, tuple(size), tuple(stride))


def _first(value: Any, *_rest: object) -> Any:
    """In place of ``torch._utils._rebuild_parameter``."""
    return value


def _from_zip(data: bytes, name: str) -> tuple[Any, dict[str, bytes]]:
    check_zip(data, name)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        top = next(n for n in archive.namelist() if n.endswith("data.pkl")).removesuffix("data.pkl")
        root = Inert(io.BytesIO(archive.read(top + "data.pkl"))).load()
        names = [n for n in archive.namelist() if n.startswith(top + "data/")]
        return root, {n.removeprefix(top + "data/"): archive.read(n) for n in names}


def _from_stream(data: bytes) -> tuple[Any, dict[str, bytes]]:
    """torch's older layout: magic, version, facts, object and storage keys as pickles, then the storages."""
    stream = io.BytesIO(data)
    if Inert(stream).load() != MAGIC:
        raise pickle.UnpicklingError("not torch's older layout")
    Inert(stream).load(), Inert(stream).load()
    reader = _Noting(stream)
    root = reader.load()
    keys, blocks = Inert(stream).load(), {}
    for key in keys:
        storage = reader.storages[str(key)]
        (numel,) = struct.unpack("<q", stream.read(8))
        if numel != storage.numel:
            raise pickle.UnpicklingError("a storage of another length")
        blocks[str(key)] = stream.read(numel * np.dtype(storage.dtype).itemsize)
    return root, blocks


class _Noting(Inert):
    """Remembers the storages it meets: the older layout needs their types to read them."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, Storage] = {}

    def persistent_load(self, pid: Any) -> Any:
        found = super().persistent_load(pid)
        if isinstance(found, Storage):
            self.storages[found.key] = found
        return found


def _walk(node: Any, prefix: str = "", seen: frozenset[int] = frozenset()) -> Iterator[tuple[str, Stored]]:
    """(name, tensor) of a module's remains, or of a plain mapping (also one inside "state_dict")."""
    if len(seen) > MOST_DEPTH or id(node) in seen:
        raise pickle.UnpicklingError("too deep, or a module inside itself")
    if isinstance(node, Stub):
        for kind in ("_parameters", "_buffers"):
            held = node.state.get(kind, {})
            yield from ((prefix + str(k), v) for k, v in held.items() if isinstance(v, Stored))
        for name, part in node.state.get("_modules", {}).items():
            yield from _walk(part, f"{prefix}{name}.", seen | {id(node)})
    elif isinstance(node, Mapping):
        inner = node.get("state_dict", node)
        yield from ((str(k), v) for k, v in inner.items() if isinstance(v, Stored))


def _array(stored: Stored, blocks: Mapping[str, bytes]) -> np.ndarray[Any, Any]:
    """The tensor's own numbers; its view must lie inside the storage."""
    flat = np.frombuffer(blocks[stored.storage.key], stored.storage.dtype)
    last = stored.offset + sum((n - 1) * step for n, step in zip(stored.size, stored.stride, strict=True))
    count = math.prod(stored.size)
    if len(flat) != stored.storage.numel or count > len(flat) or (count and last >= len(flat)):
        raise pickle.UnpicklingError("a view outside its storage")
    if not count:
        return np.zeros(stored.size, flat.dtype)
    steps = tuple(n * flat.itemsize for n in stored.stride)
    return np.lib.stride_tricks.as_strided(flat[stored.offset :], stored.size, steps, writeable=False).copy()


def main(source: str, sha256: str, target: str) -> None:
    """What the child does: pickle in, safetensors out."""
    from safetensors.numpy import save

    arrays = state_dict(read_bytes(source, sha256=sha256), source.rpartition("/")[2])
    if not arrays:
        raise WeightsError("the file holds no tensors")
    write_whole(target, save(arrays))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4])
    except WeightsError as error:
        sys.exit(str(error))
