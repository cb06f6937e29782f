"""A network that ends in a sigmoid or softmax gives no logits: refused where certain, a warning where likely."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import whyray
from whyray.errors import SettingError
from whyray.models._endings import bounded, last_operation
from whyray.models._resolve import load_model
from whyray.models.wrapped import wrap

FINDINGS = ["Nodule", "Edema"]


def plain(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    stem = nn.Conv2d(1, 4, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*stem, nn.Linear(4, outputs))


class Ending(nn.Module):
    """The plain network with a function behind it."""

    def __init__(self, last: Callable[[Tensor], Tensor], outputs: int = 2) -> None:
        super().__init__()
        self.network, self.last = plain(outputs), last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.network(x))


class Normed(nn.Module):
    """Outputs that do not grow with the input, near 0.3 for every picture: logits of a tiny head all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(1, 8, 16, 16), nn.GroupNorm(1, 8), nn.Conv2d(8, 1, 1)
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.constant_(self.head.bias, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.stem(x))).mean((2, 3))


REFUSED = {
    "module": (lambda: plain().append(nn.Sigmoid()), "Net ends in a sigmoid.*take the last sigmoid off"),
    "function": (lambda: Ending(torch.sigmoid), "a sigmoid"),
    "method, then moved": (lambda: Ending(lambda v: v.sigmoid().unsqueeze(2)[..., 0].clone()), "a sigmoid"),
    "in place": (lambda: Ending(lambda v: v.sigmoid_()), "a sigmoid"),
    "each by itself": (lambda: Ending(lambda v: torch.stack([c.sigmoid() for c in v.unbind(1)], 1)), "a sigmoid"),
    "softmax": (lambda: plain().append(nn.Softmax(1)), "ends in a softmax.*the difference of their scores"),
    "softmax, one half taken": (lambda: Ending(lambda v: v.softmax(1)[:, :2], 4), "a softmax"),
    "log-softmax": (lambda: Ending(lambda v: v.log_softmax(1)), "a logsoftmax"),
    "hard sigmoid": (lambda: Ending(nn.functional.hardsigmoid), "a hardsigmoid"),
}
LIKELY = {
    "calibrated by hand": (lambda: Ending(lambda v: v.sigmoid() * 0.9 + 0.05), "lie in [0, 1]"),
    "without gradients": (lambda: Ending(lambda v: v.detach().sigmoid()), "lie in [0, 1]"),
    "softmax without gradients": (lambda: Ending(lambda v: v.detach().softmax(1)), "add up to 1"),
}
LOGITS = {
    "linear": plain,
    "all zeros": lambda: Ending(lambda v: v * 0),
    "clamped": lambda: Ending(lambda v: v.clamp(-10, 10)),
    "attention inside": lambda: Ending(lambda v: v.softmax(1) * v),
    "tanh": lambda: Ending(torch.tanh),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_certainly_gives_no_logits_is_refused(case: str) -> None:
    make, says = REFUSED[case]
    with pytest.raises(SettingError, match=says):
        wrap(make(), findings=FINDINGS, size=64, name="Net")


@pytest.mark.parametrize("case", LIKELY)
def test_what_looks_like_probabilities_is_said_with_every_result(case: str) -> None:
    make, says = LIKELY[case]
    classifier = wrap(make(), findings=FINDINGS, size=64)
    radiograph = whyray.radiograph_from_array(np.random.default_rng(0).random((70, 80)).astype(np.float32))
    explained = whyray.explain(classifier, radiograph, explainers=["edges"])
    (warning,) = classifier.warnings
    assert explained.warnings[0] == warning and says in warning


@pytest.mark.parametrize("case", LOGITS)
def test_logits_raise_no_alarm(case: str) -> None:
    assert wrap(LOGITS[case](), findings=FINDINGS, size=64).warnings == ()


def test_logits_that_happen_to_lie_in_the_unit_interval_raise_no_alarm() -> None:
    torch.manual_seed(0)
    classifier = wrap(Normed(), findings=["Nodule"], size=64)
    came = classifier.logits(torch.rand(8, 1, 64, 64) * 1000)
    assert float(came.detach().min()) > 0 and float(came.detach().max()) < 1
    assert classifier.warnings == ()
    assert not bounded(lambda x: torch.full((len(x), 2), float("nan")), torch.rand(2, 1, 8, 8), "net")


def test_a_warning_outlives_another_layer() -> None:
    classifier = wrap(LIKELY["calibrated by hand"][0](), findings=FINDINGS, size=64)
    assert classifier.with_layer("network.0").warnings == classifier.warnings != ()


def test_a_network_that_fails_under_gradients_is_no_error() -> None:
    assert last_operation(Ending(lambda v: torch.from_numpy(v.numpy())), torch.rand(1, 1, 64, 64)) == ""


@pytest.mark.parametrize(("kind", "ending"), [("export", "sigmoid"), ("trace", "softmax"), ("script", "sigmoid")])
def test_exported_programs(kind: str, ending: str, tmp_path: Path) -> None:
    network, x = plain().append(nn.Sigmoid() if ending == "sigmoid" else nn.Softmax(1)).eval(), torch.rand(1, 1, 64, 64)
    path = tmp_path / ("net.pt2" if kind == "export" else "net.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "export":
            torch.export.save(torch.export.export(network, (x,)), path)
        else:
            (torch.jit.trace(network, x) if kind == "trace" else torch.jit.script(network)).save(path)
    path.with_suffix(".json").write_text(json.dumps({"findings": FINDINGS, "preparation": {"size": [64, 64]}}))
    with pytest.raises(SettingError, match=f"ends in a {ending}"):
        load_model(f"exported:{path}")


def onnx_file(path: Path, *last: tuple[str, dict[str, int]]) -> str:
    """Mean over space of x @ [1, -2] + [0, 1], then the named operations."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [helper.make_tensor("w", kind, [1, 2], [1.0, -2.0]), helper.make_tensor("b", kind, [2], [0.0, 1.0])]
    names = ["y", *(f"y{i}" for i in range(len(last)))]
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["e"]),
        helper.make_node("Gemm", ["e", "w", "b"], ["y"]),
        *(helper.make_node(op, [names[i]], [names[i + 1]], **more) for i, (op, more) in enumerate(last)),
    ]
    spaces = [helper.make_tensor_value_info("x", kind, ["n", 1, 64, 64])]
    out = [helper.make_tensor_value_info(names[-1], kind, ["n", 2])]
    graph = helper.make_graph(nodes, "g", spaces, out, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".json").write_text(json.dumps({"findings": FINDINGS, "preparation": {"size": [64, 64]}}))
    return f"exported:{path}"


def test_onnx_by_its_last_node(tmp_path: Path) -> None:
    for last in ([("Sigmoid", {})], [("Softmax", {"axis": 1})], [("Sigmoid", {}), ("Identity", {})]):
        with pytest.raises(SettingError, match=f"net.onnx ends in a {last[0][0].lower()}"):
            load_model(onnx_file(tmp_path / "net.onnx", *last))
    assert load_model(onnx_file(tmp_path / "net.onnx")).warnings == ()
    classifier = load_model(onnx_file(tmp_path / "net.onnx", ("Sigmoid", {}), ("Clip", {})))
    assert "lie in [0, 1]" in classifier.warnings[0]
