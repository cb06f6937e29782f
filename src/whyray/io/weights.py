"""The only place that reads a weights file: safetensors, or ``torch.load(weights_only=True)`` with no fallback.

A file is read once into memory, so what was hashed and checked is what is loaded. Whole-model pickles are refused here;
``io/pickles.py`` converts a published one, once, in a child process.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError, clipped, printable
from .whole import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_BYTES = 8 << 30
MOST_HEADER = 100_000_000  # as the safetensors format itself says
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network")
_ITEM_SIZES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "F64": 8,
    "I64": 8,
    "U64": 8,
}


def load_weights(path: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, Tensor]:
    """Name -> tensor of a safetensors file, or of a torch zip that holds a state dict; all finite, on the CPU.

    A known wrapper (``{"state_dict": ...}``) is opened. Raises WeightsError for anything else.
    """
    data = read_bytes(path, sha256=sha256)
    name = _label(path)
    tensors = _from_zip(data, name) if data[:4] == b"PK\x03\x04" else _from_safetensors(data, name)
    _check_finite(tensors, name)
    return tensors


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Fill a module: names, shapes and dtypes must be exactly those it declares. Raises WeightsError else."""
    declared = module.state_dict()
    missing, extra = sorted(set(declared) - set(tensors)), sorted(set(tensors) - set(declared))
    if missing or extra:
        found = [
            f"{len(names)} {what} (first: {_shown(names[0])})"
            for names, what in ((missing, "missing"), (extra, "unknown"))
            if names
        ]
        raise WeightsError(f"{source} does not fit the network: {' and '.join(found)} tensors; name its architecture")
    for key, want in declared.items():
        came = tensors[key]
        if came.shape != want.shape or came.dtype != want.dtype:
            raise WeightsError(
                f"{source}: {key} is {tuple(came.shape)} {came.dtype}, and the network wants {tuple(want.shape)} "
                f"{want.dtype}; give the matching architecture and number of findings"
            )
    empty = any(p.is_meta for p in module.parameters())
    module.load_state_dict(dict(tensors), strict=True, assign=empty)


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As artefacts store them: float16, where that can hold the numbers."""
    import torch

    most = torch.finfo(torch.float16).max
    small = {k: v.is_floating_point() and bool((v.abs() <= most).all()) for k, v in tensors.items()}
    return {k: v.half() if small[k] else v for k, v in tensors.items()}


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse, rounding kept: every float as float32."""
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def save_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> str:
    """Write safetensors beside the target and rename; returns the sha256 of the file."""
    from safetensors.torch import save

    data = save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, dict(metadata or {}))
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def read_bytes(path: str | os.PathLike[str], *, sha256: str | None = None) -> bytes:
    """A regular file of a sane size, whole; its hash is checked before anyone looks inside."""
    name = _label(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise WeightsError(f"{name} cannot be read: {error.strerror or 'no such file'}") from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or not 8 < facts.st_size <= MOST_BYTES:
        os.close(handle)
        raise WeightsError(f"{name} is no weights file: give a regular file of 9 bytes to {MOST_BYTES >> 30} GiB")
    with os.fdopen(handle, "rb") as file:
        if not any(file.read(9)):  # no format begins with zeros: a file that was never written, maybe of any size
            raise WeightsError(f"{name} begins with zeros: it was never written in full; download it again")
        file.seek(0)
        data = file.read(facts.st_size)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise WeightsError(f"{name} does not have the expected sha256 {sha256[:12]}…; download it again")
    return data


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hash of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_safetensors(data: bytes, name: str) -> dict[str, Any]:
    """The header of a safetensors file whose parts lie exactly end to end. Raises WeightsError else."""
    length = int.from_bytes(data[:8], "little")
    if length > min(MOST_HEADER, len(data) - 8) or data[8:9] != b"{":
        raise WeightsError(f"{name} is neither safetensors nor a torch zip; save it with safetensors.torch.save_file")
    try:
        header: dict[str, Any] = json.loads(data[8 : 8 + length], object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise WeightsError(f"{name} has a broken safetensors header; save or download it again") from None
    end = 0
    for key, begin, stop, size in sorted(_spans(header, name), key=lambda span: span[1:3]):
        if begin != end or stop - begin != size:
            raise WeightsError(f"{name}: {_shown(key)} does not fit its shape or place; download it again")
        end = stop
    if end != len(data) - 8 - length:
        raise WeightsError(f"{name} ends too early or too late for its header; download it again")
    return header


def _spans(header: Mapping[str, Any], name: str) -> Iterator[tuple[str, int, int, int]]:
    """(key, begin, end, bytes its shape needs) of each tensor."""
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        try:
            size = _ITEM_SIZES[entry["dtype"]]
            for side in entry["shape"]:
                if type(side) is not int or side < 0:
                    raise ValueError
                size *= side
            begin, stop = entry["data_offsets"]
            if type(begin) is not int or type(stop) is not int or begin < 0:
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise WeightsError(f"{name} has a broken entry {_shown(key)}; download it again") from None
        yield key, begin, stop, size


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _from_safetensors(data: bytes, name: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    check_safetensors(data, name)
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError):
        raise WeightsError(f"{name} is refused by safetensors; download it again") from None
    return tensors


def check_zip(data: bytes, name: str) -> None:
    """A torch zip is stored, not compressed, and its members stay inside it. Raises WeightsError else."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise WeightsError(f"{name} is a broken zip; download it again") from None
    names = [m.filename for m in members]
    bad = (
        len(set(names)) != len(names)
        or sum(m.file_size for m in members) > len(data)
        or any(m.compress_type != zipfile.ZIP_STORED or stat.S_ISLNK(m.external_attr >> 16) for m in members)
        or any(n.startswith(("/", "\\")) or ".." in n.replace("\\", "/").split("/") for n in names)
    )
    if bad or not any(n.endswith("data.pkl") for n in names):
        raise WeightsError(f"{name} is a zip that torch.save did not write; save the state dict as safetensors")


def _from_zip(data: bytes, name: str) -> dict[str, Tensor]:
    check_zip(data, name)
    try:
        loaded = only_tensors(data)
    except Exception:  # whatever a hostile file makes the restricted unpickler raise: refuse, never try harder
        raise WeightsError(
            f"{name} holds more than tensors, or is broken; save only the state dict: "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
        ) from None
    return _state_dict(loaded, name, most=4 * len(data))


def only_tensors(data: bytes) -> object:
    """What a torch zip holds, as long as it is tensors and plain containers; raises whatever torch raises else."""
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _state_dict(loaded: object, name: str, most: int) -> dict[str, Tensor]:
    """The tensors of a plain or wrapped state dict; a ``module.`` prefix (DataParallel) is taken off."""
    import torch

    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise WeightsError(f"{name} holds no state dict; save model.state_dict()")
    if not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in loaded.items()):
        raise WeightsError(f"{name} holds values that are not tensors; save model.state_dict() alone")
    if sum(t.numel() * t.element_size() for t in loaded.values()) > most:
        raise WeightsError(f"{name} claims tensors larger than the file; save the state dict again")
    prefix = "module." if all(k.startswith("module.") for k in loaded) else ""
    return {k[len(prefix) :]: v.detach() for k, v in loaded.items()}


def _check_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    import torch

    for key, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
            raise WeightsError(f"{name}: {_shown(key)} is not finite; the training diverged, or the file is damaged")


def _shown(key: str) -> str:
    return repr(clipped(printable(key), 60))


def _label(path: str | os.PathLike[str]) -> str:
    return clipped(printable(os.path.basename(os.fspath(path))), 64)
