"""Directions in the latent: the gradient, or the gradient of a blurred gradient, of the slope that lambda counts by."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from whyray.explainers._latent_direction import along, blurred


def scene(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A value of a picture of a latent, the linear decoder's matrix: (value, picture, latent, matrix [256, 6])."""
    torch.manual_seed(seed)
    matrix, weights = torch.randn(256, 6, dtype=torch.float64), torch.randn(256, dtype=torch.float64)
    latent = torch.randn(1, 6, 1, 1, dtype=torch.float64, requires_grad=True)
    picture = (matrix @ latent.flatten()).reshape(1, 1, 16, 16)
    return (weights * picture.flatten().tanh()).sum(), picture, latent, matrix


def test_without_blur_it_is_the_gradient() -> None:
    value, picture, latent, _ = scene()
    (wanted,) = torch.autograd.grad(value, latent, retain_graph=True)
    assert torch.equal(along(value, picture, latent, 0), wanted)


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_with_blur_it_is_the_decoders_transpose_of_the_blurred_gradient(sigma: float) -> None:
    value, picture, latent, matrix = scene()
    (by_pixel,) = torch.autograd.grad(value, picture, retain_graph=True)
    soft = gaussian_filter(by_pixel[0, 0].numpy(), sigma, mode="nearest")
    wanted = matrix.T @ torch.from_numpy(soft).flatten()
    found = along(value, picture, latent, sigma).flatten()
    assert torch.cosine_similarity(found, wanted, dim=0) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.5, 3.0])
def test_the_value_grows_by_the_square_of_its_length(sigma: float) -> None:
    value, picture, latent, _ = scene()
    (gradient,) = torch.autograd.grad(value, latent, retain_graph=True)
    found = along(value, picture, latent, sigma)
    assert (gradient * found).sum().item() == pytest.approx(found.square().sum().item(), rel=1e-9)


def test_where_the_value_would_fall_it_is_the_gradient() -> None:
    """A picture of one latent number whose gradient in pixels is a spike among small values of the other sign."""
    latent = torch.ones(1, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    shape = torch.full((16, 16), -0.05, dtype=torch.float64)
    shape[8, 8] = 1.0
    picture = latent * shape
    value = picture[0, 0, 8, 8] + 0 * picture.sum()
    (gradient,) = torch.autograd.grad(value, latent, retain_graph=True)
    soft = blurred(torch.autograd.grad(value, picture, retain_graph=True)[0], 4.0)
    assert (soft[0, 0] * shape).sum() < 0 < gradient.item()
    assert along(value, picture, latent, 4.0).item() == gradient.item()


def test_a_constant_stays_under_the_blur() -> None:
    flat = torch.full((2, 1, 9, 7), 0.25)
    torch.testing.assert_close(blurred(flat, 5.0), flat)
