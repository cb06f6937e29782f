"""The DenseNet program against autograd in double precision, where it applies, and where it must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import whyray
from whyray.engine import _dense_gradients as module
from whyray.engine._dense_gradients import Program, program_for
from whyray.engine.gradients import Sweep, input_gradients
from whyray.networks.densenet import DenseNet
from whyray.networks.resnet import ResNet


def network(channels: int = 1, blocks: tuple[int, ...] = (2, 3, 2)) -> DenseNet:
    """Random weights, and normalisations with scales of both signs, one of them zero."""
    torch.manual_seed(0)
    made = DenseNet(5, channels=channels, growth=4, blocks=blocks, stem=8)
    with torch.no_grad():
        for part in made.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.normal_()
                part.bias.normal_()
                part.weight[0] = 0
        made.train()(torch.rand(8, channels, 64, 64))
    return made.eval()


@pytest.mark.parametrize("shape", [(3, 1, 64, 64), (1, 1, 72, 104), (2, 3, 64, 96), (1, 1, 37, 45)])
def test_equals_autograd_in_double(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(shape[1]).double()
    x = torch.rand(shape, dtype=torch.float64)
    for cached in (1, 2**22):  # one picture at once, and all
        monkeypatch.setattr(module, "CACHED", cached)
        with torch.no_grad():
            logits, tape = Program(made).forward(x)
            found = [tape.backward(column) for column in (3, 0, 3)]
        leaf = x.clone().requires_grad_()
        wanted = made(leaf)
        torch.testing.assert_close(logits, wanted, rtol=1e-12, atol=1e-12)
        for column, gradient in zip((3, 0, 3), found, strict=True):
            (theirs,) = torch.autograd.grad(wanted[:, column].sum(), leaf, retain_graph=True)
            torch.testing.assert_close(gradient, theirs, rtol=1e-10, atol=1e-13)


def test_chosen_columns_keep_their_order() -> None:
    made = network().double()
    x = torch.rand((1, 1, 64, 64), dtype=torch.float64)
    with torch.no_grad():
        logits, tape = Program(made, (4, 1)).forward(x)
        whole, all_of_it = Program(made).forward(x)
    torch.testing.assert_close(logits, whole[:, [4, 1]])
    torch.testing.assert_close(tape.backward(1), all_of_it.backward(1))
    assert tape.nbytes > x.nbytes


def test_mini_takes_it_and_gives_the_same() -> None:
    model = whyray.load_model("mini")
    assert program_for(model) is not None and program_for(model) is program_for(model)
    x = np.random.default_rng(0).random((2, 1, 224, 224), np.float32)
    logits, found = input_gradients(model, x, [0, 3])
    leaf = torch.from_numpy(x).requires_grad_()
    wanted = model.logits(leaf)
    np.testing.assert_allclose(logits, wanted.detach(), rtol=1e-4, atol=1e-4)
    for i, column in enumerate((0, 3)):
        (theirs,) = torch.autograd.grad(wanted[:, column].sum(), leaf, retain_graph=True)
        near = torch.nn.functional.cosine_similarity(theirs.flatten(), torch.from_numpy(found[:, i]).flatten(), 0)
        assert near > 0.999  # rounding switches a ReLU here and there


def test_changed_weights_make_a_new_program() -> None:
    made = network()
    model = whyray.wrap(made, findings=["mass", "edema", "hernia", "nodule", "fracture"], size=64)
    before = program_for(model)
    with torch.no_grad():
        made.classifier.weight.mul_(2)
    after = program_for(model)
    assert before is not None and after is not None and after is not before


def test_where_it_does_not_apply() -> None:
    findings = ["mass", "edema", "hernia", "nodule", "fracture"]
    hooked = network()
    hooked.features.denseblock1.register_forward_hook(lambda *_: None)
    half = network().to(torch.bfloat16)
    other = ResNet(5, channels=1, blocks=(1, 1), stem=8)
    for refused in (hooked, half, other, network().double(), _Own(5, growth=4, blocks=(1, 1), stem=8)):
        assert program_for(whyray.wrap(refused, findings=findings, size=64)) is None
    assert program_for(whyray.load_model("analytic")) is None


class _Own(DenseNet):
    """A researcher's own forward pass."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_a_sweep_with_something_around_the_pass_does_not_take_it() -> None:
    from whyray.engine.guided import Guided

    model = whyray.wrap(network(), findings=["mass", "edema", "hernia", "nodule", "fracture"], size=64)
    x = torch.rand(1, 1, 64, 64)
    guided = Sweep(1, lambda _: x, lambda g, _: g, [0], around=Guided)
    plain = Sweep(1, lambda _: x, lambda g, _: g, [0])
    (first,), (second,) = ([kept for _, _, kept in sweep.run(model)] for sweep in (guided, plain))
    assert np.abs(first - second).max() > 1e-3 * np.abs(second).max()
