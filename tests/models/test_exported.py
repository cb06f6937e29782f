"""Exported programs: equal to the module they came from, and refused where they hold more than a network."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from whyray.errors import SettingError, UnmetNeed, WeightsError
from whyray.models import exported
from whyray.models._resolve import load_model
from whyray.networks.densenet import DenseNet
from whyray.registry import EXPLAINERS, explainer
from whyray.testing import check_classifier, check_explainer

FINDINGS = ["nodule", "", "edema"]
CARD = {"findings": FINDINGS, "preparation": {"size": [64, 64], "mean": [0.5], "std": [0.25]}}


@pytest.fixture(scope="module")
def network() -> DenseNet:
    torch.manual_seed(0)
    return DenseNet(3, growth=4, blocks=(2, 2), stem=8).eval()


@pytest.fixture(scope="module")
def files(network: DenseNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with a file of each kind, and cards."""
    folder = tmp_path_factory.mktemp("exported")
    x = torch.rand(2, 1, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("b", min=1, max=64)},))
        torch.export.save(free, folder / "free.pt2")
        torch.export.save(torch.export.export(network, (x[:1],)), folder / "single.pt2")
        torch.jit.trace(network, x).save(folder / "script.pt")
    onnx_model(folder / "net.onnx")
    for name in ("free", "single", "script", "net"):
        (folder / f"{name}.json").write_text(json.dumps(CARD))
    return folder


def onnx_model(path: Path, external: str | None = None) -> None:
    """``mean over space of x @ [1, 2, 3] + [0, 0, 1]`` as ONNX; its weights in another file where asked."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, [1, 3], [1.0, 2.0, 3.0])
    bias = helper.make_tensor("b", TensorProto.FLOAT, [3], [0.0, 0.0, 1.0])
    if external is not None:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=external)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["e"]),
        helper.make_node("Gemm", ["e", "w", "b"], ["y"]),
    ]
    spaces = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 64, 64])]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])]
    graph = helper.make_graph(nodes, "g", spaces, out, [weight, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    assert onnx


@pytest.mark.parametrize("name", ["free.pt2", "single.pt2", "script.pt"])
def test_programs_equal_their_module(name: str, files: Path, network: DenseNet) -> None:
    classifier = load_model(f"exported:{files / name}")
    x = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    came = classifier.logits(x.clone().requires_grad_())
    assert torch.allclose(came, network(x)[:, [0, 2]], atol=1e-5)
    assert came.requires_grad and classifier.findings == ("nodule", "edema")
    assert classifier.capabilities == {"gradients", "module"}
    assert classifier.fingerprint == load_model(f"exported:{files / name}").fingerprint
    with pytest.raises(SettingError):
        load_model(f"exported:{files / name}", weights="w.safetensors")
    if name != "single.pt2":  # a program of a fixed batch takes one picture at a time; that is tested above
        check_classifier(classifier)
    check_explainer(explainer("gradcam"), classifier)  # no features: the skip says so


def test_onnx_gives_logits_only(files: Path) -> None:
    pytest.importorskip("onnxruntime")
    classifier = load_model(f"exported:{files / 'net.onnx'}")
    x = torch.rand(5, 1, 64, 64)
    mean = x.mean((1, 2, 3))
    assert torch.allclose(classifier.logits(x), torch.stack([mean, 3 * mean + 1], 1), atol=1e-5)
    assert classifier.capabilities == frozenset() and len(classifier.fingerprint) == 64
    with pytest.raises(UnmetNeed):
        classifier.run(x, ("features",))
    with pytest.raises(UnmetNeed):
        assert classifier.module
    check_classifier(classifier)
    for name in EXPLAINERS.names():
        check_explainer(explainer(name), classifier)


def test_onnx_with_weights_elsewhere_is_refused(tmp_path: Path) -> None:
    onnx_model(tmp_path / "net.onnx", external="../x")
    (tmp_path / "net.json").write_text(json.dumps(CARD))
    with pytest.raises(WeightsError, match="ONNX"):
        exported.load(str(tmp_path / "net.onnx"))


class Canary:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.marker), "w")


Change = Callable[[str, bytes], bytes | None]


def rewritten(source: Path, target: Path, change: Change, extra: dict[str, bytes]) -> None:
    """A copy of a zip with members changed (None: left out) and added."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        top = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            data = change(name.partition("/")[2], old.read(name))
            if data is not None:
                new.writestr(name.replace(top, target.stem, 1), data)
        for name, data in extra.items():
            new.writestr(f"{target.stem}/{name}", data)


def hostile(marker: Path) -> dict[str, tuple[Change, dict[str, bytes]]]:
    """Changes to a good .pt2 that torch's own reader would act on."""
    file = io.BytesIO()
    torch.save(Canary(marker), file)
    canary, plain = file.getvalue(), pickle.dumps(Canary(marker))
    code = json.dumps(f"open({str(marker)!r}, 'w')")[1:-1].encode()

    def only(member: str, old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
        return lambda name, data: data.replace(old, new, 1) if name == member else data

    def swap(member: str, new: bytes) -> Callable[[str, bytes], bytes]:
        return lambda name, data: new if name == member else data

    config = b'{"config": {"x": {"path_name": "%s", "is_param": false, "use_pickle": true, "tensor_meta": null}}}'
    constants = "data/constants/model_constants_config.json"
    weights = "data/weights/model_weights_config.json"
    same = only("", b"", b"")
    return {
        "sample inputs": (swap("data/sample_inputs/model.pt", canary), {}),
        "pickled weight": (only(weights, b'"use_pickle": false', b'"use_pickle": true'), {}),
        "opaque object": (swap(constants, config % b"opaque_obj_0"), {"data/constants/opaque_obj_0": plain}),
        "custom object": (swap(constants, config % b"custom_obj_0"), {"data/constants/custom_obj_0": plain}),
        "older weights": (same, {"data/weights/model.pt": canary}),
        "native code": (same, {"data/aotinductor/model/x.so": b"\x7fELF"}),
        "expression": (only("models/model.json", b'"expr_str": "', b'"expr_str": "' + code + b" + "), {}),
        "call": (only("models/model.json", b"torch.ops.aten.relu.default", b"torch.load"), {}),
        "outside": (same, {"../../x": b"x"}),
        "no program": (lambda name, data: None if name == "models/model.json" else data, {}),
    }


def test_hostile_exports_are_refused(files: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for name, (change, extra) in hostile(marker).items():
        target = tmp_path / "bad.pt2"
        rewritten(files / "free.pt2", target, change, extra)
        (tmp_path / "bad.json").write_text(json.dumps(CARD))
        with zipfile.ZipFile(files / "free.pt2") as old, zipfile.ZipFile(target) as new:
            before = [old.read(n) for n in old.namelist()]
            assert before != [new.read(n) for n in new.namelist()], f"{name}: the planted fault is missing"
        with pytest.raises(WeightsError):
            exported.load(str(target))
        assert not marker.exists(), name


def test_a_rewritten_good_file_is_accepted(files: Path, tmp_path: Path) -> None:
    rewritten(files / "free.pt2", tmp_path / "good.pt2", lambda name, data: data, {})
    (tmp_path / "good.json").write_text(json.dumps(CARD))
    assert exported.load(str(tmp_path / "good.pt2")).findings == ("nodule", "edema")


def test_damaged_and_misdescribed_files(files: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no exported model"):
        exported.load(str(tmp_path / "none.pt2"))
    shutil.copy(files / "free.pt2", tmp_path / "free.pt2")
    with pytest.raises(WeightsError, match="needs a card"):
        exported.load(str(tmp_path / "free.pt2"))
    (tmp_path / "free.json").write_text(json.dumps({"findings": ["nodule"], "preparation": CARD["preparation"]}))
    with pytest.raises(SettingError, match="name one a logit"):
        exported.load(str(tmp_path / "free.pt2"))
    (tmp_path / "free.json").write_text(json.dumps(CARD))
    (tmp_path / "free.pt2").write_bytes((files / "free.pt2").read_bytes()[:-500])
    with pytest.raises(WeightsError):
        exported.load(str(tmp_path / "free.pt2"))
    (tmp_path / "w.json").write_text(json.dumps(CARD))
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="weights without a program"):
        exported.load(str(tmp_path / "w.pt"))
