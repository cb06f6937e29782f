"""Forward passes: the same values as plain eager, in batches, with a halved batch where memory is short."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from whyray.cards import Card, Preparation
from whyray.contracts import Context
from whyray.engine.passes import logits, out_of_memory, passes, predict
from whyray.errors import Stopped, WhyrayError
from whyray.models import analytic
from whyray.models._store import Config, save_bundle
from whyray.models._torch import TorchClassifier
from whyray.networks.densenet import DenseNet
from whyray.types import Radiograph


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return np.random.default_rng(0).random((7, 1, 128, 128)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> DenseNet:
    torch.manual_seed(0)
    module = DenseNet(4, growth=8, blocks=(2, 3, 2), stem=16).train()
    with torch.no_grad():
        module(torch.rand(8, 1, 128, 128))
    return module.eval()


@pytest.fixture(scope="module")
def classifier(network: DenseNet, tmp_path_factory: pytest.TempPathFactory) -> TorchClassifier:
    settings = {"network": "densenet", "growth": 8, "blocks": [2, 3, 2], "stem": 16}
    card = Card(name="tiny", preparation=Preparation(size=(128, 128)))
    config = Config(settings, ("mass", "nodule", "edema", "hernia"))
    return save_bundle(tmp_path_factory.mktemp("b") / "model.json", network, config, card)


@pytest.mark.parametrize("batch", [1, 2, 16])
def test_values_equal_plain_eager(
    batch: int, classifier: TorchClassifier, network: DenseNet, inputs: np.ndarray
) -> None:
    with torch.no_grad():
        plain = network(torch.from_numpy(inputs)).numpy()
    came = logits(classifier, inputs, batch=batch)
    assert np.abs(came - plain).max() < 1e-5 and plain.std() > 0.01
    weight = classifier.module.get_submodule("features.denseblock1.denselayer1.conv2").weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_taps_come_batch_by_batch(classifier: TorchClassifier, inputs: np.ndarray) -> None:
    parts = list(passes(classifier, inputs, ("features", "embedding"), batch=3))
    assert [p[0] for p in parts] == [slice(0, 3), slice(3, 6), slice(6, 7)]
    embedding = np.concatenate([p[2]["embedding"] for p in parts])
    features = np.concatenate([p[2]["features"] for p in parts])
    assert np.abs(features.mean((2, 3)) - embedding).max() < 1e-5
    assert np.allclose(np.concatenate([p[1] for p in parts]), logits(classifier, inputs), atol=1e-5)


def test_predictions_of_radiographs() -> None:
    formula = analytic.load()
    radiographs = [Radiograph(p) for p in np.random.default_rng(1).random((5, 140, 128)).astype(np.float32)]
    rows = predict(formula, radiographs, batch=2)
    alone = [predict(formula, [r])[0] for r in radiographs]
    assert rows == alone and [p.finding for p in rows[0]] == list(formula.findings)
    assert predict(formula, []) == []


class Small(TorchClassifier):
    """A device that holds only so many pictures."""

    most = 2

    def logits(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().logits(x)


def small(most: int) -> Small:
    formula = analytic.load()
    made = Small(formula.module, formula.findings, formula.card, wiring=formula.wiring)
    made.most = most
    return made


def test_batch_is_halved_when_memory_is_short(inputs: np.ndarray) -> None:
    assert np.allclose(logits(small(2), inputs, batch=16), logits(analytic.load(), inputs), atol=1e-6)
    with pytest.raises(WhyrayError, match="one picture at a time"):
        logits(small(0), inputs)
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert out_of_memory(MemoryError()) and not out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_other_errors_pass_through(inputs: np.ndarray) -> None:
    with pytest.raises(WhyrayError, match="shape"):
        logits(analytic.load(), inputs[:, [0, 0]])


def test_progress_and_cancel(inputs: np.ndarray) -> None:
    shares: list[float] = []
    logits(analytic.load(), inputs, batch=4, context=Context(progress=shares.append))
    assert shares == [4 / 7, 1]
    with pytest.raises(Stopped):
        logits(analytic.load(), inputs, context=Context(cancelled=lambda: True))


def test_malloc_is_set_only_when_asked() -> None:
    """The heap keeps a freed block once asked: fresh processes, page faults of 40 MB written ten times."""
    code = (
        "import numpy as np, resource, whyray.engine.passes as p\n"
        "{call}\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(10_000_000, np.float32); start = faults()\n"
        "for _ in range(10): np.ones(10_000_000, np.float32)\n"
        "print(faults() - start)"
    )

    def faults(call: str) -> int:
        command = [sys.executable, "-c", code.format(call=call)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("pass") > 10 * max(1, faults("assert p.use_large_malloc()"))
