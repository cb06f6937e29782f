"""Reads exported programs: torch.export, TorchScript and ONNX. A file of weights alone goes through ``weights.py``.

An exported file is a program. Before torch may open a ``.pt2``, everything its own reader would unpickle or evaluate is
refused here; native code (AOTInductor) is refused; an ONNX file is parsed in a child process and must be a single file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import MissingExtra, WeightsError, clipped, printable
from .sandbox import run_module
from .weights import only_tensors, read_bytes

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["export", "script", "onnx"]
MOST_INFLATED = 4 << 30
# What a program may call, and the names its size expressions may hold (torch evaluates those expressions).
TARGET = re.compile(r"torch\.ops\.(aten|prims|higher_order)\.\w+(\.\w+)?|_operator\.\w+|math\.\w+|torch\.sym_\w+")
BANNED_TARGETS = re.compile(r"from_file|save|load|print|attrgetter|methodcaller|itemgetter|call\b")
NAME = re.compile(
    r"(s|u|f|zuf|zf)\d+|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilToInt|FloorToInt|TruncToInt|IntTrueDiv|Eq|Ne"
)
EXPORT_MEMBERS = {
    "models/model.json",
    "data/sample_inputs/model.pt",
    "archive_format",
    "archive_version",
    "byteorder",
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
}
MOVES = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")  # ONNX: no number changes
PLAIN = re.compile(r"data/weights/weight_\d+|data/constants/tensor_\d+|\.data/\w+")  # raw numbers, and a serial
SYMBOL = re.compile(r"Symbol\('((?:s|u|f|zuf|zf)\d+)'(?:, (?:positive|nonnegative|integer|real)=(?:True|False))*\)")
EXPRESSION = re.compile(r"[\w\s+*/(),<>=&|~-]*")


def kind_of(data: bytes, name: str) -> Kind:
    """What a file is, from its content. Raises WeightsError for anything else."""
    if data[:4] != b"PK\x03\x04":
        if name.endswith(".onnx"):
            return "onnx"
        raise WeightsError(f"{name} is no exported model; give a torch.export .pt2, TorchScript .pt or .onnx file")
    parts = {"/".join(n.split("/")[1:2]) for n in _members(data, name)}
    if "models" in parts and "archive_version" in parts:
        return "export"
    if "code" in parts:
        return "script"
    raise WeightsError(f"{name} holds weights without a program; give it to a model as --weights")


def load_program(path: str | os.PathLike[str]) -> tuple[nn.Module, str]:
    """(module, sha256) of a torch.export or TorchScript file. Raises WeightsError."""
    import torch

    data, name = read_bytes(path), Path(path).name
    if kind_of(data, name) == "export":
        check_export(data, name)
    else:
        check_script(data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind_of(data, name) == "export":
                module: nn.Module = torch.export.load(io.BytesIO(data)).module()  # checked above
            else:
                module = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception:  # a damaged program makes torch raise anything
        raise WeightsError(f"{name} cannot be opened by this torch ({torch.__version__}); export it again") from None
    for key, value in module.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(f"{name}: {clipped(printable(key), 60)!r} is not finite; export it again")
    return module, hashlib.sha256(data).hexdigest()


def load_onnx(path: str | os.PathLike[str]) -> tuple[Any, str, str]:
    """(onnxruntime session, sha256, last operation or "") of a single-file ONNX model, parsed in a child first.

    Raises WeightsError.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime", "an ONNX model", "onnx") from None
    data = read_bytes(path)
    sha256 = hashlib.sha256(data).hexdigest()
    last = run_module("whyray.io.exports", (os.path.abspath(path), sha256))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = _threads(), 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]), sha256, last
    except Exception:  # onnxruntime has a class of its own for every fault
        raise WeightsError(f"{Path(path).name} is refused by onnxruntime; export it again") from None


def check_export(data: bytes, name: str) -> None:
    """Refuse a .pt2 that holds native code, pickles, or expressions and calls beyond those of a network."""
    members = _members(data, name)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = {n.partition("/")[2]: n for n in members}
        held = {n: archive.read(full) for n, full in names.items() if not PLAIN.fullmatch(n)}
    odd = set(held) - EXPORT_MEMBERS
    try:
        configs = [json.loads(held[n]) for n in held if n.endswith("_config.json")]
        program = json.loads(held["models/model.json"])
        if odd or len(configs) != 2 or any(p["use_pickle"] is not False for c in configs for p in c["config"].values()):
            raise ValueError(odd)
        _check_program(program)
        if held["data/sample_inputs/model.pt"]:  # torch would fall back to an unrestricted unpickler
            only_tensors(held["data/sample_inputs/model.pt"])
    except Exception:  # whatever is wrong with it, it is refused
        raise WeightsError(f"{name} holds more than a plain network; export it again with torch.export.save") from None


def check_script(data: bytes, name: str) -> None:
    """Refuse TorchScript whose code reads or writes files."""
    members = _members(data, name)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        code = b"".join(archive.read(n) for n in members if n.endswith(".py"))
    if re.search(rb"\b(save|from_file|load|open)\s*\(", code):
        raise WeightsError(f"{name} holds code that touches files; script a plain network")


def check_onnx(data: bytes) -> str:
    """Refuse an ONNX model that is not whole in itself: external data anywhere, also in subgraphs.

    Returns the operation that computes its first output ("Gemm", "Sigmoid" ...; "" = not known).
    """
    import onnx

    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except Exception:
        raise WeightsError("the file is not a valid ONNX model; export it again") from None
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise WeightsError("the ONNX model keeps weights in other files; export it as a single file")
    return _last_operation(model.graph)


def _last_operation(graph: Any) -> str:
    """The operation behind the first output, seen through those that only move numbers."""
    makers = {output: node for node in graph.node for output in node.output}
    name = graph.output[0].name if graph.output else ""
    while name in makers and makers[name].op_type in MOVES:
        name = makers[name].input[0]  # an ONNX graph has no cycles: the checker saw to it
    return str(makers[name].op_type) if name in makers else ""


def _tensors(message: Any) -> Iterator[Any]:
    """Every TensorProto inside a protobuf message."""
    import onnx

    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in value if hasattr(value, "__len__") and not hasattr(value, "ListFields") else [value]:
            if isinstance(part, onnx.TensorProto):
                yield part
            elif hasattr(part, "ListFields"):
                yield from _tensors(part)


def _check_program(node: object) -> None:
    """Raises ValueError for a call or a size expression that a network does not need."""
    if isinstance(node, dict):
        target, expression = node.get("target"), node.get("expr_str")
        calls = isinstance(target, str) and "inputs" in node
        if calls and (not TARGET.fullmatch(str(target)) or BANNED_TARGETS.search(str(target))):
            raise ValueError(target)
        if expression is not None:
            plain = SYMBOL.sub(r"\1", str(expression))
            words = re.findall(r"[A-Za-z_]\w*", plain)
            if not EXPRESSION.fullmatch(plain) or not all(NAME.fullmatch(w) for w in words):
                raise ValueError(expression)
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _check_program(part)


def _members(data: bytes, name: str) -> list[str]:
    """Names in a zip that is no bomb and stays inside itself."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise WeightsError(f"{name} is a broken zip; export it again") from None
    names = [i.filename for i in infos]
    escapes = any(n.startswith("/") or ".." in n.split("/") for n in names)
    if not names or escapes or len(set(names)) != len(names) or sum(i.file_size for i in infos) > MOST_INFLATED:
        raise WeightsError(f"{name} is not a zip that torch wrote; export it again")
    if any(i.file_size > 200 * i.compress_size + 65536 for i in infos):
        raise WeightsError(f"{name} swells when unpacked; export it again")
    return names


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else 0


if __name__ == "__main__":
    try:
        sys.stdout.write(check_onnx(read_bytes(sys.argv[1], sha256=sys.argv[2])))
    except WeightsError as error:
        sys.exit(str(error))
