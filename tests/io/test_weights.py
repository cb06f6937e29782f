"""The one loader: good files come back exactly, bad ones are refused quickly, and nobody else reads weights."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import os
import pickle
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from whyray.errors import WeightsError
from whyray.io.pickles import state_dict
from whyray.io.weights import halved, load_into, load_weights, save_weights, widened
from whyray.networks.densenet import DenseNet

ROOT = Path(__file__).parents[2]
GOOD = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


class Canary:
    """Unpickling it would make a marker file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.marker), "w")


def safe(header: dict[str, Any] | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def saved(thing: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file, **options)
    return file.getvalue()


def zipped(members: dict[str, bytes], compress: int = zipfile.ZIP_STORED, mode: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = compress, mode << 16
            archive.writestr(info, data)
    return file.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """A torch zip with members changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return zipped({n: change(n, archive.read(n)) for n in archive.namelist()})


def tarred(data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def numpy_objects(marker: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Canary(marker)], dtype=object), allow_pickle=True)
    return file.getvalue()


def bad_files(marker: Path) -> dict[str, bytes]:
    """Name -> content of files that must be refused."""
    canary = pickle.dumps({"a": Canary(marker)})
    whole = safe({"a": entry(), "b": entry(offsets=(8, 16))}, bytes(16))
    torch_zip = saved(GOOD)
    big = {"a": entry(shape=(1 << 31, 1 << 31), offsets=(0, 8))}
    return {
        "0 bytes.safetensors": b"",
        "8 bytes.safetensors": bytes(8),
        "html.safetensors": b"<!DOCTYPE html>" * 9,
        "truncated.safetensors": whole[:-3],
        "truncated header.safetensors": whole[:30],
        "trailing.safetensors": whole + b"x",
        "header 2^63.safetensors": safe(b"{}", length=1 << 63),
        "header beyond the file.safetensors": safe(b"{}", length=4000),
        "no json.safetensors": safe(b"{a: 1}"),
        "deep json.safetensors": safe(b'{"a":' + b"[" * 200_000),
        "a list.safetensors": safe(b"[1, 2, 3]"),
        "overlap.safetensors": safe({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
        "hole.safetensors": safe({"a": entry(), "b": entry(offsets=(12, 20))}, bytes(20)),
        "out of range.safetensors": safe({"a": entry(offsets=(0, 800))}, bytes(8)),
        "backwards.safetensors": safe({"a": entry(offsets=(8, 0))}, bytes(8)),
        "negative.safetensors": safe({"a": entry(offsets=(-8, 0))}, bytes(8)),
        "negative side.safetensors": safe({"a": entry(shape=(-2, -1))}, bytes(8)),
        "shape mismatch.safetensors": safe({"a": entry(shape=(3,))}, bytes(8)),
        "dtype mismatch.safetensors": safe({"a": entry("F64")}, bytes(8)),
        "unknown dtype.safetensors": safe({"a": entry("O")}, bytes(8)),
        "overflow.safetensors": safe(big, bytes(8)),
        "float shape.safetensors": safe({"a": entry(shape=(2.0,))}, bytes(8)),
        "duplicate.safetensors": safe(b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2), bytes(8)),
        "missing field.safetensors": safe({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        "nan.safetensors": safe({"a": entry()}, struct.pack("<2f", 1, float("nan"))),
        "inf.safetensors": safe({"a": entry()}, struct.pack("<2f", 1, float("inf"))),
        "nan.pt": saved({"a": torch.tensor([float("nan")])}),
        "pickle.pt": canary,
        "pickle.safetensors": canary,
        "pickle protocol 0.pt": pickle.dumps(Canary(marker), 0),
        "canary in a torch zip.pt": saved({"a": Canary(marker)}),
        "canary under state_dict.pt": saved({"state_dict": GOOD, "callback": Canary(marker)}),
        "canary in data.pkl.pt": repacked(torch_zip, lambda n, d: canary if n.endswith("data.pkl") else d),
        "older layout.pt": saved({"a": Canary(marker)}, _use_new_zipfile_serialization=False),
        "whole module.pt": saved(torch.nn.Linear(2, 2)),
        "tar.pt": tarred(canary),
        "numpy objects.npy": numpy_objects(marker),
        "numpy in a zip.npz": zipped({"a.npy": numpy_objects(marker)}),
        "bomb.pt": zipped({"x/data.pkl": bytes(1 << 26)}, zipfile.ZIP_DEFLATED),
        "slip.pt": zipped({"../../data.pkl": canary}),
        "absolute.pt": zipped({"/tmp/data.pkl": canary}),
        "symlink.pt": zipped({"x/data.pkl": b"/etc/passwd"}, mode=0o120777),
        "no state dict.pt": saved([1, 2, 3]),
        "not tensors.pt": saved({"a": 3}),
        "claims too much.pt": saved({"a": torch.zeros(1).expand(1 << 40)}),
        "cut zip.pt": torch_zip[:-40],
        "short storage.pt": repacked(torch_zip, lambda n, d: d[:4] if "/data/" in n else d),
    }


def test_bad_files_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    files = bad_files(marker)
    assert len(files) >= 40
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        started = time.monotonic()
        with pytest.raises(WeightsError) as caught:
            load_weights(path)
        assert time.monotonic() - started < 5, name
        assert len(str(caught.value)) < 300 and "\n" not in str(caught.value), name
        assert not marker.exists(), name


def test_odd_nodes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    with open(tmp_path / "sparse.safetensors", "wb") as file:
        file.truncate(1 << 32)
    for path in [*tmp_path.iterdir(), tmp_path / "absent.safetensors"]:
        with pytest.raises(WeightsError):
            load_weights(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "wrapped.pt", "parallel.pt"])
def test_good_files_come_back_exactly(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".safetensors"):
        sha256 = save_weights(path, GOOD)
        assert load_weights(path, sha256=sha256)
    else:
        prefix = "module." if name == "parallel.pt" else ""
        named = {prefix + k: v for k, v in GOOD.items()}
        torch.save({"state_dict": named} if name == "wrapped.pt" else named, path)
    came = load_weights(path)
    assert set(came) == set(GOOD) and all(torch.equal(came[k], GOOD[k]) for k in GOOD)


def test_any_flipped_bit_is_found_by_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    sha256 = save_weights(path, GOOD)
    data = path.read_bytes()
    for bit in np.random.default_rng(0).choice(len(data) * 8, 200, replace=False):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(flipped)
        with pytest.raises(WeightsError, match="sha256"):
            load_weights(path, sha256=sha256)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("classifier.bias"), "1 missing"),
        (lambda s: s.update(other=torch.zeros(1)), "1 unknown"),
        (lambda s: s.update({"classifier.weight": torch.zeros(4, 12)}), r"\(4, 12\)"),
        (lambda s: s.update({"features.conv0.weight": s["features.conv0.weight"].half()}), "float16"),
        (lambda s: s.update({"features.conv0.weight": s["features.conv0.weight"].transpose(0, 1)}), "wants"),
    ],
)
def test_weights_must_fit_exactly(change: Callable[[dict[str, torch.Tensor]], Any], says: str) -> None:
    module = DenseNet(3, growth=4, blocks=(1,), stem=8)
    state = {k: v.clone() for k, v in module.state_dict().items()}
    change(state)
    before = hashlib.sha256(module.classifier.weight.detach().numpy().tobytes()).digest()
    with pytest.raises(WeightsError, match=says):
        load_into(module, state, "file")
    assert hashlib.sha256(module.classifier.weight.detach().numpy().tobytes()).digest() == before


@pytest.mark.parametrize("newer", [True, False])
def test_inert_reader_gives_the_state_dict(newer: bool) -> None:
    module = DenseNet(3, growth=4, blocks=(1, 1), stem=8)
    came = state_dict(saved(module, _use_new_zipfile_serialization=newer), "module.pt")
    wanted = module.state_dict()
    assert list(came) and set(came) == set(wanted)
    assert all(np.array_equal(came[k], wanted[k].numpy()) for k in wanted)


def test_inert_reader_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for newer in (True, False):
        data = saved({"a": torch.ones(2), "b": Canary(marker)}, _use_new_zipfile_serialization=newer)
        assert list(state_dict(data, "x.pt")) == ["a"]
    for name, content in bad_files(marker).items():
        if not content.startswith((b"PK", b"\x80")):
            continue
        with contextlib.suppress(WeightsError):
            state_dict(content, name)
    assert not marker.exists()


BANNED = {
    "torch.load",
    "torch.jit.load",
    "torch.export.load",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "cPickle.load",
    "dill.load",
    "dill.loads",
    "joblib.load",
    "cloudpickle.load",
    "cloudpickle.loads",
    "shelve.open",
    "marshal.load",
    "marshal.loads",
    "pandas.read_pickle",
    "pd.read_pickle",
    "onnx.load",
    "onnx.load_model",
    "onnx.load_model_from_string",
    "safetensors.safe_open",
    "safetensors.torch.load_file",
    "safetensors.torch.load",
    "onnxruntime.InferenceSession",
}
READERS = {"io/weights.py", "io/pickles.py", "io/exports.py"}


def banned_calls(source: str) -> list[str]:
    """Calls (also through ``from x import y``) that read weights or run a pickle."""
    tree, found, aliases = ast.parse(source), [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            aliases.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
        elif isinstance(node, ast.Import):
            aliases.update({a.asname: a.name for a in node.names if a.asname})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            top, dot, rest = name.partition(".")
            name = aliases.get(top, top) + dot + rest
            pickled = any(k.arg == "allow_pickle" and not _is_false(k.value) for k in node.keywords)
            own = name == "pickle.loads" and ast.unparse(node.args[0]).startswith("pickle.dumps(")  # what it just made
            if (name in BANNED and not own) or (pickled and name.rpartition(".")[2] == "load"):
                found.append(name)
    return found


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def test_only_the_readers_read_weights() -> None:
    folders = [ROOT / name for name in ("src", "tests", "benchmarks", "docs", "recipes")]
    for path in (p for folder in folders for p in folder.rglob("*.py")):
        if not any(path.as_posix().endswith(f"src/whyray/{reader}") for reader in READERS):
            assert banned_calls(path.read_text()) == [], path
    assert banned_calls((ROOT / "src/whyray/io/weights.py").read_text()).count("torch.load") == 1
    assert "weights_only=False" not in "".join(p.read_text() for p in (ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x')",
        "from torch import load\nload('x')",
        "import torch as t\nt.load('x')",
        "import pickle as p\np.loads(b'')",
        "from pickle import Unpickler as U\nU(f)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import joblib\njoblib.load('x')",
        "import onnx\nonnx.load('x')",
        "from safetensors.torch import load_file\nload_file('x')",
    ],
)
def test_the_ban_can_fail(source: str) -> None:
    assert len(banned_calls(source)) == 1
    assert banned_calls("import numpy as np\nnp.load('x')\njson.load(f)\nnp.load('x', allow_pickle=False)") == []


def test_halved_and_widened_round_once_and_keep_what_half_cannot_hold() -> None:
    tensors = {"w": torch.randn(50), "big": torch.tensor([1.0, 1e6]), "n": torch.tensor(3)}
    stored = halved(tensors)
    assert {k: v.dtype for k, v in stored.items()} == {"w": torch.float16, "big": torch.float32, "n": torch.int64}
    again = widened(stored)
    assert torch.equal(again["big"], tensors["big"]) and torch.equal(halved(again)["w"], stored["w"])
    assert torch.allclose(again["w"], tensors["w"], rtol=1e-3)
