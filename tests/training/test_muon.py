"""Muon: torch's own as the oracle, and kernels of convolutions as matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from whyray.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (12, 12)])
def test_steps_as_torch_does(shape: tuple[int, int]) -> None:
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=draw)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    mine = Muon([ours], lr=0.1, weight_decay=0.2)
    oracle = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.2, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(shape, generator=draw)
        theirs.grad = ours.grad.clone()
        before = ours.detach().clone()
        mine.step()
        oracle.step()
        step = (ours.detach() - before).norm()
        assert (ours - theirs).norm() < 0.05 * step  # the oracle's step is in bfloat16
        theirs.data.copy_(ours.data)


def test_a_kernel_steps_as_the_matrix_it_is_in_either_layout() -> None:
    draw = torch.Generator().manual_seed(1)
    start, gradient = torch.randn(2, 6, 4, 3, 3, generator=draw)
    ended = []
    for kernel in (start.flatten(1), start, start.to(memory_format=torch.channels_last)):
        parameter = nn.Parameter(kernel.clone())
        parameter.grad = gradient.reshape(kernel.shape)
        Muon([parameter], lr=0.1).step()
        ended.append(parameter.detach().reshape(start.shape))
    assert torch.allclose(ended[0], ended[1], atol=1e-6) and torch.allclose(ended[0], ended[2], atol=1e-6)
    length = (ended[0] - start).square().mean().sqrt() / 0.1
    assert 0.1 < length < 0.3  # of 36 numbers that are orthogonal rows: about 0.2 learning rates


def test_singular_values_come_near_one_and_vectors_stay() -> None:
    draw = torch.Generator().manual_seed(2)
    u, _, v = torch.linalg.svd(torch.randn(10, 25, generator=draw), full_matrices=False)
    values = torch.logspace(0, -1.5, 10)
    after = u.T @ orthogonal(u @ torch.diag(values) @ v) @ v.T
    assert ((after.diagonal() > 0.6) & (after.diagonal() < 1.3)).all()
    assert (after - torch.diag(after.diagonal())).abs().max() < 1e-3


def test_a_kernel_without_a_gradient_stays() -> None:
    kernel = nn.Parameter(torch.ones(2, 3))
    Muon([kernel], lr=0.1, weight_decay=0.5).step()
    assert (kernel == 1).all()
