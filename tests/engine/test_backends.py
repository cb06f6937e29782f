"""Which engine runs: equal to torch in float32, near in bfloat16, and back to torch where it cannot."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import whyray
from whyray.contracts import Classifier, Context
from whyray.engine import _openvino, backends, passes
from whyray.engine._openvino import OpenvinoRunner, openvino_runner
from whyray.engine.backends import TorchRunner, half_supported, runner_for
from whyray.engine.perturb import Perturbed
from whyray.engine.superpixels import grid
from whyray.errors import MissingExtra, SettingError, UnmetNeed
from whyray.networks.densenet import DenseNet

pytest.importorskip("openvino")
HALF = half_supported(torch.device("cpu"))


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    _openvino._MADE.clear()
    yield
    _openvino._MADE.clear()


@pytest.fixture(scope="module")
def mini() -> Classifier:
    return whyray.load_model("mini")


@pytest.fixture(scope="module")
def inputs(mini: Classifier) -> np.ndarray:
    return np.stack([mini.prepare(r).pixels for r in whyray.testing.sample_radiographs(3)])


def small() -> Classifier:
    torch.manual_seed(0)
    module = DenseNet(3, growth=4, blocks=(1, 1), stem=4)
    return whyray.wrap(module.eval(), findings=["mass", "", "hernia"], size=64)


def test_openvino_in_float32_equals_torch(mini: Classifier, inputs: np.ndarray) -> None:
    runner = runner_for(mini, "openvino", "float32")
    assert runner.name == "openvino/float32/cpu"
    x = torch.from_numpy(inputs)
    wanted = passes.logits(mini, inputs)
    np.testing.assert_allclose(runner(x), wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(runner(x[:1]), wanted[:1], rtol=0, atol=1e-5)  # the batch is free
    np.testing.assert_allclose(runner(x.contiguous(memory_format=torch.channels_last)), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bfloat16_is_near(mini: Classifier, inputs: np.ndarray, backend: backends.Backend) -> None:
    found = runner_for(mini, backend, "bfloat16")(torch.from_numpy(inputs))
    difference = np.abs(found - passes.logits(mini, inputs)).max()
    assert difference < 0.1 and (difference > 1e-4 or not HALF)


def test_auto_takes_the_fast_way_for_large_networks_only(mini: Classifier) -> None:
    assert runner_for(mini).name == ("openvino/bfloat16/cpu" if HALF else "openvino/float32/cpu")
    assert runner_for(mini, "torch").name.startswith("torch/bfloat16" if HALF else "torch/float32")
    assert runner_for(mini, "auto", "float32").name == "openvino/float32/cpu"
    assert runner_for(small()).name == "torch/float32/cpu"
    assert runner_for(small(), "openvino").name == "openvino/float32/cpu"  # asked for, so done


def test_nothing_of_the_caller_is_touched(mini: Classifier) -> None:
    mini.module.train()
    try:
        before = whyray.testing.snapshot(mini, [])
        openvino_runner(mini, "float32")
        assert whyray.testing.snapshot(mini, []) == before
    finally:
        mini.module.eval()


def test_compiled_once_and_few_are_kept(mini: Classifier) -> None:
    first = openvino_runner(mini, "float32")
    assert openvino_runner(mini, "float32") is first
    openvino_runner(small(), "float32")
    assert openvino_runner(mini, "float32") is first
    third = small()
    with torch.no_grad():
        third.module.classifier.bias.add_(1)  # type: ignore[operator]
    openvino_runner(third, "float32")
    assert len(_openvino._MADE) == _openvino.COMPILED == 2
    assert openvino_runner(mini, "float32") is first  # of three the one not used longest is gone


def test_other_weights_are_another_program() -> None:
    one, x = small(), torch.rand(2, 1, 64, 64)
    before = openvino_runner(one, "float32")(x)
    assert before.shape == (2, 2)  # the dropped output is dropped there too
    with torch.no_grad():
        one.module.classifier.bias.add_(1)  # type: ignore[operator]
    np.testing.assert_allclose(openvino_runner(one, "float32")(x), before + 1, atol=1e-5)


class Depends(torch.nn.Module):
    """Its way depends on the data, which a trace cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(32 * 32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear(x.flatten(1))
        return out * (100 if x.sum() > 0 else 1)


def test_a_program_that_computes_something_else_is_refused() -> None:
    model = whyray.wrap(Depends().eval(), findings=["mass", "edema"], size=32)
    with pytest.raises(UnmetNeed, match="differ from torch's; use backend=torch"):
        runner_for(model, "openvino", "float32")
    assert isinstance(runner_for(model), TorchRunner)


def test_hooks_keep_a_network_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    hook = model.module.register_forward_hook(lambda *_: None)
    monkeypatch.setattr(backends, "SMALL", 1)
    with pytest.raises(UnmetNeed, match="hooks"):
        runner_for(model, "openvino", "float32")
    assert isinstance(runner_for(model), TorchRunner)
    hook.remove()


def test_without_the_extra(mini: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_openvino, "installed", lambda: False)
    assert isinstance(runner_for(mini), TorchRunner)
    with pytest.raises(MissingExtra, match=r"whyray\[fast\]"):
        runner_for(mini, "openvino")


def test_formulas_without_a_module_stay_where_they_are() -> None:
    class Mean(Classifier):
        name, findings, card = "mean", ("mass",), whyray.cards.Card("mean")
        capabilities, taps, fingerprint, backend = frozenset(), {}, "0" * 64, "numpy/float64/cpu"

        def prepare(self, radiograph: whyray.Radiograph) -> whyray.types.Frame:
            raise NotImplementedError

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((1, 2, 3))[:, None]

    runner = runner_for(Mean(), "auto", "bfloat16")
    assert runner.precision == "float32" and runner(torch.ones(2, 1, 4, 4)).tolist() == [[1], [1]]
    with pytest.raises(UnmetNeed, match="neither a torch module nor an ONNX file"):
        runner_for(Mean(), "openvino")


@pytest.mark.parametrize("setting", [{"backend": "onnx"}, {"precision": "float16"}])
def test_wrong_settings(mini: Classifier, setting: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="auto"):
        runner_for(mini, **setting)  # type: ignore[arg-type]


def save(module: torch.nn.Module, path: Path, kind: str) -> None:
    x = torch.zeros(2, 1, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "onnx":
            axes = {"x": {0: "b"}}
            torch.onnx.export(module, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=axes)
        elif kind == "pt2":
            free = ({0: torch.export.Dim("b", min=1, max=64)},)
            torch.export.save(torch.export.export(module, (x,), dynamic_shapes=free), path)
        else:
            torch.jit.trace(module, x).save(path)


@pytest.mark.parametrize("kind", ["onnx", "pt2", "pt"])
def test_exported_models_run_there_too(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"model.{kind}"
    save(small().module, path, kind)
    path.with_suffix(".json").write_text('{"findings": ["mass", "", "hernia"], "preparation": {"size": [64, 64]}}')
    loaded = whyray.load_model(f"exported:{path}")
    x = torch.rand(5, 1, 64, 64)
    np.testing.assert_allclose(runner_for(loaded, "openvino", "float32")(x), loaded.logits(x).numpy(), atol=1e-5)
    frame, cells = loaded.prepare(whyray.testing.sample_radiographs(1)[0]), grid((64, 64), 16)
    keep = np.random.default_rng(0).random((9, 16)) < 0.5
    engine = Perturbed(loaded, frame, cells, "blur", Context(), precision="float32", backend="openvino")
    wanted = Perturbed(loaded, frame, cells, "blur", Context(), precision="float32", backend="torch")
    np.testing.assert_allclose(engine.logits(keep), wanted.logits(keep), atol=1e-5)


def test_nothing_is_reported_to_anybody() -> None:
    check = (
        "import sys, threading, whyray, numpy as np\n"
        "from whyray.engine._openvino import openvino_runner\n"
        "openvino_runner(whyray.load_model('mini'), 'float32')\n"
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry')], 'reporter imported'\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "import openvino_telemetry\n"  # whoever wants it can still import it
    )
    subprocess.run([sys.executable, "-W", "error", "-c", check], check=True, timeout=120)


def test_the_runner_says_how_many_at_once(mini: Classifier) -> None:
    seen: list[int] = []
    whole = OpenvinoRunner.__call__

    class Spy(OpenvinoRunner):
        def __call__(self, x: torch.Tensor) -> np.ndarray:
            seen.append(len(x))
            return whole(self, x)

    runner = openvino_runner(mini, "float32")
    runner.__class__ = Spy
    frame, cells = mini.prepare(whyray.testing.sample_radiographs(1)[0]), grid((224, 224), 56)
    keep = np.random.default_rng(0).random((20, 16)) < 0.5
    Perturbed(mini, frame, cells, "mean", Context(batch=64), precision="float32", backend="openvino").logits(keep)
    assert max(seen) == max(_openvino.BATCH, torch.get_num_threads()) and sum(seen) == 20


def test_a_program_gives_the_same_values_in_any_company(mini: Classifier) -> None:
    x = torch.rand(7, 1, 224, 224, generator=torch.Generator().manual_seed(1))
    runner = openvino_runner(mini, "float32")
    together, alone = runner(x), np.concatenate([runner(row[None]) for row in x])
    assert together.shape == alone.shape and np.array_equal(together, alone)
