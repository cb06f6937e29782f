"""Input gradients against plain autograd; memory, cancel, precision, and the caller's own settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whyray
from whyray.engine import gradients as engine
from whyray.engine.gradients import Sweep, input_gradients, recorded_bytes
from whyray.errors import Stopped, UnmetNeed, WhyrayError
from whyray.networks.densenet import DenseNet

COLUMNS = [2, 0]


@pytest.fixture(scope="module")
def classifier() -> whyray.Classifier:
    torch.manual_seed(0)
    network = DenseNet(3, growth=4, blocks=(2, 2), stem=8)
    with torch.no_grad():
        network.train()(torch.rand(4, 1, 64, 64))
    return whyray.wrap(network.eval().double(), findings=["mass", "edema", "hernia"], size=64)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).random((5, 1, 64, 64), np.float32)


def plain(classifier: whyray.Classifier, pixels: np.ndarray) -> np.ndarray:
    """One forward and one backward pass for each finding of each picture."""
    rows = []
    for picture in pixels:
        row = []
        for column in COLUMNS:
            x = torch.tensor(picture[None]).double().requires_grad_()
            classifier.module(x)[0, column].backward()
            row.append(x.grad.numpy()[0])
        rows.append(np.stack(row))
    classifier.module.zero_grad()
    for parameter in classifier.module.parameters():
        parameter.grad = None
    return np.stack(rows)


def test_equals_plain_autograd_and_leaves_the_inputs(classifier: whyray.Classifier, pixels: np.ndarray) -> None:
    kept = pixels.copy()
    logits, found = input_gradients(classifier, pixels, COLUMNS, batch=2)
    np.testing.assert_allclose(found, plain(classifier, pixels), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(logits, classifier.logits(torch.tensor(pixels)).detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(pixels, kept)
    assert all(p.grad is None for p in classifier.module.parameters())


@pytest.mark.parametrize(
    "setting", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_the_callers_modes_change_nothing(classifier: whyray.Classifier, pixels: np.ndarray, setting) -> None:
    _, alone = input_gradients(classifier, pixels, COLUMNS)
    with setting():
        _, found = input_gradients(classifier, pixels, COLUMNS)
    np.testing.assert_array_equal(found, alone)


class _Narrow:
    """A classifier that has memory for so many pictures only."""

    def __init__(self, inner: whyray.Classifier, most: int) -> None:
        self.inner, self.most, self.came = inner, most, []

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        self.came.append(len(x))
        if len(x) > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return self.inner.logits(x)


def test_a_batch_that_does_not_fit_is_halved(classifier: whyray.Classifier, pixels: np.ndarray) -> None:
    narrow = _Narrow(classifier, 2)
    _, found = input_gradients(narrow, pixels, COLUMNS, batch=5)
    _, wanted = input_gradients(classifier, pixels, COLUMNS)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert narrow.came == [1, 5, 2, 2, 1]
    with pytest.raises(WhyrayError, match="does not fit into memory"):
        input_gradients(_Narrow(classifier, 0), pixels[:1], COLUMNS)


def test_other_errors_are_not_taken_for_memory(classifier: whyray.Classifier) -> None:
    with pytest.raises(WhyrayError, match="model input of shape"):
        input_gradients(classifier, np.zeros((1, 2, 64, 64), np.float32), COLUMNS)


def test_the_batch_follows_what_a_pass_records(
    classifier: whyray.Classifier, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recorded_bytes(classifier, torch.tensor(pixels[:1]))
    assert recorded_bytes(classifier, torch.tensor(pixels[:4])) == pytest.approx(4 * one, rel=0.02)
    monkeypatch.setattr(engine, "RECORDED", int(2.5 * one))
    counted = _Narrow(classifier, 100)
    input_gradients(counted, pixels, COLUMNS)
    assert counted.came == [1, 2, 2, 1]


def test_progress_and_cancel_between_findings(classifier: whyray.Classifier, pixels: np.ndarray) -> None:
    seen: list[float] = []

    def step(share: float) -> None:
        seen.append(share)
        if len(seen) == 3:
            raise Stopped("enough")

    sweep = Sweep(5, lambda part: torch.tensor(pixels[part]), lambda g, _: g, COLUMNS, 2, step)
    with pytest.raises(Stopped):
        list(sweep.run(classifier))
    assert seen == pytest.approx([0.2, 0.4, 0.6])


def test_half_precision_is_refused() -> None:
    network = DenseNet(1, growth=4, blocks=(1, 1), stem=4).to(torch.bfloat16)
    half = whyray.wrap(network, findings=["mass"], size=64)
    with pytest.raises(UnmetNeed, match="bfloat16"):
        input_gradients(half, np.zeros((1, 1, 64, 64), np.float32), [0])
