"""Guided ReLUs against captum and against the formula, wherever the ReLU is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from whyray.engine.guided import Guided
from whyray.networks.densenet import DenseNet

WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.ReLU(),
    "module in place": lambda x: nn.ReLU(inplace=True)(x * 1),
    "function": nn.functional.relu,
    "function in place": lambda x: nn.functional.relu(x * 1, inplace=True),
    "function in place by position": lambda x: nn.functional.relu(x * 1, True),
    "torch": torch.relu,
    "torch in place": lambda x: torch.relu_(x * 1),
    "method": lambda x: x.relu(),
    "method in place": lambda x: (x * 1).relu_(),
    "aten": torch.ops.aten.relu.default,
    "aten overloads": torch.ops.aten.relu,
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0.0),
    "a view in place": lambda x: _in_view(x * 1),
}


def _in_view(x: Tensor) -> Tensor:
    x[:, 0].relu_()
    x[:, 1].relu_()
    return x


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_write_a_relu(way: str) -> None:
    x = torch.tensor([[-1.0, 2.0], [3.0, -4.0], [5.0, 6.0]], requires_grad=True)
    weights = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [2.0, -2.0]])
    with Guided() as met:
        out = WAYS[way](x)
    assert met.count >= 1
    torch.testing.assert_close(out, x.detach().clamp(min=0))
    (gradient,) = torch.autograd.grad((out * weights).sum(), x)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]))


def test_a_clamp_that_is_no_relu_is_left_alone() -> None:
    x = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    with Guided() as met:
        out = x.clamp(0, 1) + x.clamp(min=-5)
    (gradient,) = torch.autograd.grad(-out.sum(), x)
    torch.testing.assert_close(gradient, torch.tensor([-1.0, -2.0, -1.0]))
    assert met.count == 0


def test_equals_captum_on_a_densenet_and_leaves_nothing() -> None:
    from captum.attr import GuidedBackprop

    torch.manual_seed(0)
    network = DenseNet(2, growth=4, blocks=(2, 2), stem=8).eval()
    x = torch.rand(2, 1, 64, 64)
    with pytest.warns(UserWarning, match="backward hooks"):
        theirs = GuidedBackprop(network).attribute(x.clone().requires_grad_(), target=1)
    leaf = x.clone().requires_grad_()
    with Guided() as met:
        logits = network(leaf)
    (ours,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
    assert met.count == sum(isinstance(m, nn.ReLU) for m in network.modules())
    (after,) = torch.autograd.grad(network(leaf)[:, 1].sum(), leaf)
    assert (after - ours).abs().max() > 1e-3 * after.abs().max()
